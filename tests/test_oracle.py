"""One iteration of EM against 50 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from families import CASES
from mpmath import mpf

import fastem

TOLERANCE = 1e-11


def exact(array):
    """A NumPy array as an object array of mpmath numbers, which hold its values exactly."""
    return np.vectorize(lambda value: mpf(float(value)), otypes=[object])(array)


def gaussian_log_density(x, mean, covariance):
    d = mpmath.matrix(list(x - mean))
    quadratic = (d.T * mpmath.lu_solve(covariance, d))[0]
    return -(len(x) * mpmath.log(2 * mpmath.pi) + mpmath.log(mpmath.det(covariance)) + quadratic) / 2


def poisson_log_density(x, rate):
    return sum(n * mpmath.log(r) - r - mpmath.log(mpmath.factorial(n)) for n, r in zip(x, rate, strict=True))


def covariance_matrix(family, covariances, k, n_features):
    """Component k's covariance, whatever the structure."""
    one = covariances if family.covariance_type == "tied" else covariances[k]
    if family.covariance_type in ("full", "tied"):
        return mpmath.matrix(one.tolist())
    return mpmath.diag([one] * n_features if family.covariance_type == "spherical" else list(one))


class Exact:
    """E-step and M-step by their formulas, in the shapes of the family's parameters."""

    def __init__(self, family, X, params, weight):
        self.family, self.X, self.weight = family, exact(X), exact(weight)
        self.n_samples, self.n_features = X.shape
        self.n_components = len(params.weights)
        self.params = {name: exact(value) for name, value in vars(params).items()}

    def _log_density(self, k):
        params = self.params
        if self.family.name == "poisson":
            return [poisson_log_density(x, params["rates"][k]) for x in self.X]
        covariance = covariance_matrix(self.family, params["covariances"], k, self.n_features)
        return [gaussian_log_density(x, params["means"][k], covariance) for x in self.X]

    def iteration(self):
        """Mean log-likelihood under the parameters, and the parameters of the M-step."""
        log_w = [mpmath.log(w) for w in self.params["weights"]]
        densities = [self._log_density(k) for k in range(self.n_components)]
        p = np.array([[mpmath.exp(log_w[k] + densities[k][i]) for k in range(self.n_components)]
                      for i in range(self.n_samples)], dtype=object)  # fmt: skip
        norm = p.sum(axis=1)
        total = self.weight.sum()
        lower_bound = sum(w * mpmath.log(n) for w, n in zip(self.weight, norm, strict=True)) / total
        r = self.weight[:, None] * p / norm[:, None]
        mass = r.sum(axis=0)
        means = (r.T @ self.X) / mass[:, None]
        updated = {"weights": mass / total}
        if self.family.name == "poisson":
            return lower_bound, {**updated, "rates": means}
        scatter = []
        for k in range(self.n_components):
            d = self.X - means[k]
            scatter.append((r[:, k, None] * d).T @ d)
        return lower_bound, {
            **updated,
            "means": means,
            "covariances": self._covariances(np.array(scatter), mass, total),
        }

    def _covariances(self, scatter, mass, total):
        structure, ridge = self.family.covariance_type, mpf(self.family.reg_covar)
        eye = exact(np.eye(self.n_features))
        if structure == "tied":
            return scatter.sum(axis=0) / total + ridge * eye
        full = scatter / mass[:, None, None] + ridge * eye
        if structure == "full":
            return full
        variances = np.array([np.diagonal(one) for one in full])
        return variances if structure == "diag" else variances.sum(axis=1) / self.n_features


def relative_error(actual, expected):
    """Largest error, relative to the largest value of the array."""
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    return float(np.max(np.abs(exact(actual) - expected)) / np.max(np.abs(expected)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_iteration(case, weighted, rng):
    n_samples, n_features, n_components = 37, 3, 2
    X, start = case.rows(rng, n_samples, n_features), case.params(rng, n_components, n_features)
    weight = rng.uniform(0.2, 3.0, size=n_samples) if weighted else np.ones(n_samples)
    with mpmath.workdps(50):
        lower_bound, params = Exact(case.family, X, start, weight).iteration()
        for engine in fastem.available_engines():
            options = {"sample_weight": weight if weighted else None, "engine": engine, "tol": 0.0, "max_iter": 1}
            result = fastem.fit(X, case.family, n_components, start=start, **options)
            assert relative_error(result.run.lower_bound, lower_bound) < TOLERANCE, engine
            for name, expected in params.items():
                assert relative_error(getattr(result.params, name), expected) < TOLERANCE, (engine, name)


@pytest.mark.parametrize("case", [c for c in CASES if c.family.name == "gaussian"], ids=str)
def test_regularisation_is_added_once(case, rng):
    X, start = case.rows(rng, 23, 2), case.params(rng, 2, 2)
    family = type(case.family)(case.family.covariance_type, reg_covar=0.125)
    with mpmath.workdps(50):
        _, params = Exact(family, X, start, np.ones(23)).iteration()
        result = fastem.fit(X, family, 2, start=start, engine="numpy", tol=0.0, max_iter=1)
        assert relative_error(result.params.covariances, params["covariances"]) < TOLERANCE
        # What the next E-step uses is the inverse of what is reported.
        for k in range(2):
            covariance = covariance_matrix(family, exact(result.params.covariances), k, 2)
            precision = covariance_matrix(family, exact(result.params.precisions_cholesky), k, 2)
            product = np.array((covariance * precision * precision.T).tolist(), dtype=np.float64)
            np.testing.assert_allclose(product, np.eye(2), atol=1e-12)

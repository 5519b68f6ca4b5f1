"""One pass of EM written for reading, and how statistics are compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastem import Gaussian
from fastem.stats import Stats, moments_of

# Rows in float32 are computed in float32: a log-density near -100 leaves its exponential 5 digits.
TOLERANCE = {"float64": 1e-10, "float32": 3e-4}


@dataclass
class NaivePass:
    """Posterior and statistics of all rows, from SciPy's densities by the formulas."""

    log_p: np.ndarray
    log_likelihood: np.ndarray
    responsibilities: np.ndarray
    S: np.ndarray


def naive_pass(case, X, params, sample_weight=None):
    X = np.array(X, dtype=np.float64)
    n_samples, n_features = X.shape
    n_components = len(params.weights)
    weight = np.ones(n_samples) if sample_weight is None else np.array(sample_weight, dtype=np.float64)

    log_p = np.empty((n_samples, n_components))
    for k in range(n_components):
        log_p[:, k] = np.log(params.weights[k]) + case.log_pdf(X, params, k)
    log_likelihood = np.array([np.logaddexp.reduce(row) for row in log_p])
    responsibilities = np.exp(log_p - log_likelihood[:, None])

    rows = []
    for k in range(n_components):
        r = weight * responsibilities[:, k]
        d = X - params.origin[k]
        row = [np.sum(r), *np.sum(r[:, None] * d, axis=0)]
        if case.family.moments == "diag":
            row += [np.sum(r * d[:, i] ** 2) for i in range(n_features)]
        if case.family.moments == "full":
            row += [np.sum(r * d[:, i] * d[:, j]) for i in range(n_features) for j in range(n_features)]
        rows.append(row)
    return NaivePass(log_p, log_likelihood, responsibilities, np.array(rows))


def assert_close(actual, expected, tolerance, what=""):
    """Equal to ``tolerance`` of the largest value: sums of many terms lose digits where they cancel."""
    expected = np.asarray(expected, dtype=np.float64)
    scale = max(1.0, float(np.abs(expected).max())) if expected.size else 1.0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def assert_stats_close(actual, expected, tolerance=TOLERANCE["float64"]):
    assert actual.moments == expected.moments
    np.testing.assert_array_equal(actual.origin, expected.origin)
    assert_close(actual.weight, expected.weight, tolerance, "weight")
    assert_close(actual.log_likelihood, expected.log_likelihood, tolerance, "log_likelihood")
    assert_close(actual.S, expected.S, tolerance, "S")
    assert (actual.shared is None) == (expected.shared is None)
    if actual.shared is not None:
        assert_stats_close(actual.shared, expected.shared, tolerance)


def has_collapsed(model):
    """Whether a component of a fitted ``GaussianMixture`` is held up by ``reg_covar`` alone."""
    family = Gaussian(model.covariance_type, model.reg_covar_)
    return bool(family.collapsed_components(model._fitted_params()).any())


def matrices(family, params):
    """Covariances as (K, D, D), whatever they are held in."""
    covariances, (n_components, n_features) = params.covariances, params.means.shape
    if family.storage.is_matrix:
        return np.broadcast_to(covariances, (n_components, n_features, n_features))
    return np.broadcast_to(covariances.reshape(n_components, -1, 1), (n_components, n_features, 1)) * np.eye(n_features)


def given_stats(family, X, responsibilities):
    """Statistics by their definition, about the components' means."""
    origin = responsibilities.T @ X / np.maximum(responsibilities.sum(axis=0), 1e-300)[:, None]
    shared = None
    if family.shared_moments is not None:
        centre = X.mean(axis=0, keepdims=True)
        shared = Stats(len(X), 0.0, centre, moments_of(X, np.ones((len(X), 1)), centre, "full"), "full")
    S = moments_of(X, responsibilities, origin, family.moments)
    return Stats(len(X), 0.0, origin, S, family.moments, shared)


def mclust_problem(name, faithful, iris):
    """Rows and responsibilities, as in ``mclust_structures.R`` and ``mclust_prior.R``."""
    X, kinds = (iris, np.repeat([1, 2, 3], 50)) if name == "iris" else (faithful, 1 + (faithful[:, 0] > 3))
    k = np.arange(1, kinds.max() + 1)
    raw = 1.5 + 8 * (kinds[:, None] == k) + np.sin(np.arange(1, len(X) + 1)[:, None] * k)
    return X, raw / raw.sum(axis=1, keepdims=True)

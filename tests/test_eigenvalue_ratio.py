"""The bound on the ratio of eigenvalues: the best truncation, and fits under it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from families import gaussian_rows
from reference import assert_close, given_stats, matrices
from scipy.optimize import minimize_scalar

from fastem import DegenerateComponentError, Gaussian, GaussianMixture
from fastem.families.eigenvalue_bound import truncated

TYPES = ("full", "tied", "diag", "spherical", "EII", "EEI")


def cost(eigenvalues, masses, cut):
    return np.sum(masses[:, None] * (np.log(cut) + eigenvalues / cut))


def ratio_of(model):
    eigenvalues = np.linalg.eigvalsh(matrices(model._family(), model._fitted_params()))
    return eigenvalues.max() / eigenvalues.min()


@pytest.mark.parametrize("n_zeros", [0, 1, 5])
@pytest.mark.parametrize("ratio", [1.0, 1.5, 10.0, 1e3])
@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (4, 3), (6, 5)])
def test_no_other_cut_is_better(shape, ratio, n_zeros, rng):
    for _ in range(5):
        eigenvalues = np.exp(3 * rng.normal(size=shape))
        eigenvalues.flat[: min(n_zeros, eigenvalues.size - 1)] = 0
        masses = rng.uniform(0.01, 100, size=shape[0])

        def cost_of_cut(log_least, eigenvalues=eigenvalues, masses=masses):
            least = np.exp(log_least)
            return cost(eigenvalues, masses, np.clip(eigenvalues, least, ratio * least))

        found = truncated(eigenvalues, masses, ratio)
        assert found.max() <= ratio * found.min() * (1 + 1e-14)
        logs = np.log(eigenvalues[eigenvalues > 0])
        grid = np.linspace(logs.min() - np.log(ratio) - 3, logs.max(), 500)
        costs = [cost_of_cut(log_least) for log_least in grid]
        near = np.clip(np.argmin(costs) + np.array([-1, 1]), 0, len(grid) - 1)
        best = min(minimize_scalar(cost_of_cut, bounds=grid[near], method="bounded").fun, min(costs))
        assert cost(eigenvalues, masses, found) <= best + 1e-12 * abs(best)


def test_what_is_within_the_bound_stays(rng):
    eigenvalues = rng.uniform(1.0, 2.0, size=(3, 4))
    assert truncated(eigenvalues, np.ones(3), 2.0) is eigenvalues
    family, free = Gaussian("full", 0.0, eigenvalue_ratio=1e6), Gaussian("full", 0.0)
    stats = given_stats(family, gaussian_rows(rng, 80, 3), rng.dirichlet(np.ones(2), size=80))
    found, expected = (each.update(stats).covariances for each in (family, free))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("structure", TYPES)
def test_no_covariance_under_the_bound_is_better(structure, rng):
    """The M-step beats matrices at random that keep the bound and the structure, near it and far from it."""
    X, ratio = gaussian_rows(rng, 80, 3) * [1.0, 5.0, 0.1], 4.0
    family = Gaussian(structure, eigenvalue_ratio=ratio).scaled_to(None, 2)
    stats = given_stats(family, X, rng.dirichlet(np.ones(2), size=80))
    params = family.update(stats)
    reached = family.expected_log_likelihood(stats, params)
    vector = family.to_vector(params, params)
    for size in np.logspace(-4, 0, 200):
        other = family.from_vector(vector + size * rng.normal(size=vector.shape), params)
        eigenvalues = np.linalg.eigvalsh(matrices(family, other))
        assert eigenvalues.max() <= ratio * eigenvalues.min() * (1 + 1e-9)
        assert family.expected_log_likelihood(stats, other) <= reached + 1e-9


@pytest.mark.parametrize("accelerate", [None, "lbfgs", "squarem", "anderson"])
@pytest.mark.parametrize("structure", TYPES)
@pytest.mark.parametrize("ratio", [1.0, 3, 30.0])
def test_fits_keep_the_bound_and_the_likelihood_never_falls(structure, ratio, accelerate, iris):
    options = {"init_params": "random", "random_state": 1, "tol": 1e-8, "max_iter": 300, "accelerate": accelerate}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(4, covariance_type=structure, eigenvalue_ratio=ratio, **options).fit(iris)
    assert np.diff(model.lower_bounds_).min() > -1e-12
    assert ratio_of(model) <= ratio * (1 + 1e-12)
    assert (model.reg_covar_ == 0).all()
    assert model.lower_bound_ <= model.score(iris) + 1e-12


@pytest.mark.parametrize("structure", TYPES)
def test_nothing_is_degenerate(structure, rng):
    clusters = np.concatenate([rng.normal(size=(60, 2)), np.repeat([[9.0, 9.0]], 30, axis=0), np.full((5, 2), -9.0)])
    flat = np.column_stack([clusters[:, 0], np.full(len(clusters), 3.0)])
    for X in (clusters, flat, np.repeat(rng.normal(size=(5, 2)), 10, axis=0)):
        model = GaussianMixture(4, covariance_type=structure, eigenvalue_ratio=20.0, random_state=0, strict=False)
        model.fit(X)
        assert not [d for d in model.diagnostics_ if d.kind != "empty"]
        assert ratio_of(model) <= 20 * (1 + 1e-12)


def test_rows_that_all_agree_have_no_covariance():
    with pytest.raises(DegenerateComponentError, match="not positive definite"):
        GaussianMixture(1, eigenvalue_ratio=10.0, strict=True).fit(np.ones((20, 2)))


def test_it_takes_scale_and_rotation_along(rng):
    X, turn = gaussian_rows(rng, 200, 3), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    one, other = (
        GaussianMixture(3, eigenvalue_ratio=2.0, random_state=0, tol=1e-6).fit(rows) for rows in (X, 1e4 * X @ turn)
    )
    assert_close(other.means_ / 1e4, one.means_ @ turn, 1e-6)


def test_a_prior_and_a_bound_go_together(iris):
    model = GaussianMixture(3, covariance_prior="auto", eigenvalue_ratio=5.0, random_state=0, tol=1e-8, max_iter=500)
    model.fit(iris)
    assert ratio_of(model) <= 5 * (1 + 1e-12)
    assert np.diff(model.lower_bounds_).min() > -1e-12


def test_errors(iris):
    for bad in (0.5, np.nan, -1, np.inf):
        with pytest.raises(ValueError, match="eigenvalue_ratio must be None or a number of at least 1"):
            Gaussian(eigenvalue_ratio=bad)
    with pytest.raises(ValueError, match="'eigenvalue_ratio' parameter"):
        GaussianMixture(2, eigenvalue_ratio=0.5).fit(iris)
    with pytest.raises(ValueError, match=r"eigenvalue_ratio is for covariances.*but is 'EEV'"):
        GaussianMixture(2, covariance_type="EEV", eigenvalue_ratio=2.0).fit(iris)

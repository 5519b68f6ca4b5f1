"""The conjugate prior: against mclust, against a maximiser, and what users see."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import DATA
from families import gaussian_rows
from reference import assert_close, given_stats, matrices, mclust_problem
from scipy.optimize import minimize
from scipy.stats import invgamma, invwishart, multivariate_normal
from sklearn.base import clone

import fastem
from fastem import Gaussian, GaussianMixture, NormalInverseWishart

MCLUST = json.loads((DATA / "mclust_prior.json").read_text())
TYPES = ("full", "tied", "diag", "spherical", "EII", "EEI")
SKLEARN_NAMES = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}


def log_prior(prior, structure, params):
    """The density of the prior, by SciPy."""
    nu, kappa = prior.degrees_of_freedom, prior.shrinkage
    scale = np.asarray(prior.scale)
    if structure in ("full", "tied"):
        own = params.covariances if structure == "full" else params.covariances[None]
        total = sum(invwishart(nu, scale).logpdf(c) for c in own)
    else:
        own = params.covariances if structure in ("diag", "spherical") else params.covariances[:1]
        total = invgamma(nu / 2, scale=scale / 2).logpdf(own).sum()
    spread = matrices(Gaussian(structure), params)
    if kappa > 0:
        for mean, covariance in zip(params.means, spread, strict=True):
            total += multivariate_normal(prior.mean, covariance / kappa).logpdf(mean)
    return total


@pytest.mark.parametrize("data", ["iris", "faithful"])
@pytest.mark.parametrize("model", SKLEARN_NAMES)
@pytest.mark.parametrize("accelerate", [None, "lbfgs", "anderson"])
def test_em_ends_at_mclusts_parameters(data, model, accelerate, faithful, iris):
    X, responsibilities = mclust_problem(data, faithful, iris)
    published = MCLUST[data][model]
    family = Gaussian(SKLEARN_NAMES[model], covariance_prior="auto")
    start = family.update(given_stats(family, X, responsibilities))
    result = fastem.fit(X, family, len(start.weights), start=start, tol=1e-14, max_iter=5000, accelerate=accelerate)
    assert result.run.converged
    assert_close(result.params.weights, published["pro"], 1e-6)
    assert_close(result.params.means, published["mean"], 1e-6)
    assert_close(matrices(family, result.params), published["sigma"], 1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 0.01, 3.0])
@pytest.mark.parametrize("structure", TYPES)
def test_the_density_is_scipys(structure, shrinkage, rng):
    X = gaussian_rows(rng, 60, 3)
    family = Gaussian(structure, covariance_prior=NormalInverseWishart(shrinkage))
    one, other = (given_stats(family, X, rng.dirichlet(np.ones(2), size=60)) for _ in range(2))
    family = family.scaled_to(lambda _: one, 2)
    first, second = family.update(one), family.update(other)
    expected = [log_prior(family.covariance_prior, structure, params) for params in (first, second)]
    assert family.log_prior(first) - family.log_prior(second) == pytest.approx(expected[0] - expected[1], rel=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 0.01, 3.0])
@pytest.mark.parametrize("structure", TYPES)
def test_the_m_step_is_a_mode(structure, shrinkage, rng):
    X = gaussian_rows(rng, 60, 2)
    scale = {"full": [[0.5, 0.2], [0.2, 1.0]], "tied": [0.5, 1.0], "diag": [0.5, 1.0], "EEI": 0.5}.get(structure, 0.7)
    mean = [0.3, -0.2] if shrinkage else None
    family = Gaussian(structure, 0.0, NormalInverseWishart(shrinkage, mean, 5.5, scale))
    stats = given_stats(family, X, rng.dirichlet(np.ones(2), size=60))
    params = family.update(stats)

    def objective(vector):
        return -family.expected_log_likelihood(stats, family.from_vector(vector, params))

    best = minimize(objective, family.to_vector(params, params), method="BFGS", options={"gtol": 1e-6})
    assert objective(family.to_vector(params, params)) <= best.fun + 1e-7
    for _ in range(20):
        step = family.to_vector(params, params) + 1e-3 * rng.normal(size=best.x.shape)
        assert objective(step) >= objective(family.to_vector(params, params)) - 1e-12


@pytest.mark.parametrize("accelerate", [None, "lbfgs", "squarem", "anderson"])
@pytest.mark.parametrize("structure", TYPES)
def test_the_posterior_never_falls(structure, accelerate, iris):
    options = {"covariance_prior": "auto", "init_params": "random", "random_state": 1, "tol": 1e-9, "max_iter": 500}
    model = GaussianMixture(4, covariance_type=structure, accelerate=accelerate, **options).fit(iris)
    assert np.diff(model.lower_bounds_).min() > -1e-12
    # It is the likelihood and the density of the prior.
    family = replace(model._family(), covariance_prior=model.covariance_prior_)
    prior = family.log_prior(model._fitted_params()) / len(iris)
    assert model.lower_bound_ == pytest.approx(model.score(iris) + prior, abs=1e-7)


def test_what_is_auto_follows_mclusts_default_prior(iris, faithful):
    for X, K in ((iris, 3), (faithful, 2)):
        D = X.shape[1]
        for structure in TYPES:
            model = GaussianMixture(K, covariance_type=structure, covariance_prior="auto", random_state=0).fit(X)
            prior = model.covariance_prior_
            assert (prior.shrinkage, prior.degrees_of_freedom) == (0.01, D + 2)
            assert_close(prior.mean, X.mean(axis=0), 1e-12)
            scale = np.cov(X.T) if structure in ("full", "tied") else np.trace(np.cov(X.T)) / D
            assert_close(prior.scale, scale / K ** (2 / D), 1e-12)
            assert (model.reg_covar_ == 0).all()


@pytest.mark.parametrize("structure", TYPES)
def test_nothing_is_degenerate(structure, rng):
    X = np.concatenate([rng.normal(size=(60, 2)), np.repeat([[9.0, 9.0]], 30, axis=0), np.full((5, 2), -9.0)])
    model = GaussianMixture(4, covariance_type=structure, covariance_prior="auto", random_state=0).fit(X)
    assert not [d for d in model.diagnostics_ if d.kind != "empty"]
    assert np.isfinite(model.precisions_).all()


def test_full_matrices_do_not_depend_on_units(iris):
    units = np.array([1e-6, 1.0, 1e6, 1e3])
    one, other = (GaussianMixture(3, covariance_prior="auto", random_state=0).fit(X) for X in (iris, iris * units))
    assert_close(other.means_ / units, one.means_, 1e-8)
    np.testing.assert_array_equal(one.predict(iris), other.predict(iris * units))


def test_weight_two_is_the_row_twice(iris, rng):
    counts = rng.integers(1, 4, size=len(iris))
    family = Gaussian("diag", covariance_prior="auto")
    start = fastem.fit(iris, family, 3, random_state=0).params
    options = {"n_components": 3, "start": start, "tol": 1e-8, "max_iter": 300}
    weighted = fastem.fit(iris, family, sample_weight=counts, **options)
    repeated = fastem.fit(np.repeat(iris, counts, axis=0), family, **options)
    assert weighted.family.covariance_prior.scale == pytest.approx(repeated.family.covariance_prior.scale, rel=1e-12)
    assert_close(weighted.params.covariances, repeated.params.covariances, 1e-9)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_rows_in_pieces_have_it_too(structure, iris):
    """Incremental EM ends where batch EM does, with a prior by all rows too."""
    family = Gaussian(structure, covariance_prior="auto")
    start = fastem.fit(iris, family, 3, random_state=0).params
    batch = fastem.fit(iris, family, 3, start=start, tol=1e-12, max_iter=3000)
    options = {"start": start, "tol": 1e-12, "n_passes": 3000, "batch_size": 50}
    pieces = fastem.fit_online(iris, family, 3, method="incremental", **options)
    assert_close(pieces.params.covariances, batch.params.covariances, 1e-5)
    assert_close(pieces.family.covariance_prior.scale, batch.family.covariance_prior.scale, 1e-9)
    model = GaussianMixture(3, covariance_type=structure, covariance_prior="auto", random_state=0)
    model.partial_fit(iris[::2]).partial_fit(iris[1::2])
    assert model.covariance_prior_.is_complete


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_it_goes_through_files_and_copies(structure, iris, tmp_path):
    prior = NormalInverseWishart(0.5, np.zeros(4), 7, 2.0)
    model = GaussianMixture(2, covariance_type=structure, covariance_prior=prior, random_state=0).fit(iris)
    assert clone(model).covariance_prior == prior
    model.save(tmp_path / "model.json")
    loaded = GaussianMixture.load(tmp_path / "model.json")
    assert Gaussian(covariance_prior=loaded.covariance_prior).covariance_prior == prior
    assert clone(loaded).fit(iris).score(iris) == pytest.approx(model.score(iris), abs=1e-3)
    by_name = GaussianMixture(
        2, covariance_type=structure, covariance_prior={"shrinkage": 0.5, "mean": [0] * 4, "degrees_of_freedom": 7,
        "scale": 2.0}, random_state=0,
    ).fit(iris)  # fmt: skip
    np.testing.assert_array_equal(by_name.means_, model.means_)
    assert not hasattr(model.to_sklearn(), "covariance_prior_")


def test_bad_priors(iris):
    for bad, message in (
        ("much", "must be None, 'auto', a fastem.NormalInverseWishart or a dict"),
        ({"kappa": 1.0}, "shrinkage"),
        ({"shrinkage": -1.0}, "shrinkage must be"),
        ({"shrinkage": 0.0, "mean": [0.0]}, "counts for nothing"),
        ({"scale": [np.nan]}, "scale must be finite"),
        ({"mean": 1.0}, "mean must be finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            Gaussian(covariance_prior=bad)
    for structure, bad, message in (
        ("full", {"degrees_of_freedom": 3}, "above 3 here"),
        ("diag", {"degrees_of_freedom": 0}, "above 0 here"),
        ("full", {"mean": [0.0, 0.0]}, "must have 4 numbers, but has 2"),
        ("diag", {"scale": np.eye(4)}, r"one of the shapes \[\(\), \(4,\)\] here, but has \(4, 4\)"),
        ("spherical", {"scale": np.ones(4)}, "one of the shapes"),
        ("full", {"scale": -np.eye(4)}, "must be a covariance"),
        ("diag", {"scale": -1.0}, "must be a covariance"),
    ):
        with pytest.raises(ValueError, match=message):
            GaussianMixture(2, covariance_type=structure, covariance_prior=bad).fit(iris)
    with pytest.raises(ValueError, match="covariance_prior is for covariances that have nothing in common, or all"):
        GaussianMixture(2, covariance_type="VEV", covariance_prior="auto").fit(iris)
    with pytest.raises(ValueError, match="'covariance_prior' parameter"):
        GaussianMixture(2, covariance_prior=3).fit(iris)


def test_of_one_feature(acidity):
    """mclust's prior of one feature has the variance over the square of the number of components."""
    model = GaussianMixture(2, covariance_prior="auto", random_state=0).fit(acidity)
    assert_close(np.ravel(model.covariance_prior_.scale), [acidity.var(ddof=1) / 4], 1e-12)
    # One feature has one variance, in whatever it is held.
    other = GaussianMixture(2, covariance_type="diag", covariance_prior="auto", random_state=0).fit(acidity)
    assert_close(np.ravel(other.covariances_), np.ravel(model.covariances_), 1e-10)

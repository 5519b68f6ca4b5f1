"""Fits to standardized features: as if the rows had been scaled, and given in the units of the data."""

import numpy as np
import pytest

from fastem import GaussianMixture, PoissonMixture, fit, open_source
from fastem.families import Gaussian

SCALE, CENTRE = np.array([1e3, 0.02, 5.0]), np.array([1e6, 3.0, -40.0])


@pytest.fixture(name="Z")
def scaled_rows(rng):
    Z = rng.normal(size=(3000, 3)) + 4.0 * rng.integers(0, 3, size=(3000, 1)) * [1.0, -1.0, 0.5]
    return (Z - Z.mean(axis=0)) / Z.std(axis=0)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "EVE", "VEI"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("options", [{}, {"accelerate": "auto", "n_init": 2}], ids=["plain", "accelerated"])
def test_it_is_the_fit_of_scaled_rows(Z, covariance, streamed, options):
    X = CENTRE + SCALE * Z
    options = {"random_state": 0, "tol": 1e-9, "max_iter": 500, "start": "kmeans", **options}
    family = Gaussian(covariance, reg_covar=1e-3, eigenvalue_ratio=None)
    expected = fit(Z, family, 3, **options)
    found = fit(open_source(X, block_rows=512) if streamed else X, family, 3, standardize=True, **options)
    order = [np.argsort(p.means[:, 0]) for p in (expected.params, found.params)]
    means = CENTRE + SCALE * expected.params.means[order[0]]
    np.testing.assert_allclose(found.params.means[order[1]], means, rtol=1e-7, atol=1e-3 * SCALE.min())
    covariances = family.full_covariances(expected.params)[order[0]] * np.outer(SCALE, SCALE)
    tolerance = 1e-4 * np.outer(SCALE, SCALE)
    assert (np.abs(family.full_covariances(found.params)[order[1]] - covariances) < tolerance).all()
    volume = np.log(SCALE).sum()
    assert found.run.lower_bound == pytest.approx(expected.run.lower_bound - volume, abs=1e-6)
    log_likelihood = found.posterior(X, "log_likelihood").log_likelihood.mean()
    assert log_likelihood == pytest.approx(found.run.lower_bound, abs=1e-6)
    np.testing.assert_allclose(found.family.reg_covar, 1e-3 * SCALE**2, rtol=1e-9)


def test_given_values_and_callbacks_are_in_the_data_s_units(Z):
    X, seen = CENTRE + SCALE * Z, []
    means = X[[0, 1, 2]]
    model = GaussianMixture(3, means_init=means, standardize=True, random_state=0, max_iter=300, callbacks=seen.append)
    model.fit(X)
    assert seen[-1].lower_bound == model.lower_bound_
    assert np.array_equal(seen[-1].params.means, model.means_)
    again = GaussianMixture(3, means_init=means, random_state=0, max_iter=300).fit(X)
    assert model.lower_bound_ == pytest.approx(again.lower_bound_, abs=1e-2)
    model.set_params(warm_start=True, tol=1e-9).fit(X)
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=1e-6)


@pytest.mark.parametrize("value", [7.0, 0.1, 1 / 3, -7e8 / 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_constant_feature_stays_as_it_is(Z, value, streamed, rng):
    X, weight = np.column_stack([Z[:, :2], np.full(len(Z), value)]), rng.random(len(Z))
    data = open_source(X, sample_weight=weight, block_rows=700) if streamed else X
    weights = {} if streamed else {"sample_weight": weight}
    model = GaussianMixture(2, covariance_type="diag", standardize=True, random_state=0).fit(data, **weights)
    np.testing.assert_allclose(model.means_[:, 2], value, rtol=1e-14)
    np.testing.assert_allclose(model.covariances_[:, 2], 1e-6)  # as without standardize


def test_what_cannot_be_standardized_is_said(Z):
    with pytest.raises(ValueError, match="components are spheres in scaled features"):
        GaussianMixture(2, covariance_type="spherical", standardize=True).fit(Z)
    with pytest.raises(ValueError, match="not for fits with a covariance_prior"):
        GaussianMixture(2, covariance_prior="auto", standardize=True).fit(Z)
    with pytest.raises(ValueError, match="not for a poisson mixture"):
        fit(np.abs(Z), "poisson", 2, standardize=True)
    assert "standardize" not in PoissonMixture().get_params()

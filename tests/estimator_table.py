"""The estimators that tests run over, of three components each, and rows that all of them take."""

from __future__ import annotations

import numpy as np

from fastem import GaussianMixture, PoissonMixture

MAKERS = {
    **{s: (lambda s=s, **options: GaussianMixture(3, covariance_type=s, **options)) for s in ("full", "tied", "diag")},
    "spherical": lambda **options: GaussianMixture(3, covariance_type="spherical", **options),
    "poisson": lambda **options: PoissonMixture(3, **options),
}
METHODS = ("predict", "predict_proba", "score_samples", "score", "bic", "aic", "icl")


def count_table(rng):
    """Counts, which every family takes, from three overlapping components."""
    rates = np.array([[2.0, 9.0, 4.0], [11.0, 3.0, 6.0], [6.0, 14.0, 12.0]])
    return rng.poisson(rates[np.arange(360) % 3]).astype(np.float64)


def assert_same_answers(one, other, X, exact=True):
    for name in METHODS:
        a, b = getattr(one, name)(X), getattr(other, name)(X)
        assert np.array_equal(a, b) if exact else np.allclose(a, b, rtol=1e-10), name


def assert_same_parameters(one, other, rtol):
    names = [n for n in ("weights_", "means_", "covariances_", "rates_") if hasattr(one, n)]
    assert len(names) >= 2
    for name in names:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, atol=rtol, err_msg=name)

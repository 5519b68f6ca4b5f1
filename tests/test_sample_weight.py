"""Weights of rows in the estimators: weight 2 is the row twice, weight 0 no row."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_table import MAKERS, assert_same_parameters, count_table
from sklearn.base import clone

from fastem import GaussianMixture, PoissonMixture


@pytest.fixture(params=list(MAKERS))
def make(request):
    """Maker of an estimator of three components, for each family and structure."""
    return MAKERS[request.param]


@pytest.fixture(name="X")
def rows(rng):
    return count_table(rng)


def fixed_start(make, X):
    """An estimator that starts from given parameters, so that fits of other rows start alike."""
    start = make(random_state=0, max_iter=2, tol=1e9).fit(X)
    if isinstance(start, PoissonMixture):
        return make(weights_init=start.weights_, rates_init=start.rates_, tol=1e-9, max_iter=500)
    given = {"weights_init": start.weights_, "means_init": start.means_, "precisions_init": start.precisions_}
    return make(tol=1e-9, max_iter=500, **given)


def test_weight_is_repetition(make, X, rng):
    counts = rng.integers(0, 4, size=len(X))
    repeated = np.repeat(X, counts, axis=0)
    model = fixed_start(make, X)
    weighted, plain = clone(model).fit(X, sample_weight=counts), clone(model).fit(repeated)
    assert weighted.n_iter_ == plain.n_iter_
    assert_same_parameters(weighted, plain, 1e-9)
    np.testing.assert_allclose(weighted.lower_bounds_, plain.lower_bounds_, rtol=1e-10)
    for name in ("score", "bic", "aic", "icl"):
        assert getattr(weighted, name)(X, sample_weight=counts) == pytest.approx(
            getattr(plain, name)(repeated), rel=1e-9
        )


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random"])
def test_equal_weights_are_none(make, X, init):
    options = {"random_state": 0, "init_params": init, "tol": 1e-6, "max_iter": 500}
    if make is not MAKERS["poisson"]:
        options["reg_covar"] = 0.1
    plain, equal = make(**options).fit(X), make(**options).fit(X, sample_weight=np.full(len(X), 2.0))
    assert_same_parameters(equal, plain, 1e-5)
    assert_same_parameters(make(**options).fit(X, sample_weight=3), plain, 1e-5)


def test_rows_without_weight_do_not_count(make, X):
    """Not even in the start."""
    far = np.concatenate([X, np.full((40, 3), 1000.0)])
    weight = np.repeat([1.0, 0.0], [len(X), 40])
    model = make(random_state=0)
    weighted, plain = clone(model).fit(far, sample_weight=weight), clone(model).fit(X)
    assert_same_parameters(weighted, plain, 1e-6)


def test_criteria(make, X, rng):
    model = make(random_state=0).fit(X)
    n, df = len(X), model._n_parameters()
    total = model.score_samples(X).sum()
    assert model.score(X) == pytest.approx(total / n)
    assert model.bic(X) == pytest.approx(-2 * total + df * np.log(n))
    assert model.aic(X) == pytest.approx(-2 * total + 2 * df)
    r = model.predict_proba(X)
    entropy = -np.sum(np.where(r > 0, r * np.log(np.maximum(r, 1e-300)), 0.0))
    assert entropy > 0.1
    assert model.icl(X) == pytest.approx(model.bic(X) + 2 * entropy)
    weight = rng.uniform(size=n)
    assert model.score(X, sample_weight=weight) == pytest.approx(np.average(model.score_samples(X), weights=weight))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(360), "non-negative"),
        (np.zeros(360), "all zero"),
        (np.ones(3), r"\(360,\).*\(3,\)"),
        (np.full(360, np.nan), "finite"),
        (np.ones((360, 1)), r"\(360, 1\)"),
    ],
)
def test_bad_weights(X, weight, message):
    model = GaussianMixture(2, random_state=0)
    with pytest.raises(ValueError, match=message):
        model.fit(X, sample_weight=weight)
    with pytest.raises(ValueError, match=message):
        model.fit(X).score(X, sample_weight=weight)

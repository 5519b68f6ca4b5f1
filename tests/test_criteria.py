"""Criteria of model selection against computations that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import xlogy
from scipy.stats import multivariate_normal

import fastem
from fastem import Gaussian, search
from fastem.selection.cross_validation import cross_validated, make_folds, without_fold
from fastem.selection.fits import Fits


def log_densities(X, model):
    params, family = model._fitted_params(), model._family()
    return np.column_stack(
        [
            np.log(w) + multivariate_normal(m, S).logpdf(X)
            for w, m, S in zip(params.weights, params.means, family.full_covariances(params), strict=True)
        ]
    )


def test_nec_by_its_definition(faithful):
    table = search(faithful, [1, 2, 3], ["full", "diag"], "nec", random_state=0)
    for record in table:
        joint = np.exp(log_densities(faithful, record.model))
        posterior = joint / joint.sum(axis=1, keepdims=True)
        one = np.cov(faithful.T, bias=True) + 1e-6 * np.eye(2)
        if record.covariance_type == "diag":
            one = np.diag(np.diag(one))
        gain = np.log(joint.sum(axis=1)).sum() - multivariate_normal(faithful.mean(axis=0), one).logpdf(faithful).sum()
        expected = 1.0 if record.n_components == 1 else -xlogy(posterior, posterior).sum() / gain
        assert record.nec == pytest.approx(expected, rel=1e-8)
        assert record.value == record.nec
    assert table.best.n_components == 2


def test_nec_does_not_need_one_component_among_the_models(faithful):
    both, alone = (search(faithful, numbers, ["diag"], random_state=0, warm_starts=False) for numbers in ([1, 3], [3]))
    assert alone[0].nec == pytest.approx(both[1].nec, rel=1e-12)


def test_nec_of_one_group_is_one_component(rng):
    """Biernacki, Celeux & Govaert: without the convention no data would have one cluster."""
    X = rng.normal(size=(300, 2))
    table = search(X, [1, 2, 3], ["full", "tied"], "nec", random_state=0)
    assert table.best.n_components == 1
    assert table.best.covariance_type == min(table[:2], key=lambda record: record.bic).covariance_type


# Cross-validation.

TYPES = ("full", "tied", "diag", "spherical")


def fits_to(X, weight=None, max_iter=500):
    return Fits(X, weight, "kmeans", 1e-9, max_iter, "auto", 1, None, "change")


@pytest.fixture(name="X")
def rows(rng):
    return np.concatenate([rng.normal(size=(30, 2)), rng.normal(6, 1, size=(25, 2))]) + 50


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_validation_by_refits_without_the_rows(X, rng, kind, weighted):
    """EM over copies of the rows that stay, by the reference engine, from the fit to all."""
    weight = rng.integers(1, 4, size=len(X)).astype(float) if weighted else None
    family = Gaussian(kind)
    fitted = fastem.fit(X, family, 2, sample_weight=weight, random_state=0, tol=1e-9, max_iter=500)
    folds = make_folds(len(X), 4, np.random.RandomState(2))
    expected = 0.0
    for rows in folds:
        stay = np.setdiff1d(np.arange(len(X)), rows)
        part = None if weight is None else weight[stay]
        refit = fastem.fit(
            X[stay], family, 2, start=fitted.params, sample_weight=part, tol=1e-9, max_iter=500, engine="numpy"
        )
        densities = refit.family.log_density(X[rows], refit.params) + np.log(refit.params.weights)
        log_p = np.logaddexp.reduce(densities, axis=1)
        expected += log_p.sum() if weight is None else weight[rows] @ log_p
    assert cross_validated(fits_to(X, weight), family, fitted.params, folds) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", TYPES)
def test_the_first_step_without_a_fold_is_exact(X, kind):
    """The M-step of the difference is that of an E-step over the rows that stay."""
    family = Gaussian(kind)
    params = fastem.fit(X, family, 3, random_state=0).params
    rows = np.arange(0, len(X), 5)
    fits = fits_to(X)
    everything, fold = fits.passes(family).accumulate(params), fits.passes(family, rows).accumulate(params)
    found = without_fold(family, everything, fold, params)
    one = fastem.fit(np.delete(X, rows, axis=0), family, 3, start=params, max_iter=1, engine="numpy").params
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(found, name), getattr(one, name), rtol=1e-9, atol=1e-9)


def test_search_by_cross_validation(X):
    table = search(X, [1, 2, 3], ["full", "spherical"], "cv", n_folds=5, random_state=4)
    assert table.best.n_components == 2
    rng = np.random.RandomState(4)
    rng.randint(np.iinfo(np.int32).max, size=1)  # the seed of the start comes first
    folds, ridge = make_folds(len(X), 5, rng), 1e-6 * np.diag(X.var(axis=0))
    one = next(record for record in table if (record.n_components, record.covariance_type) == (1, "full"))
    expected = sum(
        multivariate_normal(
            np.delete(X, rows, axis=0).mean(axis=0), np.cov(np.delete(X, rows, axis=0).T, bias=True) + ridge
        )
        .logpdf(X[rows])
        .sum()
        for rows in folds
    )
    assert one.cv == one.value == pytest.approx(-2 * expected, rel=1e-9)


def test_a_fold_that_takes_a_component_away_is_infinitely_bad(rng):
    """Two rows far off are a component of the full fit; a fold with one of them leaves a single row."""
    X = np.concatenate([rng.normal(size=(60, 1)), [[40.0], [41.0]]])
    options = {"n_folds": 62, "reg_covar": 0.0, "init_params": "kmeans", "random_state": 0}
    table = search(X, [1, 2], ["full"], "cv", **options, warm_starts=False)
    assert table[1].cv == np.inf
    assert table[1].message.startswith("with a fold left out: the covariance of component")
    assert np.isfinite(table[1].bic)
    assert table.best is table[0]


@pytest.mark.parametrize("n_folds", [1, 56])
def test_folds_are_checked(X, n_folds):
    with pytest.raises(ValueError, match=f"n_folds must be between 2 and the number of rows, 55, but got {n_folds}"):
        search(X, [1], criterion="cv", n_folds=n_folds)


def test_every_row_is_in_one_fold():
    folds = make_folds(23, 5, np.random.RandomState(0))
    assert sorted(len(fold) for fold in folds) == [4, 4, 5, 5, 5]
    assert sorted(np.concatenate(folds)) == list(range(23))

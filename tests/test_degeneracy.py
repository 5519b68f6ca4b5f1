"""Data on which components collapse: a fit ends with finite parameters and says what is wrong."""

import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import fastem
from fastem import DegenerateComponentError, DegenerateComponentWarning, Gaussian, GaussianMixture
from fastem.families.covariance_structures import STRUCTURES


def two_clusters(rng, n_samples=120):
    return np.concatenate([rng.normal(size=(n_samples, 2)), rng.normal(8, 1, size=(n_samples, 2))])


def repeated_rows(rng):
    return np.concatenate([two_clusters(rng), np.repeat([[30.0, -30.0]], 40, axis=0)])


def few_distinct_rows(rng):
    return np.repeat(rng.normal(size=(3, 2)), 20, axis=0)


def constant_feature(rng):
    X = two_clusters(rng)
    X[:, 1] = 7.0
    return X


def collinear_features(rng):
    X = two_clusters(rng)
    X[:, 1] = 2 * X[:, 0] + 1
    return X


def far_outlier(rng):
    X = two_clusters(rng)
    X[0] = 1e6 * X.std(axis=0)
    return X


PROBLEMS = (repeated_rows, few_distinct_rows, constant_feature, collinear_features, far_outlier)


@pytest.mark.parametrize("reg_covar", [0.0, 1e-6, "auto"])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_fit_always_ends_with_a_model(problem, covariance_type, reg_covar, rng):
    X = problem(rng)
    model = GaussianMixture(4, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    assert all(np.isfinite(a).all() for a in (model.weights_, model.means_, model.covariances_, model.precisions_))
    # The likelihood that it ends with is that of its parameters, by SciPy's density.
    family = Gaussian(covariance_type, model.reg_covar_)
    covariances = family.full_covariances(model._fitted_params())
    if np.linalg.cond(covariances).max() > 1e12:
        return  # SciPy takes the directions of least variance for none
    logs = [
        np.log(w) + multivariate_normal(m, c, allow_singular=True).logpdf(X)
        for w, m, c in zip(model.weights_, model.means_, covariances, strict=True)
        if w > 0
    ]
    assert model.score(X) == pytest.approx(np.logaddexp.reduce(logs, axis=0).mean(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("reg_covar", [0.0, "auto"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_is_told(problem, reg_covar, rng):
    model = GaussianMixture(5, reg_covar=reg_covar, random_state=0)
    X = problem(rng)
    if reg_covar == "auto" and problem in (constant_feature, collinear_features):
        model.fit(X)  # the floor is the data's matter here, and no component's
        assert model.diagnostics_ == []
        return
    with pytest.warns(DegenerateComponentWarning):
        model.fit(X)
    assert {d.kind for d in model.diagnostics_} & {"collapsed", "held up"}


@pytest.mark.filterwarnings("ignore::fastem.DegenerateComponentWarning")
@pytest.mark.parametrize("reg_covar", [0.0, 1e-6, "auto"])
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("deviations", [1e1, 1e2, 1e3, 1e4, 1e5, 1e6])
def test_an_outlier_does_not_hide_the_clusters(deviations, n_init, reg_covar, rng):
    X = two_clusters(rng)
    X[0] = deviations * X.std(axis=0)
    model = GaussianMixture(3, reg_covar=reg_covar, n_init=n_init, random_state=0).fit(X)
    # The nearest outlier takes a row with it now and then.
    assert sorted(np.bincount(model.predict(X), minlength=3)) == pytest.approx([1, 119, 120], abs=1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_is_held_up(name, rng):
    X = np.column_stack([two_clusters(rng), np.full(240, 3.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(2, covariance_type=name, reg_covar=0.0, random_state=0).fit(X)
    assert np.isfinite(model.precisions_).all()
    assert sorted(np.bincount(model.predict(X))) == [120, 120]


def test_the_warning_names_the_component_and_says_what_to_try(rng):
    X = repeated_rows(rng)
    with pytest.warns(DegenerateComponentWarning, match=r"component \d, iteration \d+: it collapsed.*Try fewer comp"):
        model = GaussianMixture(3, init_params="kmeans", random_state=0).fit(X)
    [diagnosis] = model.diagnostics_
    assert diagnosis.kind == "collapsed"
    assert np.allclose(model.means_[diagnosis.component], [30.0, -30.0])
    with pytest.raises(DegenerateComponentError, match="collapsed") as error:
        GaussianMixture(3, init_params="kmeans", random_state=0, strict=True).fit(X)
    assert error.value.component is not None


def test_singular_covariances_are_held_up_and_told(rng):
    with pytest.warns(DegenerateComponentWarning, match="all components, iteration 1: its covariance became singular"):
        model = GaussianMixture(2, covariance_type="tied", reg_covar=0.0, random_state=0).fit(constant_feature(rng))
    assert [d.kind for d in model.diagnostics_] == ["held up"]


def test_an_empty_component_is_told(rng):
    X = two_clusters(rng)
    start = Gaussian().make_params(
        np.array([0.5, 0.4, 0.1]), np.array([[0.0, 0.0], [8.0, 8.0], [1e3, 1e3]]), np.stack([np.eye(2)] * 3)
    )
    result = fastem.fit(X, Gaussian(), 3, start=start)
    assert [(d.component, d.kind) for d in result.diagnostics] == [(2, "empty")]
    assert np.isfinite(result.params.covariances).all()


def test_nothing_is_said_where_all_is_well(rng):
    model = GaussianMixture(2, random_state=0).fit(two_clusters(rng))
    assert model.diagnostics_ == []
    assert fastem.fit(two_clusters(rng), "gaussian", 2, random_state=0).diagnostics == ()


def test_a_collapsed_start_does_not_win(rng):
    """Its likelihood is higher, and says nothing."""
    X = np.concatenate([two_clusters(rng), np.repeat([[4.0, 4.0]], 6, axis=0)])
    family = Gaussian()
    covariances = np.stack([np.eye(2), np.eye(2)])
    sound = family.make_params(np.ones(2) / 2, np.array([[0.0, 0.0], [8.0, 8.0]]), covariances)
    collapsed = family.make_params(
        np.array([0.95, 0.05]), np.array([[4.0, 4.0], [4.0, 4.0]]), np.stack([16 * np.eye(2), 1e-4 * np.eye(2)])
    )
    result = fastem.fit(X, family, 2, start=[collapsed, sound], max_iter=300, tol=1e-6)
    assert not result.diagnostics
    alone = fastem.fit(X, family, 2, start=collapsed, max_iter=300, tol=1e-6)
    assert alone.diagnostics[0].kind == "collapsed"


@pytest.mark.parametrize("accelerate", ["lbfgs", "squarem", "anderson"])
def test_acceleration_goes_on_too(accelerate, rng):
    with pytest.warns(DegenerateComponentWarning):
        model = GaussianMixture(3, reg_covar=0.0, accelerate=accelerate, init_params="kmeans", random_state=0).fit(
            repeated_rows(rng)
        )
    assert np.isfinite(model.lower_bound_)

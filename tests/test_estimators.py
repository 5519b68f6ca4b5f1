"""The estimators among scikit-learn's tools, and what they add: weights, given parameters, conversion."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastem
from fastem import GaussianMixture, PoissonMixture

MAKERS = {
    **{s: (lambda s=s, **options: GaussianMixture(3, covariance_type=s, **options)) for s in ("full", "tied", "diag")},
    "spherical": lambda **options: GaussianMixture(3, covariance_type="spherical", **options),
    "poisson": lambda **options: PoissonMixture(3, **options),
}
METHODS = ("predict", "predict_proba", "score_samples", "score", "bic", "aic", "icl")


@pytest.fixture(params=list(MAKERS))
def make(request):
    """Maker of an estimator of three components, for each family and structure."""
    return MAKERS[request.param]


@pytest.fixture
def X(rng):
    """Counts, which every family takes."""
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


# scikit-learn's tools.


def test_pickle_and_clone(make, X):
    model = make(random_state=0).fit(X)
    assert_same_answers(pickle.loads(pickle.dumps(model)), model, X)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    assert_same_answers(fresh.fit(X), model, X)


def test_fit_predict_is_fit_and_predict(make, X):
    labels = make(random_state=0).fit_predict(X)
    np.testing.assert_array_equal(labels, make(random_state=0).fit(X).predict(X))
    assert set(labels) == {0, 1, 2}


def test_pipeline(X):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    pipeline.fit(X)
    direct = GaussianMixture(3, random_state=0).fit(StandardScaler().fit_transform(X))
    np.testing.assert_array_equal(pipeline.predict(X), direct.predict(StandardScaler().fit_transform(X)))
    assert pipeline.score(X) == direct.score(StandardScaler().fit_transform(X))


def test_grid_search_takes_the_likeliest(make, X):
    search = GridSearchCV(make(random_state=0), {"n_components": [1, 3], "max_iter": [50]}, cv=3).fit(X)
    assert search.best_params_["n_components"] == 3
    assert search.best_score_ == pytest.approx(cross_val_score(make(random_state=0, max_iter=50), X, cv=3).mean())


def test_feature_names(make, X):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make(random_state=0).fit(frame)
    np.testing.assert_array_equal(model.feature_names_in_, ["a", "b", "c"])
    assert model.n_features_in_ == 3
    np.testing.assert_array_equal(model.predict(frame), make(random_state=0).fit(X).predict(X))
    for name in METHODS:
        with pytest.raises(ValueError, match="feature names"):
            getattr(model, name)(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X)


@pytest.mark.parametrize(
    "convert", [np.ndarray.tolist, lambda X: X.astype(np.int32), lambda X: pd.DataFrame(X).astype("float32")]
)
def test_tables_of_other_kinds(make, X, convert):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make(random_state=0).fit(convert(X))
        np.testing.assert_array_equal(model.predict(convert(X)), make(random_state=0).fit(X).predict(X))


def test_predictions_check_their_rows(make, X):
    model = make(random_state=0).fit(X)
    for name in METHODS:
        with pytest.raises(ValueError, match="2 features"):
            getattr(model, name)(X[:, :2])
        with pytest.raises(ValueError, match="NaN"):
            getattr(model, name)(np.full((4, 3), np.nan))
        with pytest.raises(NotFittedError):
            getattr(make(), name)(X)
    with pytest.raises(NotFittedError):
        make().sample(3)
    with pytest.raises(ValueError, match="n_samples"):
        model.sample(0)


def test_counts_are_checked(X):
    model = PoissonMixture(2, random_state=0)
    bad = X.copy()
    bad[17, 2] = -3
    for action in (model.fit, clone(model).fit(X).predict):
        with pytest.raises(ValueError, match=r"-3 in row 17, feature 2.*counts"):
            action(bad)


# Weights.


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


# Given parameters, conversion, attributes.


def test_model_of_given_parameters(make, X):
    fitted = make(random_state=0).fit(X)
    if isinstance(fitted, PoissonMixture):
        model = PoissonMixture.from_parameters(fitted.weights_, fitted.rates_, random_state=0)
    else:
        model = GaussianMixture.from_parameters(
            fitted.weights_,
            fitted.means_,
            fitted.covariances_,
            covariance_type=fitted.covariance_type,
            random_state=0,
        )
    assert_same_answers(model, fitted, X, exact=False)
    np.testing.assert_allclose(model.sample(50)[0], fitted.sample(50)[0])
    assert (model.n_components, model.n_features_in_) == (3, 3)
    assert_same_answers(pickle.loads(pickle.dumps(model)), model, X)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (([0.5, 0.6], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), "normalized"),
        (([0.5, 0.5], [[0.0], [1.0]], [[[1.0]], [[-1.0]]]), "component 1.*positive"),
        (([0.5, 0.5], [[0.0], [1.0]], [[1.0], [1.0]]), "covariances.*shape"),
        (([1.0], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), "weights.*shape"),
        (([0.5, 0.5], [[0.0], [np.nan]], [[[1.0]], [[1.0]]]), "NaN"),
    ],
)
def test_given_parameters_are_checked(parameters, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(*parameters)


def test_given_rates_are_checked():
    with pytest.raises(ValueError, match="rates.*positive"):
        PoissonMixture.from_parameters([0.5, 0.5], [[1.0], [0.0]])
    with pytest.raises(ValueError, match="rates_init.*positive"):
        PoissonMixture(2, rates_init=[[1.0], [-1.0]]).fit([[1], [2], [3]])


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_to_and_from_scikit_learn(X, structure):
    mine = GaussianMixture(3, covariance_type=structure, random_state=0, tol=1e-4).fit(X)
    theirs = mine.to_sklearn()
    assert type(theirs) is SklearnMixture
    for name in ("predict_proba", "score_samples", "bic"):
        np.testing.assert_allclose(getattr(theirs, name)(X), getattr(mine, name)(X), rtol=1e-9, atol=1e-12)
    assert theirs.get_params()["tol"] == 1e-4
    back = GaussianMixture.from_sklearn(theirs)
    assert_same_answers(back, mine, X)
    assert back.lower_bounds_ == mine.lower_bounds_
    fitted = SklearnMixture(3, covariance_type=structure, random_state=0).fit(pd.DataFrame(X, columns=list("abc")))
    taken = GaussianMixture.from_sklearn(fitted)
    assert list(taken.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(SklearnMixture())
    with pytest.raises(NotFittedError):
        GaussianMixture().to_sklearn()


def test_fitted_attributes(make, X):
    model = make(random_state=0, n_init=3, tol=1e-5, max_iter=300).fit(X)
    assert model.converged_ is True
    assert model.engine_ in fastem.available_engines()
    assert len(model.lower_bounds_) == model.n_iter_
    assert model.lower_bounds_[-1] == model.lower_bound_ == max(model.init_lower_bounds_)
    assert all(type(bound) is float for bound in model.lower_bounds_ + model.init_lower_bounds_)
    history = model.history_
    np.testing.assert_array_equal(history["lower_bound"], model.lower_bounds_)
    assert history["weights"].shape == (model.n_iter_, 3)
    np.testing.assert_allclose(history["weights"].sum(axis=1), 1.0)
    assert (np.diff(history["seconds"]) >= 0).all()
    assert model.weights_.sum() == pytest.approx(1.0)


CHANGES = {
    "fewer components": "model.set_params(n_components=2)",
    "more components": "model.set_params(n_components=4)",
    "another structure": "model.set_params(covariance_type='diag')",
    "fewer features": "X = X[:, :2]",
    "more features": "X = np.hstack([X] * 20)",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_warm_start_does_not_go_on_from_another_shape(change, tmp_path):
    """In a process of its own: a kernel that believes the parameters' shape writes outside of its arrays."""
    code = f"""
import numpy as np
from fastem import GaussianMixture
X = np.random.default_rng(0).poisson(6.0, size=(360, 3)).astype(float)
model = GaussianMixture(3, warm_start=True, random_state=0, tol=0.1).fit(X)
{change}
try:
    model.fit(X)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    assert any(word in done.stdout for word in ("warm_start", "start", "shape")), done.stdout
    assert "n_components" in done.stdout or "n_features" in done.stdout or "(" in done.stdout, done.stdout


def test_sample_follows_the_parameters(make, X):
    model = make(random_state=0).fit(X)
    rows, components = model.sample(60_000)
    assert rows.shape == (60_000, 3)
    assert (np.diff(components) >= 0).all()
    np.testing.assert_allclose(np.bincount(components) / 60_000, model.weights_, atol=0.01)
    for k in range(3):
        mine = rows[components == k]
        np.testing.assert_allclose(mine.mean(axis=0), model.means_[k], atol=0.12)
        if hasattr(model, "covariances_"):
            tied = model.covariance_type == "tied"
            covariance = model.covariances_ if tied else model.covariances_[k]
            expected = covariance if np.ndim(covariance) == 2 else np.diag(np.broadcast_to(covariance, 3))
            np.testing.assert_allclose(np.cov(mine.T), expected, atol=0.6)

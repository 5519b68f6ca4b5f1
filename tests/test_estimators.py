"""The estimators among scikit-learn's tools, and what they add: given parameters, conversion."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from estimator_table import MAKERS, METHODS, assert_same_answers, count_table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastem
from fastem import GaussianMixture, PoissonMixture


@pytest.fixture(params=list(MAKERS))
def make(request):
    """Maker of an estimator of three components, for each family and structure."""
    return MAKERS[request.param]


@pytest.fixture(name="X")
def rows(rng):
    return count_table(rng)


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
        # By k-means: the last bits of float32 decide which of two starts for the same optimum wins a race.
        model, plain = (make(random_state=0, init_params="kmeans").fit(rows) for rows in (convert(X), X))
        np.testing.assert_array_equal(model.predict(convert(X)), plain.predict(X))


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
    with pytest.raises(ValueError, match=r"rates.*positive"):
        PoissonMixture.from_parameters([0.5, 0.5], [[1.0], [0.0]])
    with pytest.raises(ValueError, match=r"rates_init.*positive"):
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
    "fewer features": "Y = X[:, :2]",
    "more features": "Y = np.hstack([X] * 20)",
}


def test_warm_start_does_not_go_on_from_another_shape(tmp_path):
    """In a process of its own: a kernel that believes the parameters' shape writes outside of its arrays."""
    code = f"""
import numpy as np
from fastem import GaussianMixture
X = np.random.default_rng(0).poisson(6.0, size=(360, 3)).astype(float)
for name, change in {CHANGES!r}.items():
    model, Y = GaussianMixture(3, warm_start=True, random_state=0, tol=0.1).fit(X), X
    exec(change)
    try:
        model.fit(Y)
    except ValueError as error:
        print(name, error, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    refused = dict(line.split("|") for line in done.stdout.splitlines())
    assert refused.keys() == CHANGES.keys(), done.stdout
    for message in refused.values():
        assert "start" in message
        assert any(word in message for word in ("shape", "components", "features")), message


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


# Checks that have passed are not made again; those that have not, are.


def test_settings_that_passed_do_not_let_others_pass(rng):
    X = rng.normal(size=(50, 2))
    model = GaussianMixture(2, random_state=0).fit(X)
    for bad in ({"n_components": 2.0}, {"n_components": True - 1}, {"tol": -1e-3}, {"random_state": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            GaussianMixture(**{"n_components": 2, **bad}).fit(X)
    with pytest.raises(ValueError, match="weights_init"):
        GaussianMixture(2, weights_init=np.array(0.5)).fit(X)
    assert GaussianMixture(2, random_state=0).fit(X).lower_bound_ == model.lower_bound_


def test_an_array_after_a_frame_forgets_the_names(rng):
    pandas = pytest.importorskip("pandas")
    X = rng.normal(size=(50, 2))
    model = GaussianMixture(2, random_state=0).fit(pandas.DataFrame(X, columns=["a", "b"]))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X)
    assert not hasattr(model.fit(X), "feature_names_in_")
    with pytest.raises(ValueError, match=r"3 features.*expecting 2 features"):
        model.predict(rng.normal(size=(5, 3)))
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.array([[np.nan, 0.0]]))


def test_a_seed_gives_the_same_fit_whatever_was_seeded_before(rng):
    X = rng.normal(size=(80, 2))
    fits = [GaussianMixture(3, init_params="random", random_state=seed).fit(X).means_ for seed in (4, 9, 4)]
    again = GaussianMixture(3, init_params="random", random_state=np.random.RandomState(4)).fit(X).means_
    np.testing.assert_array_equal(fits[0], fits[2])
    np.testing.assert_array_equal(fits[0], again)
    assert not np.array_equal(fits[0], fits[1])

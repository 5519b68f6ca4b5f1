"""``GaussianMixture`` in place of scikit-learn's: the same numbers, names and errors.

Known and intended, for starts from single rows ("k-means++", "random_from_data"): scikit-learn's first weights are 1/n
each and do not sum to 1, which shifts its first lower bound by a constant; and for a tied covariance it takes the
scatter of all rows, where the chosen rows' own is taken here.
"""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

from fastem import GaussianMixture

STRUCTURES = ["full", "tied", "diag", "spherical"]
NUMBERS = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bound_", "lower_bounds_"]
# The defaults of "init_params" and "reg_covar" are others.
OPTIONS = {"tol": 1e-5, "max_iter": 200, "random_state": 3, "init_params": "kmeans", "reg_covar": 1e-6}


@pytest.fixture(name="X")
def rows(rng):
    centres = rng.normal(scale=2.0, size=(4, 3))
    mixing = rng.normal(size=(4, 3, 3))
    return np.concatenate([c + rng.normal(size=(150, 3)) @ m for c, m in zip(centres, mixing, strict=True)])


@pytest.fixture
def given(rng):
    """Starting values by structure."""
    A = rng.normal(size=(3, 3, 3))
    full = A @ A.transpose(0, 2, 1) + np.eye(3)
    precisions = {"full": full, "tied": full[0], "diag": full[:, 0] ** 2 + 0.5, "spherical": np.array([0.5, 1.0, 2.0])}
    start = {"weights_init": np.array([0.2, 0.3, 0.5]), "means_init": rng.normal(scale=2.0, size=(3, 3))}
    return {structure: {**start, "precisions_init": precisions[structure]} for structure in STRUCTURES}


def both(X, n_components=3, **options):
    options = {**OPTIONS, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [cls(n_components, **options).fit(X) for cls in (GaussianMixture, SklearnMixture)]


def assert_same_fit(mine, theirs, rtol=1e-8, first=0):
    """The same attributes, of ``lower_bounds_`` those from ``first``."""
    assert (mine.n_iter_, mine.converged_) == (theirs.n_iter_, theirs.converged_)
    for name in NUMBERS:
        expected = np.asarray(getattr(theirs, name))
        actual = np.asarray(getattr(mine, name))
        if name == "lower_bounds_":
            actual, expected = actual[first:], expected[first:]
        assert actual.shape == expected.shape, name
        scale = np.abs(expected).max() if expected.size else 0.0
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale, err_msg=name)


# Trajectories.


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("engine", ["auto", "numba", "cython", "numpy"])
def test_from_given_parameters(X, given, structure, engine):
    options = {**OPTIONS, "covariance_type": structure, **given[structure]}
    mine = GaussianMixture(3, engine=engine, **options).fit(X)
    theirs = SklearnMixture(3, **options).fit(X)
    assert len(mine.lower_bounds_) == mine.n_iter_ > 5
    assert_same_fit(mine, theirs)


SINGLE_ROWS = ["k-means++", "random_from_data"]
STARTS = [(s, init) for s in STRUCTURES for init in ("kmeans", "random", *(SINGLE_ROWS if s != "tied" else []))]


@pytest.mark.parametrize(("structure", "init"), STARTS)
def test_from_a_start_method(X, structure, init):
    # Single rows as components: without a ridge their covariances are nearly singular.
    ridge, first = (0.5, 1) if init in SINGLE_ROWS else (1e-6, 0)
    assert_same_fit(*both(X, covariance_type=structure, init_params=init, reg_covar=ridge), first=first)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_several_starts(X, structure, init):
    mine, theirs = both(X, covariance_type=structure, init_params=init, n_init=3, max_iter=10)
    assert_same_fit(mine, theirs)
    assert len(mine.init_lower_bounds_) == 3
    assert max(mine.init_lower_bounds_) == mine.lower_bound_
    assert len(set(mine.init_lower_bounds_)) > 1 or init == "kmeans"


@pytest.mark.parametrize(
    "names", [["means_init"], ["weights_init"], ["precisions_init"], ["means_init", "precisions_init"]]
)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_some_parameters_given(X, given, structure, names):
    some = {name: given[structure][name] for name in names}
    assert_same_fit(*both(X, covariance_type=structure, init_params="random", **some))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_float32(X, given, structure):
    start = {name: value.astype(np.float32) for name, value in given[structure].items()}
    mine, theirs = both(X.astype(np.float32), covariance_type=structure, tol=1e-3, **start)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(mine, name).dtype == getattr(theirs, name).dtype == np.float32, name
        scale = np.abs(getattr(theirs, name)).max()
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=0.02, atol=0.02 * scale)
    assert mine.lower_bound_ == pytest.approx(theirs.lower_bound_, rel=1e-3)
    assert mine.predict_proba(X.astype(np.float32)).dtype == theirs.predict_proba(X.astype(np.float32)).dtype
    assert mine.score_samples(X.astype(np.float32)).dtype == theirs.score_samples(X.astype(np.float32)).dtype


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_iterations(X, structure):
    mine, theirs = both(X, covariance_type=structure, max_iter=0)
    assert (mine.n_iter_, mine.converged_, mine.lower_bound_, mine.lower_bounds_) == (0, False, -np.inf, [])
    assert_same_fit(mine, theirs)
    np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_warm_start(X, structure):
    models = [
        cls(3, covariance_type=structure, warm_start=True, **{**OPTIONS, "tol": 1e-3, "max_iter": 20, "n_init": 2})
        for cls in (GaussianMixture, SklearnMixture)
    ]
    for _ in range(4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mine, theirs = (model.fit(X) for model in models)
        assert_same_fit(mine, theirs)
    # A fit that goes on from its end is done at once.
    assert mine.n_iter_ == 1


@pytest.mark.parametrize("structure", STRUCTURES)
def test_offset_where_scikit_learn_keeps_its_digits(X, given, structure):
    """At 100 both are exact enough to compare."""
    start = {**given[structure], "means_init": given[structure]["means_init"] + 100}
    assert_same_fit(*both(X + 100, covariance_type=structure, **start), rtol=1e-6)


# What a fitted model computes.


@pytest.mark.parametrize("structure", STRUCTURES)
def test_methods(X, structure):
    mine, theirs = both(X, covariance_type=structure)
    np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(mine.fit_predict(X), mine.predict(X))
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_allclose(mine.score_samples(X), theirs.score_samples(X), rtol=1e-8)
    assert mine.score(X) == pytest.approx(theirs.score(X), rel=1e-9)
    assert mine.bic(X) == pytest.approx(theirs.bic(X), rel=1e-9)
    assert mine.aic(X) == pytest.approx(theirs.aic(X), rel=1e-9)
    assert mine._n_parameters() == theirs._n_parameters()
    for actual, expected in zip(mine.sample(500), theirs.sample(500), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_constructor_parameters_and_defaults():
    mine, theirs = (inspect.signature(cls).parameters for cls in (GaussianMixture, SklearnMixture))
    for name, parameter in theirs.items():
        assert mine[name].default == ("auto" if name in ("init_params", "reg_covar") else parameter.default), name
        assert mine[name].kind == parameter.kind, name
    assert [name for name in mine if name in theirs] == list(theirs)
    assert set(GaussianMixture().get_params()) >= set(SklearnMixture().get_params())


def test_public_methods_and_attributes(X):
    mine, theirs = both(X)
    public = {name for name in dir(SklearnMixture) if not name.startswith("_")}
    assert public <= set(dir(GaussianMixture))
    fitted = {name for name in vars(theirs) if name.endswith("_")}
    assert fitted <= set(vars(mine))
    for name in public:
        if callable(getattr(SklearnMixture, name)):
            expected = list(inspect.signature(getattr(SklearnMixture, name)).parameters)
            actual = list(inspect.signature(getattr(GaussianMixture, name)).parameters)
            assert actual[: len(expected)] == expected, name


# Errors.


BAD_ROWS = {
    "NaN": np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]]),
    "infinity": np.array([[1.0, np.inf], [2.0, 3.0], [4.0, 5.0]]),
    "one dimension": np.arange(5.0),
    "three dimensions": np.zeros((3, 2, 2)),
    "no rows": np.zeros((0, 2)),
    "no features": np.zeros((3, 0)),
    "one row": np.zeros((1, 2)),
    "too few rows": np.arange(4.0).reshape(2, 2),
    "text": np.array([["a", "b"]] * 3),
    "complex": np.ones((3, 2)) * 1j,
}


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_rows(rows):
    for cls in (GaussianMixture, SklearnMixture):
        with pytest.raises(ValueError):
            cls(3).fit(rows)


BAD_OPTIONS = [
    {"n_components": 0},
    {"n_components": 1.5},
    {"covariance_type": "round"},
    {"tol": -1.0},
    {"reg_covar": -1e-6},
    {"max_iter": -1},
    {"n_init": 0},
    {"init_params": "guess"},
    {"random_state": "seed"},
    {"warm_start": "yes"},
    {"verbose": -1},
    {"verbose_interval": 0},
    {"weights_init": [0.5, 0.6]},
    {"weights_init": [1.5, -0.5]},
    {"weights_init": [1.0]},
    {"means_init": [[0.0, 0.0]]},
    {"means_init": [[0.0], [1.0]]},
    {"means_init": [[np.nan, 0.0], [1.0, 1.0]]},
    {"precisions_init": np.stack([np.eye(2), -np.eye(2)])},
    {"precisions_init": np.ones((2, 2))},
    {"precisions_init": np.stack([np.eye(2), np.array([[1.0, 0.5], [0.2, 1.0]])])},
    {"covariance_type": "diag", "precisions_init": [[1.0, 1.0], [1.0, -1.0]]},
    {"covariance_type": "spherical", "precisions_init": [1.0, 0.0]},
    {"covariance_type": "tied", "precisions_init": [[1.0, 2.0], [2.0, 1.0]]},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=lambda o: " ".join(o) + f" {list(o.values())[-1]}"[:20])
def test_bad_options(options, rng):
    X = rng.normal(size=(20, 2))
    for cls in (GaussianMixture, SklearnMixture):
        with pytest.raises(ValueError):
            cls(**{"n_components": 2, **options}).fit(X)


@pytest.mark.parametrize(
    "options", [{"engine": "fortran"}, {"n_threads": 0}, {"n_threads": 1.5}, {"callbacks": 3}, {"on_interrupt": "stop"}]
)
def test_bad_options_of_its_own(options, rng):
    with pytest.raises(ValueError, match=next(iter(options))):
        GaussianMixture(2, **options).fit(rng.normal(size=(20, 2)))


def test_warning_of_convergence(X):
    for cls in (GaussianMixture, SklearnMixture):
        with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
            cls(3, max_iter=1, random_state=0).fit(X)
    with pytest.warns(ConvergenceWarning) as caught:
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)
    assert caught[0].filename == __file__


def test_equal_rows_collapse_alike():
    """Where scikit-learn gives up because of a singular covariance, so does a strict fit, and says what to do."""
    X = np.ones((20, 2))
    start = {"weights_init": [0.5, 0.5], "means_init": [[1.0, 1.0], [1.0, 1.0]], "precisions_init": [np.eye(2)] * 2}
    for model in (GaussianMixture(2, reg_covar=0.0, strict=True, **start), SklearnMixture(2, reg_covar=0.0, **start)):
        with pytest.raises(ValueError, match="reg_covar"):
            model.fit(X)

"""The 14 covariance structures: against mclust, against a maximiser that knows nothing of them, and what users see."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields

import numpy as np
import pytest
from conftest import DATA
from families import gaussian_rows
from reference import assert_close, given_stats, has_collapsed, matrices, mclust_problem
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning

import fastem
from fastem import DegenerateComponentError, Gaussian, GaussianMixture
from fastem.families.common_axes import find_common_axes
from fastem.families.covariance_structures import (
    SKLEARN_COVARIANCE_TYPES,
    SKLEARN_NAMES,
    STRUCTURES,
    proportional,
    structure_of,
)
from fastem.plotting.marginals import marginal_mixture
from fastem.selection import search

MCLUST = json.loads((DATA / "mclust_structures.json").read_text())
# mclust's estimate of the axes is not stationary there: turning them in any plane raises the likelihood.
NOT_A_MAXIMUM = "VVE"
# Each way to hold covariances that a structure beyond the families' table has, and each kind of estimate.
ONE_OF_EACH = ("EII", "VEI", "EVE", "VEV")


@pytest.fixture(params=STRUCTURES)
def name(request):
    return request.param


def own_covariances(X, responsibilities):
    return np.array([np.cov(X.T, aweights=r, bias=True) for r in responsibilities.T])


def fit_of(masses, own, covariances):
    """What an M-step maximises of covariances, twice and negative: ``sum_k n_k (log |C_k| + tr(S_k C_k^-1))``."""
    logs = np.linalg.slogdet(covariances)[1]
    return (logs + np.trace(np.linalg.solve(covariances, own), axis1=-2, axis2=-1)) @ masses


# mclust.


@pytest.mark.parametrize("data", ["iris", "faithful"])
def test_one_m_step_is_mclusts(data, name, faithful, iris):
    X, responsibilities = mclust_problem(data, faithful, iris)
    family, published = Gaussian(name, reg_covar=0.0), MCLUST[data][name]
    params = family.update(given_stats(family, X, responsibilities))
    assert_close(params.weights, published["pro"], 1e-12)
    assert_close(params.means, published["mean"], 1e-12)
    found, theirs = matrices(family, params), np.array(published["sigma"])
    masses, own = responsibilities.sum(axis=0), own_covariances(X, responsibilities)
    if name == NOT_A_MAXIMUM:
        assert fit_of(masses, own, found) < fit_of(masses, own, theirs) - 0.01
    else:
        # mclust's own iterations end there.
        assert_close(found, theirs, 1e-8 if name in ("VEE", "EVE") else 1e-11)
    assert family.n_parameters(*params.means.shape) == published["parameters"]


@pytest.mark.parametrize("data", ["iris", "faithful"])
def test_em_ends_where_mclusts_does(data, name, faithful, iris):
    X, responsibilities = mclust_problem(data, faithful, iris)
    family, published = Gaussian(name, reg_covar=0.0), MCLUST[data][name]
    start = family.update(given_stats(family, X, responsibilities))
    run = fastem.fit(X, family, len(start.weights), start=start, tol=1e-13, max_iter=2000).run
    assert run.converged
    reached = run.lower_bound * len(X)
    if name == NOT_A_MAXIMUM:
        assert reached > published["loglik"] + 0.05
    else:
        assert reached == pytest.approx(published["loglik"], abs=1e-8)


def test_iris_has_two_components_of_one_shape(iris):
    """The best of mclust's 14 structures and 1 to 9 components: VEV, 2, then VEV, 3 (its vignette)."""
    table = search(
        iris,
        [2, 3],
        ["VEV", "VVV"],
        n_init=3,
        init_params="kmeans",
        random_state=0,
        reg_covar=0.0,
        tol=1e-9,
        max_iter=5000,
    )
    by_number = {(r.covariance_type, r.n_components): r for r in table}
    assert (table.best.covariance_type, table.best.n_components) == ("VEV", 2)
    assert table.best.log_likelihood == pytest.approx(-215.725972, abs=1e-4)
    assert table.best.value == pytest.approx(561.7285, abs=1e-3)
    assert by_number["VEV", 3].value == pytest.approx(562.5522, abs=1e-2)


# The maximum, and the structure.


def general_covariances(name, x, n_components, n_features):
    """The structure's covariances of unconstrained numbers (..., n), a letter after the other, and how many it took."""
    used = 0

    def take(letter, size):
        nonlocal used
        n = {"E": 1, "V": n_components, "I": 0}[letter]
        part = np.zeros((1, size)) if n == 0 else x[..., used : used + n * size].reshape(*x.shape[:-1], n, size)
        used += n * size
        return np.broadcast_to(part, (*x.shape[:-1], n_components, size))

    volume = take(name[0], 1)
    shape = take(name[1], n_features - 1)
    angles = take(name[2], n_features * (n_features - 1) // 2)
    logs = np.concatenate([shape, -shape.sum(axis=-1, keepdims=True)], axis=-1)
    skew = np.zeros((*logs.shape, n_features))
    above, right = np.triu_indices(n_features, 1)
    skew[..., above, right] = angles
    skew -= skew.swapaxes(-1, -2)
    axes = np.linalg.solve(np.eye(n_features) - skew, np.eye(n_features) + skew)  # Cayley's, of which no turn is far
    return (axes * np.exp(volume + logs)[..., None, :]) @ axes.swapaxes(-1, -2), used


def test_m_step_is_the_maximum(name, rng):
    """No numbers that give the structure do better, from several starts of a general minimiser; and some do as well."""
    n_components, n_features = 2, 3
    X = gaussian_rows(rng, 80, n_features) @ (np.eye(n_features) + 0.5 * rng.normal(size=(n_features, n_features)))
    responsibilities = rng.dirichlet(np.full(n_components, 0.3), size=len(X))
    masses, own = responsibilities.sum(axis=0), own_covariances(X, responsibilities)
    family = Gaussian(name, reg_covar=0.0)
    params = family.update(given_stats(family, X, responsibilities))
    reached = fit_of(masses, own, matrices(family, params))

    def cost(x):
        return fit_of(masses, own, general_covariances(name, x, n_components, n_features)[0])

    def slope(x):
        steps = 1e-5 * np.eye(n)
        return (cost(x + steps) - cost(x - steps)) / 2e-5

    n = general_covariances(name, np.zeros(99), n_components, n_features)[1]
    assert n == family.structure.n_parameters(n_components, n_features)
    others = [minimize(cost, rng.normal(scale=0.7, size=n), jac=slope, options={"gtol": 1e-6}).fun for _ in range(6)]
    assert reached < min(others) + 1e-9
    assert reached > min(others) - 1e-6


def test_fitted_covariances_have_the_structure(name, rng):
    """Also with a regularisation that is not small: it comes before the structure."""
    X = gaussian_rows(rng, 400, 3) @ np.array([[1.0, 0.4, 0.1], [0.0, 2.0, 0.3], [0.0, 0.0, 0.5]])
    family = Gaussian(name, reg_covar=0.2)
    params = fastem.fit(X, family, 3, random_state=0, max_iter=15).params
    found = matrices(family, params)
    volumes = np.linalg.det(found) ** (1 / 3)
    shapes = np.linalg.eigvalsh(found) / volumes[:, None]
    same_volume, same_shape = np.ptp(volumes) < 1e-9, (np.ptp(shapes, axis=0) < 1e-9).all()
    same_axes = all(np.abs(a @ b - b @ a).max() < 1e-9 for a in found for b in found)
    assert same_volume == (name[0] == "E")
    assert same_shape == (name[1] in "EI")
    assert same_axes == (name[2] in "EI")
    assert (np.abs(shapes - 1).max() < 1e-9) == (name[1] == "I")
    assert all(np.array_equal(c, np.diag(np.diag(c))) for c in found) == (name[2] == "I")
    assert params.covariances.shape == family.covariance_shape(3, 3)
    assert family.structure.is_of(params.covariances)


@pytest.mark.parametrize("sklearn_name", SKLEARN_NAMES)
@pytest.mark.parametrize("accelerate", [None, "lbfgs", "anderson"])
def test_scikit_learns_four_are_the_same_bits(sklearn_name, accelerate, rng):
    X = gaussian_rows(rng, 300, 3)
    options = {"random_state": 0, "accelerate": accelerate, "tol": 1e-4}
    one = GaussianMixture(3, covariance_type=sklearn_name, **options).fit(X)
    other = GaussianMixture(3, covariance_type=SKLEARN_NAMES[sklearn_name], **options).fit(X)
    for attribute in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(one, attribute), getattr(other, attribute))
    assert one.bic(X) == other.bic(X)


# EM.


def test_likelihood_never_falls(name, rng):
    for n_features, n_components in ((2, 2), (4, 3)):
        X = gaussian_rows(rng, 300, n_features) @ (np.eye(n_features) + rng.normal(size=(n_features, n_features)))
        for weight in (None, rng.uniform(0.2, 3.0, size=len(X))):
            options = {"sample_weight": weight, "start": "random", "random_state": 1, "engine": "numpy"}
            run = fastem.fit(X, Gaussian(name), n_components, tol=0.0, max_iter=25, **options).run
            reached = run.history.lower_bound
            assert (np.diff(reached) >= -1e-13 * np.abs(reached[1:])).all()
            assert reached[-1] > reached[0]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_engines_reach_the_same(name, engine, rng):
    X, family = gaussian_rows(rng, 150, 3), Gaussian(name)
    start = family.update(given_stats(family, X, rng.dirichlet(np.ones(3), size=len(X))))
    one, other = (fastem.fit(X, family, 3, start=start, engine=e, tol=0.0, max_iter=8) for e in (engine, "numpy"))
    for field in fields(one.params):
        assert_close(getattr(one.params, field.name), getattr(other.params, field.name), 1e-9, field.name)


def test_extrapolated_points_have_the_structure(name, rng):
    X, family = gaussian_rows(rng, 200, 3), Gaussian(name, reg_covar=1e-6)
    one, other = (family.update(given_stats(family, X, rng.dirichlet(np.ones(3), size=len(X)))) for _ in range(2))
    back = family.from_vector(family.to_vector(one, other), other)
    for field in fields(one):
        assert_close(getattr(back, field.name), getattr(one, field.name), 1e-8, field.name)
    vector = family.to_vector(one, other)
    beyond = family.from_vector(1.5 * vector + 0.1 * rng.normal(size=vector.shape), other)
    family.check_params(beyond)
    assert family.structure.is_of(beyond.covariances)


@pytest.mark.parametrize(
    ("name", "accelerate"), [("EII", "squarem"), ("VEI", "anderson"), ("EVE", "lbfgs"), ("VEV", "lbfgs")]
)
def test_acceleration_ends_at_the_same_optimum(name, accelerate, rng):
    family = Gaussian(name, reg_covar=0.0)
    X = gaussian_rows(rng, 500, 2)
    start = fastem.fit(X, family, 3, start="kmeans", random_state=0, max_iter=20).params
    options = {"start": start, "tol": 1e-9, "max_iter": 5000}
    plain, fast = (fastem.fit(X, family, 3, accelerate=a, **options).run for a in (None, accelerate))
    assert plain.converged
    assert fast.converged
    assert_close(fast.lower_bound, plain.lower_bound, 1e-6)
    assert fast.n_iter < 0.6 * plain.n_iter
    assert (np.diff(fast.history.lower_bound) >= -1e-13 * np.abs(fast.lower_bound)).all()


# The iterative estimates, and their ends.


@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e8])
def test_proportional_covariances_of_any_shape(n_features, ratio, rng):
    """The two equations of Celeux & Govaert (1995) hold at once, also where plain alternation of them is slow."""
    shares = np.array([0.2, 0.3, 0.5])
    variances = ratio ** rng.uniform(-0.5, 0.5, size=(3, n_features))
    axes = np.linalg.qr(rng.normal(size=(3, n_features, n_features)))[0]
    for S in (variances, (axes * variances[:, None, :]) @ axes.swapaxes(1, 2)):
        found = proportional(100 * shares, S)
        common = found[0]
        volumes = found.reshape(3, -1)[:, 0] / common.ravel()[0]
        assert_close(found, volumes.reshape(3, *[1] * common.ndim) * common, 1e-12)
        weights = shares / volumes
        assert_close(common, np.tensordot(weights, S, axes=1), 1e-9)
        precision = np.linalg.inv(common) if S.ndim == 3 else 1 / common
        assert_close(volumes, (S * precision).reshape(3, -1).sum(axis=1) / n_features, 1e-7)


@pytest.mark.parametrize("one_volume", [False, True])
@pytest.mark.parametrize("n_features", [1, 2, 3, 6, 13])
def test_axes_that_are_common_are_found(one_volume, n_features, rng):
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    variances = rng.uniform(0.2, 5.0, size=(4, n_features))
    found = find_common_axes(np.array([1.0, 2.0, 3.0, 4.0]), (axes * variances[:, None, :]) @ axes.T, one_volume)
    assert_close(found.T @ found, np.eye(n_features), 1e-12)
    cosines = np.abs(found.T @ axes)
    assert_close(np.sort(cosines, axis=1)[:, -1], np.ones(n_features), 1e-9)
    assert sorted(cosines.argmax(axis=1)) == list(range(n_features))


@pytest.mark.parametrize("name", ["VEI", "EVI", "VEE", "EVE", "VVE", "VEV", "EVV"])
def test_a_collapsed_component_is_named(name, rng):
    X = rng.normal(size=(60, 3))
    X[40:] = [1.0, 2.0, 3.0]
    responsibilities = np.repeat(np.eye(3), 20, axis=0)
    family = Gaussian(name, reg_covar=0.0)
    with pytest.raises(DegenerateComponentError, match=r"component 2 is not positive definite.*now 0,"):
        family.update(given_stats(family, X, responsibilities))
    regularised = Gaussian(name, reg_covar=1e-3)
    assert np.isfinite(regularised.update(given_stats(regularised, X, responsibilities)).covariances).all()


@pytest.mark.parametrize("name", ["EVV", "EEV", "VEV", "EVE", "VVE", "VEE"])
def test_fewer_rows_than_features(name, rng):
    """Scatters that are singular, but not to the last bit."""
    X, responsibilities = rng.normal(size=(9, 5)) @ rng.normal(size=(5, 5)), np.repeat(np.eye(3), 3, axis=0)
    family = Gaussian(name, reg_covar=0.0)
    if name == "VEE":  # together the components span every direction
        assert np.isfinite(family.update(given_stats(family, X, responsibilities)).covariances).all()
        return
    with pytest.raises(DegenerateComponentError, match="not positive definite"):
        family.update(given_stats(family, X, responsibilities))


@pytest.mark.parametrize("name", ["EII", "EEI", "EEE", "EEV"])
def test_equal_covariances_carry_an_empty_component(name, rng):
    X = rng.normal(size=(50, 2))
    family = Gaussian(name, reg_covar=0.0)
    params = family.update(given_stats(family, X, np.repeat([[1.0, 0.0]], 50, axis=0)))
    assert params.weights[1] < 1e-15
    assert_close(np.linalg.det(matrices(family, params))[1:], np.linalg.det(matrices(family, params))[:1], 1e-9)


def test_volumes_without_an_optimum(rng):
    """Two components that share no direction: the likelihood grows as the heavier one's volume goes to 0."""
    found = proportional(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(found, [[1.0, 0.0], [0.0, 0.0]])


# What users see.


@pytest.mark.parametrize("name", [*STRUCTURES, *SKLEARN_COVARIANCE_TYPES])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_estimator(name, dtype, tmp_path, rng):
    X = gaussian_rows(rng, 150, 3).astype(dtype)
    model = GaussianMixture(2, covariance_type=name, random_state=0, tol=1e-2).fit(X)
    family = Gaussian(name)
    for attribute in ("covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(model, attribute).shape == family.covariance_shape(2, 3)
        assert getattr(model, attribute).dtype == dtype
    log_p = (
        np.log(model.weights_)
        + np.array(
            [
                multivariate_normal(m, c).logpdf(X)
                for m, c in zip(model.means_, matrices(family, model._fitted_params()), strict=True)
            ]
        ).T
    )
    scores = model.score_samples(X)
    np.testing.assert_allclose(scores, np.logaddexp.reduce(log_p, axis=1), rtol=1e-3 if dtype == np.float32 else 1e-9)
    n_parameters = family.n_parameters(2, 3)
    assert model.bic(X) == pytest.approx(-2 * scores.sum(dtype=float) + n_parameters * np.log(150), rel=1e-5)

    labels = model.predict(X)
    theirs = model.to_sklearn()
    assert theirs.covariance_type == family.storage.name
    np.testing.assert_array_equal(theirs.predict(X), labels)
    known = (model.weights_, model.means_, model.covariances_)
    np.testing.assert_array_equal(GaussianMixture.from_parameters(*known, covariance_type=name).predict(X), labels)
    path = tmp_path / "model.npz"
    model.save(path)
    assert GaussianMixture.load(path).covariance_type == name
    np.testing.assert_array_equal(GaussianMixture.load(path).score_samples(X), scores)

    start = {"weights_init": model.weights_, "means_init": model.means_, "precisions_init": model.precisions_}
    with pytest.warns(ConvergenceWarning):
        again = GaussianMixture(2, covariance_type=name, max_iter=1, tol=0.0, **start).fit(X)
    assert again.lower_bound_ == pytest.approx(model.score(X), rel=1e-5)
    pair = marginal_mixture(model, [2, 0])
    expected = matrices(family, model._fitted_params())[:, [2, 0]][:, :, [2, 0]]
    assert_close(pair.params.covariances, expected, 1e-12)
    assert not has_collapsed(model)


def test_covariances_of_another_structure_are_refused():
    covariances = np.array([[1.0, 2.0], [1.0, 3.0]])
    with pytest.raises(ValueError, match=r"structure VEI.*covariance_type='diag'"):
        GaussianMixture.from_parameters([0.5, 0.5], np.zeros((2, 2)), covariances, covariance_type="VEI")
    covariances[1] = 4 * covariances[0]
    model = GaussianMixture.from_parameters([0.0, 1.0], np.zeros((2, 2)), covariances, covariance_type="VEI")
    assert model.covariance_type == "VEI"
    with pytest.raises(ValueError, match=r"covariance_type must be one of .*'spherical', 'EII'.*but got 'EVX'"):
        Gaussian("EVX")


def test_search_over_all_structures(rng):
    X = gaussian_rows(rng, 200, 2)
    table = search(X, [2], "all", n_init=1, random_state=0)
    assert sorted(structure_of(record.covariance_type).name for record in table) == sorted(STRUCTURES)
    assert "EEV" in str(table)
    assert all(np.isfinite(record.value) for record in table)
    assert f"covariance {table.best.covariance_type}" in table.summary()
    # Of one feature, covariances have no shape and no orientation.
    assert [record.covariance_type for record in search(X[:, :1], [2], n_init=1)] == ["tied", "full"]


def test_a_pass_takes_the_moments_of_its_storage(name):
    """EII, EEI and their like need no scatter matrices, and only EEE the moments of all rows together."""
    family = Gaussian(name)
    assert family.moments == ("first" if name == "EEE" else "diag" if name[2] == "I" else "full")
    assert (family.shared_moments is not None) == (name == "EEE")


def test_a_family_pickles_its_settings_alone():
    family = Gaussian("VEV", reg_covar=(1e-6, 1e-5))
    assert (family.structure.name, family.storage.name, family.ridge.tolist()) == ("VEV", "full", [1e-6, 1e-5])
    found = pickle.loads(pickle.dumps(family))
    assert vars(found) == family.settings()
    assert found.storage is family.storage

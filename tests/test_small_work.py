"""The compiled kernels of component-sized work agree with the formulas in NumPy that they stand in for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from families import full_params, gaussian_rows
from sklearn.metrics import adjusted_rand_score

import fastem
from fastem import compiled, em
from fastem.data import coordinates as whitening
from fastem.engines import choose_engine, cython_engine, pass_work
from fastem.families import Gaussian, covariance_storage, covariance_structures
from fastem.families.covariance_storage import FULL, SPHERICAL
from fastem.families.covariance_structures import STRUCTURES
from fastem.init import candidates, kmeans, merge_tree, tree
from fastem.init.starts import params_of
from fastem.kernels import coordinates, maximisation, merging, seeding, structures
from fastem.passes import ArrayRows, Passes, Runner
from fastem.runs import Loop, Runs
from fastem.selection.neighbours import Components

needs_compiled = pytest.mark.skipif(
    "cython" not in fastem.available_engines(), reason="there are no compiled kernels here"
)
over_sizes = pytest.mark.parametrize(("n_features", "n_components"), [(1, 2), (2, 3), (3, 1), (4, 4), (7, 2), (32, 2)])


def some_stats(rng, n_features, n_components, weighted=False):
    X, params = gaussian_rows(rng, 400, n_features), full_params(rng, n_components, n_features)
    weight = rng.uniform(0, 2, size=400) if weighted else None
    return fastem.get_engine("numpy").accumulate(Gaussian(reg_covar=1e-6), X, params, sample_weight=weight)


def assert_params_close(found, expected, rtol=1e-10):
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=rtol, atol=rtol, err_msg=name)


# M-steps.


@needs_compiled
@over_sizes
@pytest.mark.parametrize("reg_covar", [0.0, 1e-2, "by feature"])
def test_the_m_step_in_one_call(n_features, n_components, reg_covar, rng, monkeypatch):
    ridge = tuple(np.linspace(0.01, 0.1, n_features)) if reg_covar == "by feature" else reg_covar
    family, stats = Gaussian(reg_covar=ridge), some_stats(rng, n_features, n_components, weighted=True)
    found = family.update(stats)
    monkeypatch.setattr(covariance_storage, "_kernels", {})
    expected = family.update(stats)
    assert_params_close(found, expected)
    assert np.array_equal(found.covariances, found.covariances.swapaxes(1, 2))
    assert not np.tril(found.precisions_cholesky, -1).any()


@pytest.mark.parametrize("compiler", ["python", pytest.param("numba", marks=pytest.mark.slow)])
@over_sizes
def test_m_steps_by_other_compilers(n_features, n_components, compiler, rng):
    kernels = by_numba(maximisation) if compiler == "numba" else maximisation
    family, stats = Gaussian(reg_covar=1e-6), some_stats(rng, n_features, n_components)
    expected, K, D = family.update(stats), n_components, n_features
    weights, means = np.empty(K), np.empty((K, D))
    covariances, factors = np.empty((2, K, D * D))
    work, ridge = np.empty((2, D * D)), np.full(D, 1e-6)
    outputs = (weights, means, covariances, factors)
    assert kernels.full_parameters(stats.S, stats.weight, ridge, stats.origin, work, *outputs) == K
    shape = expected.covariances.shape
    found = replace(
        expected,
        weights=weights,
        means=means,
        covariances=covariances.reshape(shape),
        precisions_cholesky=factors.reshape(shape),
    )
    assert_params_close(found, expected)

    packed = family.pack(expected, np.dtype(np.float64)).theta[:, : 1 + D + D * (D + 1) // 2 + 6 * (D // 4)]
    theta = np.empty_like(packed)
    kernels.pack_full(weights, means, factors, theta)
    np.testing.assert_allclose(theta, packed, rtol=1e-10, atol=1e-12)


# Covariance structures.

by_compiler = pytest.mark.parametrize(
    "compiler",
    ["python", pytest.param("cython", marks=needs_compiled), pytest.param("numba", marks=pytest.mark.slow)],
)


def some_covariances(rng, n_features, n_components, spread=1.0):
    """Covariances whose axes are near to each other's, of any volumes and shapes."""
    common = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    turns = np.linalg.qr(np.eye(n_features) + 0.1 * rng.normal(size=(n_components, n_features, n_features)))[0]
    variances = np.exp(spread * rng.normal(size=(n_components, n_features)) + np.arange(n_features))
    axes = common @ turns
    return (axes * variances[:, None, :]) @ axes.swapaxes(1, 2)


def kernels_by(compiler):
    return {"cython": compiled.module("float64"), "numba": by_numba(structures), "python": structures}[compiler]


@by_compiler
@over_sizes
def test_factors_in_one_call(n_features, n_components, compiler, rng, monkeypatch):
    covariances = some_covariances(rng, n_features, n_components, 0.3)
    # Well enough conditioned for nine digits.
    covariances += 1e-3 * np.trace(covariances, axis1=1, axis2=2)[:, None, None] * np.eye(n_features)
    monkeypatch.setattr(covariance_storage, "_kernels", {})
    expected = FULL.factors(covariances, 0.0)
    monkeypatch.undo()
    if compiler != "cython":
        kernels = by_numba(maximisation) if compiler == "numba" else maximisation
        monkeypatch.setattr(covariance_storage, "_kernels", {"d": kernels})
    found = FULL.factors(covariances, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert not np.tril(found, -1).any()
    covariances[-1] = -1.0
    with pytest.raises(fastem.DegenerateComponentError, match=f"component {n_components - 1} is not positive"):
        FULL.factors(covariances, 0.0)


def make_memory(family, masses, covariances):
    """The memory of the kernels, with covariances and shares in their places."""
    structure, K = family.structure, len(masses)
    memory = structure.memory(K, covariances.shape[1])
    for values in memory:
        values.fill(np.nan)
    matrices, _, thin, table = memory
    table[K + 3] = masses / masses.sum()
    given = matrices[0] if structure.storage.is_matrix else thin[0, :, :, 0]
    given[:] = covariances
    return given, memory


def in_storage(family, covariances):
    """Covariances without what the family does not hold."""
    return covariances if family.storage.is_matrix else np.diagonal(covariances, axis1=1, axis2=2)


bound_structures = pytest.mark.parametrize("name", [s.name for s in STRUCTURES.values() if not s.is_free])


@by_compiler
@bound_structures
@pytest.mark.parametrize("spread", [0.1, 1.0])
@pytest.mark.parametrize(("n_features", "n_components"), [(1, 2), (2, 3), (3, 1), (4, 4), (6, 2)])
def test_structures_in_one_call(n_features, n_components, spread, name, compiler, rng, monkeypatch):
    family = Gaussian(name)
    masses = rng.uniform(1, 9, size=n_components)
    own = in_storage(family, some_covariances(rng, n_features, n_components, spread))
    given, memory = make_memory(family, masses, own)
    kernels = kernels_by(compiler)
    assert kernels.impose_structure(family.structure.letters, 0, *memory)
    monkeypatch.setattr(covariance_structures, "_kernels", None)
    # One variance a component is a diagonal of equal entries to the kernel.
    own = own.mean(axis=1) if family.storage is SPHERICAL else own
    expected = in_storage(family, family.storage.matrices(family.structure.impose(masses, own), *given.shape[:2]))
    # Common axes end where turning them changes nothing of the likelihood, which is to half of the digits.
    atol = (1e-6 if name in ("EVE", "VVE") else 1e-9) * np.abs(expected).max()
    np.testing.assert_allclose(given, expected, rtol=0, atol=atol)


@by_compiler
@pytest.mark.parametrize("name", ["EVE", "VVE"])
def test_common_axes_go_on_from_those_of_the_step_before(name, compiler, rng):
    """Where the likelihood has one maximum over axes, as here, they are the same."""
    family, masses, covariances = Gaussian(name), rng.uniform(1, 9, size=3), some_covariances(rng, 4, 3)
    kernels = kernels_by(compiler)
    expected, memory = make_memory(family, masses, covariances)
    assert kernels.impose_structure(family.structure.letters, 0, *memory)
    found, later = make_memory(family, masses, covariances)
    later[1][0] = memory[1][0] @ np.linalg.qr(np.eye(4) + 0.1 * rng.normal(size=(4, 4)))[0]
    assert kernels.impose_structure(family.structure.letters, 1, *later)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@by_compiler
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("VEI", [[1.0, 0.0], [0.0, 1.0]]),
        ("EVI", [[1.0, 0.0], [1.0, 1.0]]),
        ("VEE", [np.diag([1.0, 0.0]), np.diag([0.0, 1.0])]),
        ("VEV", [np.zeros((2, 2)), np.eye(2)]),
        ("EVV", [np.diag([1.0, 0.0]), np.eye(2)]),
        ("VVE", [np.diag([1.0, 0.0]), np.eye(2)]),
    ],
)
def test_structures_without_an_estimate_are_left_to_the_formulas(name, own, compiler):
    family = Gaussian(name)
    _, memory = make_memory(family, np.ones(2), np.array(own))
    assert not kernels_by(compiler).impose_structure(family.structure.letters, 0, *memory)


def test_an_m_step_says_which_component_has_no_covariance(rng):
    stats = some_stats(rng, 2, 3)
    S = stats.S.copy()
    S[1, 3:] = 0
    weights, means = np.empty(3), np.empty((3, 2))
    given = (stats.weight, np.zeros(2), stats.origin, np.empty((2, 4)), weights, means, *np.empty((2, 3, 4)))
    assert maximisation.full_parameters(S, *given) == 1
    with pytest.raises(fastem.DegenerateComponentError, match="component 1"):
        Gaussian(reg_covar=0.0).update(replace(stats, S=S))
    S[1, 3:] = np.nan
    assert maximisation.full_parameters(S, *given) == 1


@needs_compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_features", [2, 4, 6])
def test_parameters_are_packed_in_one_call(n_features, dtype, rng, monkeypatch):
    params = full_params(rng, 3, n_features)
    params = replace(params, weights=np.array([0.25, 0.0, 0.75]))
    found = FULL.theta(params, np.dtype(dtype))
    monkeypatch.setattr(covariance_storage, "_kernels", {})
    expected = Gaussian(reg_covar=1e-6).pack(params, np.dtype(dtype)).theta
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 1e-6)


# Steps of EM in one call.


@needs_compiled
@pytest.mark.parametrize("name", [*STRUCTURES])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("tol", "max_iter"), [(0.0, 1), (0.0, 2), (0.0, 7), (1e-2, 50)])
def test_steps_ahead_are_those_of_the_loop(tol, max_iter, weighted, dtype, name, rng):
    X = gaussian_rows(rng, 2500, 3).astype(dtype)
    weight = rng.uniform(0, 2, size=2500) if weighted else None
    family = Gaussian(name, reg_covar=1e-6)
    passes = Passes(family, ArrayRows(X, weight), Runner(fastem.get_engine("cython")))
    start = params_of(family, X.astype(np.float64), rng.dirichlet(np.ones(3), size=2500), fastem.get_engine("numpy"))
    options = {"tol": tol, "max_iter": max_iter}
    expected = em.run(passes.accumulate, family.update, start, **options)
    calls = []

    def run_ahead(point, *given):
        calls.append(given)
        return passes.run_ahead([point], *given)[0]

    found = em.run(None, family.update, start, run_ahead=run_ahead, **options)
    assert len(calls) == 1
    assert (found.n_iter, found.converged) == (expected.n_iter, expected.converged)
    assert expected.n_iter < 50
    exact = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    # The limits of changes that are rounding say nothing.
    for values in ("lower_bound", "weights", "limit")[: 3 if dtype == "float64" else 2]:
        np.testing.assert_allclose(getattr(found.history, values), getattr(expected.history, values), **exact)
    assert (np.diff(found.history.seconds, prepend=0) > 0).all()
    for values in ("weights", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(getattr(found.params, values), getattr(expected.params, values), **exact)


@needs_compiled
@pytest.mark.parametrize("name", ["full", "tied", "VEV", "EVE"])
def test_steps_ahead_of_several_starts_are_those_of_each(name, rng):
    X, family, engine = gaussian_rows(rng, 1500, 3), Gaussian(name, reg_covar=1e-6), fastem.get_engine("cython")
    shares = rng.dirichlet(np.ones(2), size=(5, 1500))
    starts = [params_of(family, X, each, fastem.get_engine("numpy")) for each in shares]
    passes = Passes(family, ArrayRows(X), Runner(engine, n_threads=1))
    alone = [passes.run_ahead([start], -np.inf, 1e-4, 6)[0] for start in starts]
    for n_threads in (1, 3):
        together = Passes(family, ArrayRows(X), Runner(engine, n_threads)).run_ahead(starts, -np.inf, 1e-4, 6)
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_array_equal(found.lower_bounds, expected.lower_bounds)
            np.testing.assert_array_equal(found.weights, expected.weights)
            np.testing.assert_array_equal(found.stats.S, expected.stats.S)
            np.testing.assert_array_equal(found.stats.origin, expected.stats.origin)


@needs_compiled
@pytest.mark.parametrize("name", [*STRUCTURES])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_ahead_from_moments_begin_with_their_m_step(name, dtype, rng):
    X, family = gaussian_rows(rng, 1500, 3).astype(dtype), Gaussian(name, reg_covar=1e-6)
    passes = Passes(family, ArrayRows(X), Runner(fastem.get_engine("cython")))
    mixtures = [Components.of(Gaussian(), full_params(rng, 2, 3)) for _ in range(3)]
    moments = [mixture.as_stats(family, 1500) for mixture in mixtures]
    found = passes.run_ahead(moments, -np.inf, 0.0, 5)
    expected = passes.run_ahead([family.update(stats) for stats in moments], -np.inf, 0.0, 5)
    exact = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    if name in ("EVE", "VVE"):  # common axes are turned less than all the way, and from where they were
        exact = {"rtol": 1e-3, "atol": 1e-2}
    for one, other in zip(found, expected, strict=True):
        assert (np.diff(one.lower_bounds) > -1e-6).all()
        np.testing.assert_allclose(one.lower_bounds, other.lower_bounds, **exact)
        np.testing.assert_allclose(one.weights, other.weights, **exact)
        np.testing.assert_allclose(one.stats.origin, other.stats.origin, **exact)


@needs_compiled
def test_moments_without_a_covariance_are_no_start(rng):
    X, family = gaussian_rows(rng, 300, 2), Gaussian(reg_covar=0.0)
    mixtures = [Components.of(family, full_params(rng, 2, 2)) for _ in range(3)]
    mixtures[1].covariances[1] = 0
    passes = Passes(family, ArrayRows(X), Runner(fastem.get_engine("cython")))
    found = passes.run_ahead([mixture.as_stats(family, 300) for mixture in mixtures], -np.inf, 0.0, 2)
    assert [len(stretch.lower_bounds) for stretch in found] == [2, 0, 2]


@needs_compiled
@pytest.mark.parametrize("name", ["full", "tied", "VEV", "EII"])
def test_the_best_of_a_heat_come_first_and_the_others_are_not_made(name, rng, monkeypatch):
    """In the order of all runs, whether they are one call or not; one of two that are alike."""
    X, family = gaussian_rows(rng, 400, 2), Gaussian(name, reg_covar=1e-6)
    mixtures = [Components.of(Gaussian(), full_params(rng, 3, 2)) for _ in range(5)]
    moments = [mixture.as_stats(family, 400) for mixture in (*mixtures, mixtures[0])]
    loop = Loop(1e-3, 100, "change", None, -np.inf, (), "raise", False)
    engine = fastem.get_engine("cython")
    runs = Runs(family, 3, Runner(engine), loop)
    found = list(runs.best_first(ArrayRows(X), moments, 3))
    assert 1 < len(found) <= 5
    assert (np.diff([run.lower_bound for run in found]) < 0).all()
    made = []
    update = Gaussian.update
    monkeypatch.setattr(Gaussian, "update", lambda self, stats: made.append(stats) or update(self, stats))
    first = next(runs.best_first(ArrayRows(X), moments, 3))
    assert len(made) == 1
    assert_params_close(first.params, found[0].params, rtol=0)
    monkeypatch.setattr(engine, "run_ahead", lambda *given, **how: None)
    for one, other in zip(runs.best_first(ArrayRows(X), moments, 3), found, strict=True):
        assert one.lower_bound == pytest.approx(other.lower_bound, rel=1e-9)
        assert_params_close(one.params, other.params, rtol=1e-7)


def test_a_run_of_a_heat_with_a_collapsed_component_comes_behind(rng):
    """Its likelihood has no bound; what counts is that without the component."""
    X = np.concatenate([rng.normal(size=(50, 2)) - [9, 0], rng.normal(size=(50, 2)), np.zeros((10, 2))])
    family = Gaussian(reg_covar=1e-9)
    wide, spheres = np.diag([20.0, 1.0]), np.tile(np.eye(2), (2, 1, 1))
    collapsed = Components(
        np.array([0.9, 0.1]), np.array([[-5.0, 0.0], [0.0, 0.0]]), np.stack([wide, np.zeros((2, 2))])
    )
    sound = Components(np.array([0.45, 0.55]), np.array([[-9.0, 0.0], [0.0, 0.0]]), spheres)
    moments = [mixture.as_stats(family, 110) for mixture in (collapsed, sound)]
    loop = Loop(1e-3, 100, "change", None, -np.inf, (), "raise", False)
    runs = Runs(family, 2, Runner(choose_engine("auto", 0.0)), loop)
    first, second = runs.best_first(ArrayRows(X), moments, 3)
    assert first.lower_bound < second.lower_bound
    assert family.collapsed_components(second.params).tolist() == [False, True]


@needs_compiled
def test_starts_of_a_heat_with_and_without_bounds(rng):
    """Bounds of components that lie apart are packed with them, and the compiled M-step knows nothing of bounds."""
    centres = 30 * rng.normal(size=(8, 8))
    X = np.repeat(centres, 40, axis=0) + rng.normal(size=(320, 8))
    family, engine = Gaussian(reg_covar=1e-6), fastem.get_engine("cython")
    apart = family.make_params(np.full(8, 1 / 8), centres, np.tile(np.eye(8), (8, 1, 1)))
    together = params_of(family, X, rng.dirichlet(np.ones(8), size=320), engine)
    sizes = [family.pack(params, X.dtype).common.size for params in (together, apart)]
    assert sizes[0] == 0 < sizes[1]
    loop = Loop(1e-3, 100, "change", None, -np.inf, (), "raise", False)
    found = Runs(family, 8, Runner(engine), loop).heat(ArrayRows(X), {0: together, 1: apart}, 4)
    for i, start in enumerate((together, apart)):
        passes = Passes(family, ArrayRows(X), Runner(fastem.get_engine("numpy")))
        expected = em.run(passes.accumulate, family.update, start, tol=1e-5, max_iter=4)
        np.testing.assert_allclose(found[i].history.lower_bound, expected.history.lower_bound, rtol=1e-9)


@needs_compiled
def test_the_starts_of_a_heat_take_their_steps_in_one_call(rng, monkeypatch):
    X, family, engine = gaussian_rows(rng, 300, 2), Gaussian(reg_covar=1e-6), fastem.get_engine("cython")
    starts = {i: full_params(rng, 2, 2) for i in (0, 3, 4)} | {2: fastem.DegenerateComponentError("collapsed", 0)}
    loop = Loop(1e-3, 100, "change", None, -np.inf, (), "raise", False)

    def heat():
        return Runs(family, 2, Runner(engine), loop).heat(ArrayRows(X), starts, 4)

    calls = []
    run_ahead = engine.run_ahead
    monkeypatch.setattr(engine, "run_ahead", lambda *given, **how: calls.append(given) or run_ahead(*given, **how))
    found = heat()
    assert len(calls) == 1
    monkeypatch.setattr(engine, "run_ahead", lambda *given, **how: None)
    expected = heat()
    assert found[2] is starts[2]
    for i in (0, 3, 4):
        assert found[i].n_iter == expected[i].n_iter == 4
        np.testing.assert_allclose(found[i].history.lower_bound, expected[i].history.lower_bound, rtol=1e-12)
        assert_params_close(found[i].params, expected[i].params)


@needs_compiled
def test_stretches_end_so_that_ctrl_c_is_heard(rng, monkeypatch):
    monkeypatch.setattr(cython_engine, "_STRETCH_WORK", 3.5 * pass_work((200, 2), 2, "full"))
    X, family = gaussian_rows(rng, 200, 2), Gaussian(reg_covar=1e-6)
    passes = Passes(family, ArrayRows(X), Runner(fastem.get_engine("cython")))
    lengths = []

    def run_ahead(point, *given):
        (stretch,) = passes.run_ahead([point], *given)
        lengths.append(len(stretch.lower_bounds))
        return stretch

    start = full_params(rng, 2, 2)
    found = em.run(None, family.update, start, tol=0.0, max_iter=8, run_ahead=run_ahead)
    expected = em.run(passes.accumulate, family.update, start, tol=0.0, max_iter=8)
    assert lengths == [3, 3, 2]
    np.testing.assert_allclose(found.history.lower_bound, expected.history.lower_bound, rtol=1e-12)


@needs_compiled
def test_steps_ahead_end_where_a_component_collapses(rng):
    """At the statistics that the M-step fails on; it is held up, and steps go on from there."""
    X = np.concatenate([rng.normal(size=(50, 2)), np.full((20, 2), 9.0)])
    family = Gaussian(reg_covar=0.0)
    start = family.make_params(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [9.0, 9.0]]), np.tile(np.eye(2), (2, 1, 1)))
    options = {"previous": -np.inf, "tol": 0.0, "max_iter": 100}
    (stretch,) = fastem.get_engine("cython").run_ahead(family, X, [start], **options)
    assert len(stretch.lower_bounds) < 100
    with pytest.raises(fastem.DegenerateComponentError, match="component 1"):
        family.update(stretch.stats)
    found = fastem.fit(X, family, 2, start=start, tol=0.0, max_iter=20, engine="cython")
    (diagnosis,) = found.diagnostics
    assert (diagnosis.component, diagnosis.kind, diagnosis.iteration) == (1, "held up", len(stretch.lower_bounds))
    assert found.run.n_iter > len(stretch.lower_bounds)


@needs_compiled
@pytest.mark.parametrize(
    "family",
    [
        Gaussian("full", "auto"),
        Gaussian("full", 1e-6, eigenvalue_ratio=5.0),
        Gaussian("full", 1e-6, covariance_prior={"mean": (0.0, 0.0), "scale": np.eye(2)}),
    ],
    ids=str,
)
def test_there_are_no_steps_ahead_with_other_m_steps(family, rng):
    X, start = gaussian_rows(rng, 100, 2), full_params(rng, 2, 2)
    options = {"previous": -np.inf, "tol": 0.0, "max_iter": 5}
    assert fastem.get_engine("cython").run_ahead(family, X, [start], **options) is None


# Trees and seeds.


@needs_compiled
@pytest.mark.parametrize(("n_rows", "n_directions", "n_cells"), [(2, 1, 2), (50, 2, 50), (300, 2, 40), (200, 9, 60)])
def test_a_tree_is_that_of_the_formulas(n_rows, n_directions, n_cells, rng, monkeypatch):
    rows = rng.normal(size=(n_rows, n_directions)) + 3 * rng.integers(3, size=(n_rows, 1))
    weight = rng.uniform(0.5, 2, size=n_rows)
    found = merge_tree(rows, weight, n_cells)
    monkeypatch.setattr(tree, "_kernels", None)
    expected = merge_tree(rows, weight, n_cells)
    np.testing.assert_allclose(found.within, expected.within, atol=1e-12)
    for n_clusters in {1, 2, min(5, n_rows), n_cells, n_rows}:
        assert adjusted_rand_score(found.partition(n_clusters), expected.partition(n_clusters)) == 1


@needs_compiled
def test_moments_of_labels(rng, monkeypatch):
    rows, weight = rng.normal(size=(100, 3)) + 1e6, rng.uniform(size=100)
    labels = rng.integers(4, size=100)
    labels[labels == 2] = 1  # one has no rows
    found = tree.cluster_moments(rows, labels, 4, weight)
    monkeypatch.setattr(tree, "_kernels", None)
    for a, b in zip(found, tree.cluster_moments(rows, labels, 4, weight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)


@needs_compiled
@pytest.mark.parametrize("n_directions", [1, 2, 5])
def test_adaptive_labels_are_those_of_the_formulas(n_directions, rng, monkeypatch):
    rows, weight = rng.normal(size=(200, n_directions)), rng.uniform(0.5, 2, size=200)
    rows[:50] += 4
    for seed in range(5):
        monkeypatch.undo()
        found = candidates.adaptive_labels(rows, 6, np.random.RandomState(seed), weight)
        monkeypatch.setattr(candidates, "_kernels", None)
        assert np.array_equal(found, candidates.adaptive_labels(rows, 6, np.random.RandomState(seed), weight))


@cache
def by_numba(kernels):
    """The functions of a kernel file, compiled by Numba when they are called."""
    drivers = pytest.importorskip("fastem.engines.numba_drivers", exc_type=ImportError)
    from numba import njit

    own = {name: f for name, f in vars(kernels).items() if getattr(f, "__module__", "") == kernels.__name__}
    return SimpleNamespace(**{name: njit(**drivers.OPTIONS)(f) for name, f in own.items()})


@pytest.mark.parametrize("compiler", ["python", pytest.param("numba", marks=pytest.mark.slow)])
def test_trees_and_seeds_by_other_compilers(compiler, rng, monkeypatch):
    """Uncompiled, NumPy finds the index out of range that compiled code hides."""
    compiled = by_numba if compiler == "numba" else lambda kernels: kernels
    rows = rng.normal(size=(60, 2)) + 4 * rng.integers(2, size=(60, 1))
    weight = np.ones(60)
    expected = merge_tree(rows, weight, 20), candidates.adaptive_labels(rows, 4, np.random.RandomState(0), weight)
    monkeypatch.setattr(tree, "_kernels", compiled(merging))
    monkeypatch.setattr(candidates, "_kernels", compiled(seeding))
    found = merge_tree(rows, weight, 20)
    for n_clusters in (1, 2, 3, 10, 20, 60):
        assert adjusted_rand_score(found.partition(n_clusters), expected[0].partition(n_clusters)) == 1
    assert np.array_equal(candidates.adaptive_labels(rows, 4, np.random.RandomState(0), weight), expected[1])
    # Clusters too far apart to be each other's neighbours merge in the end.
    far = np.repeat([[0.0, 0.0], [1e3, 0.0]], 30, axis=0) + rng.normal(size=(60, 2))
    assert adjusted_rand_score(merge_tree(far, weight, 60).partition(2), np.repeat([0, 1], 30)) == 1


@by_compiler
@pytest.mark.parametrize("weighted", [False, True])
def test_seeds_of_k_means(weighted, compiler, rng, monkeypatch):
    rows = rng.normal(size=(80, 3)) + 5 * rng.integers(3, size=(80, 1))
    rows -= rows.mean(axis=0)
    weight = rng.uniform(0.1, 2, size=80) if weighted else None
    kernels = {"cython": compiled.module("float64"), "numba": by_numba(seeding), "python": seeding}[compiler]
    for n_clusters in (1, 2, 7):
        monkeypatch.setattr(kmeans, "_kernels", kernels)
        found = kmeans.seed_rows(rows, n_clusters, np.random.RandomState(1), weight)
        monkeypatch.setattr(kmeans, "_kernels", None)
        assert np.array_equal(found, kmeans.seed_rows(rows, n_clusters, np.random.RandomState(1), weight))
    # Of equal rows none is far from the first: the last is taken.
    monkeypatch.setattr(kmeans, "_kernels", kernels)
    assert np.array_equal(kmeans.seed_rows(np.zeros((4, 2)), 2, np.random.RandomState(0))[1:], [3])


@needs_compiled
@pytest.mark.parametrize("max_iter", [1, 2, 3, 300])
def test_lloyds_iterations_in_one_call(max_iter, rng, monkeypatch):
    rows, engine = rng.normal(size=(500, 2)) + 3 * rng.integers(3, size=(500, 1)), fastem.get_engine("cython")
    # One centre that no row is nearest to is placed anew.
    means = np.concatenate([rows[:3], [[1e3, 1e3]]])
    start = kmeans.Centres(np.full(4, 0.25), means, kmeans.SHARPNESS)
    calls = []
    run_ahead = engine.run_ahead
    monkeypatch.setattr(engine, "run_ahead", lambda *given, **how: calls.append(given) or run_ahead(*given, **how))
    found = kmeans.lloyd(rows, start, engine, max_iter=max_iter)
    assert len(calls) == min(max_iter, 2)
    expected = kmeans.lloyd(rows, start, fastem.get_engine("numpy"), max_iter=max_iter)
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-12)


# Coordinates.


def squared_distances(rows):
    return np.square(rows[:, None] - rows).sum(axis=2)


@by_compiler
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [1, 2, 5, 12])
def test_coordinates_in_one_call(n_features, weighted, compiler, rng, monkeypatch):
    kernels = {"cython": compiled.module("float64"), "numba": by_numba(coordinates), "python": coordinates}[compiler]
    rows = rng.normal(size=(150, n_features)) @ rng.normal(size=(n_features, n_features)) + 10.0
    rows[:3] += 1e3  # outliers
    if n_features == 5:
        rows[:, 3:] = np.column_stack([np.full(150, 7.0), rows[:, 0] - rows[:, 1]])
    weight = rng.uniform(0.1, 2, size=150) if weighted else None
    monkeypatch.setattr(whitening, "_kernels", None)
    expected = whitening.whitened(rows, weight)
    within = np.cov(rng.normal(size=(expected.shape[1], 50))).reshape(expected.shape[1], -1)
    expected_within = whitening.unit_within(expected, within)
    same = whitening.unit_within(expected, np.zeros_like(within))
    monkeypatch.setattr(whitening, "_kernels", kernels)
    found = whitening.whitened(rows, weight)
    assert found.shape == expected.shape
    assert n_features != 5 or found.shape[1] == 3
    for a, b in (
        (found, expected),
        (whitening.unit_within(expected, within), expected_within),
        (whitening.unit_within(expected, np.zeros_like(within)), same),
    ):
        np.testing.assert_allclose(squared_distances(a), squared_distances(b), rtol=1e-7, atol=1e-9)
    assert np.array_equal(whitening.whitened(np.ones((3, 2))), np.zeros((3, 1)))


@needs_compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_variances_of_the_bulk_in_one_call(weighted, dtype, rng, monkeypatch):
    X = np.asfortranarray(rng.normal([0.0, 1e3, 5.0], [1.0, 2.0, 0.0], size=(200, 3)).astype(dtype))
    X[0, 0], X[:2, 1] = 1e6, 1e5
    weight = rng.uniform(0.1, 2, size=200) if weighted else None
    found = whitening.bulk_variances(X, weight)
    monkeypatch.setattr(compiled, "level", None)
    np.testing.assert_allclose(found, whitening.bulk_variances(X, weight), rtol=1e-9, atol=1e-12)
    assert 0.5 < found[0] < 2
    assert 2 < found[1] < 8

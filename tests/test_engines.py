"""Every engine against the naive pass of ``reference.py``, for shapes and memory layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from families import CASES
from reference import TOLERANCE, assert_close, naive_pass

import fastem
from fastem.data.arrays import as_rows
from fastem.engines import Runs

WANTED = ("labels", "log_likelihood", "responsibilities")

# (n_samples, n_features, n_components): blocks are 192 rows, or 384 of float32, vectors 2 to 16, tiles 4 features.
FEATURES = [(130, d, 3) for d in (*range(1, 10), 16, 17)] + [(66, 33, 2)]
COMPONENTS = [(130, 3, k) for k in range(1, 6)]
SAMPLES = [(n, 3, 2) for n in (1, 2, *range(63, 67), *range(191, 194), *range(383, 386))]


def fewer(engine, n_samples):
    """Rows for an engine: the uncompiled kernels are slow, and find an index out of range in one block too."""
    return min(n_samples, 70) if engine == "python" else n_samples


def check_against_naive(case, engine, X, params, sample_weight=None):
    """Statistics and posteriors of rows, which may lie anywhere in any order."""
    runner = fastem.get_engine(engine)
    tolerance = TOLERANCE[X.dtype.name]
    expected = naive_pass(case, X, params, sample_weight)
    stats = runner.accumulate(case.family, X, params, sample_weight=sample_weight)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    assert_close(stats.weight, weight.sum(), 1e-14)
    assert_close(stats.log_likelihood, weight @ expected.log_likelihood, tolerance, "log_likelihood")
    assert stats.S.dtype == np.float64
    assert_close(stats.S, expected.S, tolerance, "S")

    found = runner.evaluate(case.family, X, params, WANTED)
    assert found.log_likelihood.dtype == found.responsibilities.dtype == X.dtype
    assert found.labels.dtype == np.intp
    assert_close(found.log_likelihood, expected.log_likelihood, tolerance, "log p(x)")
    assert_close(found.responsibilities, expected.responsibilities, tolerance, "responsibilities")
    best = expected.log_p.max(axis=1)
    chosen = expected.log_p[np.arange(len(X)), found.labels]
    assert_close(chosen, best, tolerance, "the label's log-density")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", FEATURES + COMPONENTS + SAMPLES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_shapes(case, engine, shape, dtype, rng):
    if engine == "python" and dtype == np.float32 and shape not in SAMPLES:
        pytest.skip("uncompiled vectors are of 4 values of either type, which decides on nothing but a block's rows")
    n_samples, n_features, n_components = shape
    X = case.rows(rng, n_samples, n_features).astype(dtype)
    params = case.params(rng, n_components, n_features)
    check_against_naive(case, engine, X, params, rng.uniform(0.1, 2.0, size=n_samples) if n_features == 3 else None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "runs", [Runs(0, 3, 40), Runs(2, 3, 40), Runs(1, 4, 7), Runs(0, 1, 1000), Runs(1, 2, 300)], ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_runs_of_rows(case, engine, weighted, runs, dtype, rng):
    """What lies in runs gives what its copy gives, the last run of the array being shorter or not."""
    thread_numbers = (1,) if engine == "python" else (1, 2)
    for n_samples in (590, 600):
        X, params = case.rows(rng, n_samples, 3).astype(dtype), case.params(rng, 2, 3)
        weight = rng.uniform(0.1, 2.0, size=n_samples) if weighted else None
        copied = runs.of(X), None if weight is None else runs.of(weight)
        assert len(copied[0]) == runs.count(n_samples)
        runner = fastem.get_engine(engine)
        expected = runner.accumulate(case.family, copied[0], params, sample_weight=copied[1])
        found = [
            runner.accumulate(case.family, X, params, sample_weight=weight, runs=runs, n_threads=n)
            for n in thread_numbers
        ]
        assert np.array_equal(found[0].S, found[-1].S)
        assert found[0].weight == expected.weight
        assert_close(found[0].S, expected.S, TOLERANCE[X.dtype.name], "S")
        assert_close(found[0].log_likelihood, expected.log_likelihood, TOLERANCE[X.dtype.name], "log_likelihood")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [4, 6, 9])
def test_components_near_and_far_and_without_rows(engine, n_features, dtype, rng):
    """Moments of those near 0 are summed by pairs, of others about the mean, of those that a block lacks not at all."""
    family = fastem.Gaussian("diag")
    centres = np.array([0, 900, 1, -900, 2, 3, 500, 1, 0, -500, 2])
    means = centres[:, None] + rng.uniform(-0.5, 0.5, size=(len(centres), n_features))
    clusters = np.repeat([*range(len(centres)), *range(0, len(centres), 2)], 150)
    X = (means[clusters] + rng.standard_normal((len(clusters), n_features))).astype(dtype)
    weights = np.full(len(centres), 1 / len(centres))
    params = family.from_precisions(weights, means, np.ones_like(means))
    expected = fastem.get_engine("numpy").accumulate(family, X, params)
    stats = fastem.get_engine(engine).accumulate(family, X, params)
    assert_close(stats.S, expected.S, 10 * TOLERANCE[X.dtype.name], "S")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_that_is_not_finite_makes_the_log_likelihood_so(case, engine, dtype, value, rng):
    """Also where components are screened: online EM looks at nothing else."""
    for n_features, n_components in ((1, 1), (3, 2), (8, 8)):
        params = case.params(rng, n_components, n_features)
        for feature in {0, n_features - 1}:
            X = case.rows(rng, 50, n_features).astype(dtype)
            X[20, feature] = value
            with np.errstate(all="ignore"):
                stats = fastem.get_engine(engine).accumulate(case.family, X, params)
            assert not np.isfinite(stats.log_likelihood)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_several_panels_and_chunks(case, engine, rng):
    n_samples = {"python": 1100, "numpy": 60_000}.get(engine, 5000)
    X, params = case.rows(rng, n_samples, 2), case.params(rng, 3, 2)
    check_against_naive(case, engine, X, params, rng.uniform(0.1, 2.0, size=n_samples))


@pytest.mark.parametrize("moments", ["first", "diag", "full"])
def test_given_responsibilities(engine, moments, rng):
    for dtype in (np.float64, np.float32):
        X = rng.normal(size=(150, 5)).astype(dtype)
        given = rng.dirichlet(np.ones(3), size=150).astype(dtype)
        origin, weight = rng.normal(size=(3, 5)).astype(dtype).astype(np.float64), rng.uniform(size=150)
        stats = fastem.get_engine(engine).accumulate_given(moments, X, given, origin, sample_weight=weight)
        assert (stats.moments, stats.log_likelihood) == (moments, 0.0)
        for k in range(3):
            r = weight * given[:, k].astype(np.float64)
            d = X.astype(np.float64) - origin[k]
            second = {"first": np.zeros(0), "diag": r @ d**2, "full": np.einsum("b,bi,bj->ij", r, d, d).ravel()}[
                moments
            ]
            assert_close(stats.S[k], np.concatenate([[r.sum()], r @ d, second]), TOLERANCE[np.dtype(dtype).name])


# Rows are read where they lie.


def fortran(X, folder):
    return np.asfortranarray(X)


def strided(X, folder):
    wide = np.zeros((2 * len(X), 3 * X.shape[1]), dtype=X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def backwards(X, folder):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def read_only(X, folder):
    X = X.copy()
    X.setflags(write=False)
    return X


def memory_map(X, folder):
    np.save(folder / "rows.npy", X)
    return np.load(folder / "rows.npy", mmap_mode="r")


def misaligned(X, folder):
    raw = np.zeros(X.nbytes + 1, dtype=np.uint8)
    rows = raw[1:].view(X.dtype).reshape(X.shape)
    rows[...] = X
    assert not rows.flags.aligned
    return rows


def records(X, folder):
    """Rows as a field of larger records: the distance between rows is no multiple of a value's size."""
    table = np.zeros(len(X), dtype=[("key", "u1"), ("x", X.dtype, (X.shape[1],))])
    table["x"] = X
    return table["x"]


def repeated(X, folder):
    return np.broadcast_to(X[:1], X.shape)


LAYOUTS = [fortran, strided, backwards, read_only, memory_map, misaligned, records, repeated]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layouts(case, engine, layout, dtype, rng, tmp_path):
    n_samples = fewer(engine, 200)
    X = layout(case.rows(rng, n_samples, 5).astype(dtype), tmp_path)
    assert np.shares_memory(as_rows(X), X)
    weight = strided(rng.uniform(0.1, 2.0, size=(n_samples, 1)), tmp_path)[:, 0]
    check_against_naive(case, engine, X, case.params(rng, 3, 5), weight)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_fit_of_layouts(case, engine, layout, rng, tmp_path):
    X = layout(case.rows(rng, fewer(engine, 200), 3), tmp_path)
    start = case.params(rng, 1 if layout is repeated else 2, 3)
    options = {"start": start, "engine": engine, "max_iter": 2 if layout is not repeated else 0, "tol": 0.0}
    here, there = (fastem.fit(rows, case.family, len(start.weights), **options) for rows in (X, np.array(X, order="C")))
    for name, value in vars(there.params).items():
        # NumPy's matrix products depend on the layout; the kernels see the same block.
        assert_close(getattr(here.params, name), value, 1e-12 if engine == "numpy" else 0.0, name)


@pytest.mark.parametrize("code", [">f8", "<f8", ">f4", "<f4", "f2", "i4", "u1", ">i2", "g", "?"])
def test_other_types_are_converted(engine, code, rng):
    X = rng.integers(2, size=(90, 3)).astype(np.float64)
    start = CASES[-1].params(rng, 2, 3)
    expected = fastem.fit(X, "poisson", 2, start=start, engine=engine, max_iter=3, tol=0.0).params
    found = fastem.fit(X.astype(code), "poisson", 2, start=start, engine=engine, max_iter=3, tol=0.0).params
    assert_close(found.rates, expected.rates, 1e-6 if code == np.dtype(np.float32).str else 1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_far_rows_have_exactly_one_component(case, engine, dtype, rng):
    """What cannot change a sum in double precision is exactly zero in the kernels, and NaN nowhere."""
    X = np.concatenate([case.rows(rng, 70, 2), case.rows(rng, 70, 2) + 400]).astype(dtype)
    params = case.params(rng, 2, 2)
    name = "means" if hasattr(params, "means") else "rates"
    params = replace(params, **{name: getattr(params, name) + np.array([[0], [400]])})
    found = fastem.get_engine(engine).evaluate(case.family, X, params, WANTED)
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1], 70))
    if engine != "numpy":
        assert set(np.unique(found.responsibilities)) <= {0.0, 1.0}
    assert np.isfinite(found.log_likelihood).all()
    check_against_naive(case, engine, X, params)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [0, 1, 7, 50, 1000, 20_000, 300_000, 10_000_000])
def test_counts_of_any_size(engine, size, dtype):
    case = CASES[-1]
    X = np.array([[size], [size + 1], [2 * size + 3]], dtype=dtype)
    params = case.family.make_params(np.array([0.4, 0.6]), np.array([[size + 0.5], [1.5 * size + 2]]))
    expected = naive_pass(case, X, params)
    found = fastem.get_engine(engine).evaluate(case.family, X, params, WANTED)
    # The terms of a log-density, x log x and its like, are so large.
    counts = X[:, 0].astype(np.float64)
    error = np.finfo(dtype).eps * (20 + 2 * counts * np.log(counts + 1))
    assert (np.abs(found.log_likelihood - expected.log_likelihood) <= error).all()


def test_component_of_weight_zero(engine, rng):
    case = CASES[0]
    X, params = case.rows(rng, 100, 3), case.params(rng, 3, 3)
    params = replace(params, weights=np.array([0.5, 0.0, 0.5]))
    with np.errstate(divide="ignore"):
        expected = naive_pass(case, X, params)
    found = fastem.get_engine(engine).evaluate(case.family, X, params, WANTED)
    assert (found.responsibilities[:, 1] == 0).all()
    assert_close(found.log_likelihood, expected.log_likelihood, 1e-10)


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_not_a_number_is_seen(case, engine, component, rng):
    """A density that is no number must not end up in a likelihood that is one."""
    X, params = case.rows(rng, 100, 3), case.params(rng, 3, 3)
    weights = params.weights.copy()
    weights[component] = np.nan
    with np.errstate(invalid="ignore"):
        found = fastem.get_engine(engine).evaluate(case.family, X, replace(params, weights=weights), WANTED)
        stats = fastem.get_engine(engine).accumulate(case.family, X, replace(params, weights=weights))
    assert np.isnan(found.log_likelihood).all()
    assert np.isnan(stats.log_likelihood)


def test_posterior_gives_only_what_is_asked_for(engine, rng):
    case = CASES[2]
    X, params = case.rows(rng, 100, 3), case.params(rng, 3, 3)
    mixture = fastem.Mixture(case.family, params)
    everything = mixture.posterior(X, *WANTED, engine=engine)
    for name in WANTED:
        found = mixture.posterior(X, name, engine=engine)
        np.testing.assert_array_equal(getattr(found, name), getattr(everything, name))
        assert all(getattr(found, other).size == 0 for other in WANTED if other != name)
    with pytest.raises(ValueError, match="colour"):
        mixture.posterior(X, "colour", engine=engine)
    with pytest.raises(ValueError, match=r"2 features.*made for 3"):
        mixture.posterior(X[:, :2], "labels", engine=engine)


def test_unknown_engine():
    with pytest.raises(ValueError, match=r"numba.*'fortran'"):
        fastem.get_engine("fortran")

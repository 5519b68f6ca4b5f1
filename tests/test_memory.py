"""A fit holds no copy of its rows, and nothing that grows with them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from families import CASES

import fastem
from fastem.init import start_params

N, D, K = 300_000, 12, 4


def peak_bytes(run):
    """Most memory held at a time during ``run()``, beyond what was held before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def options_of(case, engine, X):
    """Two iterations from a start that suits the rows."""
    start = start_params(case.family, X[::500], K, "random", np.random.RandomState(0), fastem.get_engine("numpy"))
    return {"start": start, "engine": engine, "tol": 0.0, "max_iter": 2}


def fortran(X, folder):
    return np.asfortranarray(X)


def strided(X, folder):
    wide = np.zeros((len(X), 2 * X.shape[1]), dtype=X.dtype)
    wide[:, ::2] = X
    return wide[:, ::2]


def memory_map(X, folder):
    np.save(folder / "rows.npy", X)
    return np.load(folder / "rows.npy", mmap_mode="r")


@pytest.fixture(scope="module")
def rows():
    """Counts, which every family takes."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(4.0, 1.5, size=(K, D))
    return np.concatenate([rng.poisson(rate, size=(N // K, D)) for rate in rates]).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", [fortran, strided, memory_map], ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_fit_copies_no_rows(case, compiled_engine, layout, dtype, rows, tmp_path):
    X = layout(rows.astype(dtype), tmp_path)
    options = options_of(case, compiled_engine, X)
    fastem.fit(X, case.family, K, **options)  # compiles, the parallel driver too
    assert peak_bytes(lambda: fastem.fit(X, case.family, K, **options)) < X.nbytes / 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_memory_does_not_grow_with_rows(case, compiled_engine, rows):
    options = {**options_of(case, compiled_engine, rows), "sample_weight": np.ones(N)}
    fastem.fit(rows, case.family, K, **options)
    fewer = {**options, "sample_weight": np.ones(N // 2)}
    half = peak_bytes(lambda: fastem.fit(rows[: N // 2], case.family, K, **fewer))
    assert peak_bytes(lambda: fastem.fit(rows, case.family, K, **options)) < 1.2 * half + 100_000


@pytest.mark.parametrize("init", ["random", "random_from_data"])
def test_estimators_copy_no_rows(compiled_engine, init, rows):
    X = np.asfortranarray(rows)
    for structure in ("full", "tied", "diag", "spherical"):
        model = fastem.GaussianMixture(
            K,
            covariance_type=structure,
            engine=compiled_engine,
            init_params=init,
            random_state=0,
            tol=100.0,
            reg_covar=1.0,
        )
        model.fit(X[::1000])
        assert peak_bytes(lambda model=model: model.fit(X)) < 0.9 * X.nbytes
        assert peak_bytes(lambda model=model: model.score(X)) < 0.9 * X.nbytes


def test_responsibilities_are_never_held_for_criteria(rows):
    model = fastem.GaussianMixture(24, covariance_type="diag", engine="cython", init_params="random", tol=100.0)
    model.fit(rows[:5000])
    X = np.tile(rows[:, :3], (2, 4))
    assert peak_bytes(lambda: model.icl(X)) < X.nbytes / 1.5

"""The same bits for any number of threads, and from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from families import CASES, full_params

import fastem
from fastem import Gaussian
from fastem.engines.kernel_engine import cut_rows

N, D, K = 60_000, 4, 3


def estimators(**options):
    for structure in ("full", "tied", "diag", "spherical"):
        yield fastem.GaussianMixture(K, covariance_type=structure, **options)
    yield fastem.PoissonMixture(K, **options)


def fitted_attributes(model):
    found = {name: value for name, value in vars(model).items() if name.endswith("_")}
    history = found.pop("history_")
    return {**found, **{name: history[name] for name in ("lower_bound", "weights")}}


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(actual[name], value), name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_passes(case, compiled_engine, dtype, rng):
    X, params = case.rows(rng, N, D).astype(dtype), case.params(rng, K, D)
    weight = rng.uniform(0.0, 2.0, size=N)
    runner = fastem.get_engine(compiled_engine)
    assert cut_rows(N, K, D, case.family.moments, np.float64, runner.is_wide).n_panels > 16

    def run(n_threads):
        stats = runner.accumulate(case.family, X, params, sample_weight=weight, n_threads=n_threads)
        wanted = ("labels", "log_likelihood", "responsibilities")
        found = runner.evaluate(case.family, X, params, wanted, n_threads=n_threads)
        return {"S": stats.S, "total": stats.log_likelihood, **vars(found)}

    serial = run(1)
    assert np.isfinite(serial["S"]).all()
    for n_threads in (2, 3, 8, None):
        assert_same_bits(run(n_threads), serial)
    # Numba's own threads may not be entered from there.
    with ThreadPoolExecutor(1) as pool:
        assert_same_bits(pool.submit(run, 2).result(), serial)


def test_large_statistics(compiled_engine, rng):
    """Those that several threads add up, with helpers that come late, or not at all."""
    n_features, n_components = 33, 32
    params = full_params(rng, n_components, n_features)
    X = params.means[rng.integers(n_components, size=9000)] + rng.normal(size=(9000, n_features))
    family, runner = Gaussian("full"), fastem.get_engine(compiled_engine)
    assert cut_rows(9000, n_components, n_features, "full", X.dtype, runner.is_wide).n_panels > 4
    serial = runner.accumulate(family, X, params, n_threads=1)
    assert serial.S.size > 2**15
    assert serial.mass.sum() == pytest.approx(9000, rel=1e-12)
    for _ in range(10):
        np.testing.assert_array_equal(runner.accumulate(family, X, params, n_threads=2).S, serial.S)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(runner.accumulate, family, X, params, n_threads=2) for _ in range(12)]
        for future in futures:
            np.testing.assert_array_equal(future.result().S, serial.S)


@pytest.mark.parametrize("index", range(5), ids=["full", "tied", "diag", "spherical", "poisson"])
def test_fitted_attributes(index, compiled_engine, rng):
    X = rng.poisson(rng.gamma(4.0, 1.5, size=(3, D))[rng.integers(3, size=N)]).astype(np.float64)

    def run(n_threads):
        options = {"engine": compiled_engine, "n_threads": n_threads, "init_params": "random", "random_state": 0}
        model = list(estimators(tol=1e-4, max_iter=300, **options))[index].fit(X)
        assert model.engine_ == compiled_engine
        outputs = {"labels": model.predict(X), "proba": model.predict_proba(X), "log_p": model.score_samples(X)}
        return {**fitted_attributes(model), **outputs}

    serial = run(1)
    for n_threads in (2, 5):
        assert_same_bits(run(n_threads), serial)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_starts_side_by_side(case, compiled_engine, rng):
    """Small problems run their starts on a thread each: the same bits as one after another, or each alone."""
    X = case.rows(rng, 400, D)
    starts = [case.params(rng, K, D) for _ in range(4)]
    options = {"engine": compiled_engine, "tol": 0.0, "max_iter": 40}
    alone = [fastem.fit(X, case.family, K, start=start, **options) for start in starts]
    turn = fastem.fit(X, case.family, K, start=starts, n_threads=1, **options)
    assert turn.lower_bounds == tuple(fit.run.lower_bound for fit in alone)
    for _ in range(5):
        side = fastem.fit(X, case.family, K, start=starts, n_threads=4, **options)
        assert side.lower_bounds == turn.lower_bounds
        assert_same_bits(vars(side.params), vars(turn.params))


def test_numba_threads_are_put_back(rng):
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    X = rng.normal(size=(N, D))
    fastem.fit(X, n_components=2, start="random", engine="numba", n_threads=1 if before > 1 else 2, max_iter=1)
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, True, "2"])
def test_number_of_threads_is_checked(n_threads, compiled_engine, rng):
    with pytest.raises(ValueError, match="n_threads"):
        fastem.fit(rng.normal(size=(50, 2)), engine=compiled_engine, n_threads=n_threads)

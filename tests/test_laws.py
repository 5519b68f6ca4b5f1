"""Laws that hold for every family on every engine: see the table in ``families.py``."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from families import CASES
from reference import assert_close, assert_stats_close

import fastem
from fastem.passes import ArrayRows, Passes, Runner
from fastem.stats import Stats, moments_of, n_moments

pytestmark = pytest.mark.parametrize("case", CASES, ids=str)

N, D, K = 150, 3, 3


def accumulate(case, engine, X, params, sample_weight=None, n_threads=None):
    runner = fastem.get_engine(engine)
    return runner.accumulate(case.family, X, params, sample_weight=sample_weight, n_threads=n_threads)


def passes(case, engine, X, sample_weight=None):
    """The E-step with everything that the M-step needs, shared moments included."""
    return Passes(case.family, ArrayRows(X, sample_weight), Runner(fastem.get_engine(engine))).accumulate


def arrays_of(record):
    return {f.name: v for f in fields(record) if isinstance(v := getattr(record, f.name), np.ndarray)}


def copies_of(record):
    return {name: array.copy() for name, array in arrays_of(record).items()}


def assert_unchanged(record, before):
    for name, array in arrays_of(record).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def assert_params_close(actual, expected, tolerance=1e-9):
    for name, array in arrays_of(expected).items():
        assert_close(getattr(actual, name), array, tolerance, name)


# Sums of statistics.


def test_chunks_add_up_to_the_whole(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    whole = accumulate(case, engine, X, params)
    parts = [accumulate(case, engine, X[a:b], params) for a, b in ((0, 1), (1, 65), (65, N))]
    assert_stats_close(parts[0] + parts[1] + parts[2], whole)


def test_partitions_add_up_with_what_they_share(case, engine, rng):
    """Also the moments that all components share: what a machine ships is its whole statistics."""
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    whole = passes(case, engine, X)(params)
    total = passes(case, engine, X[:40])(params) + passes(case, engine, X[40:])(params)
    assert_params_close(case.family.update(total), case.family.update(whole))


def test_zeros_are_neutral(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    stats = accumulate(case, engine, X, params)
    zeros = Stats(0.0, 0.0, stats.origin, np.zeros_like(stats.S), stats.moments)
    for total in (stats + zeros, zeros + stats, stats + (stats - stats)):
        assert total.weight == stats.weight
        assert total.log_likelihood == stats.log_likelihood
        np.testing.assert_array_equal(total.S, stats.S)


def test_scaling(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    stats = passes(case, engine, X)(params)
    assert_stats_close(2.0 * stats, stats + stats)
    assert_stats_close(stats * np.float64(2.0), stats + stats)
    assert_stats_close(np.float64(2.0) * stats, stats + stats)
    assert_stats_close(0.25 * stats + 0.75 * stats, stats)
    assert_params_close(case.family.update(3.0 * stats), case.family.update(stats))


def test_subtraction_takes_rows_out(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    whole, part = accumulate(case, engine, X, params), accumulate(case, engine, X[:50], params)
    assert_stats_close(whole - part, accumulate(case, engine, X[50:], params))


def test_weight_two_is_the_row_twice(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    weight = rng.integers(1, 4, size=N)
    weighted = passes(case, engine, X, weight.astype(np.float64))(params)
    repeated = passes(case, engine, np.repeat(X, weight, axis=0))(params)
    assert weighted.weight == repeated.weight == weight.sum()
    assert_close(weighted.S, repeated.S, 1e-10)
    assert_close(weighted.log_likelihood, repeated.log_likelihood, 1e-10)
    assert_params_close(case.family.update(weighted), case.family.update(repeated))


def test_weight_zero_is_no_row(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    weight = rng.uniform(0.5, 2.0, size=N) * (rng.uniform(size=N) < 0.6)
    kept = weight > 0
    X[~kept] += 1e8
    some = passes(case, engine, X, weight)(params)
    only = passes(case, engine, np.ascontiguousarray(X[kept]), weight[kept])(params)
    assert_close(some.S, only.S, 1e-10)
    assert_close([some.weight, some.log_likelihood], [only.weight, only.log_likelihood], 1e-10)
    assert_params_close(case.family.update(some), case.family.update(only))


# Order and origin.


def test_order_of_rows_changes_nothing(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    weight, order = rng.uniform(0.5, 2.0, size=N), rng.permutation(N)
    shuffled = accumulate(case, engine, X[order], params, weight[order])
    assert_stats_close(shuffled, accumulate(case, engine, X, params, weight))


def test_order_of_components_only_permutes(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    order = np.array([2, 0, 1])
    there, here = passes(case, engine, X)(case.permute(params, order)), passes(case, engine, X)(params)
    assert_close(there.S, here.S[order], 1e-10)
    assert_close(there.log_likelihood, here.log_likelihood, 1e-10)
    assert_params_close(case.family.update(there), case.permute(case.family.update(here), order))


def test_recentring_there_and_back(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    stats = accumulate(case, engine, X, params)
    origin = rng.normal(size=(K, D))
    moved = stats.recenter(origin)
    np.testing.assert_array_equal(moved.origin, origin)
    assert_stats_close(moved.recenter(stats.origin), stats)
    assert_params_close(
        case.family.update(replace(moved, shared=passes(case, engine, X)(params).shared)),
        case.family.update(passes(case, engine, X)(params)),
    )


def test_recentring_gives_the_moments_about_the_new_origin(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    stats = accumulate(case, engine, X, params)
    responsibilities = posterior(case, engine, X, params, "responsibilities").responsibilities
    origin = rng.normal(size=(K, D))
    assert_close(stats.recenter(origin).S, moments_of(X, responsibilities, origin, stats.moments), 1e-10)


def test_unequal_origins_do_not_add(case, engine, rng):
    X = case.rows(rng, N, D)
    one, other = (accumulate(case, engine, X, case.params(rng, K, D)) for _ in range(2))
    with pytest.raises(ValueError, match=r"origin.*recenter"):
        one + other
    assert_close((one + other.recenter(one.origin)).mass.sum(), 2 * N, 1e-10)
    with pytest.raises(ValueError, match=rf"shape \({K}, {D}\).*\(2, {D}\)"):
        one.recenter(np.zeros((2, D)))


# Values.


def test_statistics_pickle(case, engine, rng):
    stats = passes(case, engine, case.rows(rng, N, D))(case.params(rng, K, D))
    back = pickle.loads(pickle.dumps(stats))
    assert_stats_close(back, stats, 0.0)
    assert_params_close(case.family.update(back), case.family.update(stats), 0.0)
    size = len(pickle.dumps(stats))
    assert size < 8 * (K * n_moments("full", D) + n_moments("full", D) + K * D + D) + 1500


def test_values_are_never_changed_in_place(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    weight = rng.uniform(0.5, 2.0, size=N)
    params_before, X_before, weight_before = copies_of(params), X.copy(), weight.copy()
    stats = passes(case, engine, X, weight)(params)
    stats_before = copies_of(stats)
    case.family.update(stats)
    _ = (stats + stats, 0.5 * stats, stats - stats, stats.recenter(stats.origin + 1.0))
    posterior(case, engine, X, params, "labels", "log_likelihood", "responsibilities")
    fastem.fit(X, case.family, K, start=params, sample_weight=weight, engine=engine, max_iter=2)
    assert_unchanged(stats, stats_before)
    assert_unchanged(params, params_before)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(weight, weight_before)
    with pytest.raises(AttributeError):
        stats.weight = 1.0
    with pytest.raises(AttributeError):
        params.weights = None


def posterior(case, engine, X, params, *wanted, n_threads=None):
    return fastem.get_engine(engine).evaluate(case.family, X, params, wanted, n_threads=n_threads)


def test_responsibilities_are_a_distribution(case, engine, rng):
    X, params = case.rows(rng, N, D), case.params(rng, K, D)
    found = posterior(case, engine, X, params, "labels", "responsibilities")
    np.testing.assert_allclose(found.responsibilities.sum(axis=1), 1.0, rtol=1e-14)
    assert (found.responsibilities >= 0).all()
    np.testing.assert_array_equal(found.labels, found.responsibilities.argmax(axis=1))
    assert_close(accumulate(case, engine, X, params).mass, found.responsibilities.sum(axis=0), 1e-12)


# Fits.


def test_likelihood_never_falls(case, engine, rng):
    X, max_iter = case.rows(rng, N, D), 10 if engine == "python" else 30
    for weight in (None, rng.uniform(0.2, 3.0, size=N)):
        start = case.params(rng, K, D)
        options = {"sample_weight": weight, "engine": engine, "tol": 0.0, "max_iter": max_iter}
        reached = fastem.fit(X, case.family, K, start=start, **options).run.history.lower_bound
        assert len(reached) == max_iter
        assert (np.diff(reached) >= -1e-13 * np.abs(reached[1:])).all()
        assert reached[-1] > reached[0] + 0.01


def test_engines_reach_the_same(case, engine, rng):
    X, start = case.rows(rng, N, D), case.params(rng, K, D)
    mine, reference = (
        fastem.fit(X, case.family, K, start=start, engine=name, tol=0.0, max_iter=20) for name in (engine, "numpy")
    )
    assert mine.engine == engine
    assert_params_close(mine.params, reference.params, 1e-9)
    assert_close(mine.run.lower_bound, reference.run.lower_bound, 1e-12)

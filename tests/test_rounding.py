"""Passes of an accelerated fit over rows rounded to single precision, as long as gains are larger than that changes."""

from __future__ import annotations

import numpy as np
import pytest
from families import CASES
from reference import assert_close

import fastem
from fastem.acceleration import GuardedSteps
from fastem.families import Gaussian
from fastem.passes import ArrayRows, Passes, Runner
from fastem.scaling import ScaledRows, Scaling

K, D = 3, 5
GAUSSIANS = [case for case in CASES if isinstance(case.family, Gaussian)]


@pytest.fixture(params=GAUSSIANS, ids=str)
def case(request):
    return request.param


def round_few_rows(monkeypatch):
    for name in fastem.available_engines():
        if can_round(fastem.get_engine(name)):
            monkeypatch.setattr(type(fastem.get_engine(name)), "rounds_from", 0.0)


def can_round(engine):
    return engine.rounds_from < np.inf


@pytest.fixture(name="always_worth_it")
def rounding_of_few_rows(monkeypatch):
    round_few_rows(monkeypatch)


def moved(family, params, shift=0.0, scale=1.0):
    """Parameters of ``shift + scale x`` of those of ``x``."""
    return family.make_params(params.weights, shift + scale * params.means, scale**2 * params.covariances)


def statistics_agree(one, other, tol):
    assert_close(one.log_likelihood, other.log_likelihood, tol)
    assert_close(one.recenter(other.origin).S, other.S, tol * one.weight)
    assert one.weight == other.weight


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_pass_over_rounded_rows(case, engine, layout, weighted, rng):
    n_samples = 700 if engine == "python" else 40_000
    X, params = case.rows(rng, n_samples, D), case.params(rng, K, D)
    X = np.repeat(X, 2, axis=1)[:, ::2] if layout == "strided" else np.asarray(X, order=layout)
    weight = rng.uniform(0.0, 2.0, size=n_samples) if weighted else None
    run = fastem.get_engine(engine)
    exact = run.accumulate(case.family, X, params, sample_weight=weight)
    rounded = run.accumulate(case.family, X, params, sample_weight=weight, rounded=True)
    statistics_agree(rounded, exact, 1e-5)
    if can_round(run):
        single = run.accumulate(case.family, X.astype(np.float32), params, sample_weight=weight)
        statistics_agree(rounded, single, 1e-6)
        assert (rounded.S != exact.S).any()


def test_any_number_of_threads_and_any_order_of_rows(engine, rng):
    case = GAUSSIANS[0]
    X, params = case.rows(rng, 2000 if engine == "python" else 150_000, D), case.params(rng, K, D)
    run = fastem.get_engine(engine)
    one, other = (run.accumulate(case.family, X, params, rounded=True, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.S, other.S)
    assert one.log_likelihood == other.log_likelihood
    order, weight = run.group_rows(case.family, X, params), rng.uniform(size=len(X))
    if order is not None:
        for options in ({}, {"sample_weight": weight}):
            plain = run.accumulate(case.family, X, params, rounded=True, **options)
            grouped = run.accumulate(case.family, X, params, rounded=True, order=order, **options)
            statistics_agree(grouped, plain, 1e-6)


def test_what_bears_rounding(case, rng):
    params = case.params(rng, K, D)
    assert case.family.bears_rounding(params)
    assert not case.family.bears_rounding(moved(case.family, params, shift=1e4))
    # One far component, or one of tiny variance, is enough.
    means = params.means.copy()
    means[1, 2] = 1e4
    assert not case.family.bears_rounding(case.family.make_params(params.weights, means, params.covariances))
    small = params.covariances * 1e-8
    assert not case.family.bears_rounding(case.family.make_params(params.weights, params.means, small))
    # Units alone do not matter, unless squares leave the range of single precision.
    assert case.family.bears_rounding(moved(case.family, params, scale=1e-6))
    for scale in (1e-20, 1e20):
        assert not case.family.bears_rounding(moved(case.family, params, scale=scale))


def test_nearly_collinear_features_do_not_bear_rounding():
    family = Gaussian("full")
    for correlation, bears in ((0.9, True), (1 - 1e-9, False)):
        covariance = np.array([[1.0, correlation], [correlation, 1.0]])
        params = family.make_params(np.ones(1), np.zeros((1, 2)), covariance[None])
        assert family.bears_rounding(params) is bears


def test_other_families_are_not_rounded(rng):
    for case in CASES:
        if case not in GAUSSIANS:
            assert not case.family.bears_rounding(case.params(rng, K, D))


def flags_of(engine, monkeypatch):
    """Whether the rows of each pass of the engine may have been rounded."""
    flags, accumulate = [], type(engine).accumulate

    def noted(self, *args, rounded=False, **options):
        flags.append(rounded)
        return accumulate(self, *args, rounded=rounded, **options)

    monkeypatch.setattr(type(engine), "accumulate", noted)
    return flags


@pytest.mark.parametrize("accelerate", ["lbfgs", "squarem", "anderson"])
@pytest.mark.parametrize("stopping", ["change", "aitken"])
def test_an_accelerated_fit_ends_on_the_rows_as_they_are(case, accelerate, stopping, monkeypatch, rng):
    X, start = case.rows(rng, 3000, D), case.params(rng, K, D)
    options = {"start": start, "tol": 1e-6, "max_iter": 2000, "accelerate": accelerate, "stopping": stopping}
    exact = fastem.fit(X, case.family, K, **options)
    round_few_rows(monkeypatch)
    flags = flags_of(fastem.get_engine(exact.engine), monkeypatch)
    rounded = fastem.fit(X, case.family, K, **options)
    assert rounded.run.converged
    assert len(flags) == rounded.run.n_iter
    # All at first, none from some pass on; the last EM step has its gain from two passes.
    n_rounded = sum(flags)
    assert 0 < n_rounded <= len(flags) - 2
    assert all(flags[:n_rounded])
    assert abs(rounded.run.lower_bound - exact.run.lower_bound) < 1e-4
    # The bound that is reported is of the rows as they are, and of the point before the last M-step.
    last = rounded.run.history.lower_bound[-1]
    after = fastem.get_engine("numpy").accumulate(rounded.family, X, rounded.params)
    assert -1e-9 < after.log_likelihood / after.weight - last < 1e-6
    # No gain is known where rows begin to be exact: it would compare likelihoods of different rows.
    assert np.isnan(rounded.run.history.gain[n_rounded - 1 : n_rounded + 1]).all()


@pytest.mark.usefixtures("always_worth_it")
def test_who_is_never_rounded(monkeypatch, rng):
    case = GAUSSIANS[0]
    X, start = case.rows(rng, 1000, D), case.params(rng, K, D)
    engine = fastem.get_engine(fastem.fit(X, case.family, K, start=start, accelerate="auto").engine)
    flags = flags_of(engine, monkeypatch)
    options = {"start": start, "tol": 1e-6, "max_iter": 200, "engine": engine.name}
    fastem.fit(X, case.family, K, **options)  # EM itself
    fastem.fit(X.astype(np.float32), case.family, K, **options, accelerate="auto")
    far = {**options, "start": moved(case.family, start, shift=1e6)}
    fastem.fit(X + 1e6, case.family, K, **far, accelerate="auto")
    assert flags
    assert not any(flags)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [1e25, 1e100])
def test_rows_that_are_too_far_outside(engine, far, rng):
    case = GAUSSIANS[0]
    X, params = case.rows(rng, 500, D), case.params(rng, K, D)
    X[7, 3] = far
    passes_over = Passes(case.family, ArrayRows(X), Runner(fastem.get_engine(engine), 2))
    exact, rounded = (passes_over.accumulate(params, rounded=flag) for flag in (False, True))
    assert np.isfinite(exact.log_likelihood)
    np.testing.assert_array_equal(rounded.S, exact.S)
    assert rounded.log_likelihood == exact.log_likelihood


@pytest.mark.usefixtures("always_worth_it")
def test_standardised_rows_are_judged_in_the_units_of_the_data(engine, rng):
    case = GAUSSIANS[0]
    X = case.rows(rng, 300, D)
    runner = Runner(fastem.get_engine(engine), 1)
    for offset, same in ((0.0, False), (1e6, True)):
        rows = ArrayRows(X + offset)
        scaling = Scaling.of(case.family, rows.moments("diag", runner))
        scaled = Passes(case.family, ScaledRows(rows, scaling), runner)
        params = scaling.from_data(moved(case.family, case.params(rng, K, D), shift=offset))
        assert scaled.rounds(K) is can_round(runner.engine)
        rounded = scaled.accumulate(params, rounded=True)
        exact = scaled.accumulate(params)
        assert (exact.log_likelihood == rounded.log_likelihood) is (same or not can_round(runner.engine))


def test_small_passes_are_not_worth_it(rng):
    case = GAUSSIANS[0]
    runner = Runner(fastem.get_engine("python"))
    assert not Passes(case.family, ArrayRows(case.rows(rng, 1000, D)), runner).rounds(K)
    many = np.broadcast_to(case.rows(rng, 1, 32), (200_000, 32))
    assert Passes(case.family, ArrayRows(many), runner).rounds(32)
    assert not Passes(case.family, ArrayRows(many.astype(np.float32)), runner).rounds(32)


def test_the_guard_asks_for_exact_rows_when_gains_are_small(rng):
    case = GAUSSIANS[0]
    X, params = case.rows(rng, 2000, D), case.params(rng, K, D)
    steps = Passes(case.family, ArrayRows(X), Runner(fastem.get_engine("numpy")))

    class Nothing:
        def visited(self, point, params, plain):
            pass

        def rejected(self):
            pass

        def propose(self):
            return None

    guard = GuardedSteps(case.family, Nothing(), 1e-12, rounded=True)
    gains = []
    for _ in range(3000):
        was_rounded = guard.rounded
        step = guard(params, steps.accumulate(params), case.family.update)
        params = step.point
        gains.append(step.gain)
        if was_rounded and not guard.rounded:
            break
    # At the rounding of the likelihood, long before tol.
    assert np.isnan(gains[-1])
    bound = np.finfo(np.float32).eps * (1 + abs(step.lower_bound))
    assert 0.1 * bound < gains[-2] < 10 * bound

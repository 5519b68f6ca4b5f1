"""Accelerated loops and stopping rules: the same optimum in fewer passes, and no harm from any proposal."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from families import CASES
from reference import assert_close
from sklearn.base import clone

import fastem
from fastem import GaussianMixture, PoissonMixture, em
from fastem.acceleration import ACCELERATIONS, EXTRAPOLATIONS, GuardedSteps, accelerated
from fastem.families.base import DegenerateComponentError
from fastem.passes import ArrayRows, Passes, Runner
from fastem.stats import Stats, moments_of

K, D = 3, 3
NAMES = ("lbfgs", "squarem", "anderson")


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture(params=NAMES)
def accelerate(request):
    return request.param


def overlapping(case, rng, n_samples=1500):
    """Rows of overlapping components, and a start that is near them: one optimum, and a slow way to it."""
    truth = case.params(rng, K, D)
    labels = rng.choice(K, size=n_samples, p=truth.weights)
    rows = [case.family.sample(truth, k, int((labels == k).sum()), rng) for k in range(K)]
    return np.concatenate(rows), truth


def passes(case, X, engine="cython"):
    name = engine if engine in fastem.available_engines() else "numpy"
    return Passes(case.family, ArrayRows(X), Runner(fastem.get_engine(name), 1))


def mean_log_likelihood(steps, params):
    stats = steps.accumulate(params)
    return stats.log_likelihood / stats.weight


def arrays_of(record):
    return {f.name: getattr(record, f.name) for f in fields(record)}


# Same optimum, fewer passes.


def test_same_optimum_in_fewer_passes(case, accelerate, rng):
    X, start = overlapping(case, rng)
    options = {"start": start, "tol": 1e-11, "max_iter": 20_000}
    plain = fastem.fit(X, case.family, K, **options)
    fast = fastem.fit(X, case.family, K, **options, accelerate=accelerate)
    assert plain.run.converged
    assert fast.run.converged
    assert_close(fast.run.lower_bound, plain.run.lower_bound, 1e-8)
    assert plain.run.n_iter > 50  # slow enough to tell
    assert fast.run.n_iter < 0.6 * plain.run.n_iter


def test_the_bound_never_falls(case, engine, accelerate, rng):
    X, start = case.rows(rng, 150, D), case.params(rng, K, D)
    max_iter = 10 if engine == "python" else 40
    for weight in (None, rng.uniform(0.2, 3.0, size=len(X))):
        options = {"sample_weight": weight, "engine": engine, "tol": 0.0, "accelerate": accelerate}
        run = fastem.fit(X, case.family, K, start=start, max_iter=max_iter, **options).run
        reached = run.history.lower_bound
        assert len(reached) == run.n_iter == max_iter
        assert (np.diff(reached) >= -1e-13 * np.abs(reached[1:])).all()
        assert run.lower_bound == reached[-1]


def test_every_pass_is_counted(case, accelerate, rng):
    X, start = overlapping(case, rng, 300)
    steps, counted = passes(case, X), []

    def accumulate(params):
        counted.append(params)
        return steps.accumulate(params)

    strategy = accelerated(accelerate, case.family, 1e-9, "change", -np.inf)
    run = em.run(accumulate, case.family.update, start, tol=1e-9, max_iter=3000, steps=strategy)
    assert run.converged
    assert run.n_iter == len(counted) == len(run.history.lower_bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_types(case, accelerate, dtype, rng):
    X, start = overlapping(case, rng)
    options = {"start": start, "tol": 1e-6, "max_iter": 1000}
    plain, fast = (fastem.fit(X.astype(dtype), case.family, K, **options, accelerate=a) for a in (None, accelerate))
    assert fast.run.converged
    assert fast.run.n_iter <= plain.run.n_iter
    assert fast.run.lower_bound > plain.run.lower_bound - 1e-5


def test_auto_is_one_of_them(case, rng):
    X, start = overlapping(case, rng, 300)
    one, other = (fastem.fit(X, case.family, K, start=start, accelerate=a).run for a in ("auto", "lbfgs"))
    np.testing.assert_array_equal(one.history.lower_bound, other.history.lower_bound)
    assert set(EXTRAPOLATIONS) == set(ACCELERATIONS)


@pytest.mark.parametrize("accelerate", NAMES)
def test_units_of_the_features_do_not_matter(accelerate, rng):
    case = CASES[0]
    X, start = overlapping(case, rng, 500)
    scale = np.array([1e-3, 1.0, 1e4])
    scaled = case.family.make_params(start.weights, start.means * scale, start.covariances * np.outer(scale, scale))
    options = {"tol": 1e-8, "max_iter": 1000, "accelerate": accelerate, "engine": "numpy"}
    one = fastem.fit(X, case.family, K, start=start, **options).run
    other = fastem.fit(X * scale, case.family, K, start=scaled, **options).run
    first = slice(0, 10)  # later on rounding decides
    shift = np.log(scale).sum()
    assert_close(other.history.lower_bound[first] + shift, one.history.lower_bound[first], 1e-9)


# The guard.


@dataclass
class Adversary:
    """Proposes what it is told to, wherever the loop is."""

    make: object

    def visited(self, point, params, plain):
        self.params = params

    def rejected(self):
        pass

    def propose(self):
        return self.make(self.params)


def broken(params, name, value):
    array = np.array(getattr(params, name), dtype=float)
    array.flat[0] = value
    return replace(params, **{name: array})


def refuse(params):
    raise DegenerateComponentError("no distribution")


def origin_of(params):
    return next(name for name in ("means", "rates") if hasattr(params, name))


GARBAGE = {
    "nan": lambda p: broken(p, origin_of(p), np.nan),
    "infinite": lambda p: broken(p, origin_of(p), np.inf),
    "far": lambda p: broken(p, origin_of(p), 1e6),
    "overflow": lambda p: broken(p, origin_of(p), 1e250),
    "weights": lambda p: broken(p, "weights", np.nan),
    "one component": lambda p: replace(p, weights=np.eye(len(p.weights))[0]),
    "all the same": lambda p: replace(p, **{origin_of(p): np.ones_like(p.origin)}),
    "another type": lambda p: "parameters",
    "error": refuse,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_does_no_harm(case, kind, rng):
    X, start = overlapping(case, rng, 400)
    steps, family = passes(case, X), case.family
    plain = em.run(steps.accumulate, family.update, start, tol=1e-5, max_iter=5000)
    guard = GuardedSteps(family, Adversary(GARBAGE[kind]), 1e-5)
    with np.errstate(over="ignore", invalid="ignore"):
        run = em.run(steps.accumulate, family.update, start, tol=1e-5, max_iter=10_000, steps=guard)
    assert run.converged
    assert (np.diff(run.history.lower_bound) >= 0).all()
    assert plain.n_iter <= run.n_iter <= 2 * plain.n_iter
    for name, array in arrays_of(plain.params).items():
        assert_close(getattr(run.params, name), array, 1e-12, name)


def test_a_point_that_is_taken_is_as_good_as_the_em_step(case, accelerate, rng):
    """Measured, on the way from far away as well as near the end: the bound of the gain is not a theorem there."""
    X = case.rows(rng, 400, D)
    steps, family = passes(case, X), case.family
    taken = 0
    for _ in range(3):
        guard = accelerated(accelerate, family, 0.0, "change", -np.inf)
        here, point, extrapolated = None, case.params(rng, K, D), False
        for _ in range(60):
            step = guard(point, steps.accumulate(point), family.update)
            if extrapolated and step.weights is point.weights and not np.array_equal(step.params, here.params):
                em_step = mean_log_likelihood(steps, here.params)
                doubtful = step.point is here.params  # the EM step is evaluated next
                assert doubtful or step.lower_bound >= em_step - 1e-12 * abs(em_step)
                taken += not doubtful
            here, point, extrapolated = step, step.point, step.extrapolated
    assert taken > 10


def test_a_point_between_is_measured_against_the_em_step(rng):
    """A proposal that gains a little, less than the EM step: the EM step is evaluated and wins."""
    case = CASES[0]
    X, start = overlapping(case, rng, 400)
    steps, family = passes(case, X), case.family
    plain = em.run(steps.accumulate, family.update, start, tol=0.0, max_iter=2)
    short = family.to_vector(plain.params, start)

    class Short(Adversary):
        def propose(self):
            x = family.to_vector(start, start)
            half = family.to_vector(family.update(steps.accumulate(start)), start)
            return family.from_vector(x + 0.5 * (half - x), start)

    guard = GuardedSteps(family, Short(None), 0.0)
    run = em.run(steps.accumulate, family.update, start, tol=0.0, max_iter=3, steps=guard)
    np.testing.assert_array_equal(run.history.lower_bound[[0, 2]], plain.history.lower_bound)
    assert run.history.lower_bound[0] < run.history.lower_bound[1] < run.history.lower_bound[2]
    np.testing.assert_array_equal(family.to_vector(run.params, start), short)


def test_only_em_steps_end_a_loop(case, accelerate, rng):
    """An extrapolated point may change the likelihood by less than ``tol``, and is no reason to stop."""
    X, start = overlapping(case, rng, 600)
    steps, family = passes(case, X), case.family
    for tol in (1e-3, 1e-5, 1e-7):
        guard = accelerated(accelerate, family, tol, "change", -np.inf)
        run = em.run(steps.accumulate, family.update, start, tol=tol, max_iter=3000, steps=guard)
        assert run.converged
        assert mean_log_likelihood(steps, run.params) - run.lower_bound < tol


# What a family provides.


def test_vectors_there_and_back(case, rng):
    for n_components, n_features in ((1, 1), (2, 1), (3, 4), (5, 2)):
        like, params = (case.params(rng, n_components, n_features) for _ in range(2))
        vector = case.family.to_vector(params, like)
        assert vector.ndim == 1
        for name, array in arrays_of(params).items():
            assert_close(getattr(case.family.from_vector(vector, like), name), array, 1e-10, name)
        # Any vector is one of parameters.
        other = case.family.from_vector(rng.normal(scale=0.3, size=vector.shape), like)
        case.family.check_params(other)
        again = case.family.from_vector(case.family.to_vector(other, like), like)
        for name, array in arrays_of(other).items():
            assert_close(getattr(again, name), array, 1e-10, name)
        assert abs(case.family.to_vector(like, like)).max() < 1e-12


def test_vectors_of_components_in_another_order(case, rng):
    like, params = (case.params(rng, K, D) for _ in range(2))
    order = rng.permutation(K)
    one = case.family.to_vector(params, like)
    other = case.family.to_vector(case.permute(params, order), case.permute(like, order))
    assert_close(np.sort(other), np.sort(one), 1e-12)


def test_the_m_step_maximises_what_is_expected(case, rng):
    X, params = case.rows(rng, 200, D), case.params(rng, K, D)
    steps, family = passes(case, X), case.family
    stats = steps.accumulate(params)
    best = family.update(stats)
    top = family.expected_log_likelihood(stats, best)
    for _ in range(10):
        direction = rng.normal(size=family.to_vector(best, best).shape)
        near = [
            family.expected_log_likelihood(stats, family.from_vector(size * direction, best)) for size in (-0.1, 0.1)
        ]
        assert max(near) < top
    # Up to a constant of the rows it is the sum over the responsibilities.
    responsibilities = np.exp(family.log_density(X, params)) * params.weights
    responsibilities /= responsibilities.sum(axis=1, keepdims=True)
    expected = [np.sum(responsibilities * (np.log(p.weights) + family.log_density(X, p))) for p in (params, best)]
    gained = top - family.expected_log_likelihood(stats, params)
    assert_close(gained, expected[1] - expected[0], 1e-8)
    gain = steps.accumulate(best).log_likelihood - stats.log_likelihood
    assert gain >= gained * (1 - 1e-9)


def test_coordinates_are_orthonormal_in_the_complete_information(case, rng):
    """A short step ``e`` costs ``|e|^2 / 2`` of the expected log-likelihood of its own E-step."""
    like = case.params(rng, K, D)
    family = case.family
    X = np.concatenate([family.sample(like, k, round(20_000 * like.weights[k]), rng) for k in range(K)])
    labels = np.repeat(np.arange(K), [round(20_000 * w) for w in like.weights])
    S = moments_of(X, np.eye(K)[labels], like.origin, family.moments)
    shared = None
    if family.shared_moments is not None:
        centre = X.mean(axis=0, keepdims=True)
        shared = Stats(len(X), 0.0, centre, moments_of(X, np.ones((len(X), 1)), centre, "full"), "full")
    known = Stats(len(X), 0.0, like.origin, S, family.moments, shared)
    best = family.update(known)
    top = family.expected_log_likelihood(known, best)
    for _ in range(5):
        e = 0.02 * rng.normal(size=family.to_vector(best, best).shape)
        e[:K] -= np.sqrt(best.weights) * (np.sqrt(best.weights) @ e[:K])  # weights sum to 1
        cost = top - family.expected_log_likelihood(known, family.from_vector(e, best))
        assert_close(cost / known.weight, 0.5 * e @ e, 0.1)


def test_zero_weights_and_rates_at_the_floor(case, accelerate, rng):
    X, start = case.rows(rng, 300, D), case.params(rng, K, D)
    empty = replace(start, weights=np.array([0.4, 0.6, 0.0]))
    family = case.family
    if case.name == "poisson":
        X[:, 1] = 0
    else:
        family = replace(case.family, reg_covar=1e-3)  # what is empty has no covariance
    options = {"tol": 1e-6, "max_iter": 2000, "accelerate": accelerate}
    for begin in (start, empty):
        run = fastem.fit(X, family, K, start=begin, **options).run
        assert run.converged
        assert np.isfinite(run.lower_bound)


def test_variances_below_reg_covar_are_refused():
    family = fastem.Gaussian("diag", reg_covar=0.5)
    like = family.make_params(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    thin = family.make_params(np.ones(1), np.zeros((1, 2)), np.array([[1.0, 0.4]]))
    with pytest.raises(DegenerateComponentError, match="reg_covar"):
        family.from_vector(family.to_vector(thin, like), like)


# Stopping.


def test_aitken_limit_of_a_geometric_sequence():
    values = 5 - 0.9 ** np.arange(5)
    gains = np.diff(values)
    assert_close(em.aitken_limit(values[-1], gains[-1], gains[-2]), 5.0, 1e-12)
    assert em.aitken_limit(-1.0, 0.0, 0.1) == -1.0  # at the limit
    assert em.aitken_limit(-1.0, 1e-17, 0.0) == -1.0
    for gain, before in ((0.1, 0.1), (0.2, 0.1), (-0.1, 0.2), (0.1, np.inf), (0.1, np.nan), (0.1, 0.0), (np.nan, 0.1)):
        assert np.isnan(em.aitken_limit(-1.0, gain, before))


def test_aitken_goes_on_where_the_change_stops(case, rng):
    X, start = overlapping(case, rng)
    options = {"start": start, "max_iter": 20_000}
    limit = fastem.fit(X, case.family, K, tol=1e-13, **options).run.lower_bound
    tol = 1e-5
    by_change, by_aitken = (
        fastem.fit(X, case.family, K, tol=tol, stopping=rule, **options).run for rule in em.STOPPING_RULES
    )
    assert limit - by_change.lower_bound > 2 * tol  # early
    assert limit - by_aitken.lower_bound < 1.5 * tol
    history = by_aitken.history
    assert np.isnan(history.limit[:2]).all()
    assert abs(history.limit[-1] - history.lower_bound[-1]) < tol
    known = ~np.isnan(history.limit)
    assert not (np.abs(history.limit - history.lower_bound)[known][:-1] < tol).any()


def test_aitken_with_acceleration(case, accelerate, rng):
    X, start = overlapping(case, rng)
    options = {"start": start, "max_iter": 20_000, "stopping": "aitken", "tol": 1e-7}
    plain = fastem.fit(X, case.family, K, **options).run
    fast = fastem.fit(X, case.family, K, accelerate=accelerate, **options).run
    assert fast.converged
    assert fast.n_iter < 0.6 * plain.n_iter
    assert fast.lower_bound > plain.lower_bound - 1e-5
    assert abs(fast.history.limit[-1] - fast.lower_bound) < 1e-7


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accelerate": "fast"}, r"accelerate.*squarem.*anderson.*'fast'"),
        ({"accelerate": True}, "accelerate.*True"),
        ({"stopping": "never"}, r"stopping.*change.*aitken.*'never'"),
        ({"stopping": None}, "stopping.*None"),
    ],
)
def test_bad_options(options, message, faithful):
    with pytest.raises(ValueError, match=message):
        fastem.fit(faithful, n_components=2, **options)
    for Mixture in (GaussianMixture, PoissonMixture):
        with pytest.raises(ValueError, match=r"accelerate|stopping"):
            Mixture(2, **options).fit(faithful)


def test_a_family_without_vectors_says_so(faithful):
    class Plain(fastem.Gaussian):
        to_vector = fastem.families.Family.to_vector

    assert fastem.fit(faithful, Plain(), 2, random_state=0).run.converged
    with pytest.raises(ValueError, match="Plain has no to_vector"):
        fastem.fit(faithful, Plain(), 2, accelerate="auto")


@pytest.mark.parametrize("Mixture", [GaussianMixture, PoissonMixture])
def test_estimators(Mixture, accelerate, faithful):
    options = {"random_state": 0, "tol": 1e-7, "max_iter": 2000}
    plain = Mixture(3, **options).fit(faithful)
    model = Mixture(3, **options, accelerate=accelerate, stopping="aitken", n_init=2).fit(faithful)
    assert clone(model).get_params() == model.get_params()
    assert model.converged_
    assert model.lower_bound_ > plain.lower_bound_ - 1e-6
    assert set(model.history_) == {"lower_bound", "weights", "seconds", "limit"}
    assert {len(values) for values in model.history_.values()} == {model.n_iter_}
    model.set_params(warm_start=True).fit(faithful)
    assert model.n_iter_ <= 20


def test_several_starts_side_by_side(case, accelerate, rng):
    X = case.rows(rng, 200, D)
    starts = [case.params(rng, K, D) for _ in range(4)]
    options = {"max_iter": 50, "accelerate": accelerate}
    together = fastem.fit(X, case.family, K, start=starts, n_threads=2, **options)
    alone = [fastem.fit(X, case.family, K, start=start, **options).run.lower_bound for start in starts]
    np.testing.assert_allclose(together.lower_bounds, alone, rtol=1e-12)


def test_ctrl_c_keeps_the_best_point(case, accelerate, rng):
    X, start = overlapping(case, rng, 300)

    def press(entry):
        if entry.iteration == 9:
            os.kill(os.getpid(), signal.SIGINT)

    run = fastem.fit(
        X, case.family, K, start=start, accelerate=accelerate, tol=0.0, on_interrupt="keep", callbacks=press
    ).run
    assert run.interrupted
    assert run.n_iter == 9
    assert mean_log_likelihood(passes(case, X), run.params) >= run.lower_bound - 1e-12


def test_callbacks_see_the_history(case, accelerate, rng):
    X, start = overlapping(case, rng, 300)
    seen = []
    run = fastem.fit(
        X, case.family, K, start=start, accelerate=accelerate, tol=1e-8, max_iter=1000, callbacks=seen.append
    ).run
    np.testing.assert_array_equal([entry.lower_bound for entry in seen], run.history.lower_bound)
    np.testing.assert_array_equal([entry.weights for entry in seen], run.history.weights)
    np.testing.assert_array_equal([entry.change for entry in seen][1:], np.diff(run.history.lower_bound))
    assert [entry.converged for entry in seen] == [False] * (run.n_iter - 1) + [True]


def test_in_the_command(tmp_path, capsys, faithful):
    from fastem.cli import main

    np.save(tmp_path / "rows.npy", faithful)
    command = ["fit", str(tmp_path / "rows.npy"), "--components", "2", "--covariance", "full", "--quiet"]
    assert main([*command, "--accelerate", "auto", "--stopping", "aitken"]) == 0
    assert main([*command, "--accelerate", "fast"]) == 2
    assert "anderson" in capsys.readouterr().err

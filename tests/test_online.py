"""Online EM against recursions spelled out, and the laws that its methods obey."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest
from estimator_table import MAKERS, count_table
from families import CASES
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastem
from fastem import GaussianMixture, StepSize, fit_online, get_engine
from fastem.data.blocks import Block
from fastem.engines import available_engines
from fastem.online.memory import Memory
from fastem.online.sources import Incremental
from fastem.passes import ArrayRows, Passes, Runner

K, D = 3, 2


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def arrays_of(params):
    return {name: np.asarray(value) for name, value in vars(params).items() if name != "precisions_cholesky"}


def assert_close(one, other, rtol):
    for name, value in arrays_of(one).items():
        np.testing.assert_allclose(value, arrays_of(other)[name], rtol=rtol, atol=rtol, err_msg=name)


def responsibilities(case, X, params):
    log_p = np.log(params.weights) + np.stack([case.log_pdf(X, params, k) for k in range(len(params.weights))], axis=1)
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def raw_moments(case, X, params):
    """Means over rows of ``r``, ``r x`` and ``r x x'``."""
    r = responsibilities(case, X, params) / len(X)
    return r.sum(axis=0), r.T @ X, np.einsum("nk,ni,nj->kij", r, X, X)


def maximised(case, moments):
    mass, first, second = moments
    means = first / mass[:, None]
    if case.name == "poisson":
        return case.family.make_params(mass, means)
    between = np.einsum("k,ki,kj->kij", mass, means, means)
    full = (second - between) / mass[:, None, None]
    diag = np.diagonal(full, axis1=1, axis2=2)
    kinds = {"full": full, "tied": (second - between).sum(axis=0), "diag": diag, "spherical": diag.mean(axis=1)}
    return case.family.make_params(mass, means, kinds[case.name])


# Stepwise.


def test_one_block_is_one_step_of_em(case, engine, rng):
    X, params = case.rows(rng, 150, D), case.params(rng, K, D)
    found = fit_online(X, case.family, K, start=params, batch_size=150, engine=engine)
    assert_close(found.params, maximised(case, raw_moments(case, X, params)), 1e-12)
    assert (found.run.n_iter, found.n_samples) == (1, 150)


@pytest.mark.parametrize("step", [StepSize(alpha=1.0), StepSize(alpha=0.6), StepSize(alpha=0.7, t0=3.0)])
def test_stepwise_is_its_recursion(case, step, rng):
    X, params = case.rows(rng, 400, D), case.params(rng, K, D)
    found = fit_online(X, case.family, K, start=params, batch_size=80, interleave=False, step_size=step)
    s = None
    for t, batch in enumerate(X.reshape(5, 80, D), start=1):
        new = raw_moments(case, batch, params)
        g = 1.0 if s is None else (t + step.t0) ** -step.alpha
        s = new if s is None else [(1 - g) * a + g * b for a, b in zip(s, new, strict=True)]
        params = maximised(case, s)
    assert_close(found.params, params, 1e-9)
    assert found.run.n_iter == 5


def test_no_digits_are_lost_far_from_zero(rng):
    """The same parameters about an offset of 1e6, whose square has no room for the variances."""
    X, params = CASES[0].rows(rng, 400, D), CASES[0].params(rng, K, D)
    family = CASES[0].family
    far = family.make_params(params.weights, params.means + 1e6, params.covariances)
    near, moved = (
        fit_online(rows, family, K, start=start, batch_size=80).params for rows, start in ((X, params), (X + 1e6, far))
    )
    np.testing.assert_allclose(moved.covariances, near.covariances, rtol=1e-6)


def test_rows_of_a_generator_are_rows_of_an_array(case, rng):
    X, params, weight = case.rows(rng, 400, D), case.params(rng, K, D), rng.uniform(0.5, 2.0, 400)
    options = {"start": params, "batch_size": 80}
    of_array = fit_online(X, case.family, K, sample_weight=weight, interleave=False, **options)
    of_blocks = fit_online(zip(X.reshape(5, 80, D), weight.reshape(5, 80), strict=True), case.family, K, **options)
    assert_close(of_array.params, of_blocks.params, 0)
    strided = fit_online([X[i::5] for i in range(5)], case.family, K, **options)
    assert_close(fit_online(X, case.family, K, interleave=True, **options).params, strided.params, 0)


def test_interleaved_mini_batches_represent_sorted_rows(rng):
    X = np.sort(np.concatenate([rng.normal(0, 1, 4000), rng.normal(8, 1, 4000)]))[:, None]
    found = fit_online(X, n_components=2, random_state=0, batch_size=500)
    np.testing.assert_allclose(found.params.weights, 0.5, atol=0.02)
    np.testing.assert_allclose(np.sort(found.params.means.ravel()), [0, 8], atol=0.1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", [fastem.Gaussian("full"), fastem.Gaussian("tied")], ids=["full", "tied"])
def test_large_mini_batches_of_sorted_rows_are_read_where_they_lie(family, dtype, weighted, order, engine, rng):
    """They learn what copies of their rows teach, which come from all over the array."""
    if engine == "python":
        pytest.skip("takes minutes; it has the runs' test in test_engines.py")
    X = np.sort(np.concatenate([rng.normal(0, 1, 60_000), rng.normal(8, 1, 60_001)]))[:, None]
    X = np.asarray(np.hstack([X, rng.normal(size=X.shape)]), dtype=dtype, order=order)
    weight = rng.uniform(0.5, 1.5, len(X)) if weighted else None
    pieces = list(Block(X, weight).cut(20_000, interleave=True))
    assert len(pieces) == 6
    assert all(piece.X is X and piece.weight is weight for piece in pieces)
    start = fastem.fit(X[::100], family, 2, random_state=0, max_iter=3).params
    options = {"family": family, "n_components": 2, "start": start, "engine": engine}
    found = fit_online(X, sample_weight=weight, batch_size=20_000, **options)
    copies = [piece.gathered() for piece in pieces]
    blocks = [c.X if c.weight is None else (c.X, c.weight) for c in copies]
    assert_close(found.params, fit_online(blocks, **options).params, 1e-4 if dtype == np.float32 else 1e-10)
    np.testing.assert_allclose(found.params.weights, 0.5, atol=0.02)
    np.testing.assert_allclose(np.sort(found.params.means[:, 0]), [0, 8], atol=0.05)


@pytest.mark.parametrize("method", ["stepwise", "incremental"])
@pytest.mark.parametrize("interleave", [False, True])
def test_rows_of_no_use_are_named_whichever_mini_batch_they_are_in(method, interleave, rng):
    """Nobody looks for them: the log-likelihood tells."""
    X = rng.normal(size=(50_000, 2))
    X[41_234, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN .*row 41234"):
        fit_online(X, n_components=2, method=method, interleave=interleave, batch_size=20_000, random_state=0)


@pytest.mark.parametrize(
    ("n", "n_rows"), [(1000, 100), (100_003, 9000), (500_003, 40_000), (3_000_001, 900_000), (50, 7), (20, 20)]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_cuts_have_each_row_once(n, n_rows, order):
    X = np.asarray(np.arange(2.0 * n).reshape(n, 2), order=order)
    for interleave in (False, True):
        pieces = list(Block(X, X[:, 0].copy()).cut(n_rows, interleave))
        in_place = pieces[0].runs is not None
        assert in_place == (interleave and n_rows > 2**15)
        sizes = [len(piece) for piece in pieces]
        assert sizes == [len(piece.gathered().X) for piece in pieces]
        assert min(sizes) >= n_rows - in_place * pieces[0].X.shape[0] // 64
        assert max(sizes) - min(sizes) <= 1 or interleave
        assert max(sizes) < 2 * n_rows
        pieces = [piece.gathered() for piece in pieces]
        assert all(np.array_equal(piece.X[:, 0], piece.weight) for piece in pieces)
        assert np.array_equal(np.sort(np.concatenate([piece.weight for piece in pieces])), X[:, 0])
        if interleave:
            assert all(abs(piece.weight.mean() - n) < 0.05 * n + len(pieces) for piece in pieces)


def test_a_light_mini_batch_is_a_part_of_a_step():
    step = StepSize(alpha=0.6)
    past, new = step.factors(9000.0, 1000.0, 1000.0)
    assert 1000 * new / (9000 * past + 1000 * new) == pytest.approx(10**-0.6)
    past, new = step.factors(9000.0, 1.0, 1000.0)
    assert 1.0 * new / (9000 * past + new) == pytest.approx(1 - (1 - 10**-0.6) ** 0.001)


@pytest.mark.skipif("cython" not in available_engines(), reason="no compiled kernels")
@pytest.mark.parametrize("method", ["stepwise", "averaged", "incremental"])
def test_threads_do_not_change_a_bit(case, method, rng):
    X, params = case.rows(rng, 40_000, D), case.params(rng, K, D)
    options = {"start": params, "batch_size": 10_000, "method": method, "engine": "cython"}
    one, three = (fit_online(X, case.family, K, n_threads=n, **options) for n in (1, 3))
    assert_close(one.params, three.params, 0)


def test_averaged_is_the_average_of_the_steps(case, rng):
    """Weights, and weights times means, are averages of those of the steps, later steps counting more."""
    X, params = case.rows(rng, 1600, D), case.params(rng, K, D)
    options = {"start": params, "batch_size": 200}
    steps = []
    fit_online(X, case.family, K, callbacks=steps.append, **options)
    averaged = fit_online(X, case.family, K, method="averaged", **options).params
    share = np.arange(1, 9) / np.arange(1, 9).sum()
    weights = np.array([s.params.weights for s in steps])
    means = np.array([s.params.origin for s in steps])
    np.testing.assert_allclose(averaged.weights, share @ weights, rtol=1e-10)
    np.testing.assert_allclose(averaged.origin, np.einsum("t,tk,tkd->kd", share, weights, means)
                               / averaged.weights[:, None], rtol=1e-10)  # fmt: skip


def test_an_online_pass_comes_near_to_batch(case, rng):
    X = case.rows(rng, 40_000, D)
    batch = fastem.fit(X, case.family, K, random_state=0, tol=1e-7, max_iter=1000)
    best = batch.posterior(X, "log_likelihood").log_likelihood.mean()
    for method in ("stepwise", "averaged"):
        found = fit_online(X, case.family, K, method=method, batch_size=1000, random_state=0)
        assert found.posterior(X, "log_likelihood").log_likelihood.mean() > best - 0.005 * abs(best)


# Forgetting.


def test_half_life(case, rng):
    X, params = case.rows(rng, 400, D), case.params(rng, K, D)
    engine, memory, step = get_engine("numpy"), None, StepSize(half_life=50.0)
    for batch in X.reshape(5, 80, D):
        stats = engine.accumulate(case.family, batch, params)
        memory = Memory.of_first(stats) if memory is None else memory.joined(stats, step)
    count = 0.5 ** (80 * np.arange(5)[::-1] / 50.0)
    r = responsibilities(case, X, params) * np.repeat(count, 80)[:, None]
    assert memory.stats.weight == pytest.approx(80 * count.sum())
    np.testing.assert_allclose(memory.stats.mass, r.sum(axis=0), rtol=1e-10)
    means = memory.stats.origin + memory.stats.first / memory.stats.mass[:, None]
    np.testing.assert_allclose(means, r.T @ X / r.sum(axis=0)[:, None], rtol=1e-10)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_forgetting_follows_a_drift(covariance_type, rng):
    place = np.linspace(0, 60, 20_000)[:, None]
    X = rng.normal(size=(20_000, 2)) + np.where(rng.random((20_000, 1)) < 0.5, 0.0, 10.0) + place
    blocks = list(X.reshape(100, 200, 2))
    family = fastem.Gaussian(covariance_type)
    forgetting = fit_online(blocks, family, 2, step_size=StepSize(half_life=200.0), random_state=0)
    np.testing.assert_allclose(np.sort(forgetting.params.means[:, 0]), [59.3, 69.3], atol=0.6)
    np.testing.assert_allclose(forgetting.params.weights, 0.5, atol=0.1)
    keeping = fit_online(blocks, family, 2, step_size=StepSize(alpha=1.0), random_state=0)
    assert np.abs(np.sort(keeping.params.means[:, 0]) - [59.3, 69.3]).max() > 10


# Incremental.


def test_incremental_with_one_block_is_em(case, rng):
    X, params = case.rows(rng, 300, D), case.params(rng, K, D)
    options = {"start": params, "tol": 0.0}
    em = fastem.fit(X, case.family, K, max_iter=7, **options)
    found = fit_online(X, case.family, K, method="incremental", n_passes=7, batch_size=300, **options)
    assert_close(found.params, em.params, 1e-10)
    np.testing.assert_allclose(found.run.history.lower_bound, em.run.history.lower_bound, rtol=1e-12)


def test_incremental_is_ahead_of_batch_em_and_ends_where_it_ends(case, rng):
    X, params = case.rows(rng, 3000, D), case.params(rng, K, D)
    options = {"start": params, "tol": 0.0}
    batch = fastem.fit(X, case.family, K, max_iter=10, **options)
    found = fit_online(X, case.family, K, method="incremental", n_passes=10, batch_size=300, **options)
    assert found.run.lower_bound > batch.run.lower_bound
    settled = fit_online(X, case.family, K, method="incremental", n_passes=3000, batch_size=750, start=params, tol=1e-6)
    assert settled.run.converged
    # A step of batch EM from there changes nothing.
    after = fastem.fit(X, case.family, K, start=settled.params, tol=0.0, max_iter=2).run.history.lower_bound
    assert settled.run.lower_bound == pytest.approx(after[0], abs=1e-5)
    assert abs(after[1] - after[0]) < 4e-6


def recorded(case, X, n_blocks, n_passes, params):
    """Passes of incremental EM, with what each E-step of a block saw."""
    engine, seen = get_engine("numpy"), []

    def e_step(block, point):
        seen.append((block.X, point, engine.accumulate(case.family, block.X, point)))
        return seen[-1][2]

    source = Incremental(e_step, list(Block(X).cut(len(X) // n_blocks)), case.family.update, float(len(X)))
    if case.name == "tied":  # the M-step needs moments of all rows, which do not change

        def e_step_with_shared(block, point):
            stats = Passes(case.family, ArrayRows(block.X), Runner(engine, 1)).accumulate(point)
            seen.append((block.X, point, stats))
            return stats

        source._e_step = e_step_with_shared
    for _ in range(n_passes):
        stats = source(params)
        params = case.family.update(stats)
    return stats, params, seen


def test_incremental_keeps_exact_books(case, rng):
    stats, _, seen = recorded(case, case.rows(rng, 400, D), 4, 3, case.params(rng, K, D))
    assert len(seen) == 12
    total = sum(part.recenter(stats.origin) for _, _, part in seen[-4:])
    np.testing.assert_allclose(stats.S, total.S, rtol=1e-12, atol=1e-12)
    # By definition: each row with the responsibilities of its block's last E-step.
    r = np.concatenate([responsibilities(case, X, point) for X, point, _ in seen[-4:]])
    X = np.concatenate([X for X, _, _ in seen[-4:]])
    np.testing.assert_allclose(stats.mass, r.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(stats.first, r.T @ X - r.sum(axis=0)[:, None] * stats.origin, rtol=1e-8, atol=1e-9)


def test_free_energy_never_falls(case, rng):
    _, last, seen = recorded(case, case.rows(rng, 800, D), 4, 6, case.params(rng, K, D))

    def free_energy(parts, params):
        total = 0.0
        for X, point in parts:
            r = responsibilities(case, X, point)
            log_p = np.log(params.weights) + np.stack([case.log_pdf(X, params, k) for k in range(K)], axis=1)
            total += np.sum(r * (log_p - np.log(r)))
        return total

    points = [(X, point) for X, point, _ in seen]
    course = []
    for i in range(4, len(points)):
        course.append(free_energy(points[i - 4 : i], points[i][1]))  # after the M-step
        course.append(free_energy(points[i - 3 : i + 1], points[i][1]))  # after the E-step of a block
    course.append(free_energy(points[-4:], last))
    assert (np.diff(course) > -1e-9 * abs(course[0])).all()
    assert course[-1] > course[0] + 0.1


def test_incremental_wants_the_same_blocks(rng):
    X = rng.normal(size=(100, 2))

    class Shrinking:
        n = 100

        def __iter__(self):
            self.n -= 1
            return iter([X[: self.n]])

    with pytest.raises(ValueError, match="same blocks"):
        fit_online(Shrinking(), n_components=2, method="incremental", random_state=0, tol=0.0)


# What goes on around the loop.


def test_monitor(rng):
    X = rng.normal(size=(20_000, 2)) + 5.0 * (rng.random((20_000, 1)) < 0.3)
    options = {"n_components": 2, "batch_size": 500, "random_state": 0}
    found = fit_online(X, monitor=300, **options)
    held = found.held_out
    assert held.rows.shape == (300, 2)
    assert held.n_samples[-1] == found.n_samples == 20_000
    assert (np.diff(held.n_samples) > 0).all()
    index = {row.tobytes(): i for i, row in enumerate(X)}
    numbers = [index[row.tobytes()] for row in held.rows]
    assert len(set(numbers)) == 300
    assert 8000 < np.mean(numbers) < 12_000
    log_p = np.logaddexp.reduce(
        np.log(found.params.weights) + np.stack([CASES[0].log_pdf(held.rows, found.params, k) for k in (0, 1)], axis=1),
        axis=1,
    )
    assert held.log_likelihood[-1] == pytest.approx(log_p.mean())


def test_held_out_rows_are_not_learned_from(rng):
    """Rows that no model could overlook: all that were held out when they came stay unseen."""
    X = rng.normal(size=(4000, 1))
    seen = []
    engine = get_engine("numpy")
    accumulate = type(engine).accumulate

    class Watched(type(engine)):
        def accumulate(self, family, X, params, **options):
            seen.append((X, options["sample_weight"]))
            return accumulate(self, family, X, params, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastem.online.fitting.choose_engine", lambda name, work: Watched())
        params = fastem.Gaussian().make_params(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
        held = fit_online(X, start=params, monitor=50, batch_size=400).held_out
    learned = {x.tobytes() for X, w in seen for x in (X if w is None else X[w > 0])}
    assert len(seen) == 10
    assert not learned & {row.tobytes() for row in held.rows}
    assert len(learned) > 3700


def test_callbacks_stop_and_ctrl_c_keeps(rng):
    X = rng.normal(size=(2000, 2)) + np.repeat([[0.0], [4.0]], 1000, axis=0)
    options = {"n_components": 2, "batch_size": 100, "random_state": 0}
    stopped = fit_online(X, callbacks=lambda entry: entry.iteration == 3, **options)
    assert (stopped.run.n_iter, stopped.run.interrupted, stopped.n_samples) == (3, True, 300)

    def press(entry):
        if entry.iteration == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit_online(X, callbacks=press, **options)
    kept = fit_online(X, callbacks=press, on_interrupt="keep", **options)
    assert_close(kept.params, stopped.params, 0)
    assert kept.run.interrupted
    assert not fit_online(X, **options).run.interrupted


def test_several_passes_go_on(case, rng):
    X, params = case.rows(rng, 400, D), case.params(rng, K, D)
    options = {"start": params, "batch_size": 100, "interleave": False}
    twice = fit_online(X, case.family, K, n_passes=2, **options)
    assert (twice.run.n_iter, twice.n_samples) == (8, 800)
    assert_close(twice.params, fit_online(np.concatenate([X, X]), case.family, K, **options).params, 1e-12)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (None, {"method": "online"}, "method must be one of"),
        (None, {"batch_size": -1}, "batch_size must be an integer of at least 1"),
        (None, {"n_components": 0}, "n_components must be an integer of at least 1"),
        (None, {"monitor": 10, "n_passes": 2}, "from a single pass"),
        (None, {"family": "gauss"}, "family must be one of"),
        (None, {"start": "best"}, "start must be one of"),
        (None, {"random_state": "x"}, "random_state must be"),
        ([], {}, "no rows"),
        (3, {}, "array or an iterable of blocks"),
        (iter([np.eye(2)]), {"n_passes": 2}, "read again"),
        ([np.eye(2)], {"sample_weight": [1.0, 2.0]}, "come with them"),
        ([np.eye(2), np.eye(3)], {"start": "random_from_data"}, "3 features"),
        ([np.ones((50, 2)), np.array([[1.0, np.nan]])], {"family": "poisson"}, r"block 1 .*NaN"),
        (np.array([[1.0]] * 70 + [[np.inf]]), {"family": "poisson", "batch_size": 10}, "row 70"),
        (np.array([[1.0]] * 70 + [[-1.0]]), {"family": "poisson", "batch_size": 10}, "Negative values"),
    ],
)
def test_errors_say_what_is_wrong(rows, options, message, rng):
    rows = rng.normal(size=(100, 2)) if rows is None else rows
    with pytest.raises(ValueError, match=message):
        fit_online(rows, **{"random_state": 0, **options})


@pytest.mark.parametrize("options", [{"alpha": 0.5}, {"alpha": 1.1}, {"t0": -1.0}, {"half_life": 0}, {"alpha": "1"}])
def test_step_sizes_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        StepSize(**options)


# partial_fit.


def big_table(rng, n):
    X = np.concatenate([count_table(rng) for _ in range(n // 360)]) + 0.0
    return X[rng.permutation(len(X))]


@pytest.mark.parametrize("kind", MAKERS)
def test_partial_fit_comes_near_to_batch(kind, rng):
    X = big_table(rng, 14_400)
    batch = MAKERS[kind](random_state=0, tol=1e-7, max_iter=1000).fit(X)
    model = MAKERS[kind](random_state=0)
    for block in X.reshape(40, 360, 3):
        assert model.partial_fit(block) is model
    assert model.score(X) > batch.score(X) - 0.01 * abs(batch.score(X))
    assert (model.n_samples_seen_, model.n_features_in_) == (14_400, 3)
    assert model.lower_bound_ == pytest.approx(model.score(X), rel=0.02)
    assert set(model.predict(X)) == {0, 1, 2}


def test_partial_fit_is_the_recursion(case, rng):
    """After the start, a call is a step; calls with weights 2 are calls with each row twice."""
    X, params = case.rows(rng, 400, D), case.params(rng, K, D)
    model = fastem.PoissonMixture(K) if case.name == "poisson" else GaussianMixture(
        K, covariance_type=case.name, reg_covar=0.0
    )  # fmt: skip
    model._set_params_attributes(params, np.float64)
    double = pickle.loads(pickle.dumps(model))
    for batch in X.reshape(4, 100, D):
        model.partial_fit(batch, sample_weight=np.full(100, 2.0))
        double.partial_fit(np.concatenate([batch, batch]))
    found = fit_online(X, case.family, K, start=params, batch_size=100, interleave=False)
    assert_close(model._fitted_params(), found.params, 1e-9)
    assert_close(model._fitted_params(), double._fitted_params(), 1e-9)


@pytest.mark.parametrize("kind", MAKERS)
def test_first_rows_wait_for_a_start(kind, rng):
    X = big_table(rng, 720)
    model = MAKERS[kind](random_state=0)
    rows = X[:5].copy()
    model.partial_fit(rows)
    rows[:] = 0.0  # the caller may use its memory again
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert (model.n_samples_seen_, model.n_features_in_) == (5, 3)
    model = pickle.loads(pickle.dumps(model))
    model.partial_fit(X[5:360])
    whole = MAKERS[kind](random_state=0).partial_fit(X[:360])
    assert_close(model._fitted_params(), whole._fitted_params(), 1e-12)


def test_partial_fit_survives_pickling_and_clone_forgets(rng):
    X = big_table(rng, 1440)
    model = GaussianMixture(3, random_state=0).partial_fit(X[:720])
    again = pickle.loads(pickle.dumps(model)).partial_fit(X[720:])
    assert_close(again._fitted_params(), model.partial_fit(X[720:])._fitted_params(), 0)
    assert clone(model)._learned is None


def test_partial_fit_goes_on_from_fit_and_fit_begins_anew(rng, tmp_path):
    X = big_table(rng, 1440)
    fitted = GaussianMixture(3, random_state=0, max_iter=300, tol=1e-6).fit(X)
    score = fitted.score(X)
    fitted.save(tmp_path / "model.npz")
    for model in (fitted, fastem.load(tmp_path / "model.npz")):
        model.partial_fit(X[:10])
        assert model.score(X) == score  # too few rows to go on from
        model.partial_fit(X[10:])
        assert model.score(X) == pytest.approx(score, abs=1e-4)
    learned = GaussianMixture(3, random_state=0, max_iter=300, tol=1e-6).partial_fit(X[:720]).fit(X)
    assert learned._learned is None
    assert learned.score(X) == score


def test_partial_fit_follows_scikit_learns_conventions(rng):
    pandas = pytest.importorskip("pandas")
    X = big_table(rng, 720)
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = GaussianMixture(3, random_state=0).partial_fit(frame)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="2 features"):
        GaussianMixture(3, random_state=0).partial_fit(X).partial_fit(X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(frame * np.nan)
    with pytest.raises(ValueError, match="was changed"):
        model.set_params(n_components=2).partial_fit(frame)
    with pytest.raises(ValueError, match="step_size must be"):
        model.partial_fit(frame, step_size=0.1)
    with pytest.raises(ValueError, match="tol"):
        GaussianMixture(tol=-1).partial_fit(X)


def test_partial_fit_keeps_what_it_knew_when_a_call_fails(rng):
    X = big_table(rng, 720)
    model = GaussianMixture(3, random_state=0).partial_fit(X)
    before = model._learned
    with pytest.raises(LookupError):
        model.set_params(callbacks=_fail).partial_fit(X)
    assert model._learned is before


def _fail(entry):
    raise LookupError


def test_partial_fit_with_a_half_life_follows_a_drift(rng):
    model = GaussianMixture(1, random_state=0)
    for place in range(30):
        model.partial_fit(rng.normal(size=(200, 2)) + place, step_size=StepSize(half_life=100))
    np.testing.assert_allclose(model.means_, 29, atol=0.6)

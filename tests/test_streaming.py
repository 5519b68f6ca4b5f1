"""Fits to data read block by block: the same as in memory, and the same again after any end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from families import CASES

import fastem
from fastem import Checkpoint, fit, open_source
from fastem.streaming import checkpoints
from fastem.streaming.side_by_side import side_by_side

K, D = 3, 2


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def groups(rng, n=3000, dtype=np.float64):
    """Three clusters of which nobody can be in doubt, in no order."""
    centres = np.array([[0.0, 0.0], [9.0, 1.0], [-2.0, 12.0]])
    return (centres[rng.integers(3, size=n)] + rng.normal(size=(n, D))).astype(dtype)


def arrays_of(params):
    return {name: np.asarray(value) for name, value in vars(params).items()}


def assert_same(one, other):
    """The same bits."""
    for name, value in arrays_of(one.params).items():
        assert np.array_equal(value, arrays_of(other.params)[name]), name
    assert np.array_equal(one.run.history.lower_bound, other.run.history.lower_bound)


def parquet_files(folder, X, n_files=4):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for number, rows in enumerate(np.array_split(X, n_files)):
        columns = {f"c{j}": np.ascontiguousarray(rows[:, j]) for j in range(X.shape[1])}
        parquet.write_table(pyarrow.table(columns), folder / f"{number}.parquet")
    return folder


# The same as in memory.


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_give_what_the_array_gives(case, engine, weighted, rng):
    n_samples = 150 if engine == "python" else 400
    X, start = case.rows(rng, n_samples, D), case.params(rng, K, D)
    weight = rng.integers(0, 3, size=n_samples) + 0.0 if weighted else None
    options = {"start": start, "engine": engine, "max_iter": 5, "tol": 0.0}
    whole = fit(X, case.family, K, sample_weight=weight, **options)
    source = open_source(X, sample_weight=weight, block_rows=70)
    streamed = fit(source, case.family, K, **options)
    for name, value in arrays_of(whole.params).items():
        np.testing.assert_allclose(arrays_of(streamed.params)[name], value, rtol=1e-9, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(streamed.run.history.lower_bound, whole.run.history.lower_bound, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_buffers_of_columns_give_what_the_array_gives(tmp_path, engine, dtype, rng):
    """In Fortran order, the last block a part of its buffer."""
    X = groups(rng, 700, dtype)
    start = fit(X, "gaussian", 3, random_state=0, max_iter=1).params
    options = {"start": start, "engine": engine, "max_iter": 2, "tol": 0.0}
    whole = fit(X, "gaussian", 3, **options)
    streamed = fit(open_source(parquet_files(tmp_path, X), block_rows=300), "gaussian", 3, **options)
    rtol = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(streamed.params.means, whole.params.means, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(streamed.params.covariances, whole.params.covariances, rtol=rtol, atol=rtol)


def test_online_em_and_coresets_read_files(tmp_path, rng):
    X = groups(rng, 40_000)
    path = parquet_files(tmp_path, X)
    for method in ("stepwise", "incremental"):
        found = fastem.fit_online(path, "gaussian", 3, method=method, batch_size=2000, random_state=0)
        whole = fastem.fit_online(list(X.reshape(4, -1, D)), "gaussian", 3, method=method, random_state=0)
        assert found.run.lower_bound == pytest.approx(whole.run.lower_bound, abs=0.05)
    rows, weights = fastem.coreset(path, 500, random_state=0)
    assert (rows.shape, round(weights.sum())) == ((500, D), 40_000)


@pytest.mark.parametrize("start", ["auto", "kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("n_init", [1, 3])
def test_starts_come_from_a_sample(tmp_path, start, n_init, rng):
    X = groups(rng)
    path = parquet_files(tmp_path, X)
    options = {"start": start, "n_init": n_init, "random_state": 1, "max_iter": 300, "tol": 1e-8}
    found = fit(path, "gaussian", 3, **options)
    if not start.startswith("random"):  # whose single starts end anywhere
        assert found.run.converged
        assert found.run.lower_bound == pytest.approx(fit(X, "gaussian", 3, random_state=0, tol=1e-8).run.lower_bound)
    assert_same(found, fit(path, "gaussian", 3, **options))


def test_the_sample_is_uniform_and_of_weighted_rows(rng):
    X = np.arange(100_000.0)[:, None]
    weight = (X[:, 0] % 2) * 3.0
    rows = fastem.streaming.open_rows(open_source(X, sample_weight=weight, block_rows=999), None,
                                      fastem.Gaussian(), 1, 0, None)  # fmt: skip
    sample = rows.sample(2000, rng=np.random.RandomState(0))
    assert (sample.n_samples, rows.n_samples, rows.n_weighted) == (2000, 100_000, 50_000)
    assert (sample.X % 2 == 1).all()
    assert (sample.sample_weight == 3).all()
    assert len(np.unique(sample.X)) == 2000
    assert sample.X.mean() == pytest.approx(50_000, abs=4 * 100_000 / np.sqrt(12 * 2000))
    assert len(rows.sample(10**6, np.random.RandomState(0)).X) == 50_000


def test_weights_of_float32_rows_have_one_sum(rng):
    # Shared moments take such rows piece by piece, and the sum of the pieces' weights has other last bits.
    X = rng.normal(size=(40_000, 8)).astype(np.float32)
    for _ in range(5):
        fit([(X, rng.random(len(X)))], fastem.Gaussian("tied"), 2, start="random", random_state=0, max_iter=1)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_do_not_matter(compiled_engine, n_threads, rng):
    source = open_source(groups(rng, 30_000, np.float32), block_rows=8192)
    options = {"random_state": 0, "engine": compiled_engine, "max_iter": 5}
    assert_same(fit(source, "gaussian", 3, n_threads=n_threads, **options), fit(source, "gaussian", 3, **options))


@pytest.mark.parametrize("cache", [None, "memory", "disk"])
def test_blocks_side_by_side_give_the_same_bits(tmp_path, cache, rng):
    """Of columns in buffers that are used again, the last block a part of one."""
    path = parquet_files(tmp_path, groups(rng, 30_000, np.float32))
    start = fit(open_source(path), "gaussian", 3, random_state=0, max_iter=1).params
    options = {"start": start, "engine": "cython", "max_iter": 4, "tol": 0.0}
    one, two = (
        fit(open_source(path, cache=cache, block_rows=700), "gaussian", 3, n_threads=n, **options) for n in (1, 2)
    )
    assert_same(one, two)


@pytest.mark.parametrize(("cache", "expected"), [(None, {"fastem-reader"}), ("disk", {"fastem-pass"})])
def test_one_thread_decodes_and_two_take_turns_at_what_a_cache_holds(tmp_path, cache, expected, rng):
    source = open_source(parquet_files(tmp_path, groups(rng, 30_000)), cache=cache, block_rows=5000)
    start = fit(source, "gaussian", 3, random_state=0, max_iter=1).params
    read_by, of = set(), source._reader if cache is None else source._cache
    name = "pieces" if cache is None else "blocks"
    read = getattr(of, name)

    def watched(*given):
        for item in read(*given):
            read_by.add(threading.current_thread().name)
            yield item

    setattr(of, name, watched)
    fit(source, "gaussian", 3, start=start, engine="cython", n_threads=2, max_iter=3, tol=0.0)
    assert read_by - {"MainThread"} == expected  # which makes the survey of what is cached


def test_two_blocks_at_a_time_are_taken_in_their_order():
    in_use, most, lock = set(), [], threading.Lock()

    def items():
        for number in range(50):
            with lock:
                in_use.add(number)
                most.append(len(in_use))
            yield number

    def work(number):
        time.sleep(0.002 * (number % 3))
        with lock:
            in_use.discard(number)
        return number

    assert list(side_by_side(items(), work)) == list(range(50))
    assert max(most) == 2


@pytest.mark.parametrize("part", ["read", "work"])
def test_errors_of_blocks_come_in_their_place(part):
    closed = []

    def items():
        try:
            for number in range(9):
                if part == "read" and number == 4:
                    raise OSError("no such block")
                yield number
        finally:
            closed.append(True)

    def work(number):
        if part == "work" and number == 4:
            raise OSError("no such block")
        return number

    done = []
    with pytest.raises(OSError, match="no such block"):
        for each in side_by_side(items(), work):
            done.append(each)
    assert done == [0, 1, 2, 3]
    assert closed == [True]


def test_split_merge_acceleration_and_auto_regularisation_on_blocks(rng):
    X = groups(rng)
    source = open_source(X, block_rows=512)
    family = fastem.Gaussian("tied", reg_covar="auto")
    found = fit(source, family, 3, random_state=0, accelerate="auto", split_merge=1, tol=1e-9)
    whole = fit(X, family, 3, random_state=0, tol=1e-9)
    assert found.run.lower_bound == pytest.approx(whole.run.lower_bound)
    assert found.family.reg_covar == pytest.approx(tuple(1e-6 * X.var(axis=0)))


def test_what_cannot_be_streamed_is_said(rng):
    X = groups(rng, 100)
    with pytest.raises(ValueError, match=r"can be read once.*fit_online"):
        fit(iter([X]), "gaussian", 2)
    with pytest.raises(ValueError, match="after row 50 of those read: Negative"):
        fit(open_source(np.r_[np.ones((50, 1)), [[-1.0]]], block_rows=50), "poisson", 1)
    with pytest.raises(ValueError, match="n_samples = 2"):
        fit(open_source(X[:2]), "gaussian", 3)
    with pytest.raises(ValueError, match="a source has its weights"):
        fit(open_source(X), "gaussian", 2, sample_weight=np.ones(100))

    class Shrinking:
        n = 100

        def __iter__(self):
            self.n -= 1
            return iter([X[: self.n]])

    with pytest.raises(ValueError, match=r"total weight 98 in this pass, but 99 in the first"):
        fit(Shrinking(), "gaussian", 2, random_state=0)


# Checkpoints.


class StopAfterError(Exception):
    pass


def interrupting(monkeypatch, n_blocks):
    """Let the engine fail at the block ``n_blocks`` from now."""
    engine = fastem.get_engine("cython")
    left = [n_blocks]
    accumulate = type(engine)._posterior_statistics

    def failing(self, *args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise StopAfterError
        return accumulate(self, *args, **options)

    monkeypatch.setattr(type(engine), "_posterior_statistics", failing)


OPTIONS = {
    "plain": {"start": "kmeans"},
    "restarts": {"n_init": 2, "start": "random"},
    "accelerated": {"start": "random", "accelerate": "auto", "split_merge": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_a_fit_goes_on_where_it_ended(tmp_path, options, covariance, rng, monkeypatch):
    if "cython" not in fastem.available_engines():
        pytest.skip("needs the cython engine")
    path = parquet_files(tmp_path, groups(rng))
    family = fastem.Gaussian(covariance, reg_covar="auto")
    options = {"random_state": 3, "tol": 1e-6, "max_iter": 12, "engine": "cython", **options}

    def run(**more):
        return fit(open_source(path, block_rows=512), family, 3, **options, **more)

    expected = run()
    ended = 0
    for n_blocks in [0, 3, 5, 9, 13, 20, 20, 31, 40]:
        with monkeypatch.context() as patch:
            interrupting(patch, n_blocks)
            try:
                found = run(checkpoint=Checkpoint(tmp_path / "run.ckpt", every=0, resume=True))
                break
            except StopAfterError:
                ended += 1
    else:
        found = run(checkpoint=Checkpoint(tmp_path / "run.ckpt", every=0, resume=True))
    assert ended > 2
    assert_same(found, expected)
    with monkeypatch.context() as patch:
        patch.setattr(fastem.Source, "blocks", None)  # what is finished is not read again
        assert_same(run(checkpoint=Checkpoint(tmp_path / "run.ckpt", resume=True)), expected)
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_a_fit_goes_on_within_a_pass(tmp_path, rng, monkeypatch):
    source = open_source(groups(rng, 6000), block_rows=100)
    start = fit(groups(rng, 500), "gaussian", 3, random_state=0, max_iter=1).params
    options = {"start": start, "max_iter": 1, "engine": "numpy"}
    path = tmp_path / "run.ckpt"
    engine = fastem.get_engine("numpy")
    seen = []
    accumulate = type(engine).accumulate

    def counted(self, family, X, params, **more):
        seen.append(X)
        if len(seen) == 41:
            raise StopAfterError
        return accumulate(self, family, X, params, **more)

    monkeypatch.setattr(type(engine), "accumulate", counted)
    with pytest.raises(StopAfterError):
        fit(source, "gaussian", 3, checkpoint=Checkpoint(path, every=0), **options)
    fit(source, "gaussian", 3, checkpoint=Checkpoint(path, every=0, resume=True), **options)
    assert len(seen) == 61  # the block at which it ended is read twice


def test_random_numbers_of_no_seed_are_kept(tmp_path, rng):
    source = open_source(groups(rng), block_rows=512)
    path = tmp_path / "run.ckpt"
    options = {"start": "random", "max_iter": 3}
    found = fit(source, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    assert_same(fit(source, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options), found)
    path.unlink()
    again = fit(source, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    assert again.run.lower_bound != found.run.lower_bound


def test_damage_at_the_end_is_cut_off(tmp_path, rng):
    source = open_source(groups(rng), block_rows=512)
    path = tmp_path / "run.ckpt"
    options = {"random_state": 0, "max_iter": 6, "tol": 0.0}
    expected = fit(source, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    data = path.read_bytes()
    for end in (len(data) - 1, len(data) // 2, 100, 25, 20):
        path.write_bytes(data[:end])
        assert_same(fit(source, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options), expected)
    path.write_bytes(data[: len(data) // 2] + b"nonsense" * 100)
    assert_same(fit(source, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options), expected)


def test_a_checkpoint_of_something_else_is_refused(tmp_path, rng):
    X = groups(rng)
    data = parquet_files(tmp_path, X)
    path = tmp_path / "run.ckpt"
    fit(data, "gaussian", 3, checkpoint=Checkpoint(path), random_state=0, max_iter=2)
    for change, what in [
        ({"n_components": 4}, "n_components is 3, and now it is 4"),
        ({"random_state": 1}, "random_state is 0"),
    ]:
        options = {"n_components": 3, "random_state": 0, **change}
        with pytest.raises(ValueError, match=f"of another fit: its {what}"):
            fit(data, "gaussian", max_iter=2, checkpoint=Checkpoint(path, resume=True), **options)
    with pytest.raises(ValueError, match="resume=True goes on from it"):
        fit(data, "gaussian", 3, checkpoint=Checkpoint(path))
    before = path.read_bytes()
    os.truncate(data / "2.parquet", 100)
    with pytest.raises(ValueError, match=r"2.parquet"):
        fit(data, "gaussian", 3, random_state=0, checkpoint=Checkpoint(path, resume=True))
    (data / "2.parquet").unlink()
    with pytest.raises(ValueError, match=r"of another fit: its file .*2.parquet is \[.* now it is None"):
        fit(data, "gaussian", 3, random_state=0, checkpoint=Checkpoint(path, resume=True))
    assert path.read_bytes() == before
    path.write_bytes(b"PK something else")
    with pytest.raises(ValueError, match="is not a checkpoint of fastem"):
        fit(data, "gaussian", 3, checkpoint=Checkpoint(path, resume=True))
    with pytest.raises(ValueError, match="there is no folder"):
        fit(data, "gaussian", 3, checkpoint=Checkpoint(tmp_path / "nix" / "run.ckpt"))
    with pytest.raises(ValueError, match="checkpoint_every must be"):
        fit(data, "gaussian", 3, checkpoint=Checkpoint(tmp_path / "new.ckpt", every=-1))


def test_other_rows_of_the_same_shape_are_refused(tmp_path, rng):
    from pyarrow import dataset

    X, path, options = groups(rng), tmp_path / "run.ckpt", {"random_state": 0, "max_iter": 2}
    data = parquet_files(tmp_path, X)
    fit(X, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    with pytest.raises(ValueError, match="of another fit: its first rows"):
        fit(X + 1, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)
    with pytest.raises(ValueError, match="of another fit: its first rows"):
        fit(X, "gaussian", 3, sample_weight=X[:, 0] ** 2, checkpoint=Checkpoint(path, resume=True), **options)
    with pytest.raises(ValueError, match="its number of rows is 3000, and now it is 2999"):
        fit(X[:-1], "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)
    path.unlink()
    few = open_source(data, filter=dataset.field("c0") > 0)
    fit(few, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    with pytest.raises(ValueError, match=r"of another fit: its filter is \(c0 > 0\), and now it is \(c0 > 1\)"):
        other = open_source(data, filter=dataset.field("c0") > 1)
        fit(other, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)


def test_a_file_that_vanishes_half_way_leaves_the_checkpoint(tmp_path, rng):
    data = parquet_files(tmp_path, groups(rng))
    path = tmp_path / "run.ckpt"
    content, times = (data / "3.parquet").read_bytes(), (data / "3.parquet").stat()
    # From a start that is not the optimum: a pass at the parameters of the one before needs no rows.
    options = {"random_state": 0, "max_iter": 8, "tol": 0.0, "start": "random"}

    def source():
        return open_source(data, cache=None, block_rows=512)

    def vanish(iteration):
        if iteration.iteration == 4:
            (data / "3.parquet").unlink()

    with pytest.raises(ValueError, match=r"3.parquet has vanished"):
        fit(source(), "gaussian", 3, checkpoint=Checkpoint(path, every=0), callbacks=vanish, **options)
    (data / "3.parquet").write_bytes(content)
    os.utime(data / "3.parquet", ns=(times.st_atime_ns, times.st_mtime_ns))
    found = fit(source(), "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)
    assert_same(found, fit(source(), "gaussian", 3, **options))


def test_a_full_disk_leaves_the_checkpoint(tmp_path, rng, monkeypatch):
    source = open_source(groups(rng), block_rows=512)
    path = tmp_path / "run.ckpt"
    options = {"random_state": 0, "max_iter": 8, "tol": 0.0}
    with monkeypatch.context() as patch:
        synced = []

        def full(descriptor):
            synced.append(descriptor)
            if len(synced) > 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(checkpoints.os, "fsync", full)
        with pytest.raises(OSError, match=r"cannot be written \(No space left.*resume=True goes on.*run.ckpt"):
            fit(source, "gaussian", 3, checkpoint=Checkpoint(path), **options)
    found = fit(source, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)
    assert_same(found, fit(source, "gaussian", 3, **options))


def test_a_checkpoint_has_one_fit_at_a_time(tmp_path, rng):
    X, path = groups(rng), tmp_path / "run.ckpt"
    options = {"random_state": 0, "max_iter": 6, "tol": 0.0}
    refused = []

    def second(iteration):
        with pytest.raises(ValueError, match=r"is using the checkpoint .*run.ckpt; wait for its end") as error:
            fit(X, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options)
        refused.append(error)

    found = fit(X, "gaussian", 3, checkpoint=Checkpoint(path), callbacks=second, **options)
    assert len(refused) == 6
    # As of one that went on, whose file is another.
    again = fit(X, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), callbacks=second, **options)
    assert len(refused) == 12
    assert_same(again, found)
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]


def test_an_error_lets_go_of_the_checkpoint(tmp_path, rng):
    X, path = groups(rng), tmp_path / "run.ckpt"
    options = {"random_state": 0, "max_iter": 6, "tol": 0.0}
    errors = []  # which hold on to all that was there when they were raised

    def stop(iteration):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as error:
        fit(X, "gaussian", 3, checkpoint=Checkpoint(path), callbacks=stop, **options)
    errors.append(error)
    for resume, components in ((False, 3), (True, 4)):
        with pytest.raises(ValueError, match="checkpoint") as other:
            fit(X, "gaussian", components, checkpoint=Checkpoint(path, resume=resume), **options)
        errors.append(other)
    assert fit(X, "gaussian", 3, checkpoint=Checkpoint(path, resume=True), **options).run.n_iter == 6


WAITING = """
import sys, time
import numpy as np
import fastem
X = np.random.default_rng(0).normal(size=(3000, 2))
def wait(iteration):
    print("fitting", flush=True)
    time.sleep(60)
fastem.fit(X, "gaussian", 2, random_state=0, checkpoint=fastem.Checkpoint(sys.argv[1], resume=True), callbacks=wait)
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    path = tmp_path / "run.ckpt"
    X = np.random.default_rng(0).normal(size=(3000, 2))
    options = {"random_state": 0, "checkpoint": Checkpoint(path, resume=True)}
    with subprocess.Popen([sys.executable, "-c", WAITING, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"fitting\n"
        try:
            with pytest.raises(ValueError, match="of this process or of another, is using the checkpoint"):
                fit(X, "gaussian", 2, **options)
        finally:
            process.kill()
    assert fit(X, "gaussian", 2, **options).run.converged


KILLED = """
import sys
import fastem
data, checkpoint, out = sys.argv[1:]
source = fastem.open_source(data, block_rows=20_000)
print("fitting", flush=True)
options = dict(random_state=0, tol=0.0, max_iter=30, start="random")
found = fastem.fit(source, "gaussian", 6, checkpoint=fastem.Checkpoint(checkpoint, every=0.0, resume=True), **options)
import numpy as np
np.savez(out, **vars(found.params), lower_bound=found.run.history.lower_bound)
"""


@pytest.mark.slow
def test_a_killed_fit_reaches_the_same_bits(tmp_path, rng):
    (tmp_path / "data").mkdir()
    data = parquet_files(tmp_path / "data", groups(rng, 100_000, np.float32))

    def start(name):
        """A process that is about to fit: kills before that would hit nothing of ours."""
        arguments = [sys.executable, "-c", KILLED, str(data), str(tmp_path / f"{name}.ckpt"), str(tmp_path / name)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        with process.stdout as said:
            assert said.readline() == b"fitting\n"
        return process

    whole = start("whole")
    began = time.monotonic()
    assert whole.wait() == 0
    seconds = time.monotonic() - began
    kills = 0
    while kills < 20:
        process = start("killed")
        began = time.monotonic()
        try:
            process.wait(rng.uniform(0.0, 0.8) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        # The machine may have become faster: moments after the end would kill nothing.
        seconds = min(seconds, time.monotonic() - began)
        (tmp_path / "killed.ckpt").unlink()
        assert_equal_files(tmp_path)
    assert start("killed").wait() == 0
    assert_equal_files(tmp_path)


def assert_equal_files(folder):
    with np.load(folder / "whole.npz") as whole, np.load(folder / "killed.npz") as killed:
        for name in whole.files:
            assert np.array_equal(whole[name], killed[name]), name

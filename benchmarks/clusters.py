"""Dask and Spark on one machine: how passes scale with workers, beside the fit in memory and beside MLlib.

    python benchmarks/clusters.py                                  # everything, about a quarter of an hour
    python benchmarks/clusters.py --sections dask --workers 1 2 4  # of: dask deaths spark
    python benchmarks/clusters.py --scale 0.01 --iterations 3      # a smoke run: figures mean nothing

Seconds an iteration are means over one fit of given start and length, medians over rounds in which everyone has a turn,
with [least, most]; ratios are computed within a round.

dask: rows of 16 features, 16 components, persisted in ``--partitions`` partitions by clusters of workers of one thread,
beside ``fastem.fit`` of the same rows in memory on two threads. Targets: two workers 1.7 times as fast as one, and at
most 1.15 times the time in memory. What a pass costs that is not work on rows is the time of one over a few rows.

deaths: a worker is killed at a random moment of each of ten fits. Target: the same bits as undisturbed, ten times.

spark: fastem and MLlib on the same cached rows, a column of vectors, in one ``local`` session. MLlib takes no start.
Targets: 3 times faster an iteration with 1,000,000 x 8 x 8, 5 times with 200,000 x 32 x 32.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from comparison.timing import Spread, clock
from problems import Shape, make_soft_problem

_DASK = Shape(5_000_000, 16, 16)
_SPARK = {Shape(1_000_000, 8, 8): 3, Shape(200_000, 32, 32): 5}
_SECTIONS = ("dask", "deaths", "spark")
_SCALES, _WITHIN = 1.7, 1.15


def main() -> None:
    settings = _arguments()
    for section in settings.sections:
        {"dask": _dask, "deaths": _deaths, "spark": _spark}[section](settings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=_SECTIONS, default=_SECTIONS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rows")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--deaths", type=int, default=10)
    return parser.parse_args()


def _fit(rows: Any, params: Any, iterations: int, **options: Any) -> Any:
    import fastem

    return fastem.fit(rows, "gaussian", len(params.weights), start=params, tol=0.0, max_iter=iterations, **options)


def _iteration(rows: Any, params: Any, iterations: int, **options: Any) -> float:
    """Seconds of one of the iterations after the first."""
    seconds = _fit(rows, params, iterations, **options).run.history.seconds
    return float(seconds[-1] - seconds[0]) / (iterations - 1)


@contextmanager
def _cluster(n_workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _persisted(client: Any, path: Path, shape: Shape, n_partitions: int) -> Any:
    """Rows of a file in partitions of equal size, as many on each worker."""
    import dask
    import dask.array as da
    import distributed

    bounds = np.linspace(0, shape.n_samples, n_partitions + 1).astype(int)
    workers = sorted(client.scheduler_info()["workers"])
    with client.as_current():
        parts = []
        for i, (start, stop) in enumerate(pairwise(bounds)):
            part = dask.delayed(_read)(str(path), int(start), int(stop))
            rows = da.from_delayed(part, (int(stop - start), shape.n_features), np.float64)
            worker = workers[i * len(workers) // n_partitions]
            parts.append(client.persist(rows, workers=[worker], allow_other_workers=True))
        rows = da.concatenate(parts)
        distributed.wait(parts)
    return rows


def _read(path: str, start: int, stop: int) -> np.ndarray:
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def _dask(settings: argparse.Namespace) -> None:
    from fastem.distributed.dask import DaskRows

    shape = _DASK.scaled(settings.scale)
    X, params = _problem(shape)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path, few = Path(folder) / "rows.npy", Path(folder) / "few.npy"
        np.save(path, X)
        np.save(few, X[:800])
        turns: dict[str, Callable[[], float]] = {
            "in memory, 2 threads": lambda: _iteration(X, params, settings.iterations, n_threads=2)
        }
        for n_workers in settings.workers:
            client = stack.enter_context(_cluster(n_workers))
            for file, size, name in ((path, shape, "{} workers"), (few, Shape(800, 16, 16), "{} workers, few rows")):
                data = _persisted(client, file, size, settings.partitions)

                def turn(client: Any = client, data: Any = data) -> float:
                    with client.as_current():
                        return _iteration(DaskRows(data), params, settings.iterations)

                turns[name.format(n_workers)] = turn
        rounds = _rounds(turns, settings.repeats)
    print(f"\nDask, {shape.name}, {settings.partitions} partitions, {_stats_bytes(shape):,} bytes of statistics")
    _table(rounds)
    if {"1 workers", "2 workers"} <= set(turns):
        _verdict("2 workers are faster than 1", rounds, "1 workers", "2 workers", _SCALES, at_least=True)
        _verdict("2 workers take, of the time in memory", rounds, "2 workers", "in memory, 2 threads", _WITHIN)


def _stats_bytes(shape: Shape) -> int:
    import pickle

    import fastem

    X, params = _problem(shape.scaled(0))
    stats = fastem.get_engine("numpy").accumulate(fastem.Gaussian(), X, params)
    return len(pickle.dumps(stats, protocol=5))


def _deaths(settings: argparse.Namespace) -> None:
    from fastem.distributed.dask import DaskRows

    shape = Shape(500_000, 16, 16).scaled(settings.scale)
    X, params = _problem(shape)
    rng = np.random.default_rng()
    same = 0
    with tempfile.TemporaryDirectory() as folder, _cluster(2) as client, client.as_current():
        path = Path(folder) / "rows.npy"
        np.save(path, X)
        data = _persisted(client, path, shape, settings.partitions)
        undisturbed = _fit(DaskRows(data), params, 20)
        seconds = undisturbed.run.history.seconds
        for _ in range(settings.deaths):
            _wait_for_two(client)
            victim = int(rng.choice(list(client.run(os.getpid).values())))
            killer = threading.Timer(rng.uniform(0.0, 0.9) * seconds[-1], os.kill, [victim, signal.SIGKILL])

            def begin(iteration: Any, killer: threading.Timer = killer) -> None:
                if iteration.iteration == 1:
                    killer.start()

            found = _fit(DaskRows(data), params, 20, callbacks=begin)
            killer.join()
            same += all(
                np.array_equal(getattr(found.params, name), value) for name, value in vars(undisturbed.params).items()
            )
    print(f"\nDask, a worker killed in each of {settings.deaths} fits of 20 iterations of {shape.name}")
    print(f"same bits as undisturbed: {same} of {settings.deaths}: {_word(same == settings.deaths)}")


def _wait_for_two(client: Any) -> None:
    """Nannies start killed workers again, unless they were killed before the nanny knew that they had begun."""
    try:
        client.wait_for_workers(2, timeout=30)
    except TimeoutError:
        client.cluster.scale(len(client.cluster.worker_spec) + 1)
        client.wait_for_workers(2, timeout=120)


def _spark(settings: argparse.Namespace) -> None:
    from peers.spark import session, write_rows
    from pyspark.ml.clustering import GaussianMixture
    from pyspark.ml.functions import array_to_vector

    from fastem.distributed.spark import SparkRows

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = session(2)
    for full, target in _SPARK.items():
        shape = full.scaled(settings.scale)
        X, params = _problem(shape)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            write_rows(X, path)
            df = spark.read.parquet(str(path)).repartition(2).select(array_to_vector("row").alias("features")).cache()
            df.count()
            few = df.limit(100).repartition(2).cache()

            def mllib(df: Any = df, k: int = shape.n_components) -> float:
                def fit(max_iter: int) -> float:
                    return clock(lambda: GaussianMixture(k=k, maxIter=max_iter, tol=0.0, seed=0).fit(df))[0].wall

                return (fit(1 + settings.iterations) - fit(1)) / settings.iterations

            def ours(df: Any = df, params: Any = params) -> float:
                with SparkRows(df, "features") as rows:
                    return _iteration(rows, params, settings.iterations)

            turns = {"MLlib": mllib, "fastem": ours, "fastem, few rows": lambda few=few, p=params: ours(few, p)}
            rounds = _rounds(turns, settings.repeats)
            df.unpersist(blocking=True)
        print(f"\nSpark, local[2], {shape.name}, rows cached in 2 partitions")
        _table(rounds)
        _verdict("fastem is faster than MLlib", rounds, "MLlib", "fastem", target, at_least=True)
    spark.stop()


def _problem(shape: Shape) -> tuple[np.ndarray, Any]:
    import fastem

    X, start = make_soft_problem(shape)
    return X, fastem.Gaussian().from_precisions(start.weights, start.means, start.precisions)


def _rounds(turns: dict[str, Callable[[], float]], repeats: int) -> list[dict[str, float]]:
    for turn in turns.values():
        turn()  # what is loaded and compiled once
    return [{name: clock(turn)[1] for name, turn in turns.items()} for _ in range(repeats)]


def _table(rounds: list[dict[str, float]]) -> None:
    for name in rounds[0]:
        print(f"  {name:28} {Spread.of([each[name] for each in rounds]).text()} s an iteration")


def _verdict(
    what: str, rounds: list[dict[str, float]], one: str, other: str, target: float, at_least: bool = False
) -> None:
    ratios = Spread.of([each[one] / each[other] for each in rounds])
    reached = ratios.median >= target if at_least else ratios.median <= target
    bound = "at least" if at_least else "at most"
    print(f"{what}: {ratios.text()} times, {bound} {target}: {_word(reached)}")


def _word(reached: bool) -> str:
    return "PASS" if reached else "MISS"


if __name__ == "__main__":
    main()

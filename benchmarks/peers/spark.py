"""Spark MLlib's ``GaussianMixture`` in local mode."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from comparison.timing import PAUSE, Turn
from peers.base import Fit, MissingPeerError, Outcome, Peer, package_version
from problems import Start


class Spark(Peer):
    name = "Spark"
    structures = ("full",)
    dtypes = ("float64",)
    own_start = True
    own_process = True

    def version(self) -> str:
        found = package_version("pyspark")
        package_version("pyarrow")
        if shutil.which("java") is None:
            raise MissingPeerError("no Java (Debian: apt-get install default-jre-headless)")
        return found

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        import psutil
        from pyspark.ml.clustering import GaussianMixture
        from pyspark.ml.functions import array_to_vector

        spark = session(n_threads)
        java = psutil.Process(spark._jvm.java.lang.ProcessHandle.current().pid())
        with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
            path = Path(folder) / "rows.parquet"
            write_rows(X, path)
            frame = spark.read.parquet(str(path)).repartition(n_threads)
            frame = frame.select(array_to_vector("row").alias("features")).cache()
            frame.count()

            def fit(max_iter: int) -> Outcome:
                algorithm = GaussianMixture(k=len(start.weights), maxIter=max_iter, tol=0.0, seed=0)
                time.sleep(PAUSE)
                before = _reset_peak(java)
                cpu, wall = _cpu(java), time.perf_counter()
                model = algorithm.fit(frame)
                turn = Turn(time.perf_counter() - wall, _cpu(java) - cpu)
                rise = None if before is None else _peak(java) - before
                gaussians = model.gaussiansDF.collect()
                means = np.stack([g["mean"].toArray() for g in gaussians])
                covariances = np.stack([g["cov"].toArray() for g in gaussians])
                return Outcome(turn, np.array(model.weights), means, covariances, rise)

            yield fit
            frame.unpersist(blocking=True)


def session(n_threads: int) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{n_threads}]").appName("fastem-benchmark")
    settings = {
        "spark.driver.memory": "8g",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def write_rows(X: np.ndarray, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1]).cast(pa.list_(pa.float64()))
    parquet.write_table(pa.table({"row": rows}), path)


def _cpu(process: Any) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _reset_peak(process: Any) -> int | None:
    """Start the high-water mark of the memory again, and return the level; None where the system cannot."""
    if sys.platform != "linux":
        return None
    Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")
    return process.memory_info().rss


def _peak(process: Any) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("no VmHWM")

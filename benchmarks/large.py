"""Fits to files larger than memory: rows a second beside the pass in memory, peak memory, and a limit put on it.

    python benchmarks/large.py --rows 50_000_000 --folder /tmp/large

makes the files (1.6 GB of Parquet, as much of .npy) if they are not there, and runs every case in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, COMPONENTS, ITERATIONS = 8, 8, 10
_FILES = 16
_CHUNK = 2**20
# Memory that a process with a limit may map: less than the .npy file, enough for its libraries.
_LIMIT_SHARE = 0.85


def make(folder: Path, n_rows: int) -> None:
    """The files, a mixture of overlapping Gaussians; pyarrow's own settings."""
    import pyarrow
    from pyarrow import parquet

    (folder / "parquet").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    means = rng.normal(scale=2.0, size=(COMPONENTS, FEATURES))
    names = [f"x{j}" for j in range(FEATURES)]
    schema = pyarrow.schema([(name, pyarrow.float32()) for name in names])
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (n_rows, FEATURES))
    edges = np.linspace(0, n_rows, _FILES + 1).astype(int)
    for number in range(_FILES):
        with parquet.ParquetWriter(folder / "parquet" / f"{number:02d}.parquet", schema) as writer:
            for start in range(edges[number], edges[number + 1], _CHUNK):
                stop = min(start + _CHUNK, edges[number + 1])
                X = rng.standard_normal((stop - start, FEATURES), np.float32)
                X += means[rng.integers(COMPONENTS, size=len(X))].astype(np.float32)
                rows[start:stop] = X
                writer.write_table(pyarrow.table([np.ascontiguousarray(x) for x in X.T], schema=schema))
    rows.flush()


class Memory:
    """Resident memory of this process, sampled a few times a second: mapped files count while they are mapped."""

    def __init__(self) -> None:
        self.course: list[float] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.course.append(self.now())
            time.sleep(0.05)

    @staticmethod
    def now() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20


def case(kind: str, folder: Path, n_rows: int) -> dict[str, Any]:
    """One case in this process: seconds of the first pass and of the iterations, and memory in MB."""
    import fastem

    rng = np.random.default_rng(1)
    means = np.random.default_rng(0).normal(scale=2.0, size=(COMPONENTS, FEATURES))
    start = fastem.Gaussian("full").make_params(
        np.full(COMPONENTS, 1 / COMPONENTS),
        means + 0.3 * rng.normal(size=means.shape),
        np.tile(2 * np.eye(FEATURES), (COMPONENTS, 1, 1)),
    )
    data: Any = folder / "parquet"
    if kind == "in memory":
        data = np.load(folder / "rows.npy")
    elif kind == "memory map":
        data = np.load(folder / "rows.npy", mmap_mode="r")
    elif kind == "npy, limited":
        data = folder / "rows.npy"
        limit = int(_LIMIT_SHARE * data.stat().st_size)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    elif kind == "parquet, no cache":
        data = fastem.open_source(data, cache=None)
    ends: list[float] = []
    memory = Memory()
    options: dict[str, Any] = {"max_iter": ITERATIONS, "tol": 0.0}
    if kind == "parquet, search for the start":
        options["random_state"] = 0
    else:
        options["start"] = start
    began = time.perf_counter()
    found = fastem.fit(data, "gaussian", COMPONENTS, callbacks=lambda it: ends.append(time.perf_counter()), **options)
    seconds = time.perf_counter() - began
    passes = np.diff(ends)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    half = memory.course[len(memory.course) // 2 :]
    return {
        "kind": kind,
        "seconds": seconds,
        "passes": found.run.n_iter,
        "rate": n_rows / float(np.median(passes)) / 1e6,
        "whole rate": n_rows * found.run.n_iter / seconds / 1e6,
        "peak": peak,
        "growth": max(half) - half[0],
        "log-likelihood": found.run.lower_bound,
    }


CASES = (
    "in memory",
    "parquet",
    "parquet, no cache",
    "parquet, search for the start",
    "memory map",
    "npy, limited",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, default=Path("large-data"))
    parser.add_argument("--case", choices=CASES, help="run this one in this process")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(case(args.case, args.folder, args.rows)))
        return
    if not (args.folder / "rows.npy").exists():
        make(args.folder, args.rows)
    size = (args.folder / "rows.npy").stat().st_size / 1e9
    print(f"{args.rows:,} x {FEATURES} float32 ({size:.2f} GB), {COMPONENTS} full components, {os.cpu_count()} cores")
    print(f"{'':32}{'M rows/s':>10}{'share':>8}{'with first pass':>17}{'peak MB':>9}{'growth MB':>11}{'seconds':>9}")
    best = 0.0
    for kind in CASES:
        command = [sys.executable, __file__, "--rows", str(args.rows), "--folder", str(args.folder), "--case", kind]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{kind:32}{done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
            continue
        found = json.loads(done.stdout)
        best = best or found["rate"]
        print(
            f"{kind:32}{found['rate']:>10.1f}{found['rate'] / best:>8.0%}{found['whole rate']:>17.1f}"
            f"{found['peak']:>9.0f}{found['growth']:>11.0f}{found['seconds']:>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Fits to files larger than memory: rows a second beside the pass in memory, peak memory, and a limit put on it.

    python benchmarks/large.py --rows 50_000_000 --folder /tmp/large

makes the files (1.6 GB of Parquet, as much of .npy) if they are not there, and runs every case in a process of its own.
At the end the command fits the Parquet files on a terminal of ours, and the end that its bar expects is compared with
when it came.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
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
# What the bar shows: the iteration that is running, and the time that is left.
_SHOWN = re.compile(r"(?:run 1/\d+, )?iteration (\d+)[^\r\n]*?, (?:(\d+):)?(?:(\d+):)?([\d.]+)s? left")
# The expected end is right if what it says is left is within this share of what was.
_RIGHT_WITHIN = 0.2
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


def shown_ends(options: list[str]) -> tuple[dict[int, tuple[float, float]], float]:
    """Run the command on a terminal; by iteration when it first stood there with how much time left, and the end.

    All in seconds since the beginning.
    """
    code = "import sys; from fastem.cli import main; sys.exit(main())"
    terminal, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "fit", *options],
        stdin=inner,
        stdout=subprocess.DEVNULL,
        stderr=inner,
        env=environment,
    )
    os.close(inner)
    shown: dict[int, tuple[float, float]] = {}
    while data := _read(terminal):
        now = time.perf_counter() - began
        for iteration, *units in _SHOWN.findall(re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", data)):
            shown.setdefault(int(iteration), (now, _seconds(*units)))
    end = time.perf_counter() - began
    os.close(terminal)
    if process.wait():
        raise SystemExit(f"fastem fit {' '.join(options)} ended with {process.returncode}")
    return shown, end


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 2**16).decode(errors="replace")
    except OSError:  # the command has ended
        return ""


def _seconds(first: str, second: str, last: str) -> float:
    """Of a time as the bar shows it: ``8.1s``, ``3:07`` or ``2:05:00``."""
    total = 0.0
    for unit in (first, second, last):
        total = 60 * total + float(unit or 0)
    return total


def judge_expected_ends(folder: Path) -> None:
    """Print what the command's bar said was left after two passes, and what was."""
    fit = [str(folder / "parquet"), "--components", str(COMPONENTS), "--covariance", "full", "--n-init", "1"]
    fit += ["--tol", "0", "--max-iter", str(ITERATIONS)]
    print(f"\n{'the command on a terminal':32}{'after':>14}{'says left':>11}{'was left':>10}{'ratio':>7}{'whole':>9}")
    for name, options in (("rows read in each pass", ["--stream"]), ("as it chooses", [])):
        shown, end = shown_ends(fit + options)
        for running, after in ((2, "first pass + 1"), (3, "first pass + 2")):
            now, left = shown[running]
            ratio = left / (end - now)
            verdict = "PASS" if abs(ratio - 1) <= _RIGHT_WITHIN else "MISS"
            print(f"{name:32}{after:>14}{left:>11.1f}{end - now:>10.1f}{ratio:>7.2f}{end:>9.1f}  {verdict}", flush=True)


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
    parser.add_argument("--command", action="store_true", help="run the command alone")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(case(args.case, args.folder, args.rows)))
        return
    if not (args.folder / "rows.npy").exists():
        make(args.folder, args.rows)
    if args.command:
        judge_expected_ends(args.folder)
        return
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
    judge_expected_ends(args.folder)


if __name__ == "__main__":
    main()

"""Memory of a fit beyond the rows, each fit in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from comparison.contenders import CONTENDERS, takers
from comparison.timing import Spread, failure
from problems import Shape, Start, make_rows, make_start

SHAPES = (Shape(500_000, 16, 16, "full"), Shape(500_000, 32, 64, "diag"))
HOW = """\
Rise of the resident memory during a fit of 2 iterations, above the level with the rows loaded and after a fit of
8192 rows, in a fresh process each: neither rows, nor libraries, nor compiled code count. Programs in other languages
measure it themselves; Spark's is that of its Java process, which holds on to what it once had."""

_ITERATIONS = 2
_REPEATS = 3


def measure(settings: Any, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each shape's name and rises in bytes by contender, printed on the way."""
    print(f"\nMemory beyond the rows, {settings.dtype}\n{HOW}")
    for full_shape in SHAPES:
        shape = full_shape.scaled(settings.scale)
        X = make_rows(shape, settings.dtype)
        start = make_start(X, shape.n_components, shape.structure)
        print(f"{shape.name}, rows of {X.nbytes / 1e6:.0f} MB")
        rises: dict[str, list[int]] = {}
        for name in takers(names, shape.structure, settings.dtype):
            try:
                rises[name] = _rises(name, X, start, shape.structure, settings.threads)
            except Exception as error:
                print(f"  {name:<14} {failure(error)}")
                continue
            print(f"  {name:<14} {Spread.of([rise / 1e6 for rise in rises[name]]).text()} MB", flush=True)
        yield shape.name, {"rows": X.nbytes, "rises": rises}


def _rises(name: str, X: np.ndarray, start: Start, structure: str, n_threads: int) -> list[int]:
    if CONTENDERS[name].own_process:
        with CONTENDERS[name].problem(X, start, structure, n_threads) as fit:
            rises = [fit(_ITERATIONS).rise for _ in range(_REPEATS)]
        if None in rises:
            raise RuntimeError("this system does not tell the peak of another process")
        return rises  # type: ignore[return-value]
    child = Path(__file__).with_name("fit_peak.py")
    with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
        np.save(Path(folder) / "X.npy", X)
        for option, value in start.as_options().items():
            np.save(Path(folder) / f"{option}.npy", value)
        command = [sys.executable, str(child), name, structure, str(n_threads), str(_ITERATIONS), folder]
        runs = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(_REPEATS)]
    for run in runs:
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip()[-200:])
    return [json.loads(run.stdout.splitlines()[-1]) for run in runs]

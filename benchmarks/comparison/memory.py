"""Memory of a fit beyond the rows, each fit in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from comparison.contenders import CONTENDERS
from comparison.timing import Spread
from problems import Shape, make_rows, make_start

SHAPE = Shape(500_000, 16, 16, "full")
HOW = """\
Rise of the resident memory during a fit of 2 iterations, above the level with the rows loaded and after a fit of
8192 rows, in a fresh process each: neither rows, nor libraries, nor compiled code count."""

_ITERATIONS = 2
_REPEATS = 3


def measure(settings: Any) -> dict[str, Any]:
    """Rises in bytes by contender, printed on the way."""
    shape = SHAPE.scaled(settings.scale)
    print(f"\nMemory beyond the rows, {shape.name} {settings.dtype}\n{HOW}")
    X = make_rows(shape, settings.dtype)
    start = make_start(X, shape.n_components, shape.structure)
    found: dict[str, Any] = {"shape": shape.name, "rows": X.nbytes, "rises": {}}
    with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
        np.save(Path(folder) / "X.npy", X)
        for option, value in start.as_options().items():
            np.save(Path(folder) / f"{option}.npy", value)
        for name in CONTENDERS:
            rises = [_rise(name, shape.structure, settings.threads, folder) for _ in range(_REPEATS)]
            found["rises"][name] = rises
            print(f"  {name:<14} {Spread.of([rise / 1e6 for rise in rises]).text()} MB", flush=True)
    return found


def _rise(name: str, structure: str, n_threads: int, folder: str) -> int:
    child = Path(__file__).with_name("fit_peak.py")
    command = [sys.executable, str(child), name, structure, str(n_threads), str(_ITERATIONS), folder]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

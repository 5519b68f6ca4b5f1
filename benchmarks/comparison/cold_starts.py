"""Fresh processes: a first small fit, and the import alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from comparison.timing import Spread

HOW = """\
Seconds from the start of a Python process to its end. The fit is of iris (150 x 4) with 3 components, all other
parameters at their defaults, and Numba's cache empty."""

_FIT = "import sys, numpy as np; from {library} import GaussianMixture; GaussianMixture(3).fit(np.load(sys.argv[1]))"
PROGRAMS = {
    "scikit-learn fit": _FIT.format(library="sklearn.mixture"),
    "fastem fit": _FIT.format(library="fastem"),
    "import numpy": "import numpy",
    "import numpy, fastem": "import numpy, fastem",
}


def measure(settings: Any) -> Iterator[tuple[str, list[float]]]:
    """Each program and its seconds, printed on the way."""
    from sklearn.datasets import load_iris

    print(f"\nCold start\n{HOW}")
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
        rows = Path(folder) / "iris.npy"
        np.save(rows, load_iris().data)
        # A round that does not count: files come from the disk in it.
        for counts in [False] + [True] * settings.repeats:
            for name, program in PROGRAMS.items():
                taken = _run(program, rows)
                if counts:
                    seconds[name].append(taken)
    pairs = zip(seconds["import numpy, fastem"], seconds["import numpy"], strict=True)
    seconds["import fastem (difference)"] = [with_it - without for with_it, without in pairs]
    for name, values in seconds.items():
        print(f"  {name:<28} {Spread.of(values).text()} s")
    pairs = zip(seconds["scikit-learn fit"], seconds["fastem fit"], strict=True)
    ratio = Spread.of([theirs / ours for theirs, ours in pairs])
    print(f"  fastem's first fit is {ratio.text()} times faster than scikit-learn's")
    yield from seconds.items()


def _run(program: str, rows: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, str(rows)], check=True, env=environment)
        return time.perf_counter() - began

"""One fit in a process of its own: how far memory rises above the rows that are loaded already.

    python fit_peak.py CONTENDER STRUCTURE THREADS ITERATIONS FOLDER

``FOLDER`` holds ``X.npy`` and the start, ``weights_init.npy`` and so on. Prints the rise in bytes.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil

# Beside this folder lie those of the contenders and of the problems.
sys.path.insert(0, str(Path(__file__).parent.parent))

_WARM_UP_ROWS = 8192
_START = ("weights_init", "means_init", "precisions_init")
_INTERVAL = 0.0005


class Peak:
    """Peak of the resident memory inside a ``with`` block, and its rise above the level at its start."""

    def __enter__(self) -> Peak:
        self._process = psutil.Process()
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._record = _high_water_mark()
        self._before = self._most = self._process.memory_info().rss
        self._sampler.start()
        return self

    def _sample(self) -> None:
        while not self._done.is_set():
            self._most = max(self._most, self._process.memory_info().rss)
            time.sleep(_INTERVAL)

    def __exit__(self, *exception: Any) -> None:
        self._done.set()
        self._sampler.join()
        # What the samples missed the system knows, if this block set the record of the whole process.
        record = _high_water_mark()
        if record > self._record:
            self._most = max(self._most, record)
        self.rise = self._most - self._before


def _high_water_mark() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _give_back_free_memory() -> None:
    """What compiling and the warm-up have freed must not serve the fit unseen."""
    gc.collect()
    if sys.platform == "linux" and os.confstr("CS_GNU_LIBC_VERSION"):
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    from comparison.contenders import CONTENDERS
    from problems import Start

    warnings.simplefilter("ignore")
    name, structure, n_threads, max_iter, folder = sys.argv[1:]
    X = np.load(Path(folder) / "X.npy")
    start = Start(*(np.load(Path(folder) / f"{option}.npy") for option in _START))

    def problem(rows: np.ndarray) -> Any:
        return CONTENDERS[name].problem(rows, start, structure, int(n_threads))

    with problem(X[:_WARM_UP_ROWS]) as fit:
        fit(1)
    with problem(X) as fit:
        _give_back_free_memory()
        with Peak() as peak:
            fit(int(max_iter))
    print(peak.rise)


if __name__ == "__main__":
    main()

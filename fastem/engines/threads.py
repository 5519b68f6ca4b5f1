"""How many threads a pass may use."""

from __future__ import annotations

import os
import threading
from numbers import Integral

# Below this many multiply-adds in a pass, waking a second thread costs more than it saves.
_SERIAL_WORK = 2e6


def available_threads() -> int:
    """Threads of this process: its share of the cores, or less where the environment says so (joblib's workers do)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "").split(",")[0]  # nested levels follow the comma
        if value.isdigit() and int(value) > 0:
            cores = min(cores, int(value))
    return cores


def resolve_threads(n_threads: int | None, work: float) -> int:
    """Threads for a pass of ``work`` multiply-adds; the result of a pass does not depend on it.

    Raises
    ------
    ValueError
        If ``n_threads`` is neither None nor a positive integer.
    """
    if n_threads is None:
        return available_threads() if work > _SERIAL_WORK else 1
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1:
        raise ValueError(f"n_threads must be a positive integer or None, but got {n_threads!r}")
    return int(n_threads)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

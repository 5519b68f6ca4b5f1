"""Threads for panels that compiled code runs without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache


def run_on_threads(work: Callable[[], None], n_threads: int) -> None:
    """Call ``work()`` on up to ``n_threads`` threads at a time, this one among them, and wait for all.

    Each call must take pieces of the whole until none is left: where the helpers are busy, this is the only call. An
    exception of this thread, Ctrl-C included, is raised when the others have ended too.
    """
    if n_threads <= 1:
        work()
        return
    helpers = _helpers(os.getpid(), n_threads - 1)
    others = [helpers.submit(work) for _ in range(n_threads - 1)]
    try:
        work()
        for other in others:
            # One that has not begun has nothing left to do: another thread's pass keeps the helpers busy.
            if not other.cancel():
                other.result()
    finally:
        wait(others)


@cache
def _helpers(process: int, n_threads: int) -> ThreadPoolExecutor:
    """Threads that stay: a new one starts on the core of its maker, and may wait there for milliseconds.

    A forked child has none of its parent's threads, and makes its own.
    """
    return ThreadPoolExecutor(n_threads, thread_name_prefix="fastem")

"""Computations side by side on a thread each, or large ones in turn on all threads; and Ctrl-C in either case."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastem.em import Callback, Occasional, OnInterrupt
from fastem.engines.threads import resolve_threads

T = TypeVar("T")
R = TypeVar("R")

# Work of a pass, in multiply-adds, where fits run side by side on a thread each. Smaller passes are mostly Python's own
# work, of which threads do one at a time: side by side they take twice as long (measured). Larger ones
# fill all threads.
_SIDE_BY_SIDE_WORK = (2e6, 5e7)


class Workers:
    """Runs functions over items. Their results do not depend on the number of threads.

    Parameters
    ----------
    n_threads : int or None
        Threads in all; None for as many as this process may use.
    work : float
        Multiply-adds of the largest pass.
    on_interrupt : {"raise", "keep"}

    Attributes
    ----------
    n_threads : int or None
        Threads that each function may use by itself.
    interrupted : threading.Event
        Set by Ctrl-C and by errors; nothing is begun any more.
    watch : tuple of callable
        Callbacks with which what has begun on other threads ends too. On this thread Ctrl-C is an exception.
    """

    def __init__(self, n_threads: int | None, work: float, on_interrupt: OnInterrupt) -> None:
        if on_interrupt not in ("raise", "keep"):
            raise ValueError(f"on_interrupt must be 'raise' or 'keep', but got {on_interrupt!r}")
        least, most = _SIDE_BY_SIDE_WORK
        n_available = resolve_threads(n_threads, float("inf"))
        self._side_by_side = n_available if least < work < most else 1
        self.n_threads = n_threads if work >= most else 1
        self.on_interrupt = on_interrupt
        self.interrupted = threading.Event()
        watch = Occasional(lambda _: self.interrupted.is_set())
        self.watch: tuple[Callback, ...] = (watch,) if self._side_by_side > 1 else ()

    def map(self, do: Callable[[T], R], items: Sequence[T]) -> list[R | None]:
        """``do(item)`` for each item; None for those that an interruption left out."""
        found: list[R | None] = [None] * len(items)

        def run(index: int) -> None:
            if not self.interrupted.is_set():
                found[index] = do(items[index])

        try:
            if self._side_by_side == 1 or len(items) <= 1:
                for index in range(len(items)):
                    run(index)
            else:
                self._run_on_threads(run, len(items))
        except KeyboardInterrupt:
            self.interrupted.set()
            if self.on_interrupt == "raise":
                raise
        return found

    def _run_on_threads(self, run: Callable[[int], None], n_items: int) -> None:
        # Leaving the pool waits for what has begun, and that looks at the event.
        with ThreadPoolExecutor(min(self._side_by_side, n_items)) as pool:
            futures = [pool.submit(run, index) for index in range(n_items)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self.interrupted.set()
                raise

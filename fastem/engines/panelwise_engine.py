"""A group of panels by one call a panel: for functions that know one panel only."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from itertools import count as counter
from typing import Any

import numpy as np

from fastem.engines.base import Posterior
from fastem.engines.kernel_engine import Cut, KernelEngine, Scratch
from fastem.engines.pool import run_on_threads
from fastem.families.base import Packed


class PanelwiseEngine(KernelEngine):
    """Panels on threads of our own; a subclass supplies the functions for one panel."""

    @abstractmethod
    def _accumulate_panel(self, log_density: Any, moments: Any, dtype: Any) -> Callable[..., float]:
        """Function of the remaining arguments of ``kernels.panel.accumulate_panel``."""

    @abstractmethod
    def _evaluate_panel(self, log_density: Any, dtype: Any) -> Callable[..., None]:
        """Function of the remaining arguments of ``kernels.panel.evaluate_panel``."""

    def _accumulate_group(
        self,
        kernels: tuple[Any, Any],
        data: tuple[np.ndarray, ...],
        cut: Cut,
        first: int,
        packed: Packed,
        scratch: Scratch,
        S: np.ndarray,
        sums: np.ndarray,
        n_threads: int,
    ) -> None:
        run = self._accumulate_panel(*kernels, packed.theta.dtype)

        def panel(p: int, memory: tuple[np.ndarray, ...]) -> None:
            start = cut.start(first + p)
            stop = min(start + cut.panel_rows, cut.n_samples)
            sums[p] = run(*data, start, stop, packed.theta, packed.common, *memory, S[p])

        _in_turn(panel, len(S), scratch, n_threads)

    def _evaluate_group(
        self,
        log_density: Any,
        X: np.ndarray,
        cut: Cut,
        first: int,
        count: int,
        packed: Packed,
        scratch: Scratch,
        found: Posterior,
        n_threads: int,
    ) -> None:
        run = self._evaluate_panel(log_density, packed.theta.dtype)
        outputs = (found.labels, found.log_likelihood, found.responsibilities)

        def panel(p: int, memory: tuple[np.ndarray, ...]) -> None:
            start = cut.start(first + p)
            stop = min(start + cut.panel_rows, cut.n_samples)
            run(X, start, stop, packed.theta, packed.common, *memory, *outputs)

        _in_turn(panel, count, scratch, n_threads)


def _in_turn(
    panel: Callable[[int, tuple[np.ndarray, ...]], None], n_panels: int, scratch: Scratch, n_threads: int
) -> None:
    """Call ``panel(0 ... n_panels - 1)``; every thread takes the next, and stops after an exception in any of them."""
    panels, threads = iter(range(n_panels)), counter()
    taking = threading.Lock()
    stop = threading.Event()

    def work() -> None:
        try:
            memory = scratch[next(threads)]
            while not stop.is_set():
                with taking:
                    p = next(panels, None)
                if p is None:
                    return
                panel(p, memory)
        except BaseException:
            stop.set()
            raise

    run_on_threads(work, min(n_threads, n_panels))

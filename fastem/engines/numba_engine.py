"""The kernels compiled by Numba for this very processor, in one parallel driver over panels of rows."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numba
import numpy as np

from fastem.engines import numba_drivers as drivers
from fastem.engines.base import Posterior
from fastem.engines.kernel_engine import Cut, Scratch, kernels_of
from fastem.engines.numba_vectors import WIDE
from fastem.engines.panelwise_engine import PanelwiseEngine
from fastem.engines.threads import in_main_thread
from fastem.families.base import Family, Packed

_FIRST_PROCESS = os.getpid()


def _parallel_is_safe() -> bool:
    """Whether Numba's own threads may be entered from here.

    Its workqueue layer aborts the process when two threads enter it, and OpenMP kills a forked child. The layer is only
    known once it runs, so both count as unsafe; panels then run on threads of our own, with the same bits.
    """
    is_child = os.getpid() != _FIRST_PROCESS or multiprocessing.parent_process() is not None
    return in_main_thread() and not is_child


@contextmanager
def _numba_threads(n_threads: int) -> Iterator[None]:
    before = numba.get_num_threads()
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(n_threads, most))
    try:
        yield
    finally:
        numba.set_num_threads(before)


class NumbaEngine(PanelwiseEngine):
    name = "numba"
    is_wide = WIDE
    # Its parallel driver runs in the main thread alone.
    side_by_side = False
    # Functions of a second float type are compiled for it.
    rounds_from = 2e9

    def prepare(self, family: Family[Any], dtype: np.dtype[Any]) -> None:
        for name in drivers.DRIVERS:
            drivers.driver(name, dtype)
        for kind, kernels in zip(("log_density", "moments"), kernels_of(family), strict=True):
            for kernel in kernels:
                drivers.block_kernel(kernel, kind, dtype)

    def _accumulate_panel(self, log_density: Any, moments: Any, dtype: Any) -> Callable[..., float]:
        density_kernel = drivers.block_kernel(log_density, "log_density", dtype)
        moments_kernel = drivers.block_kernel(moments, "moments", dtype)
        return partial(drivers.driver("accumulate_panel", dtype), density_kernel, moments_kernel)

    def _evaluate_panel(self, log_density: Any, dtype: Any) -> Callable[..., None]:
        density_kernel = drivers.block_kernel(log_density, "log_density", dtype)
        return partial(drivers.driver("evaluate_panel", dtype), density_kernel)

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
        # On one thread too: a call for each panel costs 70 us, most of it for the functions among the arguments.
        if len(S) == 1 or not _parallel_is_safe():
            super()._accumulate_group(kernels, data, cut, first, packed, scratch, S, sums, n_threads)
            return
        dtype = packed.theta.dtype
        run = drivers.driver("accumulate_panels", dtype)
        with _numba_threads(n_threads):
            run(
                drivers.driver("accumulate_panel", dtype),
                drivers.block_kernel(kernels[0], "log_density", dtype),
                drivers.block_kernel(kernels[1], "moments", dtype),
                *data,
                cut.start(first),
                cut.n_samples,
                cut.panel_rows,
                cut.step,
                packed.theta,
                packed.common,
                np.zeros(1, dtype=np.intp),
                *(scratch.XT, scratch.log_p, scratch.rows, scratch.scratch),
                S,
                sums,
            )

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
        if count == 1 or not _parallel_is_safe():
            super()._evaluate_group(log_density, X, cut, first, count, packed, scratch, found, n_threads)
            return
        dtype = packed.theta.dtype
        run = drivers.driver("evaluate_panels", dtype)
        with _numba_threads(n_threads):
            run(
                drivers.driver("evaluate_panel", dtype),
                drivers.block_kernel(log_density, "log_density", dtype),
                X,
                cut.start(first),
                cut.n_samples,
                cut.panel_rows,
                count,
                packed.theta,
                packed.common,
                np.zeros(1, dtype=np.intp),
                *(scratch.XT, scratch.log_p, scratch.rows, scratch.scratch),
                *(found.labels, found.log_likelihood, found.responsibilities),
            )

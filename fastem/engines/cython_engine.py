"""The kernels compiled ahead of time: at work without a wait, on threads of our own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counter
from types import ModuleType
from typing import Any

import numpy as np

from fastem import compiled
from fastem.engines.base import Posterior
from fastem.engines.kernel_engine import Cut, KernelEngine, Scratch
from fastem.engines.pool import run_on_threads
from fastem.families.base import Packed


class CythonEngine(KernelEngine):
    name = "cython"

    def __init__(self) -> None:
        compiled.module("float64")  # raises where nothing was compiled

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
        module = _module(packed)
        capsules = module.__pyx_capi__
        inputs = (capsules[kernels[0].__name__], capsules[kernels[1].__name__], *data)
        rows = (first * cut.panel_rows, cut.n_samples, cut.panel_rows)
        parameters = (packed.theta, packed.common)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            module.run_accumulate_panels(*inputs, *rows, *parameters, taken, *memory, S, sums)

        _run(run, scratch, len(S), n_threads)

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
        module = _module(packed)
        inputs = (module.__pyx_capi__[log_density.__name__], X)
        rows = (first * cut.panel_rows, cut.n_samples, cut.panel_rows, count)
        outputs = (found.labels, found.log_likelihood, found.responsibilities)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            module.run_evaluate_panels(*inputs, *rows, packed.theta, packed.common, taken, *memory, *outputs)

        _run(run, scratch, count, n_threads)


def _module(packed: Packed) -> ModuleType:
    return compiled.module("float64" if packed.theta.itemsize == 8 else "float32")


def _run(
    run: Callable[[np.ndarray, tuple[np.ndarray, ...]], None], scratch: Scratch, n_panels: int, n_threads: int
) -> None:
    """Call ``run`` once on each thread, which takes panels by a shared counter and has memory of its own."""
    taken = np.zeros(1, dtype=np.intp)
    if min(n_threads, n_panels) == 1:
        run(taken, scratch[0])
        return
    threads = counter()
    run_on_threads(lambda: run(taken, scratch[next(threads)]), min(n_threads, n_panels))

"""The kernels compiled ahead of time: at work without a wait, on threads of our own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastem import compiled
from fastem.engines.kernel_engine import KernelEngine


class CythonEngine(KernelEngine):
    name = "cython"

    def __init__(self) -> None:
        compiled.module("float64")  # raises where nothing was compiled

    def _accumulate_panel(self, log_density: Any, moments: Any, dtype: Any) -> Callable[..., float]:
        module = compiled.module(dtype.name)
        pointers = module.__pyx_capi__
        return partial(module.run_accumulate_panel, pointers[log_density.__name__], pointers[moments.__name__])

    def _evaluate_panel(self, log_density: Any, dtype: Any) -> Callable[..., None]:
        module = compiled.module(dtype.name)
        return partial(module.run_evaluate_panel, module.__pyx_capi__[log_density.__name__])

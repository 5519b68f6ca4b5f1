"""Numba's compilation of the kernels: every compiler option, signature and cache rule in one place.

A family's block kernels are values of one function type, so that one driver, compiled once for a float type, serves
every family and comes back from the disk cache. (A dispatcher as argument or free variable would never come back.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from inspect import getmembers, isfunction
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import register_jitable

from fastem import kernels
from fastem.engines import numba_vectors
from fastem.engines.notices import say_once
from fastem.kernels import panel, vectors

# NaN and infinity must still be seen: no nnan, no ninf. Sums keep their order: no reassoc.
OPTIONS: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "nogil": True}
# The kernels own no memory, and need no counts of references: their atomic additions took a tenth of a pass.
_SERIAL = {"_nrt": False}

for _module in iter_modules(kernels.__path__):
    if _module.name != "vectors":
        for _, _function in getmembers(import_module(f"{kernels.__name__}.{_module.name}"), isfunction):
            if _function.__module__ != vectors.__name__:
                register_jitable(_function)


def _digest() -> str:
    """Digest of all sources that a compiled function may hold: Numba's cache looks at the outermost file only."""
    files = [*sorted(Path(panel.__file__).parent.glob("*.py")), Path(numba_vectors.__file__), Path(__file__)]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


DIGEST = _digest()

# Numba's intrinsics have an argument less than their source.
take: Any = numba_vectors.take


class Signatures:
    """Numba's types of the kernels' and drivers' arguments for one float type."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        real = types.float64 if dtype == np.float64 else types.float32
        matrix, row, size = real[:, ::1], real[::1], types.intp
        rows = types.Array(real, 2, "A", readonly=True, aligned=False)
        weights = types.Array(types.float64, 1, "A", readonly=True, aligned=False)
        order = types.Array(types.int32, 1, "A", readonly=True, aligned=False)
        cube = real[:, :, ::1]
        self.log_density = types.void(matrix, size, matrix, matrix, matrix, matrix)
        self.moments = types.void(matrix, size, matrix, matrix, matrix, types.float64[:, ::1])
        density_type, moments_type = types.FunctionType(self.log_density), types.FunctionType(self.moments)
        inputs = (density_type, moments_type, rows, weights, rows, order)
        self.accumulate_panel = types.float64(
            *inputs, size, size, matrix, matrix, matrix, matrix, matrix, matrix, types.float64[:, ::1]
        )
        self.accumulate_panels = types.void(
            *(types.FunctionType(self.accumulate_panel), *inputs, size, size, size, size, matrix, matrix),
            *(types.intp[::1], cube, cube, cube, cube, types.float64[:, :, ::1], types.float64[::1]),
        )
        outputs = (types.intp[::1], row, matrix)
        self.evaluate_panel = types.void(
            density_type, rows, size, size, matrix, matrix, matrix, matrix, matrix, matrix, *outputs
        )
        self.evaluate_panels = types.void(
            *(types.FunctionType(self.evaluate_panel), density_type, rows, size, size, size, size, matrix, matrix),
            *(types.intp[::1], cube, cube, cube, cube, *outputs),
        )


@cache
def signatures(dtype: np.dtype[Any]) -> Signatures:
    return Signatures(dtype)


def _compile(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """``njit`` with the disk cache, or without it where no folder can be written."""
    try:
        return njit(signature, cache=True, **OPTIONS, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        say_once("fastem's Numba kernels are compiled anew in every process: there is no folder for Numba's cache")
        return njit(signature, **OPTIONS, **options)(function)


def _bind(kernel: Callable[..., Any], digest: str) -> Callable[..., Any]:
    def block(data: Any, n_rows: Any, a: Any, b: Any, c: Any, d: Any) -> None:
        digest  # noqa: B018  (a free variable, and so part of the cache's key)
        kernel(data, n_rows, a, b, c, d)

    # Numba finds a cached function by its name, which it would else tell apart by a number that starts again in every
    # process: two kernels cached by different processes would stand for each other in a third.
    block.__name__ = block.__qualname__ = f"block_{kernel.__module__.replace('.', '_')}_{kernel.__name__}"
    return block


@cache
def block_kernel(kernel: Callable[..., Any], kind: str, dtype: np.dtype[Any]) -> Any:
    """A family's kernel, compiled: ``kind`` is ``"log_density"`` or ``"moments"``. Callable from other njit code."""
    return _compile(_bind(kernel, DIGEST), getattr(signatures(dtype), kind), **_SERIAL)


# Every thread has working memory of its own, which stays in its cache, and takes the next panel when done with one.
# The panel's function is an argument too: the parallel driver alone compiles in a second, and the serial function is
# there for whoever may not enter Numba's threads.
def _accumulate_panels(digest: str) -> Callable[..., Any]:
    def accumulate_panels(
        accumulate_panel, log_density, accumulate, X, sample_weight, given, order, start, stop, panel_rows, step,
        theta, common, taken, XT, log_p, rows, scratch, S, log_likelihood,
    ):  # fmt: skip
        digest  # noqa: B018
        for thread in prange(XT.shape[0]):
            p = take(taken)
            while p < S.shape[0]:
                first = start + p * step
                log_likelihood[p] = accumulate_panel(
                    log_density, accumulate, X, sample_weight, given, order, first, min(first + panel_rows, stop),
                    theta, common, XT[thread], log_p[thread], rows[thread], scratch[thread], S[p],
                )  # fmt: skip
                p = take(taken)

    return accumulate_panels


def _evaluate_panels(digest: str) -> Callable[..., Any]:
    def evaluate_panels(
        evaluate_panel, log_density, X, start, stop, panel_rows, n_panels, theta, common, taken, XT, log_p, rows,
        scratch, labels, log_likelihood, responsibilities,
    ):  # fmt: skip
        digest  # noqa: B018
        for thread in prange(XT.shape[0]):
            p = take(taken)
            while p < n_panels:
                first = start + p * panel_rows
                evaluate_panel(
                    log_density, X, first, min(first + panel_rows, stop), theta, common, XT[thread], log_p[thread],
                    rows[thread], scratch[thread], labels, log_likelihood, responsibilities,
                )  # fmt: skip
                p = take(taken)

    return evaluate_panels


def _accumulate_panel(digest: str) -> Callable[..., Any]:
    def accumulate_panel(
        log_density, accumulate, X, sample_weight, given, order, start, stop, theta, common, XT, log_p, rows, scratch, S
    ):
        digest  # noqa: B018
        return panel.accumulate_panel(
            log_density, accumulate, X, sample_weight, given, order, start, stop, theta, common, XT, log_p, rows,
            scratch, S,
        )  # fmt: skip

    return accumulate_panel


def _evaluate_panel(digest: str) -> Callable[..., Any]:
    def evaluate_panel(
        log_density, X, start, stop, theta, common, XT, log_p, rows, scratch, labels, log_likelihood, responsibilities
    ):
        digest  # noqa: B018
        panel.evaluate_panel(
            log_density,
            X,
            start,
            stop,
            theta,
            common,
            XT,
            log_p,
            rows,
            scratch,
            labels,
            log_likelihood,
            responsibilities,
        )

    return evaluate_panel


DRIVERS: dict[str, Callable[[str], Callable[..., Any]]] = {
    "accumulate_panel": _accumulate_panel,
    "accumulate_panels": _accumulate_panels,
    "evaluate_panel": _evaluate_panel,
    "evaluate_panels": _evaluate_panels,
}


@cache
def driver(name: str, dtype: np.dtype[Any]) -> Any:
    """A compiled driver: ``accumulate_panels`` and ``evaluate_panels`` run in parallel, the singular ones do not."""
    signature = getattr(signatures(dtype), name)
    options = {"parallel": True} if name.endswith("s") else _SERIAL
    return _compile(DRIVERS[name](DIGEST), signature, **options)

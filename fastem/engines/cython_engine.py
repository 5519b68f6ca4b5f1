"""The kernels compiled ahead of time: at work without a wait, on threads of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count as counter
from types import ModuleType
from typing import Any

import numpy as np

from fastem import compiled
from fastem.engines.base import Posterior, check_pass, pass_work, total_weight
from fastem.engines.kernel_engine import (
    NO_ORDER,
    NONE_GIVEN,
    Cut,
    KernelEngine,
    Scratch,
    as_kernel_weight,
    cut_rows,
    stats_of,
)
from fastem.engines.pool import run_on_threads
from fastem.families.base import Family, Packed, Params
from fastem.stats import Stats, Stretch, n_moments

# Work of a pass, in multiply-adds, up to which a second thread gains less than the return to Python costs; and of all
# passes of one call, which Ctrl-C waits for: a second at most.
_AHEAD_WORK, _STRETCH_WORK = 4e6, 1e9


class CythonEngine(KernelEngine):
    name = "cython"

    def __init__(self) -> None:
        compiled.module("float64")  # raises where nothing was compiled

    def _at_work(self, n_panels: int, n_threads: int) -> int:
        return min(n_panels, n_threads)

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
        rows = (cut.start(first), cut.n_samples, cut.panel_rows, cut.step)
        parameters = (packed.theta, packed.common)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            module.run_accumulate_panels(*inputs, *rows, *parameters, taken, *memory, S, sums)

        _run(run, scratch, len(S), n_threads)

    def run_ahead(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        *,
        previous: float,
        tol: float,
        max_iter: int,
        sample_weight: np.ndarray | None = None,
        shared: Stats | None = None,
    ) -> Stretch | None:
        (n_samples, n_features), n_components = X.shape, len(params.weights)
        work = pass_work(X.shape, n_components, family.moments)
        update = family.compiled_update(n_components, n_features)
        # By the work, and not by the threads: the result has the same bits for any number of them.
        if update is None or work > _AHEAD_WORK:
            return None
        check_pass(X, params.origin, sample_weight)
        packed = family.pack(params, X.dtype)
        if packed.common.size > 0 and shared is None:  # bounds of components, which the M-step knows nothing of
            return None
        cut = cut_rows(n_samples, n_components, n_features, family.moments, X.dtype)
        scratch = Scratch.allocate(1, n_features, n_components, cut.block, X.dtype)
        theta = np.empty((2, *packed.theta.shape), packed.theta.dtype)
        theta[0] = packed.theta
        S = np.empty((cut.n_panels, n_components, n_moments(family.moments, n_features)))
        most = min(max_iter, max(1, int(_STRETCH_WORK / work)))
        course = np.empty((most, 1 + n_components))
        weight = total_weight(n_samples, sample_weight)
        module = _module(packed)
        kernels = (family.log_density_kernel, family.moments_kernel, update.kernel)
        steps = module.run_iterations(
            *(module.__pyx_capi__[kernel.__name__] for kernel in kernels),
            *(X, as_kernel_weight(sample_weight), NONE_GIVEN[X.dtype.char], NO_ORDER, cut.panel_rows),
            *(update.letters, _about_one_point(shared), weight, update.ridges, theta, packed.common),
            *(*scratch[0], *update.memory, S, course, previous, tol, most),
        )
        origin = theta[steps % 2, :, 1 : 1 + n_features].astype(np.float64)
        masses = course[:steps, 1:]
        weights = np.concatenate([params.weights[None], masses / masses.sum(axis=1, keepdims=True)])
        stats = stats_of(S[0], origin, weight, float(course[steps, 0]), family.moments)
        return Stretch(course[: steps + 1, 0] / weight, weights, replace(stats, shared=shared))

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
        rows = (cut.start(first), cut.n_samples, cut.panel_rows, count)
        outputs = (found.labels, found.log_likelihood, found.responsibilities)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            module.run_evaluate_panels(*inputs, *rows, packed.theta, packed.common, taken, *memory, *outputs)

        _run(run, scratch, count, n_threads)


def _about_one_point(shared: Stats | None) -> np.ndarray:
    """Shared moments in a row, and the point that they are about in another."""
    if shared is None:
        return np.empty((2, 0))
    rows = np.zeros((2, shared.S.shape[1]))
    rows[0] = shared.S[0]
    rows[1, : shared.origin.shape[1]] = shared.origin[0]
    return rows


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

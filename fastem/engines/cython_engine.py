"""The kernels compiled ahead of time: at work without a wait, on threads of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    mirror,
)
from fastem.engines.pool import run_on_threads
from fastem.engines.threads import resolve_threads
from fastem.families.base import Family, Packed, Params
from fastem.stats import Stats, Stretch, n_moments

# Work of a pass, in multiply-adds, up to which a second thread gains less than the return to Python costs; and of all
# passes of one call, which Ctrl-C waits for: a second at most.
_AHEAD_WORK, _STRETCH_WORK = 4e6, 1e9


class CythonEngine(KernelEngine):
    name = "cython"

    def __init__(self) -> None:
        self.is_wide = compiled.module("float64").is_wide()  # raises where nothing was compiled

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
        module = _module(packed.theta)
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
        starts: Sequence[Params] | Sequence[Stats],
        *,
        previous: float,
        tol: float,
        max_iter: int,
        sample_weight: np.ndarray | None = None,
        shared: Stats | None = None,
        n_threads: int | None = None,
    ) -> list[Stretch] | None:
        (n_samples, n_features), (n_starts, n_components) = X.shape, (len(starts), len(starts[0].origin))
        work = pass_work(X.shape, n_components, family.moments)
        # By the work, and not by the threads: the result has the same bits for any number of them.
        if work > _AHEAD_WORK or (update := family.compiled_update(n_components, n_features)) is None:
            return None
        for start in starts:
            check_pass(X, start.origin, sample_weight)
        points = [start for start in starts if isinstance(start, Params)]
        moments = [start for start in starts if isinstance(start, Stats)]
        packed = [family.pack(params, X.dtype) for params in points]
        # Bounds of components, which some starts have and others not, and which the M-step knows nothing of.
        if shared is None and any(each.common.size > 0 for each in packed):
            return None
        most = min(max_iter, max(1, int(_STRETCH_WORK / (work * n_starts))))
        threads = min(resolve_threads(n_threads, work * most * n_starts), n_starts)
        cut = cut_rows(n_samples, n_components, n_features, family.moments, X.dtype, self.is_wide)
        scratch = Scratch.allocate(threads, n_features, n_components, cut.block, X.dtype)
        theta = np.empty((n_starts, 2, n_components, update.widths[0]), X.dtype)
        common = np.empty((n_starts, 1, update.widths[1]), X.dtype)
        S = np.empty((n_starts, cut.n_panels, n_components, n_moments(family.moments, n_features)))
        course, steps = np.empty((n_starts, most, 1 + n_components)), np.empty(n_starts, dtype=np.intp)
        for number, each in enumerate(packed):
            theta[number, 0], common[number] = each.theta, each.common
            course[number, 0, 1:] = points[number].weights
        if moments:
            theta[:, 1, :, 1 : 1 + n_features] = [start.origin for start in moments]
            S[:, 0] = [start.S for start in moments]
            course[:, 0, 1:] = S[:, 0, :, 0] / S[:, 0, :, 0].sum(axis=1, keepdims=True)
        weight = total_weight(n_samples, sample_weight)
        module = _module(X)
        kernels = (family.log_density_kernel, family.moments_kernel, update.kernel)
        capsules = [module.__pyx_capi__[kernel.__name__] for kernel in kernels]
        rows = (X, as_kernel_weight(sample_weight), NONE_GIVEN[X.dtype.char], NO_ORDER, cut.panel_rows)
        together = _about_one_point([shared, *(start.shared for start in moments)])
        letters = update.trial_letters if moments else update.letters
        given = (letters, together, weight, update.settings, theta, common)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            outputs = (S, course, steps, previous, tol, most, bool(moments))
            module.run_iterations(*capsules, *rows, *given, taken, *memory, *update.memory(), *outputs)

        _run(run, scratch, n_starts, threads)
        if family.moments == "full":
            mirror(S[:, 0], n_features)
        means = theta[np.arange(n_starts), steps % 2, :, 1 : 1 + n_features].astype(np.float64)
        stretches = []
        for number, last in enumerate(steps.tolist()):
            log_likelihoods, weights = course[number, : last + 1, 0], course[number, : last + 1, 1:]
            reached = float(course[number, last, 0])
            stats = Stats(weight, reached, means[number], S[number, 0], family.moments, shared)
            stretches.append(Stretch(log_likelihoods / weight, weights, stats))
        return stretches

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
        module = _module(packed.theta)
        inputs = (module.__pyx_capi__[log_density.__name__], X)
        rows = (cut.start(first), cut.n_samples, cut.panel_rows, count)
        outputs = (found.labels, found.log_likelihood, found.responsibilities)

        def run(taken: np.ndarray, memory: tuple[np.ndarray, ...]) -> None:
            module.run_evaluate_panels(*inputs, *rows, packed.theta, packed.common, taken, *memory, *outputs)

        _run(run, scratch, count, n_threads)


def _about_one_point(shared: Sequence[Stats | None]) -> np.ndarray:
    """Of each shared moments in a row, and the point that they are about in another."""
    rows = np.zeros((len(shared), 2, 0 if shared[0] is None else shared[0].S.shape[1]))
    for values, stats in zip(rows, shared, strict=True):
        if stats is not None:
            values[0] = stats.S[0]
            values[1, : stats.origin.shape[1]] = stats.origin[0]
    return rows


def _module(values: np.ndarray) -> ModuleType:
    return compiled.module("float64" if values.itemsize == 8 else "float32")


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

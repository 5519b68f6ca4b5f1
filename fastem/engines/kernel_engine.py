"""The pass over rows for every engine that runs the kernels: cut into panels, run, add up in order.

Panels are cut by N, K, D and the processor, and added in order, so that the result has the same bits for any number of
threads.
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import count as counter
from typing import Any

import numpy as np

from fastem.engines.base import REALS, Engine, EStep, Posterior, Runs, check_pass, pass_work, total_weight
from fastem.engines.pool import run_on_threads
from fastem.engines.threads import resolve_threads
from fastem.families.base import MOMENT_KERNELS, Family, Packed, Params, origin_only, scratch_shape
from fastem.kernels.gaussian import diag_log_density
from fastem.kernels.scatter import few_features
from fastem.stats import Moments, Stats, n_moments

_NO_WEIGHT = np.empty(0)
NO_ORDER = np.empty(0, dtype=np.int32)
NONE_GIVEN = {dtype.char: np.empty((0, 0), dtype) for dtype in REALS}
# Rows that are grouped with each other: many, so that a component's fill whole blocks, in memory that a processor's
# tables of addresses still cover.
_GROUPED_ROWS = 2**18
# Work of a panel in multiply-adds: about 10 ms, so that Ctrl-C is answered at once and threads end together.
_PANEL_WORK = 2e8
_PANEL_ROWS = (1024, 16384)
# Rows of a block in double precision, twice as many in single: many, since a component's statistics and factor are
# read once a block; less where scatter matrices are summed from copies of the block in its scratch. Not 1 or 2 KiB,
# whose rows share addresses modulo 4096: the posterior of 64 components took up to twice as long.
_BLOCK, _COPIED_BLOCK = 192, 160
# Statistics of panels that wait to be added, and their rows where these are copies, in bytes.
_GROUP_BYTES = 16 * 2**20
# Statistics of this many values and more are added by several threads.
_PARALLEL_VALUES = 2**15


@dataclass(frozen=True)
class Cut:
    """How rows are cut: blocks of rows that fit the cache, panels of blocks that are summed in order.

    Attributes
    ----------
    n_samples : int
        Where the last panel ends, at most.
    panel_rows, block : int
    work : float
        Of all panels, in multiply-adds.
    begin, step : int
        First row of the first panel, and from there to that of the next one.
    """

    n_samples: int
    panel_rows: int
    block: int
    work: float
    begin: int
    step: int

    @property
    def n_panels(self) -> int:
        return len(range(self.begin, self.n_samples, self.step))

    def start(self, panel: int) -> int:
        """First row of a panel."""
        return self.begin + panel * self.step

    def groups(self, panel_values: int, n_threads: int) -> Iterator[tuple[int, int]]:
        """First panel and number of panels of each group that runs at a time."""
        if self.n_panels == 1:
            yield 0, 1
            return
        # As many for each thread: one panel more would keep a single thread busy while the others wait. Eight panels of
        # full size, or more of smaller ones: threads start and end once a group.
        panel_work = self.work / self.n_panels
        each = min(64, max(8, int(8 * _PANEL_WORK / panel_work)))
        size = n_threads * min(each, max(1, _GROUP_BYTES // (8 * panel_values * n_threads)))
        for first in range(0, self.n_panels, size):
            yield first, min(size, self.n_panels - first)


def block_rows(n_features: int, moments: Moments, dtype: Any, is_wide: bool) -> int:
    rows = _COPIED_BLOCK if moments == "full" and n_features > few_features(is_wide) else _BLOCK
    return rows * 8 // np.dtype(dtype).itemsize


@lru_cache
def cut_rows(n_samples: int, n_components: int, n_features: int, moments: Moments, dtype: Any, is_wide: bool) -> Cut:
    per_row = pass_work((1, n_features), n_components, moments)
    # A panel's statistics are cleared and added once: its rows should outnumber them in work.
    least = max(_PANEL_ROWS[0], n_moments(moments, n_features) // 8)
    rows = min(max(_PANEL_WORK / per_row, least), _PANEL_ROWS[1], max(n_samples / 64, least))
    block = block_rows(n_features, moments, dtype, is_wide)
    rows = -(-int(rows) // block) * block
    return Cut(n_samples, rows, block, n_samples * per_row, 0, rows)


def cut_runs(
    runs: Runs, n_samples: int, n_components: int, n_features: int, moments: Moments, dtype: Any, is_wide: bool
) -> Cut:
    """Each run is a panel."""
    work = pass_work((runs.count(n_samples), n_features), n_components, moments)
    starts = runs.starts(n_samples)
    block = block_rows(n_features, moments, dtype, is_wide)
    return Cut(n_samples, runs.n_rows, block, work, starts.start, starts.step)


# Memory of a thread's last passes, of so many shapes and no more than so many bytes each: in a pass over few rows,
# allocation would take a part of the time.
_MOST_KEPT, _KEPT_BYTES = 8, 2**20
_kept = threading.local()


@dataclass(frozen=True)
class Scratch:
    """Working memory of ``n`` threads, aligned to cache lines."""

    XT: np.ndarray
    log_p: np.ndarray
    rows: np.ndarray
    scratch: np.ndarray

    @classmethod
    def allocate(
        cls, n: int, n_features: int, n_components: int, block: int, dtype: Any, *, listed: bool = False
    ) -> Scratch:
        """Memory for blocks of so many rows; ``listed`` with room for the list of ``kernels.shortlist``."""
        if listed:
            n_components += (n_components + 1) // block + 1
        key = (n, n_features, n_components, block, dtype)
        kept: dict[Any, Scratch] = _kept.__dict__
        if key in kept:
            return kept[key]
        shapes = ((n_features, block), (n_components, block), (3, block), scratch_shape(n_features, block))
        scratch = cls(*_aligned([(n, *shape) for shape in shapes], dtype))
        if sum(map(math.prod, shapes)) * n * dtype.itemsize <= _KEPT_BYTES:
            if len(kept) == _MOST_KEPT:
                kept.clear()
            kept[key] = scratch
        return scratch

    def __getitem__(self, thread: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.XT[thread], self.log_p[thread], self.rows[thread], self.scratch[thread]


def _aligned(shapes: list[tuple[int, ...]], dtype: np.dtype[Any]) -> Iterator[np.ndarray]:
    """Arrays in one piece of memory, each from the start of a cache line."""
    line = 64 // dtype.itemsize
    sizes = [math.prod(shape) for shape in shapes]
    raw = np.empty(sum(sizes) + line * (len(sizes) + 1), dtype)
    start = -raw.__array_interface__["data"][0] % 64 // dtype.itemsize
    for shape, size in zip(shapes, sizes, strict=True):
        yield raw[start : start + size].reshape(shape)
        start += -(-size // line) * line


def kernels_of(family: Family[Any]) -> tuple[set[Any], set[Any]]:
    """Density and moment kernels that a fit of the family runs, those of its start included."""
    moments: set[Moments] = {family.moments, family.shared_moments or family.moments, "first"}
    if family.is_relative:
        moments.add("diag")
    return {family.log_density_kernel, diag_log_density}, {family.moments_kernel, *(MOMENT_KERNELS[m] for m in moments)}


class KernelEngine(Engine):
    """Passes over groups of panels, which a subclass runs."""

    rounds_from = 1e8
    #: Whether the kernels have 32 vector registers, and not 16.
    is_wide: bool

    def accumulate(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        *,
        sample_weight: np.ndarray | None = None,
        n_threads: int | None = None,
        order: np.ndarray | None = None,
        runs: Runs | None = None,
        rounded: bool = False,
    ) -> Stats:
        packed = family.pack(params, np.dtype(np.float32) if rounded and runs is None else X.dtype)
        return self._posterior_statistics(family, X, params, packed, sample_weight, n_threads, order, runs)

    def e_step(self, family: Family[Any], params: Params, n_threads: int | None = None) -> EStep:
        @cache
        def packed(dtype: np.dtype[Any]) -> Packed:
            return family.pack(params, dtype)

        def accumulate(X: np.ndarray, sample_weight: np.ndarray | None = None) -> Stats:
            return self._posterior_statistics(family, X, params, packed(X.dtype), sample_weight, n_threads)

        return accumulate

    def _posterior_statistics(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        packed: Packed,
        sample_weight: np.ndarray | None,
        n_threads: int | None,
        order: np.ndarray | None = None,
        runs: Runs | None = None,
    ) -> Stats:
        check_pass(X, params.origin, sample_weight)
        kernels = (family.log_density_kernel, family.moments_kernel)
        given = (NONE_GIVEN[packed.theta.dtype.char], NO_ORDER if order is None else order)
        return self._statistics(kernels, family.moments, X, sample_weight, given, packed, n_threads, runs)

    def group_rows(
        self, family: Family[Any], X: np.ndarray, params: Params, *, n_threads: int | None = None
    ) -> np.ndarray | None:
        """For each place of a panel its row, counted from the panel's first: 4 bytes a row.

        Panels are cut from the order of many panels' rows by their likeliest components: a row's place may be in
        another panel than its own, before it or behind.
        """
        cut = cut_rows(len(X), len(params.weights), X.shape[1], family.moments, X.dtype, self.is_wide)
        order = np.empty(len(X), dtype=np.int32)
        step = max(1, _GROUPED_ROWS // cut.panel_rows) * cut.panel_rows
        for start in range(0, len(X), step):
            labels = self.evaluate(family, X[start : start + step], params, ("labels",), n_threads=n_threads).labels
            begin = np.arange(len(labels)) // cut.panel_rows * cut.panel_rows
            order[start : start + step] = np.argsort(labels, kind="stable") - begin
        return order

    def accumulate_given(
        self,
        moments: Moments,
        X: np.ndarray,
        responsibilities: np.ndarray,
        origin: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        n_threads: int | None = None,
    ) -> Stats:
        # No density is evaluated; any kernel fills its place.
        check_pass(X, origin, sample_weight, responsibilities)
        responsibilities = np.asarray(responsibilities, dtype=X.dtype)
        kernels = (diag_log_density, MOMENT_KERNELS[moments])
        packed = origin_only(origin, X.dtype)
        given = (responsibilities, NO_ORDER)
        return self._statistics(kernels, moments, X, sample_weight, given, packed, n_threads)

    def _statistics(
        self,
        kernels: tuple[Any, Any],
        moments: Moments,
        X: np.ndarray,
        sample_weight: np.ndarray | None,
        given: tuple[np.ndarray, np.ndarray],
        packed: Packed,
        n_threads: int | None,
        runs: Runs | None = None,
    ) -> Stats:
        n_samples, n_features = X.shape
        n_components = packed.theta.shape[0]
        about = (n_samples, n_components, n_features, moments, X.dtype, self.is_wide)
        cut = cut_rows(*about) if runs is None else cut_runs(runs, *about)
        shape = (n_components, n_moments(moments, n_features))
        dtype, panel_values = packed.theta.dtype, math.prod(shape)
        if dtype != X.dtype:
            # The panels of the rows as they are: an order of them is by panels.
            cut = replace(cut, block=block_rows(n_features, moments, dtype, self.is_wide))
            panel_values += cut.panel_rows * n_features // 2
        threads = resolve_threads(n_threads, cut.work)
        weight = as_kernel_weight(sample_weight)
        log_likelihood = 0.0
        scratch = None
        for first, count in cut.groups(panel_values, threads):
            if scratch is None:
                sizes = (n_features, n_components, cut.block)
                scratch = Scratch.allocate(min(count, threads), *sizes, dtype, listed=True)
                # Before the statistics of the panels, the sum of those before them.
                S = np.empty((1 + count if cut.n_panels > 1 else 1, *shape))
                sums = np.empty(count)
            panels = S[-1:] if cut.n_panels == 1 else S[1 : 1 + count]
            group: tuple[tuple[np.ndarray, ...], Cut, int] = (X, weight, *given), cut, first
            if dtype != X.dtype:
                group = _rounded_group(*group, count, dtype, threads)
            self._accumulate_group(kernels, *group, packed, scratch, panels, sums[:count], threads)
            if cut.n_panels > 1:
                S[0] = _added_in_order(panels if first == 0 else S[: 1 + count], threads)
            log_likelihood = sum(sums[:count].tolist(), log_likelihood)
        origin = packed.theta[:, 1 : 1 + n_features].astype(np.float64)
        n_rows = n_samples if runs is None else runs.count(n_samples)
        if runs is not None and sample_weight is not None:
            sample_weight = runs.of(sample_weight)
        # In memory of its own, without that of the panels.
        total = S[0] if cut.n_panels == 1 else S[0].copy()
        return stats_of(total, origin, total_weight(n_rows, sample_weight), log_likelihood, moments)

    @abstractmethod
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
        """Run the panels ``first ...`` into ``S[p]`` and ``sums[p]``."""

    def evaluate(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        wanted: tuple[str, ...],
        *,
        n_threads: int | None = None,
    ) -> Posterior:
        check_pass(X, params.origin, None)
        n_samples, n_features = X.shape
        n_components = len(params.weights)
        found = Posterior.empty(n_samples, n_components, X.dtype, wanted)
        packed = family.pack(params, X.dtype)
        cut = cut_rows(n_samples, n_components, n_features, family.moments, X.dtype, self.is_wide)
        threads = resolve_threads(n_threads, cut.work / 2)
        scratch = None
        for first, count in cut.groups(1, threads):
            if scratch is None:
                scratch = Scratch.allocate(min(count, threads), n_features, n_components, cut.block, packed.theta.dtype)
            self._evaluate_group(family.log_density_kernel, X, cut, first, count, packed, scratch, found, threads)
        return found

    @abstractmethod
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
        """Run the panels ``first ... first + count - 1``, which write into their rows of ``found``."""


def _rounded_group(
    data: tuple[np.ndarray, ...], cut: Cut, first: int, count: int, dtype: np.dtype[Any], n_threads: int
) -> tuple[tuple[np.ndarray, ...], Cut, int]:
    """The rows of so many panels rounded to ``dtype`` and in their order, and how the copies are cut."""
    X, weight, given, order = data
    begin, end = cut.start(first), min(cut.start(first + count), cut.n_samples)
    layout: Any = "C" if X.flags.c_contiguous else "F"
    rounded = np.empty((end - begin, X.shape[1]), dtype, layout)
    copied_weight = weight[begin:end] if order.size == 0 else np.empty(min(len(weight), end - begin))
    panels = counter()

    def copy() -> None:
        while (panel := next(panels)) < count:
            to = slice(panel * cut.panel_rows, min((panel + 1) * cut.panel_rows, end - begin))
            rows: Any = slice(begin + to.start, begin + to.stop)
            if order.size > 0:
                rows = begin + to.start + order[rows]
                if weight.size > 0:
                    copied_weight[to] = weight[rows]
            with np.errstate(over="ignore"):
                np.copyto(rounded[to], X[rows], casting="same_kind")

    run_on_threads(copy, min(n_threads, count))
    return (rounded, copied_weight, given, NO_ORDER), replace(cut, n_samples=end - begin, begin=0), 0


def _added_in_order(S: np.ndarray, n_threads: int) -> np.ndarray:
    """The sum of ``S[0]``, then ``S[1]``, ...; large ones by parts, each of which is added in that order too."""
    total = np.empty(S.shape[1:])
    parts = min(len(total), n_threads) if total.size > _PARALLEL_VALUES else 1
    numbers = counter()

    def add() -> None:
        while (number := next(numbers)) < parts:
            # Over the first axis: value by value in its order.
            np.add.reduce(S[:, number::parts], axis=0, out=total[number::parts])

    run_on_threads(add, parts)
    return total


def as_kernel_weight(sample_weight: np.ndarray | None) -> np.ndarray:
    return _NO_WEIGHT if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)


def stats_of(
    S: np.ndarray,
    origin: np.ndarray,
    weight: float,
    log_likelihood: float,
    moments: Moments,
    shared: Stats | None = None,
) -> Stats:
    """What the kernels summed up about the means ``origin``, as a value."""
    if moments == "full":
        mirror(S, origin.shape[1])
    return Stats(weight, log_likelihood, origin, S, moments, shared)


def mirror(S: np.ndarray, n_features: int) -> None:
    """Copy the upper triangle of each second moment, which alone the kernels write, to the lower one."""
    second = S[..., 1 + n_features :].reshape(*S.shape[:-1], n_features, n_features)
    np.copyto(second, second.swapaxes(-1, -2), where=_below_diagonal(n_features))


@cache
def _below_diagonal(n_features: int) -> np.ndarray:
    return np.tri(n_features, k=-1, dtype=bool)

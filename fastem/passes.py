"""Passes over a data set: the E-step of all of its rows, wherever they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar, cast

import numpy as np

from fastem.data.arrays import rough_centre, sample_rows
from fastem.data.coordinates import bulk_variances
from fastem.engines import Engine, pass_work
from fastem.engines.base import total_weight
from fastem.families import Family, Params
from fastem.sampling import borrowed_random_state
from fastem.stats import Moments, Stats, Stretch

F = TypeVar("F", bound=Family[Any])

# Rows are grouped from this pass on, and if there are so many of them: an index costs half of a pass, and 4 bytes a
# row, which memory that does not grow with the rows leaves room for up to here.
_FIRST_GROUPING = 4
_GROUPED_ROWS = range(20_000, 2**22)
_ONE = np.ones(1)
# Rows by which outliers are told from the bulk.
_BULK_ROWS = 1000


@dataclass(frozen=True)
class Runner:
    """What runs a pass.

    Attributes
    ----------
    engine : Engine
    n_threads : int or None
        None for as many as this process may use.
    rounded : bool
        Whether rows may be rounded to single precision, where that says nearly the same and is quicker.
    """

    engine: Engine
    n_threads: int | None = None
    rounded: bool = False


class Rows(ABC):
    """A data set: what EM asks of rows in memory, in files or on other machines.

    Attributes
    ----------
    n_samples, n_features : int
    """

    n_samples: int
    n_features: int

    @property
    @abstractmethod
    def n_weighted(self) -> int:
        """Rows of positive weight."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_samples, self.n_features

    @abstractmethod
    def check(self, family: Family[Any]) -> None:
        """Raise ValueError where the family has no density for a value."""

    @abstractmethod
    def accumulate(self, family: Family[Any], params: Params, runner: Runner, order: np.ndarray | None = None) -> Stats:
        """E-step: the statistics of all rows under ``params``; ``order`` is what :meth:`order` said."""

    @abstractmethod
    def moments(self, kind: Moments, runner: Runner) -> Stats:
        """Moments of all rows as one component about a point near them, in float64 whatever the rows are."""

    @abstractmethod
    def sample(self, most: int, rng: np.random.RandomState) -> ArrayRows:
        """Rows of positive weight in memory: all, or ``most`` drawn at random where there are more."""

    def scaled(self, family: F, n_components: int, runner: Runner) -> F:
        """The family with settings that are relative to the data made absolute."""

        def variances() -> np.ndarray:
            with borrowed_random_state(0) as rng:
                sample = self.sample(_BULK_ROWS, rng)
            return bulk_variances(sample.X, sample.sample_weight)

        scaled = family.scaled_to(lambda kind: self.moments(kind, runner), n_components, variances)
        return cast(F, scaled)

    @property
    def in_memory(self) -> ArrayRows | None:
        """All rows, where methods that look for a start may have them all."""
        return None

    def rounds(self, family: Family[Any], n_components: int, runner: Runner) -> bool:
        """Whether passes are quicker where rows may be rounded."""
        return False

    def order(self, family: Family[Any], params: Params, runner: Runner) -> np.ndarray | None:
        """An order of the rows in which those of one component stand together, where that lets blocks skip."""
        return None


class ArrayRows(Rows):
    """Rows of an array or a memory map.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        As :func:`fastem.data.arrays.as_rows` returns it.
    sample_weight : ndarray of shape (n_samples,), optional
    """

    def __init__(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        self.X = X
        self.sample_weight = sample_weight
        self.n_samples, self.n_features = X.shape

    @property
    def n_weighted(self) -> int:
        return len(self.X) if self.sample_weight is None else int(np.count_nonzero(self.sample_weight))

    @property
    def in_memory(self) -> ArrayRows:
        return self

    def check(self, family: Family[Any]) -> None:
        family.check_data(self.X)

    def accumulate(self, family: Family[Any], params: Params, runner: Runner, order: np.ndarray | None = None) -> Stats:
        def accumulate(rounded: bool) -> Stats:
            return runner.engine.accumulate(
                family,
                self.X,
                params,
                sample_weight=self.sample_weight,
                n_threads=runner.n_threads,
                order=order,
                rounded=rounded,
            )

        rounded = runner.rounded and self.X.dtype == np.float64 and family.bears_rounding(params)
        stats = accumulate(rounded)
        # A row far outside may be too large, or its squares.
        return accumulate(False) if rounded and not np.isfinite(stats.log_likelihood) else stats

    def rounds(self, family: Family[Any], n_components: int, runner: Runner) -> bool:
        work = pass_work(self.X.shape, n_components, family.moments)
        return work >= runner.engine.rounds_from and self.X.dtype == np.float64

    def order(self, family: Family[Any], params: Params, runner: Runner) -> np.ndarray | None:
        if self.n_samples not in _GROUPED_ROWS or not family.separates(params):
            return None
        return runner.engine.group_rows(family, self.X, params, n_threads=runner.n_threads)

    def moments(self, kind: Moments, runner: Runner) -> Stats:
        return moments_about(rough_centre(self.X, self.sample_weight), kind, self.X, self.sample_weight, runner)

    def sample(self, most: int, rng: np.random.RandomState) -> ArrayRows:
        return ArrayRows(*sample_rows(self.X, self.sample_weight, most, rng))


def moments_about(
    centre: np.ndarray, kind: Moments, X: np.ndarray, sample_weight: np.ndarray | None, runner: Runner
) -> Stats:
    """Moments of rows as one component about a point, in float64 whatever the rows are."""
    total: Stats | None = None
    step = len(X) if X.dtype == np.float64 else max(1, 2**17 // X.shape[1])
    for start in range(0, len(X), step):
        rows = X[start : start + step].astype(np.float64, copy=False)
        weight = None if sample_weight is None else sample_weight[start : start + step]
        every = np.ndarray((len(rows), 1), buffer=_ONE, strides=(0, 0))
        stats = runner.engine.accumulate_given(
            kind, rows, every, centre[None], sample_weight=weight, n_threads=runner.n_threads
        )
        total = stats if total is None else total + stats
    assert total is not None
    # As all passes over these rows sum it: to the last bit, by which streams tell that they read the same rows.
    return replace(total, weight=total_weight(len(X), sample_weight))


class Passes:
    """The E-steps of one family over one data set."""

    def __init__(self, family: Family[Any], rows: Rows, runner: Runner) -> None:
        self.family = family
        self.rows = rows
        self.runner = runner
        # What does not depend on the parameters is computed once, about a point that does not depend on them either.
        self._shared = None if family.shared_moments is None else rows.moments(family.shared_moments, runner)

    def rounds(self, n_components: int) -> bool:
        """Whether E-steps are quicker where rows may be rounded."""
        return self.rows.rounds(self.family, n_components, self.runner)

    def accumulate(self, params: Params, order: np.ndarray | None = None, rounded: bool = False) -> Stats:
        """E-step: the statistics of all rows, which may be ``rounded``, under ``params``."""
        runner = replace(self.runner, rounded=True) if rounded else self.runner
        stats = self.rows.accumulate(self.family, params, runner, order)
        return stats if self._shared is None else replace(stats, shared=self._shared)

    def run_ahead(
        self, starts: Sequence[Params] | Sequence[Stats], previous: float, tol: float, max_iter: int
    ) -> list[Stretch] | None:
        """Several steps of EM from each start, where one call can do them (:meth:`Engine.run_ahead`)."""
        if not isinstance(self.rows, ArrayRows):
            return None
        return self.runner.engine.run_ahead(
            self.family,
            self.rows.X,
            starts,
            previous=previous,
            tol=tol,
            max_iter=max_iter,
            sample_weight=self.rows.sample_weight,
            shared=self._shared,
            n_threads=self.runner.n_threads,
        )

    def of_one_run(self, rounded: Callable[[], bool] = lambda: False) -> Callable[[Params], Stats]:
        """The E-step of one run: as it settles, rows are grouped by component where that lets whole blocks skip.

        ``rounded`` says, before each pass, whether rows may be rounded.
        """
        order: np.ndarray | None = None
        passes = count(1)

        def accumulate(params: Params) -> Stats:
            nonlocal order
            number = next(passes)
            # In the passes 4, 8, 16 ...: labels change less and less.
            if number >= _FIRST_GROUPING and number & (number - 1) == 0:
                found = self.rows.order(self.family, params, self.runner)
                order = order if found is None else found
            stats = self.accumulate(params, order, rounded())
            prior = self.family.log_prior(params)
            return stats if prior == 0 else replace(stats, log_likelihood=stats.log_likelihood + prior)

        return accumulate

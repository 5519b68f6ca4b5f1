"""Rows in partitions that stay where they are: what Dask and Spark have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from fastem.criteria import Totals
from fastem.distributed.jobs import Accumulate, Draw, Job, Look, Score, Survey, TakeMoments
from fastem.families import Family, Params
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Rows, Runner
from fastem.stats import Moments, Stats

# So many are added at a time. Sums are by the number of the partition alone: never in the order of arrival, which would
# change the last bits from run to run.
FAN_IN = 16


class PartitionedRows(Rows):
    """Rows of which the partitions are numbered, and each is on some machine."""

    def __init__(self, n_features: int, n_partitions: int) -> None:
        self.n_features = n_features
        self.n_partitions = n_partitions
        self._surveyed: tuple[Survey, tuple[int, ...]] | None = None

    @abstractmethod
    def collect(self, name: str, job: Job) -> list[Any]:
        """What the job, a part of a pass of that name, returns for each partition."""

    @abstractmethod
    def add(self, name: str, job: Job) -> Any:
        """The sum of what it returns, by a tree."""

    @property
    @abstractmethod
    def n_threads(self) -> int:
        """Threads of a task, where the user does not say; no sum depends on it."""

    def _runner(self, runner: Runner) -> tuple[str, int]:
        """Engine and threads of a task."""
        return runner.engine.name, runner.n_threads or self.n_threads

    def _survey(self, family: Family[Any] | None = None) -> tuple[Survey, tuple[int, ...]]:
        """All rows together, and the rows of positive weight by partition."""
        if self._surveyed is None or family is not None:
            found = self.collect("survey", Look(self.n_features, family))
            everything = sum(found[1:], start=found[0])
            if everything.n_samples == 0:
                raise ValueError("there are no rows, while at least one is required")
            if not everything.weight > 0:
                raise ValueError("the weights must not be all zero: no row would count")
            self._surveyed = everything, tuple(each.n_weighted for each in found)
        return self._surveyed

    @property
    def n_samples(self) -> int:  # type: ignore[override]
        return self._survey()[0].n_samples

    @property
    def n_weighted(self) -> int:
        return self._survey()[0].n_weighted

    def check(self, family: Family[Any]) -> None:
        self._survey(family)

    def accumulate(self, family: Family[Any], params: Params, runner: Runner, order: np.ndarray | None = None) -> Stats:
        return self.add("accumulate", Accumulate(family, params, *self._runner(runner)))

    def moments(self, kind: Moments, runner: Runner) -> Stats:
        everything = self._survey()[0]
        return self.add("moments", TakeMoments(kind, everything.near / everything.weight, *self._runner(runner)))

    def sample(self, most: int, rng: np.random.RandomState) -> ArrayRows:
        """The same rows as of an array of all partitions."""
        counts = np.array(self._survey()[1])
        rows = None
        if counts.sum() > most:
            drawn = np.sort(rng.randint(counts.sum(), size=most))
            ends = np.cumsum(counts)
            starts = ends - counts
            bounds = np.searchsorted(drawn, [*starts, ends[-1]])
            rows = [drawn[first:last] - start for first, last, start in zip(bounds, bounds[1:], starts, strict=False)]
        found = self.collect("sample", Draw(rows))
        weights = [weight for _, weight in found if weight is not None]
        return ArrayRows(np.concatenate([X for X, _ in found]), np.concatenate(weights) if weights else None)

    def totals(self, mixture: Mixture, engine: str, n_threads: int | None, entropy: bool) -> Totals:
        """Weight, log-likelihood and, where asked for, entropy of all rows under a fitted mixture."""
        found = self.add("score", Score(mixture, engine, n_threads or self.n_threads, entropy))
        if found is None:
            raise ValueError("there are no rows, while at least one is required")
        return found

"""What is done to a partition where it lies. Jobs and what they return travel by pickle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from fastem.criteria import Totals
from fastem.data.arrays import as_weights, check_finite, is_plain, rough_centre
from fastem.engines import get_engine
from fastem.families import Family, Params
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Runner, moments_about
from fastem.stats import Moments, Stats


class Job(ABC):
    """Called with the rows of a partition, their weights and the partition's number; the number may be of no use."""

    @abstractmethod
    def __call__(self, X: np.ndarray, sample_weight: np.ndarray | None, number: int) -> Any: ...


@dataclass(frozen=True)
class Survey:
    """What there is to know of rows before a fit. Surveys add.

    Attributes
    ----------
    n_samples, n_weighted : int
        Rows, and rows of positive weight.
    weight : float
    near : ndarray of shape (n_features,)
        Points near the rows, times the weights of their partitions.
    """

    n_samples: int
    n_weighted: int
    weight: float
    near: np.ndarray

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            self.n_samples + other.n_samples,
            self.n_weighted + other.n_weighted,
            self.weight + other.weight,
            self.near + other.near,
        )


@dataclass(frozen=True)
class Look(Job):
    """Check a partition, and survey it."""

    n_features: int
    family: Family[Any] | None = None

    def __call__(self, X: np.ndarray, sample_weight: np.ndarray | None, number: int) -> Survey:
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"it has the shape {X.shape}, but {self.n_features} features are expected")
        if len(X) == 0:
            return Survey(0, 0, 0.0, np.zeros(self.n_features))
        check_finite(X)
        if self.family is not None:
            self.family.check_data(X)
        if sample_weight is None:
            return Survey(len(X), len(X), float(len(X)), rough_centre(X) * len(X))
        # A partition may be without weight, though not all of them.
        weight = np.zeros(len(X)) if not np.any(sample_weight) else as_weights(sample_weight, len(X))
        assert weight is not None
        total = float(weight.sum())
        near = rough_centre(X, weight) * total if total > 0 else np.zeros(self.n_features)
        return Survey(len(X), int(np.count_nonzero(weight)), total, near)


@dataclass(frozen=True)
class Accumulate(Job):
    """The E-step."""

    family: Family[Any]
    params: Params
    engine: str
    n_threads: int

    def __call__(self, X: np.ndarray, sample_weight: np.ndarray | None, number: int) -> Stats | None:
        runner = Runner(get_engine(self.engine), self.n_threads)
        return ArrayRows(X, sample_weight).accumulate(self.family, self.params, runner) if len(X) else None


@dataclass(frozen=True)
class TakeMoments(Job):
    """Moments of all rows as one component, about a given point."""

    kind: Moments
    about: np.ndarray
    engine: str
    n_threads: int

    def __call__(self, X: np.ndarray, sample_weight: np.ndarray | None, number: int) -> Stats | None:
        runner = Runner(get_engine(self.engine), self.n_threads)
        return moments_about(self.about, self.kind, X, sample_weight, runner) if len(X) else None


@dataclass(frozen=True)
class Draw(Job):
    """Some of the rows of positive weight.

    Attributes
    ----------
    rows : sequence of ndarray or None
        For each partition the numbers of the rows to take, counted among those of positive weight; None for all rows.
    """

    rows: Sequence[np.ndarray] | None

    def __call__(
        self, X: np.ndarray, sample_weight: np.ndarray | None, number: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        there = np.arange(len(X)) if sample_weight is None else np.flatnonzero(sample_weight)
        taken = there if self.rows is None else there[self.rows[number]]
        return X[taken], None if sample_weight is None else sample_weight[taken]


@dataclass(frozen=True)
class Score(Job):
    """Log-likelihood and, where asked for, entropy of the responsibilities under a fitted mixture."""

    mixture: Mixture
    engine: str
    n_threads: int
    entropy: bool = False

    def __call__(self, X: np.ndarray, sample_weight: np.ndarray | None, number: int) -> Totals | None:
        if len(X) == 0:
            return None
        self.mixture.family.check_data(X)
        options: dict[str, Any] = {"entropy": self.entropy, "engine": self.engine, "n_threads": self.n_threads}
        return self.mixture.totals(X, sample_weight, **options)


@dataclass(frozen=True)
class Evaluate:
    """``labels``, ``log_likelihood`` or ``responsibilities`` of the rows of a partition."""

    mixture: Mixture
    wanted: str
    engine: str
    n_threads: int

    def __call__(self, X: Any) -> np.ndarray:
        X = as_partition(X)
        if len(X) == 0:
            n_components = len(self.mixture.params.weights)
            shape = (0, n_components) if self.wanted == "responsibilities" else (0,)
            return np.empty(shape, np.intp if self.wanted == "labels" else X.dtype)
        self.mixture.family.check_data(X)
        posterior = self.mixture.posterior(X, self.wanted, engine=self.engine, n_threads=self.n_threads)
        return getattr(posterior, self.wanted)


def as_partition(X: Any) -> np.ndarray:
    """The rows of a partition, an array or a frame, as an engine takes them."""
    X = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    if not is_plain(X) and not (X.ndim == 2 and X.dtype in (np.float32, np.float64)):
        X = X.astype(np.float64)
    return X


def apply(job: Job, X: Any, sample_weight: Any, number: int) -> Any:
    """What the job returns for a partition of rows and, where there are any, of weights."""
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return job(as_partition(X), weight, number)


def total(parts: Sequence[Any]) -> Any:
    """The sum in the order given, without the empty ones; None where all are."""
    there = [part for part in parts if part is not None]
    return reduce(add, there) if there else None

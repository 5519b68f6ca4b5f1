"""What an engine does: one pass over rows, E-step included, that returns statistics or posteriors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastem.families.base import Family, Params
from fastem.stats import Moments, Stats, Stretch

#: Float types of rows.
REALS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Posterior:
    """What was asked of a pass, by row; the rest is empty.

    Attributes
    ----------
    labels : ndarray of shape (n_samples,), intp
        Likeliest component.
    log_likelihood : ndarray of shape (n_samples,)
        ``log p(x)``.
    responsibilities : ndarray of shape (n_samples, n_components)
    """

    labels: np.ndarray
    log_likelihood: np.ndarray
    responsibilities: np.ndarray

    @classmethod
    def empty(cls, n_samples: int, n_components: int, dtype: Any, wanted: tuple[str, ...]) -> Posterior:
        unknown = set(wanted).difference(("labels", "log_likelihood", "responsibilities"))
        if unknown:
            raise ValueError(
                f"a posterior has no {sorted(unknown)}; ask for labels, log_likelihood or responsibilities"
            )

        def rows(name: str) -> int:
            return n_samples if name in wanted else 0

        return cls(
            np.empty(rows("labels"), dtype=np.intp),
            np.empty(rows("log_likelihood"), dtype=dtype),
            np.empty((rows("responsibilities"), n_components), dtype=dtype),
        )


@dataclass(frozen=True)
class Runs:
    """Every so many runs of rows of an array one: a part that is spread over all of it, read where it lies.

    Attributes
    ----------
    first, every : int
        The runs ``first``, ``first + every``, ``first + 2 every``, ... of the array.
    n_rows : int
        Rows of a run; the last one of the array may have fewer.
    """

    first: int
    every: int
    n_rows: int

    def starts(self, n_samples: int) -> range:
        """First rows of the runs, in an array of so many rows."""
        return range(self.first * self.n_rows, n_samples, self.every * self.n_rows)

    def count(self, n_samples: int) -> int:
        """Rows of the runs, of an array of so many rows."""
        starts = self.starts(n_samples)
        return (len(starts) - 1) * self.n_rows + min(self.n_rows, n_samples - starts[-1]) if starts else 0

    def of(self, values: np.ndarray) -> np.ndarray:
        """A copy of what belongs to the rows of the runs."""
        return np.concatenate([values[start : start + self.n_rows] for start in self.starts(len(values))])


#: Rows and their weights to statistics.
EStep = Callable[..., Stats]


class Engine(ABC):
    """Runs passes. Engines hold no state of a fit and give the same numbers to rounding."""

    name: ClassVar[str]
    #: Whether passes over different rows may run at a time without loss.
    side_by_side: ClassVar[bool] = True
    #: Work of a pass, in multiply-adds, from which a fit is quicker where rows may be rounded.
    rounds_from: ClassVar[float] = math.inf

    def prepare(self, family: Family[Any], dtype: np.dtype[Any]) -> None:
        """Compile or load what passes of the family over rows of that float type need."""
        return

    @abstractmethod
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
        """E-step: statistics of all rows, or of those in ``runs``, under ``params``, about the components' means.

        ``order`` is what ``group_rows`` of this engine made for as many rows and components; it goes with all rows.
        Where rows may be ``rounded``, densities may be of single precision, whatever the rows are.
        """

    def e_step(self, family: Family[Any], params: Params, n_threads: int | None = None) -> EStep:
        """The E-step of rows that come block by block: what does not depend on them is made once."""

        def accumulate(X: np.ndarray, sample_weight: np.ndarray | None = None) -> Stats:
            return self.accumulate(family, X, params, sample_weight=sample_weight, n_threads=n_threads)

        return accumulate

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
        """From each start up to ``max_iter`` E-steps and the M-steps between them, all in one call.

        Starts are parameters, or moments, of which an M-step makes them; one that collapses in it has made no E-step.
        From moments starts are tried: M-steps that iterate may be cut short.
        A stretch ends early where the mean log-likelihood, first from ``previous``, changes by less than ``tol``, where
        the M-step fails, or where Ctrl-C would have to wait: the statistics are those of the last E-step. ``shared``
        are the family's shared moments. None where one call would save nothing.
        """
        return None

    def group_rows(
        self, family: Family[Any], X: np.ndarray, params: Params, *, n_threads: int | None = None
    ) -> np.ndarray | None:
        """An order of the rows in which those of one component stand together, if the engine can make use of one."""
        return None

    @abstractmethod
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
        """Statistics of all rows with responsibilities (n_samples, n_components) that are known."""

    @abstractmethod
    def evaluate(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        wanted: tuple[str, ...],
        *,
        n_threads: int | None = None,
    ) -> Posterior:
        """Labels, log-likelihoods or responsibilities of all rows under ``params``."""


def pass_work(shape: tuple[int, ...], n_components: int, moments: Moments) -> float:
    """Multiply-adds of one pass over (n_samples, n_features) rows, roughly: the scale of all choices by size."""
    n_samples, n_features = shape
    return float(n_samples) * n_components * n_features * (8 + (n_features if moments == "full" else 0))


def check_pass(
    X: np.ndarray, origin: np.ndarray, sample_weight: np.ndarray | None, responsibilities: np.ndarray | None = None
) -> None:
    """Raise ValueError where the arrays of a pass do not fit together: compiled kernels read without looking.

    Raises
    ------
    ValueError
    """
    if X.ndim != 2 or X.dtype not in REALS:
        raise ValueError(f"X must be a 2D array of float32 or float64, but got {X.ndim}D of {X.dtype}")
    if origin.ndim != 2 or origin.shape[1] != X.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features, but the parameters have means of shape {origin.shape}")
    if sample_weight is not None and sample_weight.shape != (len(X),):
        raise ValueError(f"sample_weight must have shape ({len(X)},), but got {sample_weight.shape}")
    if responsibilities is not None and responsibilities.shape != (len(X), len(origin)):
        raise ValueError(
            f"responsibilities must have shape ({len(X)}, {len(origin)}), but got {responsibilities.shape}"
        )


def total_weight(n_samples: int, sample_weight: np.ndarray | None) -> float:
    return float(n_samples) if sample_weight is None else float(np.sum(sample_weight, dtype=np.float64))

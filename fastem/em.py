"""The EM loop: E-step, M-step, until converged. It knows no family, no engine and no data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from fastem.stats import Stats

P = TypeVar("P")

OnInterrupt = Literal["raise", "keep"]


@dataclass(frozen=True)
class Iteration:
    """What a callback sees after each iteration.

    Attributes
    ----------
    start : int
        Which of the ``n_init`` starts this is, from 0.
    iteration : int
        From 1.
    params : Params
        The parameters after the iteration's M-step.
    weights : ndarray of shape (n_components,)
        Weights of the components before the M-step, those that ``lower_bound`` belongs to.
    lower_bound : float
        Mean log-likelihood of a row (weighted, where rows have weights), before the M-step.
    change : float
        Its change since the previous iteration; infinite in the first.
    seconds : float
        Time since the start of the loop.
    """

    start: int
    iteration: int
    params: Any
    weights: np.ndarray
    lower_bound: float
    change: float
    seconds: float


#: Called after each iteration; a true return value stops the loop there.
Callback = Callable[[Iteration], object]


@dataclass(frozen=True)
class History:
    """The course of a loop, by iteration; parameters are not kept.

    Attributes
    ----------
    lower_bound : ndarray of shape (n_iter,)
        Mean log-likelihood of a row before each M-step.
    weights : ndarray of shape (n_iter, n_components)
        The weights that it belongs to.
    seconds : ndarray of shape (n_iter,)
        Time since the start of the loop.
    """

    lower_bound: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    seconds: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class EMResult(Generic[P]):
    """Where a loop ended.

    Attributes
    ----------
    params : Params
        Parameters after the last M-step.
    lower_bound : float
        Mean log-likelihood of a row in the last E-step; -inf if there was none.
    history : History
    converged : bool
    interrupted : bool
        Whether Ctrl-C or a callback ended the loop.
    """

    params: P
    lower_bound: float
    history: History
    converged: bool
    interrupted: bool = False

    @property
    def n_iter(self) -> int:
        return len(self.history.seconds)


def run(
    accumulate: Callable[[P], Stats],
    update: Callable[[Stats], P],
    params: P,
    *,
    tol: float,
    max_iter: int,
    previous: float = -np.inf,
    start: int = 0,
    callbacks: Sequence[Callback] = (),
    on_interrupt: OnInterrupt = "raise",
) -> EMResult[P]:
    """Iterate from ``params`` until the mean log-likelihood changes by less than ``tol``, or ``max_iter`` times.

    Parameters
    ----------
    accumulate : callable
        E-step: parameters to statistics.
    update : callable
        M-step: statistics to parameters.
    previous : float
        Mean log-likelihood that the first iteration's change is measured from.
    on_interrupt : {"raise", "keep"}
        Whether Ctrl-C raises KeyboardInterrupt, or returns the parameters of the last full iteration.

    Raises
    ------
    ValueError
        If the log-likelihood is no longer finite.
    """
    began = time.perf_counter()
    lower_bounds: list[float] = []
    all_weights: list[np.ndarray] = []
    times: list[float] = []
    lower_bound = previous
    converged = interrupted = False
    try:
        for iteration in range(1, max_iter + 1):
            stats = accumulate(params)
            reached = stats.log_likelihood / stats.weight
            if not np.isfinite(reached):
                raise ValueError(
                    f"the log-likelihood became {reached} in iteration {iteration}: values of the data or of the "
                    "starting parameters are too large for their float type. Scale the features, or use float64."
                )
            change, lower_bound = reached - lower_bound, reached
            weights = params.weights  # type: ignore[attr-defined]
            params = update(stats)
            lower_bounds.append(reached)
            all_weights.append(weights)
            times.append(time.perf_counter() - began)
            seen = Iteration(start, iteration, params, weights, reached, change, times[-1])
            # Every callback is told, also after one has asked to stop.
            answers = [callback(seen) for callback in callbacks]
            if any(answers):
                interrupted = True
                break
            if abs(change) < tol:
                converged = True
                break
    except KeyboardInterrupt:
        if on_interrupt == "raise":
            raise
        interrupted = True
    n_components = len(params.weights)  # type: ignore[attr-defined]
    history = History(np.array(lower_bounds), np.array(all_weights).reshape(-1, n_components), np.array(times))
    return EMResult(params, lower_bound, history, converged, interrupted)

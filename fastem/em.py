"""The EM loop: E-step, M-step, until converged. It knows no family, no engine and no data.

Where each pass goes is said by a :data:`Steps`: to the M-step of the point before (plain EM), or further.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np

from fastem.stats import Stats

P = TypeVar("P")

OnInterrupt = Literal["raise", "keep"]
Stopping = Literal["change", "aitken"]
STOPPING_RULES: tuple[str, ...] = get_args(Stopping)

# Changes of a log-likelihood of this share of it are rounding.
_ROUNDING = 4 * float(np.finfo(np.float64).eps)


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
    converged : bool
        Whether the stopping rule is met.
    """

    start: int
    iteration: int
    params: Any
    weights: np.ndarray
    lower_bound: float
    change: float
    seconds: float
    converged: bool = False


class EndOfRowsError(Exception):
    """Raised by an E-step that reads rows as they come, when none are left: the loop ends there."""


#: Called after each iteration; a true return value stops the loop there.
Callback = Callable[[Iteration], object]


@dataclass(frozen=True)
class History:
    """The course of a loop, by iteration; parameters are not kept. An iteration is a pass over the rows.

    Attributes
    ----------
    lower_bound : ndarray of shape (n_iter,)
        Mean log-likelihood of a row before each M-step. A pass whose point was rejected repeats that of the pass
        before.
    weights : ndarray of shape (n_iter, n_components)
        The weights that it belongs to.
    seconds : ndarray of shape (n_iter,)
        Time since the start of the loop.
    limit : ndarray of shape (n_iter,)
        Where ``lower_bound`` is heading, by :func:`aitken_limit`; NaN where there is no estimate.
    """

    lower_bound: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    seconds: np.ndarray = field(repr=False)
    limit: np.ndarray = field(repr=False)


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
        """Number of passes over the rows."""
        return len(self.history.seconds)


@dataclass(frozen=True)
class Step(Generic[P]):
    """What a pass led to.

    Attributes
    ----------
    params : Params
        Parameters after the M-step of the best point so far: the result, if the loop ended here.
    weights : ndarray of shape (n_components,)
        Weights of that point.
    lower_bound : float
        Mean log-likelihood of a row at that point.
    gain : float
        What an EM step changed the mean log-likelihood by; NaN where the pass was no EM step, or its point not taken.
    point : Params
        Where the next pass goes.
    extrapolated : bool
        Whether ``point`` is something else than the M-step of the best point, and may turn out to be useless.
    """

    params: P
    weights: np.ndarray
    lower_bound: float
    gain: float
    point: P
    extrapolated: bool = False


#: Asked after each pass: the point that the pass was at, its statistics, and the M-step.
Steps = Callable[[Any, Stats, Callable[[Stats], Any]], Step[Any]]


def plain_steps(previous: float = -np.inf) -> Steps:
    """EM itself: each pass goes to the M-step of the one before.

    Parameters
    ----------
    previous : float
        Mean log-likelihood that the first gain is measured from.
    """
    lower_bound = previous

    def advance(point: Any, stats: Stats, update: Callable[[Stats], Any]) -> Step[Any]:
        nonlocal lower_bound
        reached = stats.log_likelihood / stats.weight
        gain, lower_bound = reached - lower_bound, reached
        params = update(stats)
        return Step(params, point.weights, reached, gain, params)

    return advance


def aitken_limit(lower_bound: float, gain: float, gain_before: float) -> float:
    """Limit of a sequence that converges linearly, of its last value and its last two gains.

    With the rate ``a = gain / gain_before`` what is still to come is ``gain (a + a^2 + ...) = gain a / (1 - a)``.

    Returns
    -------
    limit : float
        NaN where the gains do not shrink (``a >= 1``), alternate (``a < 0``) or are not known. A gain that is rounding
        alone has reached its limit.

    References
    ----------
    Boehning, Dietz, Schaub, Schlattmann & Lindsay (1994), The distribution of the likelihood ratio for mixtures of
    densities from the one-parameter exponential family. Lindsay (1995), Mixture models: theory, geometry and
    applications. McNicholas, Murphy, McDaid & Frost (2010), Serial and parallel implementations of model-based
    clustering via parsimonious Gaussian mixture models.
    """
    if abs(gain) <= _ROUNDING * abs(lower_bound):
        return lower_bound
    if not math.isfinite(gain_before) or gain_before == 0:
        return math.nan
    rate = gain / gain_before
    return lower_bound + gain * rate / (1 - rate) if 0 <= rate < 1 else math.nan


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
    stopping: Stopping = "change",
    steps: Steps | None = None,
) -> EMResult[P]:
    """Iterate from ``params`` until the stopping rule is met, or for ``max_iter`` passes.

    Parameters
    ----------
    accumulate : callable
        E-step: parameters to statistics. It may raise :class:`EndOfRowsError`.
    update : callable
        M-step: statistics to parameters.
    previous : float
        Mean log-likelihood that the first iteration's change is measured from.
    on_interrupt : {"raise", "keep"}
        Whether Ctrl-C raises KeyboardInterrupt, or returns the parameters of the last full iteration.
    stopping : {"change", "aitken"}
        Stop when an EM step changes the mean log-likelihood by less than ``tol``; or when it is within ``tol`` of the
        limit that :func:`aitken_limit` estimates from two EM steps in a row.
    steps : callable, optional
        Where passes go, in place of ``plain_steps(previous)``.

    Raises
    ------
    ValueError
        If the log-likelihood is no longer finite.
    """
    began = time.perf_counter()
    lower_bounds: list[float] = []
    all_weights: list[np.ndarray] = []
    times: list[float] = []
    limits: list[float] = []
    n_components = len(params.weights)  # type: ignore[attr-defined]
    advance = plain_steps(previous) if steps is None else steps
    point, extrapolated = params, False
    lower_bound, gain = previous, math.nan
    converged = interrupted = False
    try:
        for iteration in range(1, max_iter + 1):
            stats = accumulate(point)
            reached = stats.log_likelihood / stats.weight
            if not math.isfinite(reached) and not extrapolated:
                raise ValueError(
                    f"the log-likelihood became {reached} in iteration {iteration}: values of the data or of the "
                    "starting parameters are too large for their float type. Scale the features, or use float64."
                )
            step = advance(point, stats, update)
            params, point, extrapolated = step.params, step.point, step.extrapolated
            change, lower_bound = step.lower_bound - lower_bound, step.lower_bound
            gain_before, gain = gain, step.gain
            limit = aitken_limit(lower_bound, gain, gain_before)
            distance = limit - lower_bound if stopping == "aitken" else gain
            met = bool(abs(distance) < tol)
            lower_bounds.append(lower_bound)
            all_weights.append(step.weights)
            limits.append(limit)
            times.append(time.perf_counter() - began)
            if callbacks:
                seen = Iteration(start, iteration, params, step.weights, lower_bound, change, times[-1], met)
                # Every callback is told, also after one has asked to stop.
                answers = [callback(seen) for callback in callbacks]
                if any(answers):
                    interrupted = True
                    break
            if met:
                converged = True
                break
    except EndOfRowsError:
        pass
    except KeyboardInterrupt:
        if on_interrupt == "raise":
            raise
        interrupted = True
    history = History(
        np.array(lower_bounds), np.array(all_weights).reshape(-1, n_components), np.array(times), np.array(limits)
    )
    return EMResult(params, lower_bound, history, converged, interrupted)

"""The EM loop: E-step, M-step, until converged. It knows no family, no engine and no data.

Where each pass goes is said by a :data:`Steps`: to the M-step of the point before (plain EM), or further.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np

from fastem.stats import Stats, Stretch

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
class Occasional:
    """A callback that need not see each iteration: of those that are made in one call it sees the last."""

    call: Callback

    def __call__(self, iteration: Iteration) -> object:
        return self.call(iteration)


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
    gain : ndarray of shape (n_iter,)
        What an EM step changed the mean log-likelihood by, as in :class:`Step`.
    """

    lower_bound: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    seconds: np.ndarray = field(repr=False)
    gain: np.ndarray = field(repr=False)

    @cached_property
    def limit(self) -> np.ndarray:
        """Where ``lower_bound`` is heading (n_iter,), by :func:`aitken_limit`; NaN where there is no estimate."""
        gains = self.gain.tolist()
        before = [math.nan, *gains][: len(gains)]
        return np.array(list(map(aitken_limit, self.lower_bound.tolist(), gains, before)), dtype=np.float64)


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


#: Of a point, the mean log-likelihood before, tol, and how many passes at most: the passes of plain EM from there, in
#: one call, or None where they are made one by one.
RunAhead = Callable[[Any, float, float, int], Stretch | None]

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
    run_ahead: RunAhead | None = None,
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
    run_ahead : callable, optional
        Several passes in one call. For plain EM that stops by change, and callbacks that are :class:`Occasional`.

    Raises
    ------
    ValueError
        If the log-likelihood is no longer finite.
    """
    course = _Course(previous, len(params.weights))  # type: ignore[attr-defined]
    advance = plain_steps(previous) if steps is None else steps
    point, extrapolated = params, False
    converged = interrupted = False
    try:
        while course.n_iter < max_iter:
            ahead = None if run_ahead is None else run_ahead(point, course.lower_bound, tol, max_iter - course.n_iter)
            if ahead is None:
                stats = accumulate(point)
            else:
                stats = ahead.stats
                course.note_ahead(ahead)
                advance = plain_steps(course.lower_bound)
            reached = stats.log_likelihood / stats.weight
            if not math.isfinite(reached) and not extrapolated:
                raise ValueError(
                    f"the log-likelihood became {reached} in iteration {course.n_iter + 1}: values of the data or of "
                    "the starting parameters are too large for their float type. Scale the features, or use float64."
                )
            step = advance(point, stats, update)
            params, point, extrapolated = step.params, step.point, step.extrapolated
            before = course.lower_bound
            weights = step.weights if ahead is None else ahead.weights[-1]
            gain_before = course.gain
            course.note(step.lower_bound, step.gain, weights)
            distance = step.gain
            if stopping == "aitken":
                distance = aitken_limit(step.lower_bound, step.gain, gain_before) - step.lower_bound
            met = bool(abs(distance) < tol)
            if callbacks:
                change, seconds = step.lower_bound - before, course.seconds[-1]
                seen = Iteration(start, course.n_iter, params, weights, step.lower_bound, change, seconds, met)
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
    return EMResult(params, course.lower_bound, course.history(), converged, interrupted)


class _Course:
    """The history of a loop as it grows.

    Parameters
    ----------
    lower_bound : float
        Mean log-likelihood before the first pass.
    """

    def __init__(self, lower_bound: float, n_components: int) -> None:
        self.lower_bound = lower_bound
        self.gain = math.nan
        self.seconds: list[float] = []
        self._n_components = n_components
        self._began = time.perf_counter()
        self._lower_bounds: list[float] = []
        self._weights: list[np.ndarray] = []
        self._gains: list[float] = []

    @property
    def n_iter(self) -> int:
        return len(self._lower_bounds)

    def note(self, lower_bound: float, gain: float, weights: np.ndarray) -> None:
        """Take down a pass."""
        self.lower_bound, self.gain = lower_bound, gain
        self._lower_bounds.append(lower_bound)
        self._weights.append(weights[None])
        self._gains.append(gain)
        self.seconds.append(time.perf_counter() - self._began)

    def note_ahead(self, stretch: Stretch) -> None:
        """Take down all passes but the last of those that were one call. They have equal parts of its time."""
        reached = stretch.lower_bounds[:-1].tolist()
        if not reached:
            return
        began, now = self.seconds[-1] if self.seconds else 0.0, time.perf_counter() - self._began
        each = (now - began) / (len(reached) + 1)
        self._gains += map(operator.sub, reached, [self.lower_bound, *reached])
        self._lower_bounds += reached
        self._weights.append(stretch.weights[:-1])
        self.seconds += [began + each * number for number in range(1, len(reached) + 1)]
        self.lower_bound, self.gain = reached[-1], self._gains[-1]

    def history(self) -> History:
        weights = np.concatenate(self._weights) if self._weights else np.empty((0, self._n_components))
        lower_bounds, seconds, gains = np.array([self._lower_bounds, self.seconds, self._gains])
        return History(lower_bounds, weights, seconds, gains)

"""Extrapolation around the EM loop, guarded by the likelihood.

An extrapolation proposes a point, the guard decides whether the loop goes there. Both see what plain EM computes
anyway: one pass at a point gives its log-likelihood ``L`` and its M-step. Coordinates are those of
``Family.to_vector``, in which the information of the complete data is near to the identity: there the step of EM is the
gradient of the log-likelihood, and the derivative of EM's map is symmetric.

The guard
---------
A point must be as good as the EM step that it stands in for, which is not computed. The gain of that step is bounded
from what is known before it. With ``Q`` the expected log-likelihood that the M-step maximises from ``theta`` to
``theta'``,

    Q(theta') - Q(theta)  <=  L(theta') - L(theta)  <=  2 (Q(theta') - Q(theta)).

The lower bound always holds (Dempster, Laird & Rubin 1977, theorem 1). The gain is ``1 + rho`` times it, with ``rho``
the rate at which EM converges along the step, by the second-order expansion; ``rho < 1`` where the log-likelihood is
concave. So

- a point of at least ``L(theta) + 2 (Q(theta') - Q(theta))`` is taken: its pass also was the E-step from it;
- a point below ``L(theta)``, or that is not finite or degenerate, is rejected, and the next pass is the EM step;
- between the two the EM step is evaluated too, and the better of both points is taken.

The stopping rule asks for EM steps, and never for an extrapolated one. Where the bound falls below ``tol`` the next
pass is an EM step, whose gain is then measured.

Rows may be rounded to single precision as long as gains are larger than that changes a likelihood by. Then comes an EM
step, and from there on all likelihoods are of the rows as they are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol, get_args

import numpy as np

from fastem.em import Step, Stopping
from fastem.families import Family
from fastem.stats import Stats

Acceleration = Literal["auto", "lbfgs", "squarem", "anderson"]
ACCELERATIONS: tuple[str, ...] = get_args(Acceleration)
_NEEDED = ("to_vector", "from_vector", "expected_log_likelihood")

# EM steps in a row before Aitken's estimate counts. Of ten problems with tol=1e-6, after 2 steps a fit ended up to 7e-4
# from the optimum, after 6 as near as plain EM's.
_AITKEN_STEPS = 6
# Of a log-likelihood, what rounding its rows to single precision may change it by.
_SINGLE_ROUNDING = float(np.finfo(np.float32).eps)


class Extrapolation(Protocol):
    """Proposes points from those that were visited. It may propose anything: the guard looks."""

    def visited(self, point: Any, params: Any, plain: bool) -> None:
        """The loop is at ``point``, whose M-step is ``params``; ``plain`` where it came there by an EM step."""

    def rejected(self) -> None:
        """The last proposal was of no use."""

    def propose(self) -> Any:
        """Parameters further on, or None for the EM step; a ValueError counts as None."""


class QuasiNewton:
    """Limited-memory BFGS, to which the EM step is the gradient of the log-likelihood.

    From the last points and their EM steps ``f`` come pairs of ``s``, the difference of two points, and ``y``, that of
    their steps with the sign turned. ``s'y`` is the curvature along ``s``, at most about ``s's``. Where it is less than
    a tenth of that, or negative as on the way out of a saddle, ``s`` is mixed into ``y`` (Powell's damping). The rest
    of the space has the geometric mean of ``s'y / y'y``.

    The part beyond the EM step is at most ``radius`` times as long as it. The radius grows when it was reached and the
    point was taken, and is half of that part's length, or 1, after a rejection.

    References
    ----------
    Jamshidian & Jennrich (1997), Acceleration of the EM algorithm by using quasi-Newton methods. Liu & Nocedal (1989),
    On the limited memory BFGS method for large scale optimization. Powell (1978), A fast algorithm for nonlinearly
    constrained optimization calculations: the damping.
    """

    _ORDER = 5
    _RADIUS, _SMALLEST_RADIUS, _GROWTH = 4.0, 1.0, 1.5
    _LEAST_CURVATURE = 0.1
    # Units in which the information was the identity at a point that is so far away are those of another place.
    _FAR = 0.2

    def __init__(self, family: Family[Any]) -> None:
        self._family = family
        self._visits: deque[tuple[Any, Any]] = deque(maxlen=self._ORDER + 1)
        self._vectors: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=self._ORDER + 1)
        self._n_new = 0
        self._like: Any = None
        self._radius = self._RADIUS
        self._beyond = 0.0
        self._limited = False

    def visited(self, point: Any, params: Any, plain: bool) -> None:
        self._radius *= self._GROWTH if self._limited and not plain else 1.0
        self._visits.append((point, params))
        self._n_new += 1

    def rejected(self) -> None:
        self._radius = max(self._SMALLEST_RADIUS, self._beyond / 2)

    def propose(self) -> Any:
        self._look()
        x, f = self._vectors[-1]
        pairs = self._pairs()
        if not pairs or not np.isfinite(f).all():
            return None
        beyond = _newton_step(pairs, f) - f
        ratio = _length(beyond) / _length(f)
        self._limited = bool(ratio >= self._radius)
        self._beyond = min(ratio, self._radius)
        if self._limited:
            beyond *= self._radius / ratio
        return self._family.from_vector(x + f + beyond, self._like)

    def _look(self) -> None:
        """Have the visits as vectors: the new ones, or all in units of the last where it is far from the others."""
        if self._like is None:
            self._like = self._visits[-1][0]
        new = list(self._visits)[max(0, len(self._visits) - self._n_new) :]
        self._vectors.extend([self._vectors_of(*visit) for visit in new])
        self._n_new = 0
        if not _length(self._vectors[-1][0]) < self._FAR:
            self._like = self._visits[-1][0]
            vectors = [self._vectors_of(*visit) for visit in self._visits]
            self._vectors.clear()
            self._vectors.extend(vectors)

    def _vectors_of(self, point: Any, params: Any) -> tuple[np.ndarray, np.ndarray]:
        x = self._family.to_vector(point, self._like)
        return x, self._family.to_vector(params, self._like) - x

    def _pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """``(s, y)`` of neighbours, oldest first, with ``y's > 0``."""
        pairs = []
        for (x, f), (x_next, f_next) in pairwise(self._vectors):
            s, y = x_next - x, f - f_next
            square, curvature = _dot(s, s), _dot(s, y)
            if not 0 < square < math.inf or not math.isfinite(curvature):
                continue
            if curvature < self._LEAST_CURVATURE * square:
                share = (1 - self._LEAST_CURVATURE) * square / (square - curvature)
                y = share * y + (1 - share) * s
            pairs.append((s, y))
        return pairs


def _newton_step(pairs: Sequence[tuple[np.ndarray, np.ndarray]], f: np.ndarray) -> np.ndarray:
    """BFGS's inverse curvature of the pairs, times ``f``: the recursion of Liu & Nocedal, in two loops."""
    step = f.copy()
    curvatures = [_dot(s, y) for s, y in pairs]
    shares = []
    for (s, y), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        shares.append(_dot(s, step) / curvature)
        step -= shares[-1] * y
    scales = [curvature / _dot(y, y) for (_, y), curvature in zip(pairs, curvatures, strict=True)]
    step *= math.exp(sum(map(math.log, scales)) / len(scales))
    for (s, y), curvature, share in zip(pairs, curvatures, reversed(shares), strict=True):
        step += (share - _dot(y, step) / curvature) * s
    return step


class Squarem:
    """Squared extrapolation over two EM steps: ``x0 + 2 a r + a^2 v`` with ``r = x1 - x0`` and ``v = (x2 - x1) - r``.

    The length ``a = |r| / |v|`` is at least 1, where it is two EM steps, and at most a limit that grows when it was
    reached and the point was taken, and shrinks when it was rejected. ``x2`` is not evaluated, and the pass that judges
    the proposal is the first of the next cycle: two passes a cycle.

    References
    ----------
    Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of any EM
    algorithm, scheme SqS3. The limit is that of their R package SQUAREM, with a factor of 2 for its 4.
    """

    _GROWTH = 2.0

    def __init__(self, family: Family[Any]) -> None:
        self._family = family
        self._visits: list[tuple[Any, Any]] = []
        self._longest = 1.0
        self._limited = False

    def visited(self, point: Any, params: Any, plain: bool) -> None:
        if not plain and self._limited:
            self._longest *= self._GROWTH
        self._visits = [*self._visits[-1:], (point, params)] if plain else [(point, params)]

    def rejected(self) -> None:
        self._longest = max(1.0, self._longest / self._GROWTH)

    def propose(self) -> Any:
        if len(self._visits) < 2:
            return None
        (first, second), (_, third) = self._visits
        x0, x1, x2 = (self._family.to_vector(params, second) for params in (first, second, third))
        r = x1 - x0
        v = x2 - x1 - r
        r_length, v_length = _length(r), _length(v)
        if not np.isfinite(r_length) or not 0 < v_length < np.inf:
            return None
        self._limited = bool(r_length >= self._longest * v_length)
        if self._limited and self._longest == 1:
            self._longest = self._GROWTH
            return None
        length = min(float(r_length / v_length), self._longest)
        return None if length <= 1 else self._family.from_vector(x0 + 2 * length * r + length**2 * v, second)


class Anderson:
    """Anderson acceleration of the last few points, with curvature of the wrong sign turned round.

    With ``f`` the EM step, columns of ``X`` and ``F`` the differences of the last points and of their steps, and ``H``
    the derivative of ``f``, ``F = H X``. In the span of ``X``, with an orthonormal basis ``B`` of eigenvectors of ``B'
    H B`` and its eigenvalues ``h``, the proposal is ``x + f + (B + H B) c`` with ``c = B'f / |h|``. For ``h < 0`` that
    is Anderson's step of the first type, a Newton step in the span. ``h > 0`` is a direction along which EM leaves a
    saddle, where a fit spends most of its passes: the step of Anderson goes back to the saddle, which is a fixed point
    too; this one goes on.

    The part beyond the EM step is at most ``radius`` times as long as it. The radius grows when it was reached and the
    point was taken. A rejection makes it smaller, forgets all but the last difference, and is followed by as many EM
    steps as there were rejections in a row.

    References
    ----------
    Henderson & Varadhan (2019), Damped Anderson acceleration with restarts and monotonicity control for accelerating EM
    and EM-like algorithms: the restarts and the control; a radius stands for their damping. Fang & Saad (2009), Two
    classes of multisecant methods for nonlinear acceleration: the two types. Jamshidian & Jennrich (1993), Conjugate
    gradient acceleration of the EM algorithm: the EM step as a gradient. Dauphin et al. (2014), Identifying and
    attacking the saddle point problem in high-dimensional non-convex optimization: ``|h|`` for ``h``.
    """

    _ORDER = 5
    _SMALLEST_RADIUS = 0.5
    # Differences that lie within this share of the span of the others say nothing of their own.
    _RANK = 1e-6
    _FLATTEST = 1e-8

    def __init__(self, family: Family[Any]) -> None:
        self._family = family
        self._visits: deque[tuple[Any, Any]] = deque(maxlen=self._ORDER + 1)
        self._radius = 1.0
        self._limited = False
        self._rejections = self._pause = 0

    def visited(self, point: Any, params: Any, plain: bool) -> None:
        if not plain:
            self._rejections = 0
            self._radius *= 2.0 if self._limited else 1.0
        self._visits.append((point, params))

    def rejected(self) -> None:
        self._radius = max(self._SMALLEST_RADIUS, self._radius / 4)
        self._rejections += 1
        self._pause = self._rejections
        while len(self._visits) > 2:
            self._visits.popleft()

    def propose(self) -> Any:
        if self._pause > 0:
            self._pause -= 1
            return None
        if len(self._visits) < 2:
            return None
        like = self._visits[-1][0]
        points = np.stack([self._family.to_vector(point, like) for point, _ in self._visits])
        steps = np.stack([self._family.to_vector(params, like) for _, params in self._visits]) - points
        X, F = np.diff(points, axis=0).T, np.diff(steps, axis=0).T
        x, f = points[-1], steps[-1]
        lengths = np.linalg.norm(X, axis=0)
        f_length = np.linalg.norm(f)
        if not np.isfinite(steps).all() or not (lengths > 0).all() or f_length == 0:
            return None
        U, d, Vt = np.linalg.svd(X / lengths, full_matrices=False)
        kept = d > self._RANK * d[0]
        U = U[:, kept]
        HU = (F / lengths) @ Vt[kept].T / d[kept]
        h, turn = np.linalg.eigh(0.5 * (U.T @ HU + HU.T @ U))
        c = (U @ turn).T @ f / np.maximum(np.abs(h), self._FLATTEST)
        beyond = (U + HU) @ (turn @ c)
        length = np.linalg.norm(beyond) / f_length
        self._limited = bool(length >= self._radius)
        if self._limited:
            beyond *= self._radius / length
        return self._family.from_vector(x + f + beyond, like)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Not by BLAS: its threads go on spinning after a long product, on the cores that the next pass is to run on.
    return float(np.einsum("i,i", a, b))


def _length(a: np.ndarray) -> float:
    return math.sqrt(_dot(a, a))


@dataclass(frozen=True)
class _Visit:
    """A point, its M-step, its mean log-likelihood, and the bound of what an EM step adds to it."""

    point: Any
    params: Any
    lower_bound: float
    gain_bound: float


class GuardedSteps:
    """A strategy of the loop (``em.Steps``): where an extrapolation proposes, unless the likelihood says no.

    Parameters
    ----------
    family : Family
    extrapolation : Extrapolation
    tol : float
        The loop's.
    in_a_row : int
        EM steps one after another that the stopping rule waits for. What is left after extrapolated points is a mixture
        of fast and slow directions, and the rate of the first steps from there says little about the slow ones.
    previous : float
        Mean log-likelihood that the first gain is measured from.
    rounded : bool
        Whether rows may be rounded to single precision as long as gains are larger than what that changes.

    Attributes
    ----------
    rounded : bool
        Whether rows may be rounded in the next pass.
    """

    def __init__(
        self,
        family: Family[Any],
        extrapolation: Extrapolation,
        tol: float,
        in_a_row: int = 1,
        previous: float = -np.inf,
        rounded: bool = False,
    ) -> None:
        self.rounded = rounded
        self._family = family
        self._extrapolation = extrapolation
        self._in_a_row = in_a_row
        self._previous = previous
        self._here: _Visit | None = None
        self._rival: _Visit | None = None
        self._extrapolated = False
        self._tol = self._plain_below = tol
        self._plain_left = 0
        self._plain_done = 0

    def __call__(self, point: Any, stats: Stats, update: Callable[[Stats], Any]) -> Step[Any]:
        here = self._here
        if self._extrapolated:
            assert here is not None
            found = self._judge(point, stats)
            if found is None or not found.lower_bound >= here.lower_bound:
                self._extrapolation.rejected()
                return self._step(here, None)
            if found.lower_bound < here.lower_bound + here.gain_bound:
                self._rival = found
                return self._step(found, None)
            return self._take(found, plain=False)
        found = self._look(point, stats, update)
        rival, self._rival = self._rival, None
        if rival is not None and rival.lower_bound > found.lower_bound:
            return self._take(rival, plain=False)
        if rival is not None:
            self._extrapolation.rejected()
        self._plain_done += 1
        if self._plain_done < self._in_a_row - 1:
            return self._take(found, plain=True)
        gain = found.lower_bound - (self._previous if here is None else here.lower_bound)
        return self._take(found, plain=True, gain=gain)

    def _look(self, point: Any, stats: Stats, update: Callable[[Stats], Any]) -> _Visit:
        params = update(stats)
        q_after, q_before = (self._family.expected_log_likelihood(stats, p) for p in (params, point))
        bound = 2 * (q_after - q_before) / stats.weight
        # Below 0 by rounding, or by a regularised M-step.
        bound = max(0.0, bound) if np.isfinite(bound) else np.inf
        return _Visit(point, params, stats.log_likelihood / stats.weight, bound)

    def _judge(self, point: Any, stats: Stats) -> _Visit | None:
        """The visit of a proposed point; None where EM could not go on from it: no component is held up for it."""
        if not np.isfinite(stats.log_likelihood):
            return None
        try:
            with np.errstate(all="ignore"):
                found = self._look(point, stats, self._family.update)
            self._family.check_params(found.params)
        except ValueError:
            return None
        return found

    def _take(self, found: _Visit, plain: bool, gain: float = np.nan) -> Step[Any]:
        self._here = found
        self._plain_done *= plain
        self._extrapolation.visited(found.point, found.params, plain)
        if self.rounded and found.gain_bound < max(self._tol, _SINGLE_ROUNDING * (1 + abs(found.lower_bound))):
            return self._with_exact_rows(found)
        return self._step(found, self._proposal(found), gain)

    def _with_exact_rows(self, found: _Visit) -> Step[Any]:
        """From here on rows are as they are, and likelihoods of rounded rows say nothing of theirs."""
        step = self._step(found, None)
        self.rounded = False
        self._here, self._previous = None, np.nan
        return step

    def _proposal(self, here: _Visit) -> Any:
        if self._plain_left == 0 and here.gain_bound < self._plain_below:
            self._plain_left = self._in_a_row
            # Where they do not end the loop, the next ones wait until they are likelier to.
            self._plain_below = here.gain_bound / 4
        if self._plain_left > 0:
            self._plain_left -= 1
            return None
        try:
            with np.errstate(all="ignore"):
                proposal = self._extrapolation.propose()
            if proposal is not None:
                self._family.check_params(proposal)
        except (ValueError, np.linalg.LinAlgError):
            return None
        return proposal

    def _step(self, best: _Visit, proposal: Any, gain: float = np.nan) -> Step[Any]:
        assert self._here is not None
        self._extrapolated = proposal is not None
        point = self._here.params if proposal is None else proposal
        return Step(best.params, best.point.weights, best.lower_bound, gain, point, self._extrapolated)


#: The classes by name; "auto" is the one that took the fewest passes in the table of docs/acceleration.md.
EXTRAPOLATIONS: dict[str, Callable[[Family[Any]], Extrapolation]] = {
    "auto": QuasiNewton,
    "lbfgs": QuasiNewton,
    "squarem": Squarem,
    "anderson": Anderson,
}


def accelerated(
    accelerate: Acceleration,
    family: Family[Any],
    tol: float,
    stopping: Stopping,
    previous: float,
    rounded: bool = False,
) -> GuardedSteps:
    """The loop's strategy for one start."""
    in_a_row = _AITKEN_STEPS if stopping == "aitken" else 1
    return GuardedSteps(family, EXTRAPOLATIONS[accelerate](family), tol, in_a_row, previous, rounded)


def missing_methods(family: Family[Any]) -> list[str]:
    """Names of the methods that acceleration needs of a family, and this one does not have."""
    return [name for name in _NEEDED if getattr(type(family), name) is getattr(Family, name)]


def check_acceleration(accelerate: Any, family: Family[Any]) -> None:
    """Raise ValueError unless ``accelerate`` is None, or one of the names and the family has what it needs."""
    if accelerate is None:
        return
    if accelerate not in ACCELERATIONS:
        raise ValueError(f"accelerate must be None or one of {ACCELERATIONS}, but got {accelerate!r}")
    missing = missing_methods(family)
    if missing:
        raise ValueError(
            f"accelerate={accelerate!r} needs {', '.join(_NEEDED)} of the family, but {type(family).__name__} has no "
            f"{', '.join(missing)}; write them, or use accelerate=None"
        )

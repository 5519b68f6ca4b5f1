"""Axes that components have in common: the orientation of the structures EVE and VVE."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

_EPS = float(np.finfo(np.float64).eps)
# Steps from every start, before the best of them goes on alone.
_TRIAL_STEPS, _STEPS = 6, 500
_MEMORY = 8
_SMALLEST_ANGLE = 1e-10
_LARGEST_ANGLE = np.pi / 4
# Where two axes have all but equal variances in every component, their plane is flat.
_FLATTEST = 1e-6
# Armijo's share of the decrease that the slope promises, and rounding of the cost.
_DECREASE = 1e-4
_HALVINGS = 20


def find_common_axes(masses: np.ndarray, covariances: np.ndarray, one_volume: bool) -> np.ndarray:
    """Orthonormal columns along which the components' covariances are best taken for diagonal.

    There may be several local optima. The search starts from the eigenvectors of the pooled covariance and from those
    of each component's, so that the M-step does not depend on where EM was before.

    Parameters
    ----------
    masses : ndarray of shape (n_components,)
    covariances : ndarray of shape (n_components, n_features, n_features)
    one_volume : bool
        Whether the diagonal ones have one volume in common; else they have nothing in common but the axes.

    Returns
    -------
    axes : ndarray of shape (n_features, n_features)

    References
    ----------
    Flury & Gautschi (1986), An algorithm for simultaneous orthogonal transformation of several positive definite
    symmetric matrices to nearly diagonal form: the plane rotations, whose curvature scales the steps. Browne &
    McNicholas (2014), Estimating common principal components in high dimensions: the cost, and that planes one after
    another are slow. Huang, Gallivan & Absil (2015), A Broyden class of quasi-Newton methods for Riemannian
    optimization. Nocedal & Wright (2006), Numerical optimization, algorithm 7.4.
    """
    shares = masses / masses.sum()

    def look(axes: np.ndarray) -> _Orientation:
        return _Orientation.of(axes, shares, covariances, one_volume)

    n_features = covariances.shape[1]
    pooled = (shares @ covariances.reshape(len(shares), -1)).reshape(1, n_features, n_features)
    starts = np.linalg.eigh(np.concatenate([pooled, covariances]))[1]
    trials = [_descend(look(axes), look, _TRIAL_STEPS) for axes in starts]
    return _descend(min(trials, key=lambda trial: trial.cost), look, _STEPS).axes


def variances_along(axes: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Diagonals of ``D' S_k D``, shape (n_components, n_features)."""
    return np.einsum("ij,kij->kj", axes, covariances @ axes)


@cache
def _planes(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n_features, 1)


@dataclass(frozen=True)
class _Orientation:
    """Axes, and how the cost changes with the angles by which planes of two of them are turned.

    The cost is ``sum_kj p_k log v_kj`` with the structure's variances ``v`` along the axes, where the other term of the
    likelihood is a constant. Its derivatives are those of ``sum_kj p_k d_j' S_k d_j / v_kj`` for given ``v``, because
    ``v`` is the best for the axes; so is the curvature, but for what ``v`` gives way. The variances of one volume are
    the components' own ``d_j' S_k d_j``, times that volume by theirs.

    Attributes
    ----------
    axes : ndarray of shape (n_features, n_features)
    cost : float
        Minus infinity where a component has no variance along an axis.
    slope, curvature : ndarray of shape (n_features (n_features - 1) / 2,)
        For each plane of two axes.
    """

    axes: np.ndarray
    cost: float
    slope: np.ndarray
    curvature: np.ndarray

    @classmethod
    def of(cls, axes: np.ndarray, shares: np.ndarray, covariances: np.ndarray, one_volume: bool) -> _Orientation:
        n_features = len(axes)
        planes = _planes(n_features)
        seen = axes.T @ covariances @ axes
        own = np.diagonal(seen, axis1=1, axis2=2)
        if not (own > n_features * _EPS * own.max(axis=1, keepdims=True)).all():
            return cls(axes, -np.inf, np.zeros(len(planes[0])), np.ones(len(planes[0])))
        logs = np.log(own).mean(axis=1)
        mean = shares @ logs
        if one_volume:
            volumes = shares * np.exp(logs - mean)
            mean += np.log(volumes.sum())
            shares = volumes / volumes.sum()
        precisions = shares[:, None] / own
        turning = np.einsum("kp,kpq->pq", precisions, seen)
        ratios = precisions.T @ own
        bending = ratios + ratios.T - np.add.outer(np.diagonal(ratios), np.diagonal(ratios))
        slope, curvature = 2 * (turning - turning.T)[planes], 2 * bending[planes]
        return cls(axes, float(n_features * mean), slope, np.maximum(curvature, _FLATTEST))

    def turned(self, angles: np.ndarray) -> np.ndarray:
        """Axes after a rotation, by Cayley's transform, which keeps them orthonormal."""
        n_features = len(self.axes)
        turn = np.zeros((n_features, n_features))
        turn[_planes(n_features)] = -0.5 * angles
        turn -= turn.T
        identity = np.eye(n_features)
        return self.axes @ np.linalg.solve(identity - turn, identity + turn)


def _descend(here: _Orientation, look: Callable[[np.ndarray], _Orientation], n_steps: int) -> _Orientation:
    """Quasi-Newton steps (L-BFGS) in the angles of all planes, scaled by the planes' curvatures."""
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)
    for _ in range(n_steps):
        angles = -_scaled(here, pairs)
        if not angles @ here.slope < 0:
            pairs.clear()
            angles = -here.slope / here.curvature
        largest = np.abs(angles).max(initial=0.0)
        if largest <= _SMALLEST_ANGLE:
            break
        angles *= min(1.0, _LARGEST_ANGLE / largest)
        there = _lower(here, angles, look)
        if there is None:
            if not pairs:
                break
            pairs.clear()
            continue
        found, angles = there
        change = found.slope - here.slope
        if angles @ change > _EPS * np.abs(angles).max() * np.abs(change).max():
            pairs.append((angles, change))
        here = found
    return here


def _lower(
    here: _Orientation, angles: np.ndarray, look: Callable[[np.ndarray], _Orientation]
) -> tuple[_Orientation, np.ndarray] | None:
    """A lower point in a direction, and the angles to it; None where there is none."""
    promised = _DECREASE * float(angles @ here.slope)
    rounding = 4 * _EPS * (1 + abs(here.cost))
    for halvings in range(_HALVINGS):
        share = 0.5**halvings
        found = look(here.turned(share * angles))
        if found.cost <= here.cost + share * promised + rounding:
            return found, share * angles
    return None


def _scaled(here: _Orientation, pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The slope times the inverse Hessian that the last steps tell of (Nocedal & Wright 2006, algorithm 7.4)."""
    scaled, used = here.slope.copy(), []
    for angles, change in reversed(pairs):
        part = angles @ scaled / (angles @ change)
        scaled -= part * change
        used.append((part, angles, change))
    scaled /= here.curvature
    for part, angles, change in reversed(used):
        scaled += (part - change @ scaled / (angles @ change)) * angles
    return scaled

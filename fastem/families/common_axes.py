"""Axes that components have in common: the orientation of the structures EVE and VVE."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

_EPS = float(np.finfo(np.float64).eps)
# Sweeps from every start, before the best of them goes on alone.
_TRIAL_SWEEPS = 3
_MAX_SWEEPS = 1000
_SMALLEST_ANGLE = 1e-12


def find_common_axes(
    masses: np.ndarray, covariances: np.ndarray, estimate: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Orthonormal columns along which the components' covariances are best taken for diagonal.

    There may be several local optima. The search starts from the eigenvectors of the pooled covariance and from those
    of each component's, so that the M-step does not depend on where EM was before.

    Parameters
    ----------
    masses : ndarray of shape (n_components,)
    covariances : ndarray of shape (n_components, n_features, n_features)
    estimate : callable
        ``(masses, variances)`` to the variances (n_components, n_features) of the structure along given axes.

    Returns
    -------
    axes : ndarray of shape (n_features, n_features)

    References
    ----------
    Flury & Gautschi (1986), An algorithm for simultaneous orthogonal transformation of several positive definite
    symmetric matrices to nearly diagonal form: rotations in planes. Browne & McNicholas (2014), Estimating common
    principal components in high dimensions: the function that is minimised. Brent & Luk (1985), The solution of
    singular-value and symmetric eigenvalue problems on multiprocessor arrays: the rounds of disjoint planes.
    """
    shares = masses / masses.sum()
    pooled = np.tensordot(shares, covariances, axes=1)
    starts = [np.linalg.eigh(matrix)[1] for matrix in (pooled, *covariances)]
    trials = [_rotated(axes, shares, covariances, estimate, _TRIAL_SWEEPS) for axes in starts]
    best = min(trials, key=lambda axes: _cost(axes, shares, covariances, estimate))
    return _rotated(best, shares, covariances, estimate, _MAX_SWEEPS)


def variances_along(axes: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Diagonals of ``D' S_k D``, shape (n_components, n_features)."""
    return np.einsum("ij,kij->kj", axes, covariances @ axes)


def _cost(axes: np.ndarray, shares: np.ndarray, covariances: np.ndarray, estimate: Callable[..., np.ndarray]) -> float:
    """``sum_k p_k log |Sigma_k|``; the other term of the likelihood is a constant at its optimum."""
    with np.errstate(divide="ignore"):
        return float(shares @ np.log(estimate(shares, variances_along(axes, covariances))).sum(axis=1))


def _rotated(
    axes: np.ndarray,
    shares: np.ndarray,
    covariances: np.ndarray,
    estimate: Callable[..., np.ndarray],
    n_sweeps: int,
) -> np.ndarray:
    """Axes after sweeps of rotations over all planes of two of them, each of which is the best in its plane.

    For given variances ``v_k`` the cost of the axes ``d_j`` is ``sum_kj p_k d_j' S_k d_j / v_kj``. In the plane of two
    axes it is a constant and ``d_p' T d_p`` with ``T = sum_k p_k (1 / v_kp - 1 / v_kq) S_k``, so that ``d_p`` is the
    eigenvector of the smaller eigenvalue. Planes without a common axis do not touch each other's costs.
    """
    axes = axes.copy()
    for _ in range(n_sweeps):
        S = axes.T @ covariances @ axes
        largest = 0.0
        for p, q in _rounds(len(axes)):
            variances = estimate(shares, np.diagonal(S, axis1=1, axis2=2))
            if not (variances > 0).all():
                return axes
            first, second = (shares[:, None] / variances[:, j] for j in (p, q))
            across = ((first - second) * S[:, p, q]).sum(axis=0)
            noise = ((first + second) * np.sqrt(S[:, p, p] * S[:, q, q])).sum(axis=0)
            across[np.abs(across) <= 2 * _EPS * noise] = 0.0
            along = ((first - second) * (S[:, q, q] - S[:, p, p])).sum(axis=0)
            angle = 0.5 * np.arctan2(-2 * across, np.maximum(along, 0.0))
            c, s = np.cos(angle), np.sin(angle)
            for matrix in (axes, S, S.swapaxes(1, 2)):
                left, right = matrix[..., p], matrix[..., q]
                matrix[..., p], matrix[..., q] = c * left + s * right, c * right - s * left
            largest = max(largest, float(np.abs(s * c).max()))
        if largest <= _SMALLEST_ANGLE:
            break
    return axes


@cache
def _rounds(n_features: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All pairs of axes, in rounds of pairs that have none in common: everybody meets, with one place fixed."""
    places = list(range(n_features + n_features % 2))
    rounds = []
    for _ in range(len(places) - 1):
        pairs = [(p, q) for p, q in zip(places, reversed(places), strict=True) if p < q < n_features]
        rounds.append((np.array([p for p, _ in pairs]), np.array([q for _, q in pairs])))
        places[1:] = [places[-1], *places[1:-1]]
    return rounds if n_features > 1 else []

"""When components lie apart: bounds that tell a row's possible components at a fraction of the densities' cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# As the kernel: a component this far below another one has a responsibility of exactly 0.
_RULED_OUT = 52.0
# Screening must save this share of the multiply-adds of all densities.
_LEAST_SAVING = 0.2


@dataclass(frozen=True)
class Screening:
    """Bounds of every component's quadratic form by a plain squared distance.

    With ``y = (x - centre) factor``: ``lower |y - c|^2 <= |(x - mean) factor_k|^2 <= upper |y - c|^2``.

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
    factor : ndarray of shape (n_features, n_features)
        Upper-triangular.
    means : ndarray of shape (n_components, n_features)
        The ``c`` of each component.
    lower, upper : ndarray of shape (n_components,)
    """

    centre: np.ndarray
    factor: np.ndarray
    means: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def packed(self, constant: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """What the kernel reads: columns for each component, and two numbers for all.

        A squared distance by ``|y|^2 - 2 y c + |c|^2`` is off by less than ``slack (|y|^2 + |c|^2)``.
        """
        slack = 2 * (self.means.shape[1] + 4) * float(np.finfo(dtype).eps)
        squares = (self.means**2).sum(axis=1)
        floor = constant - self.upper * 2 * slack * squares
        columns = [self.lower, self.upper, floor, (1 - slack) * squares]
        return np.concatenate([np.stack(columns, axis=1), -2 * self.means], axis=1), np.array([1 - slack, 2 * slack])


def may_screen(n_components: int, n_features: int) -> bool:
    """Whether bounds would pay if they left one component to each row."""
    return _pays((n_components - 1) / n_components, n_components, n_features)


def _pays(ruled_out: float, n_components: int, n_features: int) -> bool:
    """Whether that share of the components saves more than the bounds of all, and the whitening, cost."""
    dense, screened = n_features * (n_features + 1) / 2, 2.0 * n_features
    saved = ruled_out * n_components * dense - (n_components * screened + dense)
    return saved >= _LEAST_SAVING * n_components * dense


def find_screening(
    constant: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, factors: np.ndarray
) -> Screening | None:
    """Bounds for components of full covariances, or None where they would not pay.

    Parameters
    ----------
    constant : ndarray of shape (n_components,)
        Of the weighted log-densities ``constant - |(x - mean) factor|^2``.
    factors : ndarray of shape (n_components, n_features, n_features)
        Upper-triangular, with ``factor factor' = covariance^-1 / 2``.
    """
    n_components, n_features = means.shape
    if not may_screen(n_components, n_features):
        return None
    centre = weights @ means
    try:
        pooled = np.linalg.cholesky(np.einsum("k,kij->ij", weights, covariances))
    except np.linalg.LinAlgError:
        return None
    # Of the pooled covariance L L', in the order of the components' own factors: P P' = (L L')^-1 / 2, P upper.
    whitening = np.linalg.inv(pooled)
    factor = whitening.T * np.sqrt(0.5)
    c = (means - centre) @ factor
    apart = ((c[:, None, :] - c[None, :, :]) ** 2).sum(axis=2)
    if not apart.max(initial=0.0) > _RULED_OUT / 2:
        return None
    # In the units of the pooled covariance, the components' covariances and their inverses.
    inside = whitening @ covariances @ whitening.T
    inverse = pooled.T @ (2 * factors @ np.swapaxes(factors, 1, 2)) @ pooled
    lower, upper = 1 / _largest_eigenvalue(inside), _largest_eigenvalue(inverse)
    # What a row of component i is expected to find, an unfavourable standard deviation included: its own quadratic form
    # is half a chi-square of n_features, and its squared distance from another one's mean has variance 2 apart.
    own = np.trace(inside, axis1=1, axis2=2) / 2
    best = constant - upper * (own + np.sqrt(own))
    others = constant - lower * np.maximum(own[:, None] + apart - np.sqrt(2 * apart), 0.0)
    ruled_out = others < best[:, None] - _RULED_OUT
    return (
        Screening(centre, factor, c, lower, upper)
        if _pays(float(weights @ ruled_out.mean(axis=1)), n_components, n_features)
        else None
    )


def _largest_eigenvalue(matrices: np.ndarray) -> np.ndarray:
    """Upper bound of the largest eigenvalue of symmetric positive definite matrices, a percent or two above it.

    ``lambda <= |A^128|_F^(1/128) <= n^(1/256) lambda``: seven products in place of an eigendecomposition.
    """
    logs = np.zeros(len(matrices))
    power = matrices
    for squarings in range(8):
        norm = np.sqrt((power**2).sum(axis=(1, 2)))
        logs += np.log(norm) / 2**squarings
        # Of norm 1, so that no power over- or underflows.
        power = power / norm[:, None, None]
        if squarings < 7:
            power = power @ power
    return np.exp(logs) * (1 + 1e-6)

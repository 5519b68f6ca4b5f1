"""Starts out of a neighbour's solution: a component split in two, or two merged into one.

Both keep the moments of the mixture as they are. What a Gaussian family makes of the moments is its own M-step's
business, so that a solution of one covariance structure can start another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastem.families import Gaussian, GaussianParams
from fastem.stats import Moments, Stats, n_moments

# A Gaussian cut through its mean: each half has its mean at so many deviations from the cut.
_HALF = float(np.sqrt(2 / np.pi))
# Directions in which a component is split.
_AXES = 2


@dataclass(frozen=True, eq=False)
class Components:
    """Components by their moments, whatever the structure of their covariances.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray of shape (n_components, n_features, n_features)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of(cls, family: Gaussian, params: GaussianParams) -> Components:
        return cls(params.weights, params.means, family.full_covariances(params))

    def total(self) -> np.ndarray:
        """Covariance of the mixture (n_features, n_features)."""
        offset = self.means - self.weights @ self.means
        return np.tensordot(self.weights, self.covariances, axes=1) + (self.weights[:, None] * offset).T @ offset

    def as_params(self, family: Gaussian, n_samples: float) -> GaussianParams:
        """The M-step of these moments: exact for what the structure can hold, and the nearest for the rest."""
        masses = self.weights * n_samples
        shared = None
        if family.shared_moments is not None:
            centre = self.weights @ self.means
            together = _moments(family.shared_moments, self.means - centre, self.covariances)
            shared = Stats(n_samples, 0.0, centre[None], (masses @ together)[None], family.shared_moments)
        S = masses[:, None] * _moments(family.moments, np.zeros_like(self.means), self.covariances)
        return family.update(Stats(n_samples, 0.0, self.means, S, family.moments, shared))


def _moments(moments: Moments, offset: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Rows ``[1, E d, E d d']`` (n_components, Q), with ``d`` from points that the means are ``offset`` away from."""
    n_components, n_features = offset.shape
    rows = np.empty((n_components, n_moments(moments, n_features)))
    rows[:, 0] = 1.0
    rows[:, 1 : 1 + n_features] = offset
    if moments == "full":
        rows[:, 1 + n_features :] = (covariances + offset[:, :, None] * offset[:, None, :]).reshape(n_components, -1)
    elif moments == "diag":
        rows[:, 1 + n_features :] = np.diagonal(covariances, axis1=1, axis2=2) + offset**2
    return rows


def splits(mixture: Components) -> list[Components]:
    """Mixtures of a component more: each component cut through its mean, across each of its two longest axes.

    The halves have the moments of half a Gaussian, so that together they have those of the whole. Lengths are in
    deviations of the features, so that units do not matter.

    References
    ----------
    Richardson & Green (1997), On Bayesian analysis of mixtures with an unknown number of components, section 3.2, for
    splits that keep the moments.
    """
    unit, lengths, axes = _longest_axes(mixture)
    reaches = _HALF * lengths[:, :, None] * axes * unit
    return [_split(mixture, k, reach) for along in reaches for k, reach in enumerate(along)]


def room_for_splits(mixture: Components, X: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Of each split what it may gain: how far a component's rows are from a Gaussian along the axis that is cut.

    It is the negentropy to fourth order, ``n (skewness^2 + kurtosis^2 / 4) / 12``: as much log-likelihood as a better
    density of that coordinate could have.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    masses : ndarray of shape (n_samples, n_components)
        Responsibilities times sample weights.

    Returns
    -------
    room : ndarray of shape (n_splits,)
        In the order of :func:`splits`.

    References
    ----------
    Jones & Sibson (1987), What is projection pursuit?, section 3, for the index.
    """
    unit, lengths, axes = _longest_axes(mixture)
    total = np.maximum(masses.sum(axis=0), np.finfo(np.float64).tiny)
    rooms = []
    for length, axis in zip(lengths, axes / unit, strict=True):
        along = X @ axis.T - (mixture.means * axis).sum(axis=1)
        along /= np.where(length > 0, length, np.inf)
        squares = along**2
        skewness = (masses * squares * along).sum(axis=0) / total
        kurtosis = (masses * squares**2).sum(axis=0) / total - 3
        rooms.append(total * (skewness**2 + kurtosis**2 / 4) / 12)
    return np.concatenate(rooms)


def _longest_axes(mixture: Components) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations of the features; and in their units lengths (n_axes, K) and axes (n_axes, K, D), longest first."""
    unit = np.sqrt(np.maximum(np.diagonal(mixture.total()), np.finfo(np.float64).tiny))
    squares, axes = np.linalg.eigh(mixture.covariances / np.outer(unit, unit))
    longest = slice(None, -min(_AXES, len(unit)) - 1, -1)
    # Rounding may make the shortest length negative.
    return unit, np.sqrt(np.maximum(squares.T[longest], 0)), axes.transpose(2, 0, 1)[longest]


def _split(mixture: Components, k: int, reach: np.ndarray) -> Components:
    weights, means, covariances = (
        np.concatenate([values, values[k : k + 1]]) for values in (mixture.weights, mixture.means, mixture.covariances)
    )
    halves = [k, -1]
    weights[halves] /= 2
    means[k] -= reach
    means[-1] += reach
    covariances[halves] -= np.outer(reach, reach)
    return Components(weights, means, covariances)


def merges(mixture: Components, most: int) -> list[Components]:
    """Mixtures of a component less: the pairs that lose least as one, at most so many.

    References
    ----------
    Runnalls (2007), Kullback-Leibler approach to Gaussian mixture reduction, eq. 16: a bound of what a merge costs.
    """
    n_components = len(mixture.weights)
    logs = np.linalg.slogdet(mixture.covariances)[1]
    costs = np.full((n_components, n_components), np.inf)
    for i in range(n_components - 1):
        others = np.arange(i + 1, n_components)
        mass, _, covariances = _merged(mixture, i, others)
        apart = mixture.weights[i] * logs[i] + mixture.weights[others] * logs[others]
        costs[i, others] = mass * np.linalg.slogdet(covariances)[1] - apart
    # A component without volume makes NaN of a cost, and is merged last.
    order = np.argsort(np.where(np.isnan(costs), np.inf, costs), axis=None, kind="stable")
    n_pairs = n_components * (n_components - 1) // 2
    pairs = np.transpose(np.unravel_index(order[: min(most, n_pairs)], costs.shape))
    return [_merge(mixture, int(i), int(j)) for i, j in pairs]


def _merged(mixture: Components, i: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of component ``i`` with each of the others."""
    mass = mixture.weights[i] + mixture.weights[others]
    share = np.divide(mixture.weights[others], mass, out=np.full(len(others), 0.5), where=mass > 0)
    apart = mixture.means[others] - mixture.means[i]
    within = (1 - share)[:, None, None] * mixture.covariances[i] + share[:, None, None] * mixture.covariances[others]
    between = (share * (1 - share))[:, None, None] * apart[:, :, None] * apart[:, None, :]
    return mass, mixture.means[i] + share[:, None] * apart, within + between


def _merge(mixture: Components, i: int, j: int) -> Components:
    values = zip((mixture.weights, mixture.means, mixture.covariances), _merged(mixture, i, np.array([j])), strict=True)
    return Components(*(np.concatenate([np.delete(old, [i, j], axis=0), new]) for old, new in values))

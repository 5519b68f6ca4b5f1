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
        return family.update(self.as_stats(family, n_samples))

    def as_stats(self, family: Gaussian, n_samples: float) -> Stats:
        """Moments that so many rows of the mixture have."""
        masses = self.weights * n_samples
        shared = None
        if family.shared_moments is not None:
            centre = self.weights @ self.means
            together = _moments(family.shared_moments, self.means - centre, self.covariances)
            shared = Stats(n_samples, 0.0, centre[None], (masses @ together)[None], family.shared_moments)
        S = masses[:, None] * _moments(family.moments, None, self.covariances)
        return Stats(n_samples, 0.0, self.means, S, family.moments, shared)


def _moments(moments: Moments, offset: np.ndarray | None, covariances: np.ndarray) -> np.ndarray:
    """Rows ``[1, E d, E d d']`` (n_components, Q): ``d`` from the means, or from where they are ``offset`` from."""
    n_components, n_features, _ = covariances.shape
    rows = np.zeros((n_components, n_moments(moments, n_features)))
    rows[:, 0] = 1.0
    if offset is not None:
        rows[:, 1 : 1 + n_features] = offset
        covariances = covariances + offset[:, :, None] * offset[:, None, :]
    if moments != "first":
        flat = covariances.reshape(n_components, -1)
        rows[:, 1 + n_features :] = flat if moments == "full" else flat[:, :: n_features + 1]
    return rows


@dataclass(frozen=True, eq=False)
class Cuts:
    """Mixtures of a component more: each component cut through its mean, across each of its two longest axes.

    The halves have the moments of half a Gaussian, so that together they have those of the whole. Lengths are in
    deviations of the features, so that units do not matter.

    Attributes
    ----------
    mixture : Components
    unit : ndarray of shape (n_features,)
        Deviations of the features.
    lengths : ndarray of shape (n_axes, n_components)
        In these units, longest first.
    axes : ndarray of shape (n_axes, n_components, n_features)

    References
    ----------
    Richardson & Green (1997), On Bayesian analysis of mixtures with an unknown number of components, section 3.2, for
    splits that keep the moments.
    """

    mixture: Components
    unit: np.ndarray
    lengths: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, mixture: Components) -> Cuts:
        unit = np.sqrt(np.maximum(np.diagonal(mixture.total()), np.finfo(np.float64).tiny))
        squares, axes = np.linalg.eigh(mixture.covariances / np.outer(unit, unit))
        longest = slice(None, -min(_AXES, len(unit)) - 1, -1)
        # Rounding may make the shortest length negative.
        return cls(mixture, unit, np.sqrt(np.maximum(squares.T[longest], 0)), axes.transpose(2, 0, 1)[longest])

    @property
    def n_cuts(self) -> int:
        return self.lengths.size

    def split(self, number: int) -> Components:
        """The mixture after a cut: all components by their longest axes first, then by the next."""
        axis, k = divmod(number, len(self.mixture.weights))
        reach = _HALF * self.lengths[axis, k] * self.axes[axis, k] * self.unit
        weights, means, covariances = (
            np.concatenate([values, values[k : k + 1]])
            for values in (self.mixture.weights, self.mixture.means, self.mixture.covariances)
        )
        halves = [k, -1]
        weights[halves] /= 2
        means[k] -= reach
        means[-1] += reach
        covariances[halves] -= np.outer(reach, reach)
        return Components(weights, means, covariances)

    def room(self, X: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """Of each cut what it may gain: how far a component's rows are from a Gaussian along the axis that is cut.

        It is the negentropy to fourth order, ``n (skewness^2 + kurtosis^2 / 4) / 12``: as much log-likelihood as a
        better density of that coordinate could have.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        masses : ndarray of shape (n_samples, n_components)
            Responsibilities times sample weights.

        Returns
        -------
        room : ndarray of shape (n_cuts,)

        References
        ----------
        Jones & Sibson (1987), What is projection pursuit?, section 3, for the index.
        """
        total = np.maximum(masses.sum(axis=0), np.finfo(np.float64).tiny)
        rooms = []
        for length, axis in zip(self.lengths, self.axes / self.unit, strict=True):
            along = X @ axis.T - (self.mixture.means * axis).sum(axis=1)
            along /= np.where(length > 0, length, np.inf)
            squares = along**2
            skewness = (masses * squares * along).sum(axis=0) / total
            kurtosis = (masses * squares**2).sum(axis=0) / total - 3
            rooms.append(total * (skewness**2 + kurtosis**2 / 4) / 12)
        return np.concatenate(rooms)


def merges(mixture: Components, most: int) -> list[Components]:
    """Mixtures of a component less: the pairs that lose least as one, at most so many.

    References
    ----------
    Runnalls (2007), Kullback-Leibler approach to Gaussian mixture reduction, eq. 16: a bound of what a merge costs.
    """
    first, second = np.triu_indices(len(mixture.weights), 1)
    logs = mixture.weights * np.linalg.slogdet(mixture.covariances)[1]
    merged = _merged(mixture, first, second)
    costs = merged[0] * np.linalg.slogdet(merged[2])[1] - logs[first] - logs[second]
    # A component without volume makes NaN of a cost, and is merged last.
    order = np.argsort(np.where(np.isnan(costs), np.inf, costs), kind="stable")
    values = mixture.weights, mixture.means, mixture.covariances
    found = []
    for pair in order[:most]:
        others = np.ones(len(mixture.weights), dtype=bool)
        others[[first[pair], second[pair]]] = False
        parts = zip(values, merged, strict=True)
        found.append(Components(*(np.concatenate([old[others], new[pair : pair + 1]]) for old, new in parts)))
    return found


def _merged(mixture: Components, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of components ``i``, each with one of ``j``."""
    mass = mixture.weights[i] + mixture.weights[j]
    share = np.divide(mixture.weights[j], mass, out=np.full(len(j), 0.5), where=mass > 0)
    apart = mixture.means[j] - mixture.means[i]
    within = (1 - share)[:, None, None] * mixture.covariances[i] + share[:, None, None] * mixture.covariances[j]
    between = (share * (1 - share))[:, None, None] * apart[:, :, None] * apart[:, None, :]
    return mass, mixture.means[i] + share[:, None] * apart, within + between

"""Sufficient statistics: the value that one pass of EM over rows produces.

Statistics add: those of files, threads, machines and mini-batches are summed, scaled and shipped in place of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Moments = Literal["first", "diag", "full"]

# So many roundings of its mean are no deviation of a feature.
_ROUNDINGS = 8 * float(np.finfo(np.float64).eps)


def n_moments(moments: Moments, n_features: int) -> int:
    """Length Q of a component's row of statistics."""
    return 1 + n_features + {"first": 0, "diag": n_features, "full": n_features**2}[moments]


def moments_of(X: np.ndarray, responsibilities: np.ndarray, origin: np.ndarray, moments: Moments) -> np.ndarray:
    """The statistics ``S[K, Q]`` of rows ``X[n, D]`` by their definition, about ``origin[K, D]``."""
    n_components, n_features = origin.shape
    S = np.zeros((n_components, n_moments(moments, n_features)))
    for k in range(n_components):
        d = X.astype(np.float64) - origin[k]
        r = responsibilities[:, k].astype(np.float64)
        S[k, 0] = r.sum()
        S[k, 1 : 1 + n_features] = r @ d
        if moments == "diag":
            S[k, 1 + n_features :] = r @ d**2
        elif moments == "full":
            S[k, 1 + n_features :] = (d.T @ (r[:, None] * d)).ravel()
    return S


@dataclass(frozen=True, eq=False)
class Stats:
    """Weighted moments of all rows seen, by component; a value of fixed size that is never changed in place.

    Attributes
    ----------
    weight : float
        Total weight of the rows.
    log_likelihood : float
        Weighted sum of the rows' log-likelihoods under the parameters of the pass.
    origin : ndarray of shape (n_components, n_features)
        The points that the moments are taken about: the component means of the pass. No digits are lost to an offset.
    S : ndarray of shape (n_components, Q), float64
        ``[sum r, sum r d, second moments]`` with ``d = x - origin``.
    moments : {"first", "diag", "full"}
        What the second moments are: none, ``sum r d^2`` by feature, or ``sum r d d'``.
    shared : Stats of one component, optional
        Moments of all rows whatever their component, for families that tie components together.
    """

    weight: float
    log_likelihood: float
    origin: np.ndarray
    S: np.ndarray
    moments: Moments
    shared: Stats | None = None

    def __add__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        if self.moments != other.moments:
            raise ValueError(f"cannot add statistics of {self.moments!r} and {other.moments!r} moments")
        if not np.array_equal(self.origin, other.origin):
            raise ValueError(
                "cannot add statistics about different origins; call recenter(origin) on one of them first"
            )
        if (self.shared is None) != (other.shared is None):
            raise ValueError("cannot add statistics with and without shared moments")
        shared = self.shared
        if shared is not None and other.shared is not None:
            # Each part took its own point near the data; none of them is anybody's statement.
            shared = shared + other.shared.recenter(shared.origin)
        return replace(
            self,
            weight=self.weight + other.weight,
            log_likelihood=self.log_likelihood + other.log_likelihood,
            S=self.S + other.S,
            shared=shared,
        )

    def __radd__(self, other: object) -> Stats:
        """``0 + s``, so that ``sum`` works."""
        return self if other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Stats:
        """All weights times ``factor``: ``(1 - g) * s + g * s_batch`` is a step of online EM."""
        return replace(
            self,
            weight=self.weight * factor,
            log_likelihood=self.log_likelihood * factor,
            S=self.S * factor,
            shared=None if self.shared is None else self.shared * factor,
        )

    __rmul__ = __mul__

    def __sub__(self, other: Stats) -> Stats:
        """Take rows out again, as incremental EM does."""
        return self + other * -1.0

    @property
    def mass(self) -> np.ndarray:
        """Total responsibility of each component, shape (n_components,)."""
        return self.S[:, 0]

    @property
    def first(self) -> np.ndarray:
        """``sum r d``, shape (n_components, n_features)."""
        return self.S[:, 1 : 1 + self.origin.shape[1]]

    @property
    def second(self) -> np.ndarray:
        """``sum r d^2`` (n_components, n_features) or ``sum r d d'`` (n_components, n_features, n_features)."""
        n_components, n_features = self.origin.shape
        second = self.S[:, 1 + n_features :]
        return second.reshape(n_components, n_features, n_features) if self.moments == "full" else second

    def together(self) -> Stats:
        """Moments of all rows whatever their component, about their mean: statistics of one component."""
        every = self if self.shared is None else self.shared
        there = every.mass > 0
        means = every.origin[there] + every.first[there] / every.mass[there, None]
        centre = every.mass[there] @ means / every.mass.sum()
        # As by ``recenter``, with the sums over the components as matrix products: one outer product for each took
        # twice as long with 8 features, and 10 to 30 times from 32 on, in every M-step with a relative ridge.
        e, mass = every.origin - centre, every.mass
        S = every.S.sum(axis=0, keepdims=True)
        total = Stats(self.weight, self.log_likelihood, centre[None], S, every.moments)
        total.first[...] += mass @ e
        if every.moments == "diag":
            total.second[...] += 2 * (every.first * e).sum(axis=0) + mass @ e**2
        elif every.moments == "full":
            cross = every.first.T @ e + (0.5 * mass[:, None] * e).T @ e
            total.second[...] += cross + cross.T
        return total

    def recenter(self, origin: np.ndarray) -> Stats:
        """The same statistics about another origin, by exact algebra.

        With ``e = old origin - new origin``: ``sum r (d + e)(d + e)' = S2 + S1 e' + e S1' + S0 e e'``.
        """
        origin = np.array(origin, dtype=np.float64)
        if origin.shape != self.origin.shape:
            raise ValueError(f"origin must have shape {self.origin.shape}, but got {origin.shape}")
        e = self.origin - origin
        S = self.S.copy()
        moved = replace(self, origin=origin, S=S)
        moved.first[...] += self.mass[:, None] * e
        if self.moments == "diag":
            moved.second[...] += 2 * self.first * e + self.mass[:, None] * e**2
        elif self.moments == "full":
            cross = self.first[:, :, None] * e[:, None, :]
            moved.second[...] += cross + cross.transpose(0, 2, 1) + (self.mass[:, None] * e)[:, :, None] * e[:, None, :]
        return moved


@dataclass(frozen=True)
class Stretch:
    """Steps of EM that were made in one call.

    Attributes
    ----------
    lower_bounds : ndarray of shape (n_passes,)
        Mean log-likelihood of a row in each E-step.
    weights : ndarray of shape (n_passes, n_components)
        Weights that they belong to.
    stats : Stats
        Of the last E-step.
    """

    lower_bounds: np.ndarray
    weights: np.ndarray
    stats: Stats


def variances_of(total: Stats) -> np.ndarray:
    """Variance of each feature, of rows as one component; exactly 0 of one that is constant but for rounding."""
    mass, second = total.mass[0], total.second[0]
    variances = (np.diagonal(second) if total.moments == "full" else second) / mass - (total.first[0] / mass) ** 2
    return np.where(variances > (_ROUNDINGS * total.origin[0]) ** 2, variances, 0.0)

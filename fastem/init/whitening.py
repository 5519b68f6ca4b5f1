"""Coordinates in which starts do not depend on the units of the features, nor on their rotation."""

from __future__ import annotations

import numpy as np

# A feature whose deviation is this share of its values is constant, up to rounding.
_CONSTANT = 1e-14
# A direction of this share of the largest variance, of features scaled alike, is collinear up to rounding.
_COLLINEAR = 1e-12


def whitened(rows: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Rows in coordinates of unit covariance, as many as the features have independent directions.

    They are the same for ``rows @ A + b`` with any regular ``A``, up to a rotation.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features), float64
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    coordinates : ndarray of shape (n_samples, n_directions)
        One column of zeros where all rows are equal.
    """
    share = np.full(len(rows), 1 / len(rows)) if sample_weight is None else sample_weight / sample_weight.sum()
    # Along the columns of a copy: sums over the rows of a narrow array take many times as long.
    largest = np.abs(rows.T.copy()).max(axis=1)
    # Scaled before they are squared: features may be of any size that their float type holds.
    scaled = rows / np.where(largest > 0, largest, 1)
    scaled -= share @ scaled
    deviation = np.sqrt(share @ scaled**2)
    varies = deviation > _CONSTANT
    if not varies.any():
        return np.zeros((len(rows), 1))
    scaled = scaled[:, varies] / deviation[varies]
    variances, directions = np.linalg.eigh((share[:, None] * scaled).T @ scaled)
    kept = variances > _COLLINEAR * variances[-1]
    return scaled @ (directions[:, kept] / np.sqrt(variances[kept]))


def unit_within(coordinates: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Coordinates in which the covariance ``within`` is the unit matrix.

    References
    ----------
    Art, Gnanadesikan & Kettenring (1982), Data-based metrics for cluster analysis: the metric of the covariance within
    clusters, estimated from rows that are near to each other.
    """
    variances, directions = np.linalg.eigh(within)
    if not variances[-1] > _COLLINEAR:
        return coordinates  # clusters of equal rows: the rest is rounding
    return coordinates @ (directions / np.sqrt(np.maximum(variances, _COLLINEAR * variances[-1])))

"""The scale of the rows' bulk, without outliers: variances, and coordinates in which it is the unit.

In such coordinates starts do not depend on the units of the features, nor on their rotation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastem import compiled

# A squared deviation of so many variances is far out: normal rows have none among 1e12.
_FAR_OUT = 50.0
# Outliers hide others that are less far out: they are left out in turn.
_TRIMS = 10
# A feature whose deviation is this share of its values is constant, up to rounding.
_CONSTANT = 1e-14
# A direction of this share of the largest variance, of features scaled alike, is collinear up to rounding.
_COLLINEAR = 1e-12
# Features up to which eigenvectors are found plane by plane, and all in one call; beyond, by LAPACK.
_COMPILED_FEATURES = 12
_kernels: Any = None if compiled.level is None else compiled.module("float64")


def bulk_variances(X: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Variance of each feature without the values that are far out, shape (n_features,), float64."""
    if compiled.level is not None:
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        variances = np.empty(X.shape[1])
        kernels = compiled.module("float64" if X.itemsize == 8 else "float32")
        kernels.bulk_variances(X, weight, _TRIMS, _FAR_OUT, np.empty(len(X)), variances)
        return variances
    # By columns: sums over the rows of a narrow array take many times as long.
    columns = np.array(X.T, dtype=np.float64, order="C")
    weight = np.ones((1, len(X))) if sample_weight is None else sample_weight[None, :]
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the largest: the loop says that
        centred = columns - columns[:, :1]
        for _ in range(_TRIMS):
            mass = np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
            centred = centred - (weight * centred).sum(axis=1, keepdims=True) / mass
            squares = centred**2
            variances = (weight * squares).sum(axis=1, keepdims=True) / mass
            far = squares > _FAR_OUT * variances
            if not far.any():
                break
            weight = np.where(far, 0, weight)
    return variances[:, 0]


def whitened(rows: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Rows in coordinates of unit covariance, as many as the features have independent directions.

    The covariance is that of the bulk of the rows, without outliers. The coordinates are the same for ``rows @ A + b``
    with any regular ``A``, up to a rotation.

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
    n_rows, n_features = rows.shape
    if _kernels is not None and n_features <= _COMPILED_FEATURES:
        coordinates, memory = np.empty((n_rows, n_features)), np.empty((2, n_features, n_features))
        given = np.ascontiguousarray(rows), np.array(share), _TRIMS, _FAR_OUT, _CONSTANT, _COLLINEAR
        n_directions = _kernels.whiten_rows(*given, *memory, np.empty((3, n_features)), coordinates)
        return np.ascontiguousarray(coordinates[:, : max(1, n_directions)])
    # Along the columns of a copy: sums over the rows of a narrow array take many times as long.
    largest = np.abs(rows.T.copy()).max(axis=1)
    # Scaled before they are squared: features may be of any size that their float type holds.
    scaled = rows / np.where(largest > 0, largest, 1)
    bulk = share
    for _ in range(_TRIMS):
        scaled = scaled - bulk @ scaled / bulk.sum()
        coordinates = _unit(scaled, bulk / bulk.sum())
        # A single outlier among n rows has the distance n - 1 from the mean, and makes one point of the others.
        far = np.square(coordinates).sum(axis=1) > _FAR_OUT + 3 * coordinates.shape[1]
        if not (far & (bulk > 0)).any():
            break
        bulk = np.where(far, 0, bulk)
    return coordinates


def _unit(centred: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Coordinates in which the covariance of rows in shares that sum to 1 is the unit matrix."""
    deviation = np.sqrt(share @ centred**2)
    varies = deviation > _CONSTANT
    if not varies.any():
        return np.zeros((len(centred), 1))
    scaled = centred[:, varies] / deviation[varies]
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
    n_directions = len(within)
    if _kernels is not None and n_directions <= _COMPILED_FEATURES:
        found, memory = np.empty(coordinates.shape), np.empty((2, n_directions, n_directions))
        given = np.ascontiguousarray(coordinates), np.ascontiguousarray(within)
        _kernels.unit_rows(*given, _COLLINEAR, *memory, found)
        return found
    variances, directions = np.linalg.eigh(within)
    if not variances[-1] > _COLLINEAR:
        return coordinates  # clusters of equal rows: the rest is rounding
    return coordinates @ (directions / np.sqrt(np.maximum(variances, _COLLINEAR * variances[-1])))

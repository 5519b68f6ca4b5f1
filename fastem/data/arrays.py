"""Rows in memory or in a memory map, checked and never copied without need."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastem.engines.base import REALS

_CHUNK_VALUES = 2**20


def is_plain(X: Any) -> bool:
    """Whether ``X`` is what an engine takes: a 2-D array of float32 or float64 that is not empty."""
    return type(X) is np.ndarray and X.ndim == 2 and X.dtype in REALS and X.size > 0


def as_rows(X: Any, n_features: int | None = None) -> np.ndarray:
    """``X`` as a 2-D array of float32 or float64, the same memory where it is one already.

    Raises
    ------
    ValueError
        If it is not a table of finite numbers with at least one row and column.
    """
    X = as_rows_unchecked(X)
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} features, but the model was made for {n_features}")
    check_finite(X)
    return X


def as_rows_unchecked(X: Any) -> np.ndarray:
    """The same without a look at the values."""
    if is_plain(X):
        return X
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array (n_samples, n_features), got {X.ndim}D array of shape {X.shape} instead; reshape one "
            "feature with X.reshape(-1, 1), one row with X.reshape(1, -1)"
        )
    if 0 in X.shape:
        raise ValueError(f"Found an empty array of shape {X.shape} while at least one row and one feature are required")
    if X.dtype not in (np.float32, np.float64) or not X.dtype.isnative:
        if X.dtype.kind not in "fiub":
            raise ValueError(f"X must hold numbers, but its dtype is {X.dtype}")
        X = X.astype(np.float64)
    return X


def check_finite(X: np.ndarray) -> None:
    """Raise ValueError with the first row that holds NaN or infinity."""
    step = max(1, _CHUNK_VALUES // X.shape[1])
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        if not all_finite(rows):
            finite = np.isfinite(rows)
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            value = X[start + row, column]
            raise ValueError(
                f"Input X contains {'NaN' if np.isnan(value) else 'infinity'} (first in row {start + row}, feature "
                f"{column}); drop or impute such rows before the fit"
            )


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite."""
    # A sum is quick, and finite only if every value is (or nearly: an overflow is looked at closely).
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def rough_centre(X: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Mean of about a thousand rows of positive weight, at even steps: a point near the data, the same whoever asks."""
    step = max(1, len(X) // 1024)
    # A copy in C order: the last bits of a mean depend on the order of its sum.
    if sample_weight is None:
        return np.ascontiguousarray(X[::step], dtype=np.float64).mean(axis=0)
    rows = np.arange(0, len(X), step)
    rows = rows[sample_weight[::step] > 0] if (sample_weight[::step] > 0).any() else np.flatnonzero(sample_weight)
    return np.average(np.ascontiguousarray(X[rows], dtype=np.float64), axis=0, weights=sample_weight[rows])


def as_weights(sample_weight: Any, n_samples: int, are_all: bool = True) -> np.ndarray | None:
    """Weights as a 1-D float64 array; None where all are equal to 1 because none were given.

    A part of the rows, where they are not all, may be without weight.

    Raises
    ------
    ValueError
        If they are not ``n_samples`` finite, non-negative numbers with a positive sum.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n_samples, float(weights))
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), but got {weights.shape}")
    if not all_finite(weights) or weights.min(initial=0.0) < 0:
        raise ValueError("sample_weight must be finite and non-negative")
    if are_all and not weights.sum() > 0:
        raise ValueError("sample_weight must not be all zero: no row would count")
    return weights


def sample_rows(
    X: np.ndarray, sample_weight: np.ndarray | None, most: int, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of positive weight and their weights: all, or ``most`` drawn at random where there are more."""
    rows = None if sample_weight is None or sample_weight.min(initial=1.0) > 0 else np.flatnonzero(sample_weight > 0)
    n_rows = len(X) if rows is None else len(rows)
    if n_rows > most:
        # Sorted, so that a memory map is read forwards.
        drawn = np.sort(rng.randint(n_rows, size=most))
        rows = drawn if rows is None else rows[drawn]
    if rows is None:
        return X, sample_weight
    return X[rows], None if sample_weight is None else sample_weight[rows]

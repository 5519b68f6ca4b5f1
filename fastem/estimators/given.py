"""Checks of parameters that a user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array


def checked_array(values: Any, shape: tuple[int, ...], name: str, dtype: Any) -> np.ndarray:
    if isinstance(values, (list, tuple)):
        values = np.asarray(values)
    # Where there is nothing to convert, scikit-learn's check takes a part of a small fit's time.
    if type(values) is np.ndarray and values.dtype in (np.float64, np.float32) and np.isfinite(values).all():
        array = values
    else:
        array = check_array(values, dtype=[np.float64, np.float32], ensure_2d=False, allow_nd=True)
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
    return array.astype(dtype, copy=False)


def checked_weights(values: Any, n_components: int, dtype: Any, name: str) -> np.ndarray:
    weights = checked_array(values, (n_components,), name, dtype)
    if (weights < 0).any() or (weights > 1).any():
        raise ValueError(
            f"The parameter '{name}' should be in the range [0, 1], but got max value {weights.max():.5f}, min value "
            f"{weights.min():.5f}"
        )
    tolerance = 1e-6 if weights.dtype == np.float32 else 1e-8
    if abs(1 - weights.sum()) > tolerance:
        raise ValueError(f"The parameter '{name}' should be normalized, but got sum(weights) = {weights.sum():.5f}")
    return weights

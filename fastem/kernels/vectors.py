"""The vector type of the kernels, spelled in NumPy.

A vector is a few consecutive values of one row of an array. These few functions are all that each compiler
supplies for itself: Numba in ``fastem.engines.numba_vectors``, C in ``vectors.h``, and this file for uncompiled runs,
where an index out of range is an error.
"""

import math

import numpy as np

LANES = 4
WIDE = True
_EXPONENT = {np.dtype(np.float64): 1.5 * 2.0**52, np.dtype(np.float32): 1.5 * 2.0**23}


def lanes(array):
    """Number of values in a vector of the array's dtype."""
    return LANES


def n_vectors(array, n_rows):
    """Number of vectors that cover ``n_rows`` of a block: even, for the kernels that work on pairs."""
    return (n_rows + 2 * LANES - 1) // (2 * LANES) * 2


def wide(array):
    """Whether the processor has 32 vector registers, and not 16: room for larger tiles."""
    return WIDE


def is_double(vector):
    return vector.dtype == np.float64


def load(array, row, column):
    if row < 0 or column < 0 or column + LANES > array.shape[1]:
        raise IndexError(f"vector [{row}, {column}:{column + LANES}] is outside of shape {array.shape}")
    return array[row, column : column + LANES].copy()


def store(array, row, column, vector):
    if row < 0 or column < 0 or column + LANES > array.shape[1]:
        raise IndexError(f"vector [{row}, {column}:{column + LANES}] is outside of shape {array.shape}")
    array[row, column : column + LANES] = vector


def prefetch(array, row, column):
    """Have the cache line of an element read while other work goes on; nothing else changes."""
    if row < 0 or row >= array.shape[0] or column < 0 or column >= array.shape[1]:
        raise IndexError(f"[{row}, {column}] is outside of shape {array.shape}")


def prefetch_near(array, row, column):
    """The same into the cache that is next to the processor, for what is read in a moment."""
    prefetch(array, row, column)


def prefetch_sums(S, row, column):
    """The same of sums in double precision."""
    prefetch(S, row, column)


def side_by_side(array):
    """Whether the elements of a row are neighbours in memory, as ``transpose`` needs them."""
    return array.strides[1] == array.itemsize


def load_rows(X, row, column):
    """One feature of as many rows as a vector has lanes, in any memory order."""
    if row < 0 or row + LANES > X.shape[0]:
        raise IndexError(f"rows [{row}:{row + LANES}] are outside of shape {X.shape}")
    return X[row : row + LANES, column].copy()


def transpose(X, row, column, XT, b):
    """Rows ``row ...`` of ``X``, as many as a vector has lanes, into columns ``b ...`` of ``XT``.

    Of their features it takes ``column ...``, half as many as there are lanes.
    """
    _transpose(X, range(row, row + LANES), column, XT, b)


def transpose_chosen(X, order, panel, start, column, XT, b):
    """The same of the rows ``panel + order[start ...]``."""
    if start < 0 or start + LANES > len(order):
        raise IndexError(f"[{start}:{start + LANES}] is outside of shape {order.shape}")
    _transpose(X, [panel + int(row) for row in order[start : start + LANES]], column, XT, b)


def _transpose(X, rows, column, XT, b):
    end = column + LANES // 2
    if min(rows) < 0 or max(rows) >= X.shape[0] or column < 0 or end > X.shape[1]:
        raise IndexError(f"[{list(rows)}, {column}:{end}] is outside of shape {X.shape}")
    for row in range(column, end):
        store(XT, row, b, X[rows, row])


def broadcast(array, row, column):
    """A vector with one element of an array in every lane."""
    if row < 0 or column < 0:
        raise IndexError(f"[{row}, {column}] is outside of shape {array.shape}")
    return np.full(LANES, array[row, column])


def zero(array):
    """A vector of zeros of the array's dtype."""
    return np.zeros(LANES, dtype=array.dtype)


def fill(like, value):
    """A vector of the dtype of the vector ``like`` with the constant ``value`` in every lane."""
    return np.full(LANES, value, dtype=like.dtype)


def lane_sum(vector):
    return vector.sum()


def add_lane_sums(S, row, column, a, b, c, d):
    """Add the lane sums of four vectors to ``S[row, column .. column + 3]``, which is float64."""
    if row < 0 or column < 0 or column + 4 > S.shape[1]:
        raise IndexError(f"[{row}, {column}:{column + 4}] is outside of shape {S.shape}")
    S[row, column : column + 4] += [a.sum(), b.sum(), c.sum(), d.sum()]


def add_lanes(S, row, column, vector):
    """Add a vector to ``S[row, column ...]``, which is float64."""
    if row < 0 or column < 0 or column + LANES > S.shape[1]:
        raise IndexError(f"vector [{row}, {column}:{column + LANES}] is outside of shape {S.shape}")
    S[row, column : column + LANES] += vector


def in_register(vector):
    """The vector, held in a register for those who use it next, and not read from memory for each of them."""
    return vector


def maximum(a, b):
    return np.where(a < b, b, a)


def all_less(a, b):
    """Whether ``a < b`` in every lane; NaN is less than nothing."""
    return bool(np.all(a < b))


def where_less(a, b, then, otherwise):
    return np.where(a < b, then, otherwise)


def scale_exponent(value, shifted):
    """``value * 2**n`` where ``shifted = n + 1.5 * 2**52`` (2**23 in single precision) holds ``n`` in its low bits."""
    n = np.nan_to_num(shifted - value.dtype.type(_EXPONENT[value.dtype]), nan=0.0, posinf=0.0, neginf=0.0)
    return np.ldexp(value, np.clip(n, -2000, 2000).astype(np.int32)).astype(value.dtype)


def exponent(x):
    """``e`` of the positive ``x = m * 2**e`` with ``1 <= m < 2``."""
    return (np.frexp(x)[1] - 1).astype(x.dtype)


def mantissa(x):
    """``m`` of the positive ``x = m * 2**e`` with ``1 <= m < 2``."""
    return (np.frexp(x)[0] * 2).astype(x.dtype)


def truncate(value):
    """The integer part of a non-negative element of an array."""
    return int(value)


def square_root(value):
    """Of a positive number; scalars are double precision."""
    return math.sqrt(value)


def natural_log(value):
    """Of a positive number."""
    return math.log(value)


def exponential(value):
    """Of any number."""
    return math.exp(value)

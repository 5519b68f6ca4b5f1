"""Weighted moments of a block about each component's origin.

The origin is the mean in the parameter row, ``theta[k, 1 : 1 + D]``; ``S[k] = [sum r, sum r d (D), second moments]``
with ``d = x - origin``, always in double precision. A component without any responsibility in the block is skipped.
"""

from fastem.kernels.scatter import (
    few_features,
    is_dense,
    outermost_vector,
    rows_to_panels,
    scatter_panels,
    scatter_vectors,
)
from fastem.kernels.vectors import add_lane_sums, broadcast, lane_sum, lanes, load, n_vectors, wide, zero


def _mass(n_rows, r, k):
    """Sum of the responsibilities of component ``k`` in the block."""
    width = lanes(r)
    even = zero(r)
    odd = zero(r)
    # Two chains of additions: one alone waits for the adder.
    for pair in range(n_vectors(r, n_rows) // 2):
        even = even + load(r, k, 2 * pair * width)
        odd = odd + load(r, k, (2 * pair + 1) * width)
    return lane_sum(even + odd)


def first_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d]``."""
    width = lanes(XT)
    n_features = XT.shape[0]
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        for i in range(n_features):
            mean = broadcast(theta, k, 1 + i)
            first = zero(XT)
            for v in range(n_vectors(XT, n_rows)):
                first = first + load(r, k, v * width) * (load(XT, i, v * width) - mean)
            S[k, 1 + i] += lane_sum(first)


def diag_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d, sum r d^2]``."""
    n_features = XT.shape[0]
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        for tile in range(n_features // 4):
            _four_features(XT, n_rows, r, theta, k, 4 * tile, S)
        for i in range(n_features // 4 * 4, n_features):
            _one_feature(XT, n_rows, r, theta, k, i, S)


def _four_features(XT, n_rows, r, theta, k, i, S):
    """Add ``sum r d`` and ``sum r d^2`` of features ``i .. i + 3``: responsibilities are read once for all of them."""
    width = lanes(XT)
    m0 = broadcast(theta, k, 1 + i)
    m1 = broadcast(theta, k, 2 + i)
    m2 = broadcast(theta, k, 3 + i)
    m3 = broadcast(theta, k, 4 + i)
    f0 = zero(XT)
    f1 = zero(XT)
    f2 = zero(XT)
    f3 = zero(XT)
    s0 = zero(XT)
    s1 = zero(XT)
    s2 = zero(XT)
    s3 = zero(XT)
    for v in range(n_vectors(XT, n_rows)):
        b = v * width
        weight = load(r, k, b)
        x0 = load(XT, i, b) - m0
        x1 = load(XT, i + 1, b) - m1
        x2 = load(XT, i + 2, b) - m2
        x3 = load(XT, i + 3, b) - m3
        r0 = weight * x0
        r1 = weight * x1
        r2 = weight * x2
        r3 = weight * x3
        f0 = f0 + r0
        f1 = f1 + r1
        f2 = f2 + r2
        f3 = f3 + r3
        s0 = s0 + r0 * x0
        s1 = s1 + r1 * x1
        s2 = s2 + r2 * x2
        s3 = s3 + r3 * x3
    add_lane_sums(S, k, 1 + i, f0, f1, f2, f3)
    add_lane_sums(S, k, 1 + XT.shape[0] + i, s0, s1, s2, s3)


def _one_feature(XT, n_rows, r, theta, k, i, S):
    """The same of feature ``i`` alone."""
    width = lanes(XT)
    mean = broadcast(theta, k, 1 + i)
    first = zero(XT)
    second = zero(XT)
    for v in range(n_vectors(XT, n_rows)):
        x = load(XT, i, v * width) - mean
        rx = load(r, k, v * width) * x
        first = first + rx
        second = second + rx * x
    S[k, 1 + i] += lane_sum(first)
    S[k, 1 + XT.shape[0] + i] += lane_sum(second)


def full_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d, sum r d d' (D x D)]``, of which only the upper triangle is meaningful."""
    n_features = XT.shape[0]
    few = few_features(wide(XT))
    in_panels = 0
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        if n_features <= few:
            first = outermost_vector(n_rows, r, k, 0, 1)
            end = outermost_vector(n_rows, r, k, n_vectors(r, n_rows) - 1, -1) + 1
            # Panels take half as long again, but leave out single rows.
            if n_features <= 8 or is_dense(first, end, r, k):
                scatter_vectors(XT, first, end, r, theta, k, S)
                continue
        if in_panels == 0:
            rows_to_panels(XT, n_rows, scratch)
            in_panels = 1
        scatter_panels(n_features, XT.shape[1], n_rows, r, theta, k, scratch, S)

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
from fastem.kernels.shortlist import listed, n_listed
from fastem.kernels.vectors import (
    add_lane_sums,
    broadcast,
    in_register,
    is_double,
    lane_sum,
    lanes,
    load,
    n_vectors,
    store,
    wide,
    zero,
)


def _mass(n_rows, r, k):
    """Sum of the responsibilities of component ``k`` in the block, by lanes."""
    width = lanes(r)
    even = zero(r)
    odd = zero(r)
    # Two chains of additions: one alone waits for the adder.
    for pair in range(n_vectors(r, n_rows) // 2):
        even = even + load(r, k, 2 * pair * width)
        odd = odd + load(r, k, (2 * pair + 1) * width)
    return even + odd


def first_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d]``."""
    width = lanes(XT)
    n_features = XT.shape[0]
    for k in range(theta.shape[0]):
        mass = lane_sum(_mass(n_rows, r, k))
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
    """``S[k] = [sum r, sum r d, sum r d^2]``.

    Behind the means ``theta`` has inverse deviations over root 2, or nothing: sums about 0 do for means near it.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    n_tiles = n_features // 4
    if theta.shape[1] > 2 * n_features:
        _square_features(XT, 4 * n_tiles, n_rows, scratch)
    # By a few components and tiles of features, as densities are.
    for group in range((n_components + 7) // 8):
        first = 8 * group
        end = min(first + 8, n_components)
        for k in range(first, end):
            masses = _mass(n_rows, r, k)
            store(scratch, 1, (k - first) * width, masses)
            scratch[2, k - first] = lane_sum(masses)
            S[k, 0] += scratch[2, k - first]
        for tile in range(n_tiles):
            waiting = -1
            for k in range(first, end):
                if scratch[2, k - first] == 0:
                    continue
                if theta.shape[1] <= 2 * n_features or not _is_near(XT, theta, k, 4 * tile):
                    _four_features(XT, n_rows, r, theta, k, 4 * tile, S)
                elif not wide(XT):
                    _four_from_squares(XT, n_rows, r, theta, first, k, 4 * tile, scratch, S)
                elif waiting < 0:
                    waiting = k
                else:
                    _two_from_squares(XT, n_rows, r, theta, first, waiting, k, 4 * tile, scratch, S)
                    waiting = -1
            if waiting >= 0:
                _four_from_squares(XT, n_rows, r, theta, first, waiting, 4 * tile, scratch, S)
        for i in range(4 * n_tiles, n_features):
            for k in range(first, end):
                if scratch[2, k - first] != 0:
                    _one_feature(XT, n_rows, r, theta, k, i, S)


def _square_features(XT, n_features, n_rows, scratch):
    """Squares of the first features into ``scratch[0]``."""
    width = lanes(XT)
    for i in range(n_features):
        for v in range(n_vectors(XT, n_rows)):
            x = load(XT, i, v * width)
            store(scratch, 0, i * XT.shape[1] + v * width, x * x)


def _is_near(XT, theta, k, i):
    """Whether the means of features ``i .. i + 3`` are so near to 0 that ``sum r x^2`` about it loses few digits.

    With 32 / sqrt(1/2) deviations it loses 11 bits of 53, with 4 in single precision 5 of 24.
    """
    at = 1 + XT.shape[0] + i
    a = theta[k, 1 + i] * theta[k, at]
    b = theta[k, 2 + i] * theta[k, at + 1]
    c = theta[k, 3 + i] * theta[k, at + 2]
    d = theta[k, 4 + i] * theta[k, at + 3]
    if is_double(zero(XT)):
        return (a * a + b * b) + (c * c + d * d) < 1024
    return (a * a + b * b) + (c * c + d * d) < 16


def _four_from_squares(XT, n_rows, r, theta, first, k, i, scratch, S):
    """``_four_features`` by moments about 0, from squares that all components share."""
    width = lanes(XT)
    at = i * XT.shape[1]
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
        f0 = f0 + weight * load(XT, i, b)
        f1 = f1 + weight * load(XT, i + 1, b)
        f2 = f2 + weight * load(XT, i + 2, b)
        f3 = f3 + weight * load(XT, i + 3, b)
        s0 = s0 + weight * load(scratch, 0, at + b)
        s1 = s1 + weight * load(scratch, 0, at + XT.shape[1] + b)
        s2 = s2 + weight * load(scratch, 0, at + 2 * XT.shape[1] + b)
        s3 = s3 + weight * load(scratch, 0, at + 3 * XT.shape[1] + b)
    masses = load(scratch, 1, (k - first) * width)
    _add_about_mean(XT.shape[0], theta, k, i, masses, f0, f1, f2, f3, s0, s1, s2, s3, S)


def _two_from_squares(XT, n_rows, r, theta, first, k, other, i, scratch, S):
    """The same of two components: each value is read once for both. It takes 32 registers."""
    width = lanes(XT)
    at = i * XT.shape[1]
    f0 = zero(XT)
    f1 = zero(XT)
    f2 = zero(XT)
    f3 = zero(XT)
    s0 = zero(XT)
    s1 = zero(XT)
    s2 = zero(XT)
    s3 = zero(XT)
    g0 = zero(XT)
    g1 = zero(XT)
    g2 = zero(XT)
    g3 = zero(XT)
    t0 = zero(XT)
    t1 = zero(XT)
    t2 = zero(XT)
    t3 = zero(XT)
    for v in range(n_vectors(XT, n_rows)):
        b = v * width
        p = load(r, k, b)
        q = load(r, other, b)
        x = in_register(load(XT, i, b))
        f0 = f0 + p * x
        g0 = g0 + q * x
        x = in_register(load(XT, i + 1, b))
        f1 = f1 + p * x
        g1 = g1 + q * x
        x = in_register(load(XT, i + 2, b))
        f2 = f2 + p * x
        g2 = g2 + q * x
        x = in_register(load(XT, i + 3, b))
        f3 = f3 + p * x
        g3 = g3 + q * x
        x = in_register(load(scratch, 0, at + b))
        s0 = s0 + p * x
        t0 = t0 + q * x
        x = in_register(load(scratch, 0, at + XT.shape[1] + b))
        s1 = s1 + p * x
        t1 = t1 + q * x
        x = in_register(load(scratch, 0, at + 2 * XT.shape[1] + b))
        s2 = s2 + p * x
        t2 = t2 + q * x
        x = in_register(load(scratch, 0, at + 3 * XT.shape[1] + b))
        s3 = s3 + p * x
        t3 = t3 + q * x
    masses = load(scratch, 1, (k - first) * width)
    _add_about_mean(XT.shape[0], theta, k, i, masses, f0, f1, f2, f3, s0, s1, s2, s3, S)
    masses = load(scratch, 1, (other - first) * width)
    _add_about_mean(XT.shape[0], theta, other, i, masses, g0, g1, g2, g3, t0, t1, t2, t3, S)


def _add_about_mean(n_features, theta, k, i, masses, f0, f1, f2, f3, s0, s1, s2, s3, S):
    """Add moments about 0 of features ``i .. i + 3`` as those of ``d = x - m``.

    ``sum r d = f - m sum r`` and ``sum r d^2 = s - m (f + sum r d)``.
    """
    m0 = broadcast(theta, k, 1 + i)
    m1 = broadcast(theta, k, 2 + i)
    m2 = broadcast(theta, k, 3 + i)
    m3 = broadcast(theta, k, 4 + i)
    d0 = f0 - m0 * masses
    d1 = f1 - m1 * masses
    d2 = f2 - m2 * masses
    d3 = f3 - m3 * masses
    add_lane_sums(S, k, 1 + i, d0, d1, d2, d3)
    s0 = s0 - m0 * (f0 + d0)
    s1 = s1 - m1 * (f1 + d1)
    s2 = s2 - m2 * (f2 + d2)
    s3 = s3 - m3 * (f3 + d3)
    add_lane_sums(S, k, 1 + n_features + i, s0, s1, s2, s3)


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
    for index in range(n_listed(r, theta.shape[0])):
        k = listed(r, theta.shape[0], index)
        mass = lane_sum(_mass(n_rows, r, k))
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

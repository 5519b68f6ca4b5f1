"""Weighted moments of a block about each component's origin.

The origin is the mean in the parameter row, ``theta[k, 1 : 1 + D]``; ``S[k] = [sum r, sum r d (D), second moments]``
with ``d = x - origin``, always in double precision. A component without any responsibility in the block is skipped.
"""

from fastem.kernels.vectors import lane_sum, lanes, load, n_vectors, splat, store, zero


def _mass(n_rows, r, k):
    """Sum of the responsibilities of component ``k`` in the block."""
    width = lanes(r)
    mass = zero(r)
    for v in range(n_vectors(r, n_rows)):
        mass = mass + load(r, k, v * width)
    return lane_sum(mass)


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
            mean = splat(theta[k, 1 + i])
            first = zero(XT)
            for v in range(n_vectors(XT, n_rows)):
                first = first + load(r, k, v * width) * (load(XT, i, v * width) - mean)
            S[k, 1 + i] += lane_sum(first)


def diag_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d, sum r d^2]``."""
    width = lanes(XT)
    n_features = XT.shape[0]
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        for i in range(n_features):
            mean = splat(theta[k, 1 + i])
            first_a = zero(XT)
            first_b = zero(XT)
            second_a = zero(XT)
            second_b = zero(XT)
            # Two chains of additions an accumulator: one alone waits for the adder.
            for strip in range(n_vectors(XT, n_rows) // 2):
                b = strip * 2 * width
                x = load(XT, i, b) - mean
                rx = load(r, k, b) * x
                y = load(XT, i, b + width) - mean
                ry = load(r, k, b + width) * y
                first_a = first_a + rx
                second_a = second_a + rx * x
                first_b = first_b + ry
                second_b = second_b + ry * y
            S[k, 1 + i] += lane_sum(first_a + first_b)
            S[k, 1 + n_features + i] += lane_sum(second_a + second_b)


def _add_second(S, k, n_features, i, j, second):
    if i < n_features and j < n_features:
        S[k, 1 + n_features + i * n_features + j] += lane_sum(second)


def full_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d, sum r d d' (D x D)]``, of which only the upper triangle is meaningful.

    ``scratch`` holds ``d`` and ``r d``, each padded to a multiple of 4 rows. The tile is 4 x 2 accumulators: with 16
    vector registers 4 x 4 spills, and was a third slower at every D.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    padded = (n_features + 3) // 4 * 4
    count = n_vectors(XT, n_rows)
    for i in range(n_features, padded):
        for v in range(count):
            store(scratch, i, v * width, zero(XT))
            store(scratch, padded + i, v * width, zero(XT))
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        for i in range(n_features):
            mean = splat(theta[k, 1 + i])
            first = zero(XT)
            for v in range(count):
                x = load(XT, i, v * width) - mean
                rx = load(r, k, v * width) * x
                store(scratch, i, v * width, x)
                store(scratch, padded + i, v * width, rx)
                first = first + rx
            S[k, 1 + i] += lane_sum(first)
        for tile_i in range(padded // 4):
            i = 4 * tile_i
            for tile_j in range(2 * tile_i, (n_features + 1) // 2):
                j = 2 * tile_j
                s00 = zero(XT)
                s01 = zero(XT)
                s10 = zero(XT)
                s11 = zero(XT)
                s20 = zero(XT)
                s21 = zero(XT)
                s30 = zero(XT)
                s31 = zero(XT)
                for v in range(count):
                    b = v * width
                    x = load(scratch, j, b)
                    y = load(scratch, j + 1, b)
                    rx = load(scratch, padded + i, b)
                    s00 = s00 + rx * x
                    s01 = s01 + rx * y
                    rx = load(scratch, padded + i + 1, b)
                    s10 = s10 + rx * x
                    s11 = s11 + rx * y
                    rx = load(scratch, padded + i + 2, b)
                    s20 = s20 + rx * x
                    s21 = s21 + rx * y
                    rx = load(scratch, padded + i + 3, b)
                    s30 = s30 + rx * x
                    s31 = s31 + rx * y
                _add_second(S, k, n_features, i, j, s00)
                _add_second(S, k, n_features, i, j + 1, s01)
                _add_second(S, k, n_features, i + 1, j, s10)
                _add_second(S, k, n_features, i + 1, j + 1, s11)
                _add_second(S, k, n_features, i + 2, j, s20)
                _add_second(S, k, n_features, i + 2, j + 1, s21)
                _add_second(S, k, n_features, i + 3, j, s30)
                _add_second(S, k, n_features, i + 3, j + 1, s31)

"""Weighted moments of a block about each component's origin.

The origin is the mean in the parameter row, ``theta[k, 1 : 1 + D]``; ``S[k] = [sum r, sum r d (D), second moments]``
with ``d = x - origin``, always in double precision. A component without any responsibility in the block is skipped.
"""

from fastem.kernels.scatter import rows_to_panels, scatter_few, scatter_panels
from fastem.kernels.vectors import broadcast, lane_sum, lanes, load, n_vectors, wide, zero


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
            mean = broadcast(theta, k, 1 + i)
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
            mean = broadcast(theta, k, 1 + i)
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


def full_moments(XT, n_rows, r, theta, scratch, S):
    """``S[k] = [sum r, sum r d, sum r d d' (D x D)]``, of which only the upper triangle is meaningful."""
    n_features = XT.shape[0]
    few = 4
    if wide(XT):
        few = 8
    if n_features > few:
        rows_to_panels(XT, n_rows, scratch)
    for k in range(theta.shape[0]):
        mass = _mass(n_rows, r, k)
        if mass == 0:
            continue
        S[k, 0] += mass
        if n_features > few:
            scatter_panels(n_features, XT.shape[1], n_rows, r, theta, k, scratch, S)
        else:
            scatter_few(XT, n_rows, r, theta, k, S)

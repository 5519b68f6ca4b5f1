"""Which components can matter to which rows, at a fraction of the densities' cost.

In the units of one covariance ``C`` that all components share, a component's quadratic form lies between two multiples
of a plain squared distance: where ``lower C^-1 <= covariance_k^-1 <= upper C^-1``,
``lower |y - c_k|^2 <= |(x - mean_k) factor_k|^2 <= upper |y - c_k|^2``.

Distances here are the expanded ``|y|^2 - 2 y c + |c|^2``, of one multiply-add a feature. They decide what need not be
computed and enter no result, and the bounds leave room for their cancellation.
"""

from fastem.kernels.vectors import broadcast, fill, lanes, load, maximum, n_vectors, store, where_less, zero
from fastem.kernels.whitening import whiten


def screen(XT, n_rows, theta, common, scratch, log_p):
    """Upper bounds of all weighted log-densities into ``log_p``; what they must reach to matter into ``scratch[2]``.

    The end of ``theta[k]`` is ``[lower, upper, floor, |c_k|^2, -2 c_k (D)]``, that of ``common`` ``[keep, room]``: a
    squared distance, its terms without the product times ``keep``, is not too large, and ``room |y|^2`` more, of which
    the part of ``c_k`` is already in the constant ``floor``, not too small. A component whose upper bound is 52 below
    another's lower bound has a responsibility of exactly 0 (the exponential is 0 below -50), so that its density need
    not be known.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    first = theta.shape[1] - n_features
    for strip in range(n_vectors(XT, n_rows) // 2):
        b = strip * 2 * width
        whiten(XT, b, common, scratch)
        a0 = zero(XT)
        b0 = zero(XT)
        for j in range(n_features):
            x = load(scratch, 1, 2 * j * width)
            y = load(scratch, 1, (2 * j + 1) * width)
            a0 = a0 + x * x
            b0 = b0 + y * y
        keep = broadcast(common, 0, common.shape[1] - 2)
        room = broadcast(common, 0, common.shape[1] - 1)
        square_a = a0 * keep
        square_b = b0 * keep
        room_a = a0 * room
        room_b = b0 * room
        best_a = fill(zero(XT), -3e38)
        best_b = best_a
        for group in range(n_components // 4):
            k = 4 * group
            c = broadcast(theta, k, first - 1)
            a0 = square_a + c
            b0 = square_b + c
            c = broadcast(theta, k + 1, first - 1)
            a1 = square_a + c
            b1 = square_b + c
            c = broadcast(theta, k + 2, first - 1)
            a2 = square_a + c
            b2 = square_b + c
            c = broadcast(theta, k + 3, first - 1)
            a3 = square_a + c
            b3 = square_b + c
            at = first
            for j in range(n_features):
                x = load(scratch, 1, 2 * j * width)
                y = load(scratch, 1, (2 * j + 1) * width)
                c = broadcast(theta, k, at)
                a0 = a0 + c * x
                b0 = b0 + c * y
                c = broadcast(theta, k + 1, at)
                a1 = a1 + c * x
                b1 = b1 + c * y
                c = broadcast(theta, k + 2, at)
                a2 = a2 + c * x
                b2 = b2 + c * y
                c = broadcast(theta, k + 3, at)
                a3 = a3 + c * x
                b3 = b3 + c * y
                at += 1
            best_a = maximum(best_a, _bounds(n_features, theta, k, a0, room_a, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k, b0, room_b, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 1, a1, room_a, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 1, b1, room_b, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 2, a2, room_a, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 2, b2, room_b, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 3, a3, room_a, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 3, b3, room_b, b + width, log_p))
        for k in range(n_components // 4 * 4, n_components):
            c = broadcast(theta, k, first - 1)
            a0 = square_a + c
            b0 = square_b + c
            for j in range(n_features):
                c = broadcast(theta, k, first + j)
                a0 = a0 + c * load(scratch, 1, 2 * j * width)
                b0 = b0 + c * load(scratch, 1, (2 * j + 1) * width)
            best_a = maximum(best_a, _bounds(n_features, theta, k, a0, room_a, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k, b0, room_b, b + width, log_p))
        store(scratch, 2, b, _threshold(best_a))
        store(scratch, 2, b + width, _threshold(best_b))


def _bounds(n_features, theta, k, square, room, b, log_p):
    """Upper bound of component ``k`` into ``log_p``; returns the lower one."""
    at = theta.shape[1] - n_features - 4
    store(log_p, k, b, broadcast(theta, k, 0) - broadcast(theta, k, at) * square)
    return broadcast(theta, k, at + 2) - broadcast(theta, k, at + 1) * (square + room)


def _threshold(best):
    """52 below the best lower bound; lower than anything where squares overflow."""
    lowest = fill(best, -3e38)
    return where_less(best, fill(best, -1e37), lowest + lowest, best - fill(best, 52.0))

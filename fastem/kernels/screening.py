"""Which components can matter to which rows, at a fraction of the densities' cost.

In the units of one covariance ``C`` that all components share, a component's quadratic form lies between two multiples
of a plain squared distance: where ``lower C^-1 <= covariance_k^-1 <= upper C^-1``,
``lower |y - c_k|^2 <= |(x - mean_k) factor_k|^2 <= upper |y - c_k|^2``.
"""

from fastem.kernels.vectors import broadcast, fill, lanes, load, maximum, n_vectors, store, where_less, zero
from fastem.kernels.whitening import whiten


def screen(XT, n_rows, theta, common, scratch, log_p):
    """Upper bounds of all weighted log-densities into ``log_p``; what they must reach to matter into ``scratch[2]``.

    The end of ``theta[k]`` is ``[lower, upper, c_k (D)]``. A component whose upper bound is 52 below another's lower
    bound has a responsibility of exactly 0 (the exponential is 0 below -50), so that its density need not be known.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    for strip in range(n_vectors(XT, n_rows) // 2):
        b = strip * 2 * width
        whiten(XT, b, common, scratch)
        best_a = fill(zero(XT), -3e38)
        best_b = best_a
        for group in range(n_components // 4):
            k = 4 * group
            at = theta.shape[1] - n_features
            a0 = zero(XT)
            a1 = zero(XT)
            a2 = zero(XT)
            a3 = zero(XT)
            b0 = zero(XT)
            b1 = zero(XT)
            b2 = zero(XT)
            b3 = zero(XT)
            for j in range(n_features):
                x = load(scratch, 1, 2 * j * width)
                y = load(scratch, 1, (2 * j + 1) * width)
                c = broadcast(theta, k, at)
                d = x - c
                e = y - c
                a0 = a0 + d * d
                b0 = b0 + e * e
                c = broadcast(theta, k + 1, at)
                d = x - c
                e = y - c
                a1 = a1 + d * d
                b1 = b1 + e * e
                c = broadcast(theta, k + 2, at)
                d = x - c
                e = y - c
                a2 = a2 + d * d
                b2 = b2 + e * e
                c = broadcast(theta, k + 3, at)
                d = x - c
                e = y - c
                a3 = a3 + d * d
                b3 = b3 + e * e
                at += 1
            best_a = maximum(best_a, _bounds(n_features, theta, k, a0, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k, b0, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 1, a1, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 1, b1, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 2, a2, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 2, b2, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k + 3, a3, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k + 3, b3, b + width, log_p))
        for k in range(n_components // 4 * 4, n_components):
            at = theta.shape[1] - n_features
            a0 = zero(XT)
            b0 = zero(XT)
            for j in range(n_features):
                c = broadcast(theta, k, at)
                d = load(scratch, 1, 2 * j * width) - c
                e = load(scratch, 1, (2 * j + 1) * width) - c
                a0 = a0 + d * d
                b0 = b0 + e * e
                at += 1
            best_a = maximum(best_a, _bounds(n_features, theta, k, a0, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k, b0, b + width, log_p))
        store(scratch, 2, b, _threshold(best_a))
        store(scratch, 2, b + width, _threshold(best_b))


def _bounds(n_features, theta, k, square, b, log_p):
    """Upper bound of component ``k`` into ``log_p``; returns the lower one."""
    at = theta.shape[1] - n_features - 2
    constant = broadcast(theta, k, 0)
    store(log_p, k, b, constant - broadcast(theta, k, at) * square)
    return constant - broadcast(theta, k, at + 1) * square


def _threshold(best):
    """52 below the best lower bound; lower than anything where squares overflow."""
    lowest = fill(best, -3e38)
    return where_less(best, fill(best, -1e37), lowest + lowest, best - fill(best, 52.0))

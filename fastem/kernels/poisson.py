"""Log-densities of components of independent Poisson counts."""

from fastem.kernels.elementary import log_positive
from fastem.kernels.vectors import broadcast, fill, lanes, load, n_vectors, store, where_less, zero


def _log_factorial(x):
    """``log x!`` by Stirling's series for ``x + 8``, taken back by the product ``(x + 1) ... (x + 7)``.

    Above 1000 the series needs no such shift, and the product would overflow.
    """
    one = fill(x, 1.0)
    factor = x + one
    product = factor
    for _ in range(6):
        factor = factor + one
        product = product * factor
    large = fill(x, 1000.0)
    product = where_less(large, x, one, product)
    y = where_less(large, x, x + one, factor + one)
    inverse = one / y
    z = inverse * inverse
    # Bernoulli numbers B_2n / (2n (2n - 1)), Abramowitz & Stegun 6.1.40.
    series = fill(x, 6.41025641025641e-3)
    series = fill(x, -1.9175269175269176e-3) + series * z
    series = fill(x, 8.417508417508417e-4) + series * z
    series = fill(x, -5.952380952380953e-4) + series * z
    series = fill(x, 7.936507936507937e-4) + series * z
    series = fill(x, -2.777777777777778e-3) + series * z
    series = fill(x, 8.333333333333333e-2) + series * z
    stirling = (y - fill(x, 0.5)) * log_positive(y) - y + fill(x, 0.9189385332046727) + series * inverse
    return stirling - log_positive(product)


def poisson_log_density(XT, n_rows, theta, common, scratch, log_p):
    """``theta[k] = [log w - sum rate, rate (D), log rate (D)]``."""
    width = lanes(XT)
    n_features = XT.shape[0]
    for v in range(n_vectors(XT, n_rows)):
        b = v * width
        base = zero(XT)
        for i in range(n_features):
            base = base + _log_factorial(load(XT, i, b))
        for k in range(theta.shape[0]):
            total = broadcast(theta, k, 0) - base
            for i in range(n_features):
                total = total + load(XT, i, b) * broadcast(theta, k, 1 + n_features + i)
            store(log_p, k, b, total)

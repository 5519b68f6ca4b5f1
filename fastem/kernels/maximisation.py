"""The M-step of free full covariances, and their factors. Double precision."""

from fastem.kernels.vectors import natural_log, square_root


def full_parameters(S, weight, ridge, before, work, weights, means, covariances, factors):
    """M-step of full covariances: moments ``S`` about the means ``before[K, D]`` to the arrays of ``GaussianParams``.

    ``ridge[D]`` comes to the variances; covariances and factors are ``[K, D * D]``, and ``work[2, D * D]`` is
    overwritten. Returns the number of components, or that of the first whose covariance is not positive definite.
    """
    n_features = ridge.shape[0]
    least = _least_mass(weight)
    total = _total_mass(S, least)
    for k in range(weights.shape[0]):
        mass = S[k, 0] + least
        log_determinant = _invert_root(S, k, mass, ridge, work)
        if not log_determinant < 1e300:
            return k
        weights[k] = mass / total
        for i in range(n_features):
            means[k, i] = before[k, i] + S[k, 1 + i] / mass
            for j in range(i, n_features):
                covariances[k, i * n_features + j] = _covariance(S, k, mass, ridge, i, j)
                covariances[k, j * n_features + i] = covariances[k, i * n_features + j]
        for at in range(n_features * n_features):
            factors[k, at] = work[1, at]
    return weights.shape[0]


def invert_roots(covariances, work, factors):
    """Upper-triangular ``factors[K, D * D]`` with ``factor factor' = covariance^-1``, of ``covariances[K, D, D]``.

    ``work[2, D * D]`` is overwritten. Returns the number of components, or that of the first whose covariance is not
    positive definite.
    """
    n_features = covariances.shape[1]
    for k in range(covariances.shape[0]):
        for i in range(n_features):
            for j in range(i, n_features):
                work[0, i * n_features + j] = covariances[k, i, j]
        if not _invert(n_features, work) < 1e300:
            return k
        for at in range(n_features * n_features):
            factors[k, at] = work[1, at]
    return covariances.shape[0]


def pack_full(weights, means, factors, theta):
    """``[constant, mean (D), factor / sqrt(2) by tiles]`` of full covariances, as ``full_log_density`` reads it.

    ``factors[K, D * D]`` are upper-triangular, with ``factor factor' = covariance^-1``.
    """
    n_features = means.shape[1]
    for k in range(theta.shape[0]):
        log_determinant = 0.0
        for i in range(n_features):
            theta[k, 1 + i] = means[k, i]
            log_determinant += natural_log(factors[k, i * n_features + i])
        theta[k, 0] = -1e300 * 1e300
        # Not a number is to be seen, and no component without weight.
        if weights[k] != 0:
            theta[k, 0] = natural_log(weights[k]) + log_determinant - 0.9189385332046727 * n_features
        _pack_tiles(n_features, factors, k, k, theta)


def _least_mass(weight):
    """What ``component_masses`` adds to a mass."""
    least = 2.220446049250313e-15
    if weight < 1:
        least *= weight
    return least


def _total_mass(S, least):
    total = 0.0
    for k in range(S.shape[0]):
        total += S[k, 0] + least
    return total


def _covariance(S, k, mass, ridge, i, j):
    n_features = ridge.shape[0]
    second = S[k, 1 + n_features + i * n_features + j] / mass
    covariance = second - S[k, 1 + i] / mass * (S[k, 1 + j] / mass)
    if i == j:
        covariance += ridge[i]
    return covariance


def _invert_root(S, k, mass, ridge, work):
    """``_invert`` of the covariance of a component's moments."""
    n_features = ridge.shape[0]
    for i in range(n_features):
        for j in range(i, n_features):
            work[0, i * n_features + j] = _covariance(S, k, mass, ridge, i, j)
    return _invert(n_features, work)


def _invert(n_features, work):
    """Inverse of the upper-triangular ``U`` with ``U'U`` the covariance ``work[0]``, into ``work[1]``.

    Returns the sum of the logarithms of ``U``'s diagonal, or 1e300 where the covariance is not positive definite.
    """
    log_determinant = 0.0
    for i in range(n_features):
        at = i * n_features
        pivot = work[0, at + i]
        if not pivot > 0:
            return 1e300
        root = square_root(pivot)
        log_determinant += natural_log(root)
        for j in range(i, n_features):
            work[0, at + j] /= root
        for j in range(i + 1, n_features):
            for c in range(j, n_features):
                work[0, j * n_features + c] -= work[0, at + j] * work[0, at + c]
    # Column by column: U V = I, from the last row up.
    for j in range(n_features):
        work[1, j * n_features + j] = 1 / work[0, j * n_features + j]
        for i in range(j + 1, n_features):
            work[1, i * n_features + j] = 0
        for up in range(j):
            i = j - 1 - up
            total = 0.0
            for c in range(i + 1, j + 1):
                total -= work[0, i * n_features + c] * work[1, c * n_features + j]
            work[1, i * n_features + j] = total / work[0, i * n_features + i]
    return log_determinant


def _pack_tiles(n_features, factors, row, k, theta):
    """``factors[row] / sqrt(2)`` by tiles of 4 columns."""
    half = 0.7071067811865476
    at = 1 + n_features
    for tile in range(n_features // 4):
        for i in range(4 * tile + 4):
            for c in range(4 * tile, 4 * tile + 4):
                theta[k, at] = half * factors[row, i * n_features + c]
                at += 1
    for j in range(n_features // 4 * 4, n_features):
        for i in range(j + 1):
            theta[k, at] = half * factors[row, i * n_features + j]
            at += 1

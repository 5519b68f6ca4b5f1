"""The covariance structures: estimates, and M-steps of packed parameters. Double precision.

A structure is given by the letters of its name, ``letters[4]`` for volume, shape and orientation: 0 where components
have it in common (E), 1 where each has its own (V), 2 where it is the identity (I). The fourth is how many sweeps
common axes are turned for: few make a step that raises the likelihood less; 0 stands for as many as it takes.
``fastem/families/covariance_structures.py`` says what is estimated, and how without a compiler.

All need the memory ``matrices[2, K, D, D]``, ``axes[K + 1, D, D]``, ``thin[3, K, D, 1]`` and ``table[K + 5, K]``. The
components' own covariances are in ``matrices[0]``, or where they are diagonal, in ``thin[0]``, and the estimate comes
to their place; their shares of the rows are in ``table[K + 3]``.
"""

from fastem.kernels.maximisation import _covariance, _invert, _least_mass, _pack_tiles, _total_mass
from fastem.kernels.orientation import _look_along, common_axes
from fastem.kernels.proportions import proportions
from fastem.kernels.vectors import exponential, natural_log, square_root


def impose_structure(letters, step, matrices, axes, thin, table):
    """Estimate covariances of a structure; 0 where a component has none, or steps have no end.

    Common axes are sought from the first of ``axes``, and where ``step`` is 0, from other starts.
    """
    n_components = thin.shape[1]
    shares = table[n_components + 3]
    covariances = matrices[0]
    if letters[2] == 2:
        return _impose_along_axes(letters, thin, table)
    if letters[2] == 1:
        if letters[0] == 1 and letters[1] == 1:
            return 1
        for k in range(n_components):
            _copy_upper(covariances, k, matrices[1])
            _diagonalise(matrices[1, 0], axes[k])
            _keep_variances(k, matrices[1, 0], thin)
        if _impose_along_axes(letters, thin, table) == 0:
            return 0
        for k in range(n_components):
            _compose(k, axes[k], thin, covariances)
        return 1
    if letters[1] == 0:
        return _impose_one_shape(matrices, axes, thin, table)
    n_starts = 1
    if step == 0:
        n_starts = n_components + 1
        _pool(covariances, shares, matrices[1, 0])
        _diagonalise(matrices[1, 0], axes[0])
        for k in range(n_components):
            _copy_upper(covariances, k, matrices[1])
            _diagonalise(matrices[1, 0], axes[k + 1])
    seen = matrices[1]
    n_sweeps = letters[3]
    if n_sweeps == 0:
        n_sweeps = 400
    ended = common_axes(shares, covariances, letters[0] == 0, n_starts, 3, n_sweeps, axes, seen, table)
    if not ended and letters[3] == 0:
        return 0
    if _look_along(covariances, 0, axes, seen, table) == 0:
        return 0
    for k in range(n_components):
        _keep_variances(k, seen[k], thin)
    if _impose_along_axes(letters, thin, table) == 0:
        return 0
    for k in range(n_components):
        _compose(k, axes[0], thin, covariances)
    return 1


def structured_update(
    letters, step, S, shared, weight, ridge, before, work, matrices, axes, thin, table, theta, common
):
    """M-step: moments ``S`` about the means of ``before`` to packed parameters ``theta`` without bounds.

    ``ridge[D]`` comes to the variances; ``step`` counts M-steps, whose memory is the same; ``shared`` and ``common``
    are not for these structures. Returns the number of components, or less where one collapses.
    """
    n_components = theta.shape[0]
    n_features = ridge.shape[0]
    least = _least_mass(weight)
    total = _total_mass(S, least)
    for k in range(n_components):
        mass = S[k, 0] + least
        table[n_components + 3, k] = mass / total
        for i in range(n_features):
            if letters[2] == 2:
                shift = S[k, 1 + i] / mass
                thin[0, k, i, 0] = S[k, 1 + n_features + i] / mass - shift * shift + ridge[i]
            else:
                for j in range(i, n_features):
                    matrices[0, k, i, j] = _covariance(S, k, mass, ridge, i, j)
                    matrices[0, k, j, i] = matrices[0, k, i, j]
    if impose_structure(letters, step, matrices, axes, thin, table) == 0:
        return 0
    for k in range(n_components):
        mass = S[k, 0] + least
        for i in range(n_features):
            theta[k, 1 + i] = before[k, 1 + i] + S[k, 1 + i] / mass
        log_determinant = 0.0
        if letters[2] == 2:
            for i in range(n_features):
                if not thin[0, k, i, 0] > 0:
                    return k
                root = square_root(thin[0, k, i, 0])
                log_determinant += natural_log(root)
                theta[k, 1 + n_features + i] = 0.7071067811865476 / root
        else:
            for i in range(n_features):
                for j in range(i, n_features):
                    work[0, i * n_features + j] = matrices[0, k, i, j]
            log_determinant = _invert(n_features, work)
            if not log_determinant < 1e300:
                return k
            _pack_tiles(n_features, work, 1, k, theta)
        theta[k, 0] = natural_log(table[n_components + 3, k]) - log_determinant - 0.9189385332046727 * n_features
    return n_components


def tied_update(letters, step, S, shared, weight, ridge, before, work, matrices, axes, thin, table, theta, common):
    """The same of one covariance for all: ``shared[2, Q]`` has the moments of all rows, and the point they are about.

    ``common`` becomes the mean of all rows, and the factor by tiles.
    """
    n_components = theta.shape[0]
    n_features = ridge.shape[0]
    least = _least_mass(weight)
    total = _total_mass(S, least)
    for i in range(n_features):
        work[1, i] = 0
        for j in range(n_features):
            matrices[0, 0, i, j] = shared[0, 1 + n_features + i * n_features + j]
    for k in range(n_components):
        mass = S[k, 0] + least
        for i in range(n_features):
            mean = before[k, 1 + i] + S[k, 1 + i] / mass
            thin[0, k, i, 0] = mean
            thin[1, k, i, 0] = mean - shared[1, i]
            work[1, i] += mass / total * mean
        for i in range(n_features):
            for j in range(i, n_features):
                matrices[0, 0, i, j] -= mass * thin[1, k, i, 0] * thin[1, k, j, 0]
    for i in range(n_features):
        common[0, i] = work[1, i]
        for j in range(i, n_features):
            work[0, i * n_features + j] = matrices[0, 0, i, j] / total
        # As in families/covariance_storage.py: what a cancellation leaves of a variance counts as none.
        if not matrices[0, 0, i, i] > 1e-14 * shared[0, 1 + n_features + i * n_features + i]:
            work[0, i * n_features + i] = 0
        work[0, i * n_features + i] += ridge[i]
    log_determinant = _invert(n_features, work)
    if not log_determinant < 1e300:
        return 0
    _pack_shared_tiles(n_features, work, common)
    for k in range(n_components):
        mass = S[k, 0] + least
        theta[k, 0] = natural_log(mass / total) - log_determinant - 0.9189385332046727 * n_features
        for j in range(n_features):
            theta[k, 1 + j] = thin[0, k, j, 0]
            along = 0.0
            for i in range(j + 1):
                along += (thin[0, k, i, 0] - common[0, i]) * work[1, i * n_features + j]
            theta[k, 1 + n_features + j] = 0.7071067811865476 * along
    return n_components


def _pack_shared_tiles(n_features, work, common):
    """``work[1] / sqrt(2)`` by tiles of 4 columns, after the mean."""
    half = 0.7071067811865476
    at = n_features
    for tile in range(n_features // 4):
        for i in range(4 * tile + 4):
            for c in range(4 * tile, 4 * tile + 4):
                common[0, at] = half * work[1, i * n_features + c]
                at += 1
    for j in range(n_features // 4 * 4, n_features):
        for i in range(j + 1):
            common[0, at] = half * work[1, i * n_features + j]
            at += 1


def _impose_along_axes(letters, thin, table):
    """Volumes and shapes of the variances ``thin[0]``."""
    n_components = thin.shape[1]
    n_features = thin.shape[2]
    if letters[1] == 2:
        for k in range(n_components):
            mean = 0.0
            for i in range(n_features):
                mean += thin[0, k, i, 0] / n_features
            for i in range(n_features):
                thin[0, k, i, 0] = mean
    if letters[0] == 0 and letters[1] != 1:
        for i in range(n_features):
            mean = 0.0
            for k in range(n_components):
                mean += table[n_components + 3, k] * thin[0, k, i, 0]
            for k in range(n_components):
                thin[0, k, i, 0] = mean
    if letters[0] == 0 and letters[1] == 1:
        return _impose_one_volume(thin, table)
    if letters[0] == 1 and letters[1] == 0:
        for k in range(n_components):
            mean = 0.0
            for i in range(n_features):
                mean += thin[0, k, i, 0] / n_features
            if not mean > 0:
                return 0
            table[n_components + 4, k] = natural_log(mean)
        if not proportions(table[n_components + 3], thin[0], 200, table[n_components + 4], thin[2, 0], thin[1], table):
            return 0
        for k in range(n_components):
            volume = exponential(table[n_components + 4, k])
            for i in range(n_features):
                thin[0, k, i, 0] = volume * thin[2, 0, i, 0]
    return 1


def _impose_one_volume(thin, table):
    n_components = thin.shape[1]
    n_features = thin.shape[2]
    mean = 0.0
    for k in range(n_components):
        log_volume = 0.0
        for i in range(n_features):
            if not thin[0, k, i, 0] > 0:
                return 0
            log_volume += natural_log(thin[0, k, i, 0]) / n_features
        table[n_components + 4, k] = exponential(log_volume)
        mean += table[n_components + 3, k] * table[n_components + 4, k]
    for k in range(n_components):
        for i in range(n_features):
            thin[0, k, i, 0] *= mean / table[n_components + 4, k]
    return 1


def _impose_one_shape(matrices, axes, thin, table):
    """``lambda_k C`` of matrices."""
    n_components = thin.shape[1]
    n_features = thin.shape[2]
    covariances = matrices[0]
    common = axes[0]
    for k in range(n_components):
        mean = 0.0
        for i in range(n_features):
            mean += covariances[k, i, i] / n_features
        if not mean > 0:
            return 0
        table[n_components + 4, k] = natural_log(mean)
    if not proportions(table[n_components + 3], covariances, 200, table[n_components + 4], common, matrices[1], table):
        return 0
    for k in range(n_components):
        volume = exponential(table[n_components + 4, k])
        for i in range(n_features):
            for j in range(i, n_features):
                covariances[k, i, j] = volume * common[i, j]
                covariances[k, j, i] = covariances[k, i, j]
    return 1


def _copy_upper(covariances, k, to):
    """A covariance into ``to[0]``, symmetric."""
    for i in range(covariances.shape[1]):
        for j in range(i, covariances.shape[1]):
            to[0, i, j] = covariances[k, i, j]
            to[0, j, i] = covariances[k, i, j]


def _pool(covariances, shares, to):
    for i in range(covariances.shape[1]):
        for j in range(covariances.shape[1]):
            to[i, j] = 0
            for k in range(shares.shape[0]):
                to[i, j] += shares[k] * covariances[k, i, j]


def _keep_variances(k, seen, thin):
    """The diagonal into ``thin[0, k]``; what rounding leaves of a variance that is none is not taken for one."""
    n_features = seen.shape[0]
    largest = 0.0
    for i in range(n_features):
        if seen[i, i] > largest:
            largest = seen[i, i]
    for i in range(n_features):
        thin[0, k, i, 0] = 0
        if seen[i, i] > n_features * 2.220446049250313e-16 * largest:
            thin[0, k, i, 0] = seen[i, i]


def _compose(k, axes, thin, covariances):
    """``D A D'`` of the axes and the variances ``thin[0, k]``."""
    n_features = axes.shape[0]
    for i in range(n_features):
        for j in range(i, n_features):
            total = 0.0
            for a in range(n_features):
                total += axes[i, a] * thin[0, k, a, 0] * axes[j, a]
            covariances[k, i, j] = total
            covariances[k, j, i] = total


def _diagonalise(seen, axes):
    """Eigenvectors of a symmetric matrix into the columns of ``axes``, by order of the eigenvalues on its diagonal.

    Plane by plane (Jacobi; Golub & Van Loan 2013, section 8.5), which keeps the digits of small variances.
    """
    n_features = seen.shape[0]
    for i in range(n_features):
        for j in range(n_features):
            axes[i, j] = 0
        axes[i, i] = 1
    turned = 1
    for _ in range(30):
        if turned > 0:
            turned = 0
            for p in range(n_features):
                for q in range(p + 1, n_features):
                    product = seen[p, q] * seen[p, q]
                    if product > 4.9e-32 * seen[p, p] * seen[q, q] and product > 1e-300:
                        turned += 1
                        _rotate_plane(p, q, seen, axes)
    for i in range(n_features):
        least = i
        for j in range(i + 1, n_features):
            if seen[j, j] < seen[least, least]:
                least = j
        if least != i:
            value = seen[i, i]
            seen[i, i] = seen[least, least]
            seen[least, least] = value
            for a in range(n_features):
                value = axes[a, i]
                axes[a, i] = axes[a, least]
                axes[a, least] = value


def _rotate_plane(p, q, seen, axes):
    """Turn two axes so that nothing is left of their covariance."""
    slope = 0.5 * (seen[q, q] - seen[p, p]) / seen[p, q]
    tangent = 1.0
    if slope < 0:
        tangent = -1 / (square_root(1 + slope * slope) - slope)
    else:
        tangent = 1 / (square_root(1 + slope * slope) + slope)
    cosine = 1 / square_root(1 + tangent * tangent)
    sine = tangent * cosine
    change = tangent * seen[p, q]
    seen[p, p] -= change
    seen[q, q] += change
    seen[p, q] = 0
    seen[q, p] = 0
    for i in range(seen.shape[0]):
        if i != p and i != q:
            one = seen[i, p]
            other = seen[i, q]
            seen[i, p] = cosine * one - sine * other
            seen[i, q] = cosine * other + sine * one
            seen[p, i] = seen[i, p]
            seen[q, i] = seen[i, q]
        one = axes[i, p]
        other = axes[i, q]
        axes[i, p] = cosine * one - sine * other
        axes[i, q] = cosine * other + sine * one

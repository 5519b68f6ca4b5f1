"""Volumes of covariances that have their shape in common, by Newton's steps. Double precision."""

from fastem.kernels.vectors import exponential, natural_log, square_root


def proportions(shares, covariances, n_steps, logs, common, parts, work):
    """Move the logarithms of the volumes to the minimum of ``D sum_k p_k logs_k + log |C|``; whether it was reached.

    ``C = sum_k p_k S_k / lambda_k``, of ``covariances[K, D, D]``, or ``[K, D, 1]`` of diagonals. ``logs[K]`` are the
    start. ``common`` becomes ``C`` in its upper triangle; ``parts``, of the covariances' shape, and ``work[K + 3, K]``
    are overwritten.
    """
    n_components = shares.shape[0]
    before = 1e300
    is_newton = 0
    for _ in range(n_steps):
        value = _look_at_volumes(shares, covariances, logs, common, parts, work)
        size = before
        if size < 0:
            size = -size
        if is_newton and not value <= before + 1.8e-15 * (1 + size):
            # The step of Celeux & Govaert, which always goes down, from the point before.
            for k in range(n_components):
                logs[k] += work[n_components + 1, k] - work[n_components, k]
            is_newton = 0
        else:
            if not value < 1e300 or _solve(shares, covariances.shape[1], work) == 0:
                return 0
            largest = 0.0
            for k in range(n_components):
                step = work[n_components, k]
                logs[k] += step
                if step * step > largest:
                    largest = step * step
            # The next step would be its square.
            if largest <= 1e-18:
                return 1
            before = value
            is_newton = 1
    return 0


def _look_at_volumes(shares, covariances, logs, common, parts, work):
    """The value, its curvature into ``work[:K]`` and the traces of ``C^-1/2 (p_k S_k / lambda_k) C^-1/2`` below."""
    n_components = shares.shape[0]
    n_features = covariances.shape[1]
    width = covariances.shape[2]
    value = 0.0
    for i in range(n_features):
        for j in range(width):
            common[i, j] = 0
    for k in range(n_components):
        value += n_features * shares[k] * logs[k]
        scale = shares[k] * exponential(-logs[k])
        for i in range(n_features):
            for j in range(width):
                parts[k, i, j] = scale * covariances[k, i, j]
                common[i, j] += parts[k, i, j]
    if width == 1:
        value += _divide(common, parts)
    else:
        value += _whiten(common, parts)
    if not value < 1e299:
        return 1e300
    for k in range(n_components):
        trace = 0.0
        for i in range(n_features):
            trace += parts[k, i, min(i, width - 1)]
        work[n_components + 2, k] = trace
        for m in range(k + 1):
            product = 0.0
            for i in range(n_features):
                for j in range(width):
                    product += parts[k, i, j] * parts[m, i, j]
            # The mean of the logarithms is free, for C takes the other part: the shares keep it.
            work[k, m] = shares[k] * shares[m] - product
        work[k, k] += trace
    return value


def _divide(common, parts):
    """Diagonals by the common one; the logarithm of its determinant, 1e300 where it is not positive."""
    log_determinant = 0.0
    for i in range(common.shape[0]):
        if not common[i, 0] > 0:
            return 1e300
        log_determinant += natural_log(common[i, 0])
        for k in range(parts.shape[0]):
            parts[k, i, 0] /= common[i, 0]
    return log_determinant


def _whiten(common, parts):
    """``L^-1 parts L^-T`` with ``common = L L'``, whose ``L`` comes into the lower triangle but for its diagonal."""
    n_features = common.shape[0]
    log_determinant = 0.0
    for i in range(n_features):
        pivot = common[i, i]
        for c in range(i):
            pivot -= common[i, c] * common[i, c]
        if not pivot > 0:
            return 1e300
        root = square_root(pivot)
        log_determinant += 2 * natural_log(root)
        for j in range(i + 1, n_features):
            total = common[i, j]
            for c in range(i):
                total -= common[i, c] * common[j, c]
            common[j, i] = total / root
        for k in range(parts.shape[0]):
            for j in range(n_features):
                total = parts[k, i, j]
                for c in range(i):
                    total -= common[i, c] * parts[k, c, j]
                parts[k, i, j] = total / root
    for i in range(n_features):
        pivot = common[i, i]
        for c in range(i):
            pivot -= common[i, c] * common[i, c]
        root = square_root(pivot)
        for k in range(parts.shape[0]):
            for j in range(n_features):
                total = parts[k, j, i]
                for c in range(i):
                    total -= common[i, c] * parts[k, j, c]
                parts[k, j, i] = total / root
    return log_determinant


def _solve(shares, n_features, work):
    """Newton's step into ``work[K]``, and the other one into ``work[K + 1]``; 0 where the curvature is singular."""
    n_components = shares.shape[0]
    for k in range(n_components):
        trace = work[n_components + 2, k]
        if not trace > 0:
            return 0
        work[n_components + 1, k] = natural_log(trace / (n_features * shares[k]))
        total = trace - n_features * shares[k]
        for m in range(k):
            entry = work[k, m]
            for c in range(m):
                entry -= work[k, c] * work[m, c]
            work[k, m] = entry / work[m, m]
            total -= work[k, m] * work[n_components, m]
        pivot = work[k, k]
        for c in range(k):
            pivot -= work[k, c] * work[k, c]
        if not pivot > 1e-13 * (trace + shares[k] * shares[k]):
            return 0
        work[k, k] = square_root(pivot)
        work[n_components, k] = total / work[k, k]
    for up in range(n_components):
        k = n_components - 1 - up
        total = work[n_components, k]
        for m in range(k + 1, n_components):
            total -= work[m, k] * work[n_components, m]
        work[n_components, k] = total / work[k, k]
    return 1

"""Axes along which several covariances are best taken for diagonal, by plane rotations. Double precision."""

from fastem.kernels.vectors import exponential, natural_log, square_root


def common_axes(shares, covariances, one_volume, n_starts, n_trial, n_sweeps, axes, seen, work):
    """Turn the columns of ``axes[:n_starts, D, D]`` to where the cost is least: ``axes[0]``, of the best start.

    The cost is ``sum_k p_k g_k`` with ``g_k = sum_j log v_kj`` of variances ``v_k = diag(D' S_k D)`` along axes; or,
    where components have ``one_volume``, ``D log sum_k p_k exp(g_k / D)``. All starts are turned for ``n_trial`` sweeps
    over the planes, and the best of them goes on. ``seen[K, D, D]`` and ``work[3, K]`` are overwritten. Returns whether
    the sweeps came to an end.
    """
    n_features = axes.shape[1]
    best = 0
    least = 1e300
    for t in range(n_starts):
        cost = _turn(shares, covariances, one_volume, n_trial, t, axes, seen, work)
        if cost < least:
            least = cost
            best = t
    _turn(shares, covariances, one_volume, n_sweeps, best, axes, seen, work)
    for i in range(n_features):
        for j in range(n_features):
            axes[0, i, j] = axes[best, i, j]
    # What is left to turn is in planes that are all but flat.
    return work[2, 0] <= 1e-3


def _turn(shares, covariances, one_volume, n_sweeps, t, axes, seen, work):
    """Sweeps until no plane turns, by ``work[2, 0]``; the cost then, -1e300 where a component lacks variance."""
    n_features = axes.shape[1]
    work[2, 0] = 0
    if _look_along(covariances, t, axes, seen, work) == 0:
        return -1e300
    turned = 1.0
    cost = _weigh(shares, one_volume, n_features, work)
    for _ in range(n_sweeps):
        if turned > 1e-10:
            turned = 0.0
            before = cost
            for p in range(n_features):
                for q in range(p + 1, n_features):
                    tangent = _turn_plane(shares, one_volume, p, q, t, axes, seen, work)
                    if tangent > turned:
                        turned = tangent
            cost = _weigh(shares, one_volume, n_features, work)
            # Planes that are all but flat turn for long, and change nothing.
            if turned < 1e-3 and before - cost < 1e-14 * (1 + square_root(cost * cost)):
                turned = 0.0
    work[2, 0] = turned
    return n_features * cost


def _look_along(covariances, t, axes, seen, work):
    """``D' S_k D`` into ``seen`` and ``g_k`` into ``work[0]``; 0 where what a component has of an axis is rounding."""
    n_features = axes.shape[1]
    for k in range(seen.shape[0]):
        smallest = 1e300
        largest = 0.0
        for i in range(n_features):
            for j in range(i, n_features):
                total = 0.0
                for a in range(n_features):
                    part = 0.0
                    for b in range(n_features):
                        part += covariances[k, a, b] * axes[t, b, j]
                    total += axes[t, a, i] * part
                seen[k, i, j] = total
                seen[k, j, i] = total
            if seen[k, i, i] < smallest:
                smallest = seen[k, i, i]
            if seen[k, i, i] > largest:
                largest = seen[k, i, i]
        if not smallest > n_features * 2.220446049250313e-16 * largest:
            return 0
        work[0, k] = 0
        for i in range(n_features):
            work[0, k] += natural_log(seen[k, i, i])
    return 1


def _weigh(shares, one_volume, n_features, work):
    """The cost by feature; and how much each component counts in its slope, ``work[1]``, which sum to 1."""
    total = 0.0
    largest = work[0, 0]
    for k in range(shares.shape[0]):
        if work[0, k] > largest:
            largest = work[0, k]
    for k in range(shares.shape[0]):
        work[1, k] = shares[k]
        if one_volume:
            work[1, k] *= exponential((work[0, k] - largest) / n_features)
            total += work[1, k]
        else:
            total += shares[k] * work[0, k] / n_features
    if one_volume:
        for k in range(shares.shape[0]):
            work[1, k] /= total
        total = natural_log(total) + largest / n_features
    return total


def _turn_plane(shares, one_volume, p, q, t, axes, seen, work):
    """One step in the plane of two axes, which does not raise the cost; the tangent of twice its angle.

    With ``x`` twice the angle the variances are ``m + h cos x + c sin x`` and ``m - h cos x - c sin x``.
    """
    n_features = axes.shape[1]
    _weigh(shares, one_volume, n_features, work)
    slope = 0.0
    bend = 0.0
    bound = 0.0
    for k in range(shares.shape[0]):
        one = 1 / seen[k, p, p]
        other = 1 / seen[k, q, q]
        half = 0.5 * (seen[k, p, p] - seen[k, q, q])
        product = seen[k, p, q] * (one - other)
        slope += work[1, k] * product
        bound -= work[1, k] * half * (one - other)
        bend -= work[1, k] * seen[k, p, q] * seen[k, p, q] * (one * one + other * other)
        if one_volume:
            bend += work[1, k] * product * product / n_features
    if one_volume:
        bend -= slope * slope / n_features
    bend += bound
    # A flat plane: variances are all but equal in every component.
    if bound < 2.5e-7:
        bound = 2.5e-7
    # Newton's step where it goes down, and else that of the bound on the cost that is linear in the variances.
    tangent = -slope / bound
    if bend > 0.1 * bound:
        tangent = -slope / bend
        if _change(shares, one_volume, n_features, p, q, tangent, seen, work) > 1e-14:
            tangent = -slope / bound
    _rotate(n_features, p, q, t, tangent, axes, seen, work)
    if tangent < 0:
        tangent = -tangent
    return tangent


def _change(shares, one_volume, n_features, p, q, tangent, seen, work):
    """Of the cost, by a turn in the plane."""
    cosine = 1 / square_root(1 + tangent * tangent)
    total = 0.0
    for k in range(shares.shape[0]):
        mean = 0.5 * (seen[k, p, p] + seen[k, q, q])
        turned = cosine * (0.5 * (seen[k, p, p] - seen[k, q, q]) + tangent * seen[k, p, q])
        ratio = (mean + turned) * (mean - turned) / (seen[k, p, p] * seen[k, q, q])
        if not ratio > 0:
            return 1e300
        if one_volume:
            total += work[1, k] * exponential(natural_log(ratio) / n_features)
        else:
            total += work[1, k] * natural_log(ratio)
    if one_volume:
        total = natural_log(total) * n_features
    return total


def _rotate(n_features, p, q, t, tangent, axes, seen, work):
    """Turn axes by half of the angle whose tangent is given, and what is seen along them."""
    cosine = square_root(0.5 + 0.5 / square_root(1 + tangent * tangent))
    sine = 0.5 * tangent / square_root(1 + tangent * tangent) / cosine
    for k in range(seen.shape[0]):
        before = seen[k, p, p] * seen[k, q, q]
        for i in range(n_features):
            one = seen[k, i, p]
            other = seen[k, i, q]
            seen[k, i, p] = cosine * one + sine * other
            seen[k, i, q] = cosine * other - sine * one
        for i in range(n_features):
            one = seen[k, p, i]
            other = seen[k, q, i]
            seen[k, p, i] = cosine * one + sine * other
            seen[k, q, i] = cosine * other - sine * one
        work[0, k] += natural_log(seen[k, p, p] * seen[k, q, q] / before)
    for i in range(n_features):
        one = axes[t, i, p]
        other = axes[t, i, q]
        axes[t, i, p] = cosine * one + sine * other
        axes[t, i, q] = cosine * other - sine * one

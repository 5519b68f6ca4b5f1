"""Clusters around rows that those before explain least, and Lloyd's iterations of their centres. Double precision."""

from fastem.kernels.merging import cluster_moments
from fastem.kernels.vectors import natural_log, square_root


def adaptive_labels(rows, weight, uniforms, labels, squares, shortfall, masses, means, scatters, factors):
    """Labels of clusters around rows, drawn one after another by ``uniforms[C]``: numbers from 0 to below 1.

    A row's chance is its weight times what its log-density in the Gaussian that its cluster makes falls short of the
    largest one. All that follows ``labels`` is working memory: ``squares[N]``, ``shortfall[N]``, ``masses[C]``,
    ``means[C, D]``, ``scatters[C, D * D]`` and ``factors[2, D * D]``.
    """
    n_rows = rows.shape[0]
    n_directions = rows.shape[1]
    for row in range(n_rows):
        labels[row] = 0
        squares[row] = 1e300
        shortfall[row] = weight[row]
    _add_cluster(rows, _drawn(shortfall, uniforms[0]), 0, labels, squares)
    total = 0.0
    scale = 0.0
    for row in range(n_rows):
        total += weight[row]
        scale += weight[row] * squares[row]
    scale /= total * n_directions
    if scale == 0:
        scale = 1.0
    for k in range(1, uniforms.shape[0]):
        _find_shortfall(rows, weight, scale, k, labels, shortfall, masses, means, scatters, factors)
        least = shortfall[0]
        for row in range(n_rows):
            if shortfall[row] < least:
                least = shortfall[row]
        for row in range(n_rows):
            shortfall[row] = (shortfall[row] - least) * weight[row]
        _add_cluster(rows, _drawn(shortfall, uniforms[k]), k, labels, squares)


def _drawn(chances, uniform):
    """A row, by its chance; where all are 0 the last."""
    total = 0.0
    for row in range(chances.shape[0]):
        total += chances[row]
    below = 0.0
    drawn = chances.shape[0] - 1
    found = 0
    for row in range(chances.shape[0]):
        below += chances[row]
        if found == 0 and below > uniform * total:
            drawn = row
            found = 1
    return drawn


def _add_cluster(rows, chosen, k, labels, squares):
    """The rows that are nearer to the chosen one than to the centre that they have."""
    for row in range(rows.shape[0]):
        square = 0.0
        for i in range(rows.shape[1]):
            apart = rows[row, i] - rows[chosen, i]
            square += apart * apart
        if square < squares[row]:
            squares[row] = square
            labels[row] = k


def _find_shortfall(rows, weight, scale, n_clusters, labels, shortfall, masses, means, scatters, factors):
    """Twice the negative log-density of each row in its cluster, up to a constant.

    A sphere of as many rows as there are directions, and one, stands in where a cluster has too few for a covariance.
    """
    n_directions = rows.shape[1]
    for k in range(n_clusters):
        masses[k] = 0
        for i in range(n_directions):
            means[k, i] = 0
        for i in range(n_directions * n_directions):
            scatters[k, i] = 0
    cluster_moments(rows, labels, weight, masses, means, scatters)
    for k in range(n_clusters):
        count = 0
        for row in range(rows.shape[0]):
            if labels[row] == k:
                count += 1
        prior_mass = 0.0
        if count > 0:
            prior_mass = (n_directions + 1) * masses[k] / count
        constant = _inverse_root(k, prior_mass * scale, masses[k] + prior_mass, n_directions, scatters, factors)
        constant -= 2 * natural_log(masses[k] + 1e-300)
        for row in range(rows.shape[0]):
            if labels[row] == k:
                square = 0.0
                for j in range(n_directions):
                    along = 0.0
                    for i in range(j + 1):
                        along += (rows[row, i] - means[k, i]) * factors[1, j * n_directions + i]
                    square += along * along
                shortfall[row] = square + constant


def _inverse_root(k, ridge, mass, n_directions, scatters, factors):
    """Lower-triangular ``V`` with ``V'V`` the inverse of ``(scatter + ridge) / mass``, into ``factors[1]``.

    Returns the logarithm of that matrix's determinant.
    """
    log_determinant = 0.0
    for i in range(n_directions):
        for j in range(i + 1):
            total = scatters[k, i * n_directions + j]
            if i == j:
                total += ridge
            total /= mass
            for c in range(j):
                total -= factors[0, i * n_directions + c] * factors[0, j * n_directions + c]
            if i == j:
                if not total > 1e-300:
                    total = 1e-300
                log_determinant += natural_log(total)
                factors[0, i * n_directions + i] = square_root(total)
            else:
                factors[0, i * n_directions + j] = total / factors[0, j * n_directions + j]
    for j in range(n_directions):
        for i in range(j, n_directions):
            total = 0.0
            if i == j:
                total = 1.0
            for c in range(j, i):
                total -= factors[0, i * n_directions + c] * factors[1, c * n_directions + j]
            factors[1, i * n_directions + j] = total / factors[0, i * n_directions + i]
    return log_determinant


def greedy_rows(rows, weight, uniforms, chosen, nearest, reached, chances):
    """Rows of greedy k-means++ into ``chosen[C]``, each the best of a few that are drawn by their distance.

    ``uniforms`` has one number for the first row, and as many for each further one as are tried. ``nearest[N]``,
    ``reached[N]`` and ``chances[N]`` are working memory.
    """
    n_rows = rows.shape[0]
    n_trials = 0
    if chosen.shape[0] > 1:
        n_trials = (uniforms.shape[0] - 1) // (chosen.shape[0] - 1)
    for row in range(n_rows):
        nearest[row] = 1e300
        reached[row] = weight[row]
    chosen[0] = _drawn(reached, uniforms[0])
    _reach(rows, weight, chosen[0], nearest, reached)
    for row in range(n_rows):
        nearest[row] = reached[row]
    for k in range(1, chosen.shape[0]):
        least = 1e300
        best = 0
        for row in range(n_rows):
            chances[row] = nearest[row] * weight[row]
        for trial in range(n_trials):
            row = _drawn(chances, uniforms[1 + (k - 1) * n_trials + trial])
            left = _reach(rows, weight, row, nearest, reached)
            if trial == 0 or left < least:
                least = left
                best = row
        _reach(rows, weight, best, nearest, reached)
        for row in range(n_rows):
            nearest[row] = reached[row]
        chosen[k] = best


def _reach(rows, weight, chosen, nearest, reached):
    """Squared distances to the nearest centre if a row is one too, into ``reached[N]``; returns their weighted sum."""
    total = 0.0
    for row in range(rows.shape[0]):
        square = 0.0
        for i in range(rows.shape[1]):
            apart = rows[row, i] - rows[chosen, i]
            square += apart * apart
        if square > nearest[row]:
            square = nearest[row]
        reached[row] = square
        total += weight[row] * square
    return total


def centres_update(letters, step, S, shared, weight, tol, before, work, matrices, axes, thin, table, theta, common):
    """M-step of k-means, with the arguments of ``structured_update``: centres move to the means of their rows.

    Returns the number of clusters, or less where one is empty, or where the centres move by ``tol[0]``, squared, at
    most in all.
    """
    n_features = (theta.shape[1] - 1) // 2
    moved = 0.0
    for k in range(theta.shape[0]):
        if not S[k, 0] > 0:
            return k
        theta[k, 0] = before[k, 0]
        for i in range(n_features):
            shift = S[k, 1 + i] / S[k, 0]
            moved += shift * shift
            theta[k, 1 + i] = before[k, 1 + i] + shift
            theta[k, 1 + n_features + i] = before[k, 1 + n_features + i]
    if moved <= tol[0]:
        return 0
    return theta.shape[0]

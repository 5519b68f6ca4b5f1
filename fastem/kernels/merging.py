"""Merges of clusters, two at a time, in double precision: by Ward's criterion, and by that of Gaussian clusters."""

from fastem.kernels.vectors import (
    all_less,
    broadcast,
    fill,
    lanes,
    load,
    natural_log,
    store,
    truncate,
    where_less,
    zero,
)


def ward_pairs(centres, work, numbers, pairs, costs):
    """All merges of the columns of ``centres`` by Ward's criterion, each pair the nearest of either.

    Writes a row of each of the two clusters into ``pairs[N - 1, 2]``, the first of which goes on to stand for both, and
    what the merge costs into ``costs[N - 1]``: no less than the merges that it builds on. ``centres`` has a column of
    coordinates for each of the N rows, and two vectors' more; like ``work[4, ...]`` of as many columns, and
    ``numbers[2, N]``, it is overwritten. By the chain of nearest neighbours (Murtagh 1983), among the clusters that are
    left, which stand together.
    """
    n_rows = numbers.shape[1]
    for b in range(work.shape[1]):
        work[0, b] = 1
        work[1, b] = 0
        work[2, b] = b
        if b >= n_rows:
            centres[0, b] = 1e150
    for b in range(n_rows):
        numbers[0, b] = b
    left = n_rows
    length = 0
    for _step in range(3 * n_rows):
        if left == 1:
            continue
        if length == 0:
            numbers[1, 0] = 0
            length = 1
        last = numbers[1, length - 1]
        before = 1
        if last > 0:
            before = 0
        if length > 1:
            before = numbers[1, length - 2]
        nearest = _nearest(centres, last, before, left, work)
        if length == 1 or nearest != before:
            numbers[1, length] = nearest
            length += 1
            continue
        kept = min(last, nearest)
        gone = last + nearest - kept
        cost = work[3, 0]
        if cost < work[1, kept]:
            cost = work[1, kept]
        if cost < work[1, gone]:
            cost = work[1, gone]
        pairs[n_rows - left, 0] = numbers[0, kept]
        pairs[n_rows - left, 1] = numbers[0, gone]
        costs[n_rows - left] = cost
        # The merged cluster takes the one place, the last of those that are left the other.
        left -= 1
        share = work[0, gone] / (work[0, kept] + work[0, gone])
        for i in range(centres.shape[0]):
            centres[i, kept] += share * (centres[i, gone] - centres[i, kept])
            centres[i, gone] = centres[i, left]
        centres[0, left] = 1e150
        work[0, kept] += work[0, gone]
        work[0, gone] = work[0, left]
        work[1, kept] = cost
        work[1, gone] = work[1, left]
        numbers[0, gone] = numbers[0, left]
        length -= 2
        for at in range(length):
            if numbers[1, at] == left:
                numbers[1, at] = gone


def _nearest(centres, a, before, left, work):
    """The cluster whose merge with ``a`` costs least, ``before`` among equals; what it costs into ``work[3, 0]``.

    Columns at 1e150 are no clusters. ``work`` has masses in its first row, and column numbers in the third.
    """
    width = lanes(centres)
    # A copy of the cluster's own column; there is none in its place meanwhile.
    copy = centres.shape[1] - 1
    for i in range(centres.shape[0]):
        centres[i, copy] = centres[i, a]
    centres[0, a] = 1e150
    mass = broadcast(work, 0, a)
    bound = (mass + fill(mass, 1.0)) / mass
    # By the same vector operations as the others': a row and its nearest one are to agree on what their merge costs.
    first = before // width * width
    square = _squares(centres, copy, first)
    masses = load(work, 0, first)
    store(work, 3, 0, square * (mass * masses / (mass + masses)))
    work[3, 0] = work[3, before - first]
    best = broadcast(work, 3, 0)
    work[3, 0] = before
    index = broadcast(work, 3, 0)
    # Two vectors at a time share what is read of the cluster.
    for pair in range((left + 2 * width - 1) // (2 * width)):
        b = 2 * pair * width
        square = zero(centres)
        beside = zero(centres)
        for i in range(centres.shape[0]):
            own = broadcast(centres, i, copy)
            apart = load(centres, i, b) - own
            square = square + apart * apart
            apart = load(centres, i, b + width) - own
            beside = beside + apart * apart
        # The masses are at least 1, so that most costs need not be known.
        if not all_less(best * bound, square):
            masses = load(work, 0, b)
            costs = square * (mass * masses / (mass + masses))
            index = where_less(costs, best, load(work, 2, b), index)
            best = where_less(costs, best, costs, best)
        if not all_less(best * bound, beside):
            masses = load(work, 0, b + width)
            costs = beside * (mass * masses / (mass + masses))
            index = where_less(costs, best, load(work, 2, b + width), index)
            best = where_less(costs, best, costs, best)
    centres[0, a] = centres[0, copy]
    store(work, 3, 0, best)
    store(work, 3, width, index)
    # Lanes that nothing was nearer in than the one before are equal to it: it comes first.
    found = 0
    for lane in range(1, width):
        if work[3, lane] < work[3, found]:
            found = lane
    work[3, 0] = work[3, found]
    return truncate(work[3, width + found])


def _squares(centres, a, b):
    """Squared distances of a vector of clusters from ``b`` to cluster ``a``."""
    square = zero(centres)
    for i in range(centres.shape[0]):
        apart = load(centres, i, b) - broadcast(centres, i, a)
        square = square + apart * apart
    return square


def number_merges(order, pairs, n_before, nodes, merges):
    """Nodes of the merges ``pairs`` of clusters in the order of their costs into ``merges``, numbered as in SciPy.

    ``nodes`` are those of the clusters, ``n_before`` all that there are; the first of a pair takes the merge's.
    """
    for number in range(order.shape[0]):
        first = pairs[order[number], 0]
        second = pairs[order[number], 1]
        merges[number, 0] = nodes[first]
        merges[number, 1] = nodes[second]
        nodes[first] = n_before + number


def cut_merges(merges, tops, places, labels, roots):
    """Labels of the N rows after all but ``C - 1`` merges, and the node ``roots[C]`` of each cluster, in their order.

    ``tops`` and ``places``, one for each row and each merge that is done, are overwritten.
    """
    n_rows = labels.shape[0]
    done = n_rows - roots.shape[0]
    for node in range(n_rows + done):
        tops[node] = node
    for number in range(done):
        node = n_rows + done - 1 - number
        tops[merges[node - n_rows, 0]] = tops[node]
        tops[merges[node - n_rows, 1]] = tops[node]
    found = 0
    for node in range(n_rows + done):
        if tops[node] == node:
            places[node] = found
            roots[found] = node
            found += 1
    for row in range(n_rows):
        labels[row] = places[tops[row]]


def cluster_moments(rows, labels, weight, masses, means, scatters):
    """Add the weighted mass, mean and scatter matrix of the rows of each label to zeros."""
    n_directions = rows.shape[1]
    for row in range(rows.shape[0]):
        k = labels[row]
        masses[k] += weight[row]
        for i in range(n_directions):
            means[k, i] += weight[row] * (rows[row, i] - rows[0, i])
    for k in range(masses.shape[0]):
        for i in range(n_directions):
            if masses[k] > 0:
                means[k, i] /= masses[k]
            means[k, i] += rows[0, i]
    for row in range(rows.shape[0]):
        k = labels[row]
        for i in range(n_directions):
            apart = weight[row] * (rows[row, i] - means[k, i])
            for j in range(n_directions):
                scatters[k, i * n_directions + j] += apart * (rows[row, j] - means[k, j])


def gaussian_pairs(
    masses, means, scatters, prior, prior_mass, proportions, n_near, costs, least, near, rises, matrix, pairs
):
    """Pairs of clusters in the order of their merges, each the one that raises the cost least, into ``pairs[C - 1]``.

    A cluster of mass ``n`` and scatter ``W`` costs ``n log |(W + prior) / (n + prior_mass)| - proportions n log n``.
    Those that are among the ``n_near`` nearest of each other may merge, and where none are left, all. The first of a
    pair then is the merged cluster. ``costs[C]``, ``least[C]``, ``near[C, C]``, ``rises[C, C]`` and ``matrix[D, D]``
    are working memory; what the clusters are is overwritten too.
    """
    n_clusters = masses.shape[0]
    _mark_neighbours(means, min(n_near, n_clusters - 1), near, least, costs)
    for i in range(n_clusters):
        costs[i] = _gaussian_cost(masses, means, scatters, prior, prior_mass, proportions, i, i, matrix)
    for i in range(n_clusters):
        rises[i, i] = 1e300
        for j in range(i + 1, n_clusters):
            rises[i, j] = 1e300
            if near[i, j] > 0:
                rises[i, j] = _gaussian_cost(masses, means, scatters, prior, prior_mass, proportions, i, j, matrix)
                rises[i, j] -= costs[i] + costs[j]
        _find_least(rises, i, least)
    for number in range(n_clusters - 1):
        first = 0
        for i in range(n_clusters - 1):
            if rises[i, least[i]] < rises[first, least[first]]:
                first = i
        if not rises[first, least[first]] < 1e300:
            # Clusters that have no neighbours left: all others are candidates now.
            for i in range(n_clusters):
                for j in range(i + 1, n_clusters):
                    if masses[i] > 0 and masses[j] > 0:
                        near[i, j] = 1
                        near[j, i] = 1
                        rises[i, j] = _gaussian_cost(
                            masses, means, scatters, prior, prior_mass, proportions, i, j, matrix
                        )
                        rises[i, j] -= costs[i] + costs[j]
                _find_least(rises, i, least)
                if rises[i, least[i]] < rises[first, least[first]]:
                    first = i
        second = least[first]
        pairs[number, 0] = first
        pairs[number, 1] = second
        _merge(masses, means, scatters, first, second)
        costs[first] += costs[second] + rises[first, second]
        for i in range(n_clusters):
            if near[second, i] > 0 and i != first:
                near[first, i] = 1
                near[i, first] = 1
            near[second, i] = 0
            near[i, second] = 0
            a = min(second, i)
            rises[a, second + i - a] = 1e300
        for i in range(n_clusters):
            a = min(first, i)
            b = first + i - a
            if near[first, i] > 0:
                rises[a, b] = _gaussian_cost(masses, means, scatters, prior, prior_mass, proportions, a, b, matrix)
                rises[a, b] -= costs[a] + costs[b]
                if rises[a, b] < rises[a, least[a]]:
                    least[a] = b
            if least[i] == first or least[i] == second:
                _find_least(rises, i, least)
        _find_least(rises, first, least)


def _find_least(rises, i, least):
    """The column of the least rise of row ``i``, beyond the diagonal."""
    least[i] = min(i + 1, rises.shape[0] - 1)
    for j in range(i + 1, rises.shape[0]):
        if rises[i, j] < rises[i, least[i]]:
            least[i] = j


def _mark_neighbours(means, n_near, near, nearest, distances):
    """Which clusters have one of the other among the nearest to them."""
    n_clusters = means.shape[0]
    for i in range(n_clusters):
        for j in range(n_clusters):
            near[i, j] = 0
    for i in range(n_clusters):
        found = 0
        for j in range(n_clusters):
            square = 0.0
            for d in range(means.shape[1]):
                square += (means[i, d] - means[j, d]) * (means[i, d] - means[j, d])
            if j == i or (found == n_near and not square < distances[found - 1]):
                continue
            # Into its place among those found so far, the last of which goes where there are enough.
            if found < n_near:
                found += 1
            at = 0
            for before in range(found - 1):
                if distances[before] <= square:
                    at += 1
            for behind in range(found - 1 - at):
                before = found - 2 - behind
                distances[before + 1] = distances[before]
                nearest[before + 1] = nearest[before]
            distances[at] = square
            nearest[at] = j
        for rank in range(found):
            near[i, nearest[rank]] = 1
            near[nearest[rank], i] = 1


def _merge(masses, means, scatters, i, j):
    """Cluster ``j`` into cluster ``i``; no mass is left to it."""
    n_directions = means.shape[1]
    mass = masses[i] + masses[j]
    between = masses[i] * masses[j] / mass
    for a in range(n_directions):
        apart = between * (means[j, a] - means[i, a])
        for b in range(n_directions):
            at = a * n_directions + b
            scatters[i, at] += scatters[j, at] + apart * (means[j, b] - means[i, b])
    for a in range(n_directions):
        means[i, a] += masses[j] / mass * (means[j, a] - means[i, a])
    masses[i] = mass
    masses[j] = 0


def _gaussian_cost(masses, means, scatters, prior, prior_mass, proportions, i, j, matrix):
    """Cost of the clusters ``i`` and ``j`` as one, or of ``i`` alone where they are the same."""
    n_directions = means.shape[1]
    mass = masses[i]
    between = 0.0
    if i != j:
        mass += masses[j]
        between = masses[i] * masses[j] / mass
    for a in range(n_directions):
        apart = between * (means[j, a] - means[i, a])
        for b in range(a, n_directions):
            at = a * n_directions + b
            matrix[a, b] = prior[at] + scatters[i, at] + apart * (means[j, b] - means[i, b])
            if i != j:
                matrix[a, b] += scatters[j, at]
    return mass * (_log_determinant(matrix, 1 / (mass + prior_mass)) - proportions * natural_log(mass))


def _log_determinant(matrix, scale):
    """Of a positive definite matrix times ``scale``; its upper triangle is overwritten."""
    n_directions = matrix.shape[0]
    total = 0.0
    product = 1.0
    for a in range(n_directions):
        pivot = matrix[a, a]
        if pivot < 1e-100:
            pivot = 1e-100
        for b in range(a + 1, n_directions):
            factor = matrix[a, b] / pivot
            for c in range(b, n_directions):
                matrix[b, c] -= factor * matrix[a, c]
        product *= pivot * scale
        if product < 1e-100 or product > 1e100:
            total += natural_log(product)
            product = 1.0
    return total + natural_log(product)

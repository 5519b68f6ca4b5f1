"""Log-densities of Gaussian components.

A parameter row is ``theta[k] = [constant, mean (D), precision factor ...]``; the factor carries 1 / sqrt(2), so that
``log w_k + log N(x | k) = constant - |(x - mean) factor|^2``. Densities start from ``x - mean``; those of
diagonal covariances from ``x p - mean p``, whose one rounding is of the mean.
"""

from fastem.kernels.screening import screen
from fastem.kernels.shortlist import listed, n_listed, note_active, set_listed, shortens, write_entry
from fastem.kernels.vectors import all_less, broadcast, lanes, load, n_vectors, store, wide, zero
from fastem.kernels.whitening import whiten


def full_log_density(XT, n_rows, theta, common, scratch, log_p):
    """Full covariances. The upper-triangular factor is packed by tiles of 4 columns.

    Columns ``j .. j + 3`` of a tile are stored row by row down to the diagonal (4 values for each of the rows
    ``0 .. j + 3``, zeros below the diagonal included); the up to 3 last columns stand one by one (``j + 1`` values
    each). Where ``common`` is not empty it says how to find the components that can matter; the others' values are
    bounds, and below all that counts, or left out of the list of ``log_p``, where it has one.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    n_tiles = n_features // 4
    # With 32 vector registers two tiles at a time: fewer reads, and twice as many sums that do not wait for each other.
    # With two tiles in all, what the first one stores is not worth it.
    n_pairs = 0
    if wide(XT) and n_tiles > 2:
        n_pairs = n_tiles // 2
    # Differences from the mean that a later column needs; the last tile's own stay in registers.
    n_kept = 4 * n_tiles
    if n_kept == n_features:
        n_kept -= 4
    in_list = 0
    if common.shape[1] > 0:
        screen(XT, n_rows, theta, common, scratch, log_p)
        if shortens(log_p, n_components):
            in_list = 1
    n_active = 0
    for index in range(n_listed(log_p, n_components)):
        k = listed(log_p, n_components, index)
        row = index
        if in_list > 0:
            row = n_active
        n_evaluated = 0
        constant = broadcast(theta, k, 0)
        for strip in range(n_vectors(XT, n_rows) // 2):
            b = strip * 2 * width
            if common.shape[1] > 0:
                p = load(log_p, index, b)
                q = load(log_p, index, b + width)
                if all_less(p, load(scratch, 2, b)) and all_less(q, load(scratch, 2, b + width)):
                    if row < index:
                        store(log_p, row, b, p)
                        store(log_p, row, b + width, q)
                    continue
            n_evaluated += 1
            square_a = zero(XT)
            square_b = zero(XT)
            at = 1 + n_features
            for pair in range(n_pairs):
                tile = 2 * pair
                # Where the second tile's values begin.
                to = at + 16 * tile + 16
                a0 = zero(XT)
                a1 = zero(XT)
                a2 = zero(XT)
                a3 = zero(XT)
                a4 = zero(XT)
                a5 = zero(XT)
                a6 = zero(XT)
                a7 = zero(XT)
                b0 = zero(XT)
                b1 = zero(XT)
                b2 = zero(XT)
                b3 = zero(XT)
                b4 = zero(XT)
                b5 = zero(XT)
                b6 = zero(XT)
                b7 = zero(XT)
                for i in range(4 * tile):
                    x = load(scratch, 0, 2 * i * width)
                    y = load(scratch, 0, (2 * i + 1) * width)
                    p = broadcast(theta, k, at)
                    a0 = a0 + p * x
                    b0 = b0 + p * y
                    p = broadcast(theta, k, at + 1)
                    a1 = a1 + p * x
                    b1 = b1 + p * y
                    p = broadcast(theta, k, at + 2)
                    a2 = a2 + p * x
                    b2 = b2 + p * y
                    p = broadcast(theta, k, at + 3)
                    a3 = a3 + p * x
                    b3 = b3 + p * y
                    p = broadcast(theta, k, to)
                    a4 = a4 + p * x
                    b4 = b4 + p * y
                    p = broadcast(theta, k, to + 1)
                    a5 = a5 + p * x
                    b5 = b5 + p * y
                    p = broadcast(theta, k, to + 2)
                    a6 = a6 + p * x
                    b6 = b6 + p * y
                    p = broadcast(theta, k, to + 3)
                    a7 = a7 + p * x
                    b7 = b7 + p * y
                    at += 4
                    to += 4
                x = _difference(XT, theta, k, 4 * tile, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile, b, 1, scratch)
                p = broadcast(theta, k, at)
                a0 = a0 + p * x
                b0 = b0 + p * y
                p = broadcast(theta, k, at + 1)
                a1 = a1 + p * x
                b1 = b1 + p * y
                p = broadcast(theta, k, at + 2)
                a2 = a2 + p * x
                b2 = b2 + p * y
                p = broadcast(theta, k, at + 3)
                a3 = a3 + p * x
                b3 = b3 + p * y
                p = broadcast(theta, k, to)
                a4 = a4 + p * x
                b4 = b4 + p * y
                p = broadcast(theta, k, to + 1)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 2)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 3)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 1, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 1, b, 1, scratch)
                p = broadcast(theta, k, at + 5)
                a1 = a1 + p * x
                b1 = b1 + p * y
                p = broadcast(theta, k, at + 6)
                a2 = a2 + p * x
                b2 = b2 + p * y
                p = broadcast(theta, k, at + 7)
                a3 = a3 + p * x
                b3 = b3 + p * y
                p = broadcast(theta, k, to + 4)
                a4 = a4 + p * x
                b4 = b4 + p * y
                p = broadcast(theta, k, to + 5)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 6)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 7)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 2, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 2, b, 1, scratch)
                p = broadcast(theta, k, at + 10)
                a2 = a2 + p * x
                b2 = b2 + p * y
                p = broadcast(theta, k, at + 11)
                a3 = a3 + p * x
                b3 = b3 + p * y
                p = broadcast(theta, k, to + 8)
                a4 = a4 + p * x
                b4 = b4 + p * y
                p = broadcast(theta, k, to + 9)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 10)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 11)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 3, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 3, b, 1, scratch)
                p = broadcast(theta, k, at + 15)
                a3 = a3 + p * x
                b3 = b3 + p * y
                p = broadcast(theta, k, to + 12)
                a4 = a4 + p * x
                b4 = b4 + p * y
                p = broadcast(theta, k, to + 13)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 14)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 15)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 4, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 4, b, 1, scratch)
                p = broadcast(theta, k, to + 16)
                a4 = a4 + p * x
                b4 = b4 + p * y
                p = broadcast(theta, k, to + 17)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 18)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 19)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 5, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 5, b, 1, scratch)
                p = broadcast(theta, k, to + 21)
                a5 = a5 + p * x
                b5 = b5 + p * y
                p = broadcast(theta, k, to + 22)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 23)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 6, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 6, b, 1, scratch)
                p = broadcast(theta, k, to + 26)
                a6 = a6 + p * x
                b6 = b6 + p * y
                p = broadcast(theta, k, to + 27)
                a7 = a7 + p * x
                b7 = b7 + p * y
                x = _difference(XT, theta, k, 4 * tile + 7, b, 0, scratch)
                y = _difference(XT, theta, k, 4 * tile + 7, b, 1, scratch)
                p = broadcast(theta, k, to + 31)
                a7 = a7 + p * x
                b7 = b7 + p * y
                at = to + 32
                square_a = square_a + a0 * a0 + a1 * a1 + (a2 * a2 + a3 * a3)
                square_a = square_a + a4 * a4 + a5 * a5 + (a6 * a6 + a7 * a7)
                square_b = square_b + b0 * b0 + b1 * b1 + (b2 * b2 + b3 * b3)
                square_b = square_b + b4 * b4 + b5 * b5 + (b6 * b6 + b7 * b7)
            for tile in range(2 * n_pairs, n_tiles):
                a0 = zero(XT)
                a1 = zero(XT)
                a2 = zero(XT)
                a3 = zero(XT)
                b0 = zero(XT)
                b1 = zero(XT)
                b2 = zero(XT)
                b3 = zero(XT)
                for i in range(4 * tile):
                    x = load(scratch, 0, 2 * i * width)
                    y = load(scratch, 0, (2 * i + 1) * width)
                    p0 = broadcast(theta, k, at)
                    p1 = broadcast(theta, k, at + 1)
                    p2 = broadcast(theta, k, at + 2)
                    p3 = broadcast(theta, k, at + 3)
                    at += 4
                    a0 = a0 + p0 * x
                    a1 = a1 + p1 * x
                    a2 = a2 + p2 * x
                    a3 = a3 + p3 * x
                    b0 = b0 + p0 * y
                    b1 = b1 + p1 * y
                    b2 = b2 + p2 * y
                    b3 = b3 + p3 * y
                # The tile's own rows, without the zeros under the diagonal.
                mean = broadcast(theta, k, 1 + 4 * tile)
                x = load(XT, 4 * tile, b) - mean
                y = load(XT, 4 * tile, b + width) - mean
                if 4 * tile < n_kept:
                    store(scratch, 0, 8 * tile * width, x)
                    store(scratch, 0, (8 * tile + 1) * width, y)
                p0 = broadcast(theta, k, at)
                p1 = broadcast(theta, k, at + 1)
                p2 = broadcast(theta, k, at + 2)
                p3 = broadcast(theta, k, at + 3)
                a0 = a0 + p0 * x
                b0 = b0 + p0 * y
                a1 = a1 + p1 * x
                b1 = b1 + p1 * y
                a2 = a2 + p2 * x
                b2 = b2 + p2 * y
                a3 = a3 + p3 * x
                b3 = b3 + p3 * y
                mean = broadcast(theta, k, 2 + 4 * tile)
                x = load(XT, 4 * tile + 1, b) - mean
                y = load(XT, 4 * tile + 1, b + width) - mean
                if 4 * tile + 1 < n_kept:
                    store(scratch, 0, 2 * (4 * tile + 1) * width, x)
                    store(scratch, 0, (2 * (4 * tile + 1) + 1) * width, y)
                p1 = broadcast(theta, k, at + 5)
                p2 = broadcast(theta, k, at + 6)
                p3 = broadcast(theta, k, at + 7)
                a1 = a1 + p1 * x
                b1 = b1 + p1 * y
                a2 = a2 + p2 * x
                b2 = b2 + p2 * y
                a3 = a3 + p3 * x
                b3 = b3 + p3 * y
                mean = broadcast(theta, k, 3 + 4 * tile)
                x = load(XT, 4 * tile + 2, b) - mean
                y = load(XT, 4 * tile + 2, b + width) - mean
                if 4 * tile + 2 < n_kept:
                    store(scratch, 0, 2 * (4 * tile + 2) * width, x)
                    store(scratch, 0, (2 * (4 * tile + 2) + 1) * width, y)
                p2 = broadcast(theta, k, at + 10)
                p3 = broadcast(theta, k, at + 11)
                a2 = a2 + p2 * x
                b2 = b2 + p2 * y
                a3 = a3 + p3 * x
                b3 = b3 + p3 * y
                mean = broadcast(theta, k, 4 + 4 * tile)
                x = load(XT, 4 * tile + 3, b) - mean
                y = load(XT, 4 * tile + 3, b + width) - mean
                if 4 * tile + 3 < n_kept:
                    store(scratch, 0, 2 * (4 * tile + 3) * width, x)
                    store(scratch, 0, (2 * (4 * tile + 3) + 1) * width, y)
                p3 = broadcast(theta, k, at + 15)
                a3 = a3 + p3 * x
                b3 = b3 + p3 * y
                at += 16
                square_a = square_a + a0 * a0 + a1 * a1 + (a2 * a2 + a3 * a3)
                square_b = square_b + b0 * b0 + b1 * b1 + (b2 * b2 + b3 * b3)
            for j in range(4 * n_tiles, n_features):
                mean = broadcast(theta, k, 1 + j)
                store(scratch, 0, 2 * j * width, load(XT, j, b) - mean)
                store(scratch, 0, (2 * j + 1) * width, load(XT, j, b + width) - mean)
                a0 = zero(XT)
                b0 = zero(XT)
                for i in range(j + 1):
                    p0 = broadcast(theta, k, at)
                    at += 1
                    a0 = a0 + p0 * load(scratch, 0, 2 * i * width)
                    b0 = b0 + p0 * load(scratch, 0, (2 * i + 1) * width)
                square_a = square_a + a0 * a0
                square_b = square_b + b0 * b0
            store(log_p, row, b, constant - square_a)
            store(log_p, row, b + width, constant - square_b)
        if n_evaluated > 0:
            if in_list > 0:
                write_entry(log_p, n_components, n_active, k)
            n_active += 1
    if common.shape[1] > 0:
        if in_list > 0:
            set_listed(log_p, n_active)
        note_active(log_p, n_components, n_active)


def _difference(XT, theta, k, i, b, place, scratch):
    """A vector of ``x - mean`` of feature ``i``, which is stored for later columns."""
    x = load(XT, i, b + place * lanes(XT)) - broadcast(theta, k, 1 + i)
    store(scratch, 0, (2 * i + place) * lanes(XT), x)
    return x


def tied_log_density(XT, n_rows, theta, common, scratch, log_p):
    """One covariance for all components: rows are whitened once, whatever the number of components.

    ``theta[k] = [constant, mean (D), (mean - centre) factor (D)]``, with the centre and the factor in ``common``. The
    centre is close to the data, so that the whitened difference cancels harmlessly.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    for strip in range(n_vectors(XT, n_rows) // 2):
        b = strip * 2 * width
        whiten(XT, b, common, 0, scratch)
        for k in range(theta.shape[0]):
            constant = broadcast(theta, k, 0)
            square_a = zero(XT)
            square_b = zero(XT)
            for j in range(n_features):
                mean = broadcast(theta, k, 1 + n_features + j)
                x = load(scratch, 1, 2 * j * width) - mean
                y = load(scratch, 1, (2 * j + 1) * width) - mean
                square_a = square_a + x * x
                square_b = square_b + y * y
            store(log_p, k, b, constant - square_a)
            store(log_p, k, b + width, constant - square_b)


def diag_log_density(XT, n_rows, theta, common, scratch, log_p):
    """Diagonal covariances: ``theta[k] = [constant, mean (D), factor (D)]``."""
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    n_tiles = n_features // 4
    # By a few components and tiles of features: the values of the ones and the other stay in the nearest cache.
    for group in range((n_components + 7) // 8):
        end = min(8 * group + 8, n_components)
        for tile in range(n_tiles):
            for k in range(8 * group, end):
                _subtract_four(XT, n_rows, theta, k, 4 * tile, log_p)
        for i in range(4 * n_tiles, n_features):
            for k in range(8 * group, end):
                _subtract_one(XT, n_rows, theta, k, i, log_p)


def _subtract_four(XT, n_rows, theta, k, i, log_p):
    """Subtract the squares of features ``i .. i + 3`` from ``log_p[k]``, which the first feature starts.

    Factors and means in their units stay in registers. ``x p - m p`` in one operation is ``(x - m) p`` of a mean that
    is rounded once more.
    """
    width = lanes(XT)
    at = 1 + XT.shape[0] + i
    constant = broadcast(theta, k, 0)
    p0 = broadcast(theta, k, at)
    p1 = broadcast(theta, k, at + 1)
    p2 = broadcast(theta, k, at + 2)
    p3 = broadcast(theta, k, at + 3)
    m0 = broadcast(theta, k, 1 + i) * p0
    m1 = broadcast(theta, k, 2 + i) * p1
    m2 = broadcast(theta, k, 3 + i) * p2
    m3 = broadcast(theta, k, 4 + i) * p3
    for v in range(n_vectors(XT, n_rows)):
        b = v * width
        value = constant
        if i > 0:
            value = load(log_p, k, b)
        x0 = load(XT, i, b) * p0 - m0
        x1 = load(XT, i + 1, b) * p1 - m1
        x2 = load(XT, i + 2, b) * p2 - m2
        x3 = load(XT, i + 3, b) * p3 - m3
        value = value - x0 * x0
        value = value - x1 * x1
        value = value - x2 * x2
        store(log_p, k, b, value - x3 * x3)


def _subtract_one(XT, n_rows, theta, k, i, log_p):
    """The same of feature ``i`` alone."""
    width = lanes(XT)
    constant = broadcast(theta, k, 0)
    factor = broadcast(theta, k, 1 + XT.shape[0] + i)
    mean = broadcast(theta, k, 1 + i) * factor
    for v in range(n_vectors(XT, n_rows)):
        value = constant
        if i > 0:
            value = load(log_p, k, v * width)
        x = load(XT, i, v * width) * factor - mean
        store(log_p, k, v * width, value - x * x)

"""Rows in the units of one covariance that all components share."""

from fastem.kernels.vectors import broadcast, lanes, load, store, zero


def whiten(XT, b, common, start, scratch):
    """``y = (x - centre) factor`` of the two vectors of rows from column ``b``, into ``scratch[1]`` from ``start`` on.

    ``common[0] = [centre (D), factor]`` with the factor packed by tiles as in ``full_log_density``. Feature ``j`` of
    the first vector stands at column ``start + 2 j width``, that of the second behind it.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    for i in range(n_features):
        centre = broadcast(common, 0, i)
        store(scratch, 0, 2 * i * width, load(XT, i, b) - centre)
        store(scratch, 0, (2 * i + 1) * width, load(XT, i, b + width) - centre)
    at = n_features
    for tile in range(n_features // 4):
        a0 = zero(XT)
        a1 = zero(XT)
        a2 = zero(XT)
        a3 = zero(XT)
        b0 = zero(XT)
        b1 = zero(XT)
        b2 = zero(XT)
        b3 = zero(XT)
        for i in range(4 * tile + 4):
            x = load(scratch, 0, 2 * i * width)
            y = load(scratch, 0, (2 * i + 1) * width)
            p0 = broadcast(common, 0, at)
            p1 = broadcast(common, 0, at + 1)
            p2 = broadcast(common, 0, at + 2)
            p3 = broadcast(common, 0, at + 3)
            at += 4
            a0 = a0 + p0 * x
            a1 = a1 + p1 * x
            a2 = a2 + p2 * x
            a3 = a3 + p3 * x
            b0 = b0 + p0 * y
            b1 = b1 + p1 * y
            b2 = b2 + p2 * y
            b3 = b3 + p3 * y
        out = start + 8 * tile * width
        store(scratch, 1, out, a0)
        store(scratch, 1, out + width, b0)
        store(scratch, 1, out + 2 * width, a1)
        store(scratch, 1, out + 3 * width, b1)
        store(scratch, 1, out + 4 * width, a2)
        store(scratch, 1, out + 5 * width, b2)
        store(scratch, 1, out + 6 * width, a3)
        store(scratch, 1, out + 7 * width, b3)
    for j in range(n_features // 4 * 4, n_features):
        a0 = zero(XT)
        b0 = zero(XT)
        for i in range(j + 1):
            p0 = broadcast(common, 0, at)
            at += 1
            a0 = a0 + p0 * load(scratch, 0, 2 * i * width)
            b0 = b0 + p0 * load(scratch, 0, (2 * i + 1) * width)
        store(scratch, 1, start + 2 * j * width, a0)
        store(scratch, 1, start + (2 * j + 1) * width, b0)

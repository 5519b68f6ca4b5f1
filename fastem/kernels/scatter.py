"""Weighted scatter matrices of a block: ``sum r d d'`` of one component, the costliest sum of EM.

Vectors of rows, for few features: the lanes hold rows, nothing is copied, and the accumulators' lanes are summed at the
end. Panels: the block lies by rows as in a matrix product, the lanes hold features, and nothing is left to sum.
"""

from fastem.kernels.vectors import (
    add_lane_sums,
    add_lanes,
    all_less,
    broadcast,
    fill,
    is_double,
    lane_sum,
    lanes,
    load,
    n_vectors,
    prefetch_near,
    prefetch_sums,
    square_root,
    store,
    truncate,
    where_less,
    wide,
    zero,
)


def few_features(is_wide):
    """Features up to which vectors of rows are quicker than panels, where most rows have a responsibility."""
    if is_wide:
        return 32
    return 4


def outermost_vector(n_rows, r, k, start, step):
    """Index of the first vector of rows, from ``start`` in steps of 1 or -1, of which a row has a responsibility."""
    width = lanes(r)
    least = _least(r)
    for i in range(n_vectors(r, n_rows)):
        v = start + i * step
        if not all_less(load(r, k, v * width), least):
            return v
    return start


def is_dense(first, end, r, k):
    """Whether half of the rows of these vectors, or more, have a responsibility."""
    width = lanes(r)
    none = zero(r)
    one = fill(none, 1.0)
    even = none
    odd = none
    for v in range(first, end - 1, 2):
        even = even + where_less(none, load(r, k, v * width), one, none)
        odd = odd + where_less(none, load(r, k, v * width + width), one, none)
    if (end - first) % 2 > 0:
        even = even + where_less(none, load(r, k, (end - 1) * width), one, none)
    return 2 * lane_sum(even + odd) >= (end - first) * width


def _least(array):
    """The smallest positive number."""
    least = fill(zero(array), 1e-45)
    if is_double(least):
        least = fill(zero(array), 5e-324)
    return least


def scatter_vectors(XT, first, end, r, theta, k, S):
    """Add ``[sum r d, sum r d d']`` of component ``k`` over the vectors ``first .. end - 1`` of rows.

    By tiles of 4 x 4 features. Differences are taken anew in each: to store them once took a tenth longer.
    """
    n_features = XT.shape[0]
    for tile in range((n_features + 3) // 4):
        _square(XT, first, end, r, theta, k, 4 * tile, S)
        for other in range(tile + 1, (n_features + 3) // 4):
            _rectangle(XT, first, end, r, theta, k, 4 * tile, 4 * other, S)


def _square(XT, first, end, r, theta, k, i, S):
    """Features ``i .. i + 3`` with each other, and their first moments; those beyond the last repeat it."""
    width = lanes(XT)
    n_features = XT.shape[0]
    last = n_features - 1
    i1 = min(i + 1, last)
    i2 = min(i + 2, last)
    i3 = min(i + 3, last)
    m0 = broadcast(theta, k, 1 + i)
    m1 = broadcast(theta, k, 1 + i1)
    m2 = broadcast(theta, k, 1 + i2)
    m3 = broadcast(theta, k, 1 + i3)
    f0 = zero(XT)
    f1 = zero(XT)
    f2 = zero(XT)
    f3 = zero(XT)
    s00 = zero(XT)
    s01 = zero(XT)
    s02 = zero(XT)
    s03 = zero(XT)
    s11 = zero(XT)
    s12 = zero(XT)
    s13 = zero(XT)
    s22 = zero(XT)
    s23 = zero(XT)
    s33 = zero(XT)
    for v in range(first, end):
        b = v * width
        weight = load(r, k, b)
        x0 = load(XT, i, b) - m0
        x1 = load(XT, i1, b) - m1
        x2 = load(XT, i2, b) - m2
        x3 = load(XT, i3, b) - m3
        rx = weight * x0
        f0 = f0 + rx
        s00 = s00 + rx * x0
        s01 = s01 + rx * x1
        s02 = s02 + rx * x2
        s03 = s03 + rx * x3
        rx = weight * x1
        f1 = f1 + rx
        s11 = s11 + rx * x1
        s12 = s12 + rx * x2
        s13 = s13 + rx * x3
        rx = weight * x2
        f2 = f2 + rx
        s22 = s22 + rx * x2
        s23 = s23 + rx * x3
        rx = weight * x3
        f3 = f3 + rx
        s33 = s33 + rx * x3
    _add_sums(n_features, k, 1, i, f0, f1, f2, f3, S)
    at = 1 + n_features + i * n_features
    _add_sums(n_features, k, at, i, s00, s01, s02, s03, S)
    if i + 1 < n_features:
        _add_sums(n_features, k, at + n_features, i, s01, s11, s12, s13, S)
    if i + 2 < n_features:
        _add_sums(n_features, k, at + 2 * n_features, i, s02, s12, s22, s23, S)
    if i + 3 < n_features:
        _add_sums(n_features, k, at + 3 * n_features, i, s03, s13, s23, s33, S)


def _rectangle(XT, first, end, r, theta, k, i, j, S):
    """Features ``i .. i + 3``, which all exist, with ``j .. j + 3``."""
    width = lanes(XT)
    n_features = XT.shape[0]
    j1 = min(j + 1, n_features - 1)
    j2 = min(j + 2, n_features - 1)
    j3 = min(j + 3, n_features - 1)
    n0 = broadcast(theta, k, 1 + j)
    n1 = broadcast(theta, k, 1 + j1)
    n2 = broadcast(theta, k, 1 + j2)
    n3 = broadcast(theta, k, 1 + j3)
    m0 = broadcast(theta, k, 1 + i)
    m1 = broadcast(theta, k, 2 + i)
    m2 = broadcast(theta, k, 3 + i)
    m3 = broadcast(theta, k, 4 + i)
    s00 = zero(XT)
    s01 = zero(XT)
    s02 = zero(XT)
    s03 = zero(XT)
    s10 = zero(XT)
    s11 = zero(XT)
    s12 = zero(XT)
    s13 = zero(XT)
    s20 = zero(XT)
    s21 = zero(XT)
    s22 = zero(XT)
    s23 = zero(XT)
    s30 = zero(XT)
    s31 = zero(XT)
    s32 = zero(XT)
    s33 = zero(XT)
    for v in range(first, end):
        b = v * width
        weight = load(r, k, b)
        y0 = load(XT, j, b) - n0
        y1 = load(XT, j1, b) - n1
        y2 = load(XT, j2, b) - n2
        y3 = load(XT, j3, b) - n3
        rx = weight * (load(XT, i, b) - m0)
        s00 = s00 + rx * y0
        s01 = s01 + rx * y1
        s02 = s02 + rx * y2
        s03 = s03 + rx * y3
        rx = weight * (load(XT, i + 1, b) - m1)
        s10 = s10 + rx * y0
        s11 = s11 + rx * y1
        s12 = s12 + rx * y2
        s13 = s13 + rx * y3
        rx = weight * (load(XT, i + 2, b) - m2)
        s20 = s20 + rx * y0
        s21 = s21 + rx * y1
        s22 = s22 + rx * y2
        s23 = s23 + rx * y3
        rx = weight * (load(XT, i + 3, b) - m3)
        s30 = s30 + rx * y0
        s31 = s31 + rx * y1
        s32 = s32 + rx * y2
        s33 = s33 + rx * y3
    at = 1 + n_features + i * n_features
    _add_sums(n_features, k, at, j, s00, s01, s02, s03, S)
    _add_sums(n_features, k, at + n_features, j, s10, s11, s12, s13, S)
    _add_sums(n_features, k, at + 2 * n_features, j, s20, s21, s22, s23, S)
    _add_sums(n_features, k, at + 3 * n_features, j, s30, s31, s32, s33, S)


def _add_sums(n_features, k, start, j, a, b, c, d, S):
    """Add lane sums to ``S[k, start + j .. start + j + 3]``, those that are features."""
    at = start + j
    if j + 4 <= n_features:
        add_lane_sums(S, k, at, a, b, c, d)
    else:
        S[k, at] += lane_sum(a)
        if j + 1 < n_features:
            S[k, at + 1] += lane_sum(b)
        if j + 2 < n_features:
            S[k, at + 2] += lane_sum(c)


def _panel_width(array):
    """Features of a panel, at least the 8 that a tile is high."""
    width = lanes(array)
    if width > 8:
        return width
    return 8


def rows_to_panels(XT, n_rows, scratch):
    """The block by rows into ``scratch[0]``: panels of some features each, in which a row's stand side by side."""
    n_features = XT.shape[0]
    panel = _panel_width(XT)
    n_panels = (n_features + panel - 1) // panel
    for i in range(n_panels * panel):
        at = i // panel * panel * XT.shape[1] + i % panel
        if i < n_features:
            for b in range(n_rows):
                scratch[0, at + b * panel] = XT[i, b]
        else:
            for b in range(n_rows):
                scratch[0, at + b * panel] = 0


def scatter_panels(n_features, block, n_rows, r, theta, k, scratch, S):
    """Add ``[sum r d, sum r d d']`` of component ``k`` from the panels ``scratch[0]``.

    As products of ``sqrt(r) d`` with itself: a copy that is multiplied with another one is twice as much to read. Rows
    without responsibility are left out when ``scratch[1]`` is filled with it: what follows takes as long as there are
    rows that count.
    """
    width = lanes(scratch)
    panel = _panel_width(scratch)
    n_panels = (n_features + panel - 1) // panel
    end = scratch.shape[1] - width
    chosen = end - n_vectors(scratch, n_rows) * width
    n = _choose_rows(n_rows, panel, r, k, chosen, scratch)
    for v in range(n_panels * panel // width):
        at = _vector_at(v, panel, block, scratch)
        if (v + 1) * width <= n_features:
            m = load(theta, k, 1 + v * width)
        else:
            store(scratch, 0, end, zero(scratch))
            for lane in range(n_features - v * width):
                scratch[0, end + lane] = theta[k, 1 + v * width + lane]
            m = load(scratch, 0, end)
        if n == n_rows:
            for b in range(n):
                x = load(scratch, 0, at + b * panel) - m
                store(scratch, 1, at + b * panel, broadcast(scratch, 2, chosen + b) * x)
        else:
            for b in range(n):
                x = load(scratch, 0, at + truncate(scratch[1, chosen + b])) - m
                store(scratch, 1, at + b * panel, broadcast(scratch, 2, chosen + b) * x)
        _add_first(n, panel, at, chosen, n_features, k, v * width, scratch, S)
    n_columns = (n_features + width - 1) // width
    for tile in range((n_features + 7) // 8):
        i = 8 * tile
        at_r = i // panel * panel * block + i % panel
        v = i // width
        # With 16 vector registers two columns of 8 accumulators would go through memory.
        n_pairs = 0
        if wide(scratch):
            n_pairs = (n_columns - v) // 2
        for pair in range(n_pairs):
            left = v + 2 * pair
            at_x = _vector_at(left, panel, block, scratch)
            at_y = _vector_at(left + 1, panel, block, scratch)
            _tile_8x2(n, panel, at_r, at_x, at_y, n_features, k, i, left * width, scratch, S)
        for column in range(v + 2 * n_pairs, n_columns):
            at_x = _vector_at(column, panel, block, scratch)
            _tile_8x1(n, panel, at_r, at_x, n_features, k, i, column * width, scratch, S)


def _choose_rows(n_rows, panel, r, k, chosen, scratch):
    """Count the rows with a responsibility; their places in a panel into ``scratch[1]``, its roots into ``scratch[2]``.

    No places are written where all rows have one.
    """
    width = lanes(r)
    count = n_vectors(r, n_rows)
    n_full = 0
    for v in range(n_rows // width):
        if all_less(zero(r), load(r, k, v * width)):
            n_full += 1
    if n_full * width == n_rows:
        for b in range(n_rows):
            scratch[2, chosen + b] = square_root(r[k, b])
        return n_rows
    least = _least(r)
    n = 0
    for v in range(count):
        if all_less(load(r, k, v * width), least):
            continue
        for b in range(v * width, min((v + 1) * width, n_rows)):
            if r[k, b] != 0:
                scratch[1, chosen + n] = b * panel
                scratch[2, chosen + n] = square_root(r[k, b])
                n += 1
    return n


def _vector_at(v, panel, block, scratch):
    """Where the ``v``-th vector of a row stands in the panels, for the first row."""
    at = v * lanes(scratch)
    return at // panel * panel * block + at % panel


def _add_first(n, panel, at, roots, n_features, k, j, scratch, S):
    """Add ``sum r d`` of one vector of features; four sums, since a single one would wait for the adder."""
    a = zero(scratch)
    b = zero(scratch)
    c = zero(scratch)
    d = zero(scratch)
    for group in range(n // 4):
        row = 4 * group
        a = a + broadcast(scratch, 2, roots + row) * load(scratch, 1, at + row * panel)
        b = b + broadcast(scratch, 2, roots + row + 1) * load(scratch, 1, at + (row + 1) * panel)
        c = c + broadcast(scratch, 2, roots + row + 2) * load(scratch, 1, at + (row + 2) * panel)
        d = d + broadcast(scratch, 2, roots + row + 3) * load(scratch, 1, at + (row + 3) * panel)
    for row in range(n // 4 * 4, n):
        a = a + broadcast(scratch, 2, roots + row) * load(scratch, 1, at + row * panel)
    _add_lanes(n_features, k, 1, j, (a + b) + (c + d), scratch, S)


def _tile_8x2(n, panel, at_r, at_x, at_y, n_features, k, i, j, scratch, S):
    """Add ``sum r d_i d_j`` of 8 features ``i`` and two vectors of features ``j``."""
    width = lanes(scratch)
    a0 = zero(scratch)
    b0 = zero(scratch)
    a1 = zero(scratch)
    b1 = zero(scratch)
    a2 = zero(scratch)
    b2 = zero(scratch)
    a3 = zero(scratch)
    b3 = zero(scratch)
    a4 = zero(scratch)
    b4 = zero(scratch)
    a5 = zero(scratch)
    b5 = zero(scratch)
    a6 = zero(scratch)
    b6 = zero(scratch)
    a7 = zero(scratch)
    b7 = zero(scratch)
    _prefetch_sums(n_features, k, i, j, 2 * width, S)
    for b in range(n):
        x = load(scratch, 1, at_x + b * panel)
        y = load(scratch, 1, at_y + b * panel)
        # Beside another thread on the core the panels come from the second cache.
        prefetch_near(scratch, 1, at_x + (b + 8) * panel)
        prefetch_near(scratch, 1, at_y + (b + 8) * panel)
        at = at_r + b * panel
        r = broadcast(scratch, 1, at)
        a0 = a0 + r * x
        b0 = b0 + r * y
        r = broadcast(scratch, 1, at + 1)
        a1 = a1 + r * x
        b1 = b1 + r * y
        r = broadcast(scratch, 1, at + 2)
        a2 = a2 + r * x
        b2 = b2 + r * y
        r = broadcast(scratch, 1, at + 3)
        a3 = a3 + r * x
        b3 = b3 + r * y
        r = broadcast(scratch, 1, at + 4)
        a4 = a4 + r * x
        b4 = b4 + r * y
        r = broadcast(scratch, 1, at + 5)
        a5 = a5 + r * x
        b5 = b5 + r * y
        r = broadcast(scratch, 1, at + 6)
        a6 = a6 + r * x
        b6 = b6 + r * y
        r = broadcast(scratch, 1, at + 7)
        a7 = a7 + r * x
        b7 = b7 + r * y
    if i + 8 <= n_features and j + 2 * width <= n_features:
        # Calls would pass the accumulators through memory.
        at = 1 + n_features + i * n_features + j
        add_lanes(S, k, at, a0)
        add_lanes(S, k, at + width, b0)
        at += n_features
        add_lanes(S, k, at, a1)
        add_lanes(S, k, at + width, b1)
        at += n_features
        add_lanes(S, k, at, a2)
        add_lanes(S, k, at + width, b2)
        at += n_features
        add_lanes(S, k, at, a3)
        add_lanes(S, k, at + width, b3)
        at += n_features
        add_lanes(S, k, at, a4)
        add_lanes(S, k, at + width, b4)
        at += n_features
        add_lanes(S, k, at, a5)
        add_lanes(S, k, at + width, b5)
        at += n_features
        add_lanes(S, k, at, a6)
        add_lanes(S, k, at + width, b6)
        at += n_features
        add_lanes(S, k, at, a7)
        add_lanes(S, k, at + width, b7)
    else:
        _add_eight(n_features, k, i, j, a0, a1, a2, a3, a4, a5, a6, a7, scratch, S)
        _add_eight(n_features, k, i, j + width, b0, b1, b2, b3, b4, b5, b6, b7, scratch, S)


def _prefetch_sums(n_features, k, i, j, n_columns, S):
    """Have the sums of a tile read while it is at work: those of all components do not fit the second cache."""
    end = S.shape[1] - 1
    for row in range(i, min(i + 8, n_features)):
        start = 1 + n_features + row * n_features + j
        for column in range(0, n_columns, 8):
            prefetch_sums(S, k, min(start + column, end))
        prefetch_sums(S, k, min(start + n_columns - 1, end))


def _tile_8x1(n, panel, at_r, at_x, n_features, k, i, j, scratch, S):
    """The same of one vector of features ``j``."""
    a0 = zero(scratch)
    a1 = zero(scratch)
    a2 = zero(scratch)
    a3 = zero(scratch)
    a4 = zero(scratch)
    a5 = zero(scratch)
    a6 = zero(scratch)
    a7 = zero(scratch)
    for b in range(n):
        x = load(scratch, 1, at_x + b * panel)
        at = at_r + b * panel
        r = broadcast(scratch, 1, at)
        a0 = a0 + r * x
        r = broadcast(scratch, 1, at + 1)
        a1 = a1 + r * x
        r = broadcast(scratch, 1, at + 2)
        a2 = a2 + r * x
        r = broadcast(scratch, 1, at + 3)
        a3 = a3 + r * x
        r = broadcast(scratch, 1, at + 4)
        a4 = a4 + r * x
        r = broadcast(scratch, 1, at + 5)
        a5 = a5 + r * x
        r = broadcast(scratch, 1, at + 6)
        a6 = a6 + r * x
        r = broadcast(scratch, 1, at + 7)
        a7 = a7 + r * x
    _add_eight(n_features, k, i, j, a0, a1, a2, a3, a4, a5, a6, a7, scratch, S)


def _add_eight(n_features, k, i, j, a, b, c, d, e, f, g, h, scratch, S):
    """Add the accumulators of a column of a tile, those of features ``i .. i + 7`` that exist."""
    start = 1 + n_features + i * n_features
    if i + 8 <= n_features and j + lanes(scratch) <= n_features:
        at = start + j
        add_lanes(S, k, at, a)
        add_lanes(S, k, at + n_features, b)
        add_lanes(S, k, at + 2 * n_features, c)
        add_lanes(S, k, at + 3 * n_features, d)
        add_lanes(S, k, at + 4 * n_features, e)
        add_lanes(S, k, at + 5 * n_features, f)
        add_lanes(S, k, at + 6 * n_features, g)
        add_lanes(S, k, at + 7 * n_features, h)
    else:
        _add_lanes(n_features, k, start, j, a, scratch, S)
        if i + 1 < n_features:
            _add_lanes(n_features, k, start + n_features, j, b, scratch, S)
        if i + 2 < n_features:
            _add_lanes(n_features, k, start + 2 * n_features, j, c, scratch, S)
        if i + 3 < n_features:
            _add_lanes(n_features, k, start + 3 * n_features, j, d, scratch, S)
        if i + 4 < n_features:
            _add_lanes(n_features, k, start + 4 * n_features, j, e, scratch, S)
        if i + 5 < n_features:
            _add_lanes(n_features, k, start + 5 * n_features, j, f, scratch, S)
        if i + 6 < n_features:
            _add_lanes(n_features, k, start + 6 * n_features, j, g, scratch, S)
        if i + 7 < n_features:
            _add_lanes(n_features, k, start + 7 * n_features, j, h, scratch, S)


def _add_lanes(n_features, k, start, j, values, scratch, S):
    """Add lanes to ``S[k, start + j ...]``, those that are features."""
    if j + lanes(scratch) <= n_features:
        add_lanes(S, k, start + j, values)
    else:
        end = scratch.shape[1] - lanes(scratch)
        store(scratch, 0, end, values)
        for lane in range(n_features - j):
            S[k, start + j + lane] += scratch[0, end + lane]

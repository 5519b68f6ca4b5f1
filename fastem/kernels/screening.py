"""Which components can matter to which rows, at a fraction of the densities' cost.

In the units of one covariance ``C`` that all components share, a component's quadratic form lies between two multiples
of a plain squared distance: where ``lower C^-1 <= covariance_k^-1 <= upper C^-1``,
``lower |y - c_k|^2 <= |(x - mean_k) factor_k|^2 <= upper |y - c_k|^2``.

A block's rows lie around their mean, which tells most components to be too far from all of them; the others' bounds are
those of each row.

Distances here are the expanded ``|y|^2 - 2 y c + |c|^2``, of one multiply-add a feature. They decide what need not be
computed and enter no result, and the bounds leave room for their cancellation.
"""

from fastem.kernels.shortlist import list_all, listed, n_listed, read_entry, set_listed, shortens, write_entry
from fastem.kernels.vectors import (
    broadcast,
    fill,
    lane_sum,
    lanes,
    load,
    maximum,
    n_vectors,
    square_root,
    store,
    where_less,
    zero,
)
from fastem.kernels.whitening import whiten


def screen(XT, n_rows, theta, common, scratch, log_p):
    """Upper bounds of all weighted log-densities into ``log_p``; what they must reach to matter into ``scratch[2]``.

    The end of ``theta[k]`` is ``[lower, upper, floor, |c_k|^2, -2 c_k (D)]``, that of ``common`` ``[keep, room]``: a
    squared distance, its terms without the product times ``keep``, is not too large, and ``room |y|^2`` more, of which
    the part of ``c_k`` is already in the constant ``floor``, not too small. A component whose upper bound is 52 below
    another's lower bound has a responsibility of exactly 0 (the exponential is 0 below -50), so that its density need
    not be known.
    """
    width = lanes(XT)
    n_features = XT.shape[0]
    n_components = theta.shape[0]
    first = theta.shape[1] - n_features
    n_strips = n_vectors(XT, n_rows) // 2
    for strip in range(n_strips):
        whiten(XT, strip * 2 * width, common, strip * 2 * width * n_features, scratch)
    if shortens(log_p, n_components):
        _list_near(n_strips, n_features, theta, common, scratch, log_p)
    elif n_listed(log_p, n_components) < n_components:
        list_all(log_p, n_components)
    n_left = n_listed(log_p, n_components)
    for strip in range(n_strips):
        b = strip * 2 * width
        start = b * n_features
        a0 = zero(XT)
        b0 = zero(XT)
        for j in range(n_features):
            x = load(scratch, 1, start + 2 * j * width)
            y = load(scratch, 1, start + (2 * j + 1) * width)
            a0 = a0 + x * x
            b0 = b0 + y * y
        keep = broadcast(common, 0, common.shape[1] - 2)
        room = broadcast(common, 0, common.shape[1] - 1)
        square_a = a0 * keep
        square_b = b0 * keep
        room_a = a0 * room
        room_b = b0 * room
        best_a = fill(zero(XT), -3e38)
        best_b = best_a
        for group in range(n_left // 4):
            k0 = listed(log_p, n_components, 4 * group)
            k1 = listed(log_p, n_components, 4 * group + 1)
            k2 = listed(log_p, n_components, 4 * group + 2)
            k3 = listed(log_p, n_components, 4 * group + 3)
            c = broadcast(theta, k0, first - 1)
            a0 = square_a + c
            b0 = square_b + c
            c = broadcast(theta, k1, first - 1)
            a1 = square_a + c
            b1 = square_b + c
            c = broadcast(theta, k2, first - 1)
            a2 = square_a + c
            b2 = square_b + c
            c = broadcast(theta, k3, first - 1)
            a3 = square_a + c
            b3 = square_b + c
            at = first
            for j in range(n_features):
                x = load(scratch, 1, start + 2 * j * width)
                y = load(scratch, 1, start + (2 * j + 1) * width)
                c = broadcast(theta, k0, at)
                a0 = a0 + c * x
                b0 = b0 + c * y
                c = broadcast(theta, k1, at)
                a1 = a1 + c * x
                b1 = b1 + c * y
                c = broadcast(theta, k2, at)
                a2 = a2 + c * x
                b2 = b2 + c * y
                c = broadcast(theta, k3, at)
                a3 = a3 + c * x
                b3 = b3 + c * y
                at += 1
            best_a = maximum(best_a, _bounds(n_features, theta, k0, a0, room_a, 4 * group, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k0, b0, room_b, 4 * group, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k1, a1, room_a, 4 * group + 1, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k1, b1, room_b, 4 * group + 1, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k2, a2, room_a, 4 * group + 2, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k2, b2, room_b, 4 * group + 2, b + width, log_p))
            best_a = maximum(best_a, _bounds(n_features, theta, k3, a3, room_a, 4 * group + 3, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k3, b3, room_b, 4 * group + 3, b + width, log_p))
        for index in range(n_left // 4 * 4, n_left):
            k = listed(log_p, n_components, index)
            c = broadcast(theta, k, first - 1)
            a0 = square_a + c
            b0 = square_b + c
            for j in range(n_features):
                c = broadcast(theta, k, first + j)
                a0 = a0 + c * load(scratch, 1, start + 2 * j * width)
                b0 = b0 + c * load(scratch, 1, start + (2 * j + 1) * width)
            best_a = maximum(best_a, _bounds(n_features, theta, k, a0, room_a, index, b, log_p))
            best_b = maximum(best_b, _bounds(n_features, theta, k, b0, room_b, index, b + width, log_p))
        store(scratch, 2, b, _threshold(best_a))
        store(scratch, 2, b + width, _threshold(best_b))


def _list_near(n_strips, n_features, theta, common, scratch, log_p):
    """List the components that are near enough to the whitened rows ``scratch[1]``, taken together.

    All rows are within some distance of their mean, so that a component's distance from it bounds those from all rows.
    """
    width = lanes(scratch)
    n_components = theta.shape[0]
    block = log_p.shape[1]
    first = theta.shape[1] - n_features
    size = 0.0
    for j in range(n_features):
        a = zero(scratch)
        b = zero(scratch)
        for strip in range(n_strips):
            a = a + load(scratch, 1, (strip * n_features + j) * 2 * width)
            b = b + load(scratch, 1, (strip * n_features + j) * 2 * width + width)
        scratch[2, block + j] = lane_sum(a + b) / (2 * width * n_strips)
        size += scratch[2, block + j] * scratch[2, block + j]
    farthest = zero(scratch)
    for strip in range(n_strips):
        a = zero(scratch)
        b = zero(scratch)
        for j in range(n_features):
            mean = broadcast(scratch, 2, block + j)
            x = load(scratch, 1, (strip * n_features + j) * 2 * width) - mean
            y = load(scratch, 1, (strip * n_features + j) * 2 * width + width) - mean
            a = a + x * x
            b = b + y * y
        farthest = maximum(farthest, maximum(a, b))
    store(scratch, 2, 0, farthest)
    radius = 0.0
    for lane in range(width):
        if scratch[2, lane] > radius:
            radius = scratch[2, lane]
    keep = common[0, common.shape[1] - 2]
    room = common[0, common.shape[1] - 1]
    radius = square_root(radius) * (1 + room)
    size = size * keep
    best = -3e38
    _multiply_mean(n_features, theta, scratch, log_p)
    for k in range(n_components):
        square = size + theta[k, first - 1] + read_entry(log_p, n_components, k)
        off = room * (size + theta[k, first - 1])
        near = 0.0
        if square > 0:
            near = square_root(square) - radius
            if near < 0:
                near = 0.0
        elif square <= 0:
            square = 0.0
        far = square_root(square + 2 * off) + radius
        lowest = theta[k, 0] - theta[k, first - 3] * far * far
        if lowest > best:
            best = lowest
        write_entry(log_p, n_components, k, theta[k, 0] - theta[k, first - 4] * near * near)
    count = 0
    for k in range(n_components):
        # NaN rules nothing out, nor do squares that overflow.
        if best < -1e37 or not read_entry(log_p, n_components, k) < best - 52:
            write_entry(log_p, n_components, count, k)
            count += 1
    set_listed(log_p, count)


def _multiply_mean(n_features, theta, scratch, log_p):
    """``-2 c_k`` times the mean of the rows behind the block's ``scratch[2]``, in place of the list."""
    n_components = theta.shape[0]
    block = log_p.shape[1]
    first = theta.shape[1] - n_features
    # Four sums that do not wait for each other.
    for group in range(n_components // 4):
        k = 4 * group
        a = 0.0
        b = 0.0
        c = 0.0
        d = 0.0
        for j in range(n_features):
            mean = scratch[2, block + j]
            a += theta[k, first + j] * mean
            b += theta[k + 1, first + j] * mean
            c += theta[k + 2, first + j] * mean
            d += theta[k + 3, first + j] * mean
        write_entry(log_p, n_components, k, a)
        write_entry(log_p, n_components, k + 1, b)
        write_entry(log_p, n_components, k + 2, c)
        write_entry(log_p, n_components, k + 3, d)
    for k in range(n_components // 4 * 4, n_components):
        a = 0.0
        for j in range(n_features):
            a += theta[k, first + j] * scratch[2, block + j]
        write_entry(log_p, n_components, k, a)


def _bounds(n_features, theta, k, square, room, row, b, log_p):
    """Upper bound of component ``k`` into a row of ``log_p``; returns the lower one."""
    at = theta.shape[1] - n_features - 4
    store(log_p, row, b, broadcast(theta, k, 0) - broadcast(theta, k, at) * square)
    return broadcast(theta, k, at + 2) - broadcast(theta, k, at + 1) * (square + room)


def _threshold(best):
    """52 below the best lower bound; lower than anything where squares overflow."""
    lowest = fill(best, -3e38)
    return where_less(best, fill(best, -1e37), lowest + lowest, best - fill(best, 52.0))

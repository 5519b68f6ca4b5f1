"""A pass over a panel of rows, block by block: the part that every family shares."""

from fastem.kernels.elementary import exp_nonpositive, log_positive
from fastem.kernels.shortlist import list_all, n_listed, note_active, spread
from fastem.kernels.vectors import (
    all_less,
    fill,
    lane_sum,
    lanes,
    load,
    load_rows,
    maximum,
    n_vectors,
    prefetch,
    side_by_side,
    store,
    transpose,
    transpose_chosen,
    truncate,
    where_less,
    zero,
)


def load_block(X, start, n_rows, XT):
    """Transpose rows ``start .. start + n_rows`` of ``X``, in any memory order, into ``XT[D, B]``.

    The last row is repeated up to whole vectors: padding stays as finite as the data.
    """
    height = lanes(XT)
    width = (height + 1) // 2
    n_features = XT.shape[0]
    for v in range(n_rows // height):
        b = v * height
        _prefetch_rows(X, start + XT.shape[1] + b, height)
        if _by_tiles(X, XT):
            for tile in range(n_features // width):
                transpose(X, start + b, tile * width, XT, b)
            if n_features % width > 0:
                transpose(X, start + b, n_features - width, XT, b)
        else:
            for i in range(n_features):
                store(XT, i, b, load_rows(X, start + b, i))
    for b in range(n_rows // height * height, n_rows):
        for i in range(n_features):
            XT[i, b] = X[start + b, i]
    _repeat_last(n_rows, XT)


def gather_block(X, order, panel, start, n_rows, XT):
    """The same of the rows ``panel + order[start] .. panel + order[start + n_rows - 1]``."""
    height = lanes(XT)
    width = (height + 1) // 2
    n_features = XT.shape[0]
    n_whole = 0
    if _by_tiles(X, XT):
        n_whole = n_rows // height * height
    for v in range(n_whole // height):
        b = v * height
        _prefetch_chosen(X, order, panel, start + XT.shape[1] + b, height)
        for tile in range(n_features // width):
            transpose_chosen(X, order, panel, start + b, tile * width, XT, b)
        if n_features % width > 0:
            transpose_chosen(X, order, panel, start + b, n_features - width, XT, b)
    for b in range(n_whole, n_rows):
        row = panel + order[start + b]
        for i in range(n_features):
            XT[i, b] = X[row, i]
    _repeat_last(n_rows, XT)


def _by_tiles(X, XT):
    """Whether rows are transposed by tiles, half as long as value by value."""
    height = lanes(XT)
    return height > 1 and XT.shape[0] >= height // 2 and side_by_side(X)


def _prefetch_rows(X, start, n_rows):
    """Have rows of the next block read into the cache while this one is at work."""
    # Short rows share a cache line. Counted without a division, which would take as long as a few rows do.
    shift = 0
    for larger in range(1, 4):
        if X.shape[1] << larger <= 8:
            shift = larger
    for index in range((min(n_rows, X.shape[0] - start) + (1 << shift) - 1) >> shift):
        for i in range(0, X.shape[1], 8):
            prefetch(X, start + (index << shift), i)


def _prefetch_chosen(X, order, panel, start, n_rows):
    """The same of the rows of the next block that ``order`` says."""
    for index in range(start, min(start + n_rows, order.shape[0])):
        row = panel + order[index]
        # Behind the panel's end the order counts from another row.
        if row < 0 or row >= X.shape[0]:
            continue
        for i in range(0, X.shape[1], 8):
            prefetch(X, row, i)


def _repeat_last(n_rows, XT):
    for i in range(XT.shape[0]):
        for b in range(n_rows, n_vectors(XT, n_rows) * lanes(XT)):
            XT[i, b] = XT[i, n_rows - 1]


def load_weights(sample_weight, start, n_rows, rows):
    """Weights of the block's rows into ``rows[0]``, all 1 where ``sample_weight`` is empty; padding weighs 0."""
    padded = n_vectors(rows, n_rows) * lanes(rows)
    if sample_weight.shape[0] == 0:
        for b in range(n_rows):
            rows[0, b] = 1
    else:
        for b in range(n_rows):
            rows[0, b] = sample_weight[start + b]
    for b in range(n_rows, padded):
        rows[0, b] = 0


def gather_weights(sample_weight, order, panel, start, n_rows, rows):
    """The same in the order of ``gather_block``; ``sample_weight`` is not empty."""
    for b in range(n_rows):
        rows[0, b] = sample_weight[panel + order[start + b]]
    for b in range(n_rows, n_vectors(rows, n_rows) * lanes(rows)):
        rows[0, b] = 0


def unit_weights(n_rows, rows):
    """Weight 1 for each of the block's rows into ``rows[0]``."""
    width = lanes(rows)
    for v in range(n_vectors(rows, n_rows)):
        store(rows, 0, v * width, fill(zero(rows), 1.0))


def load_responsibilities(given, start, n_rows, rows, log_p):
    """Given responsibilities, times the rows' weights, into ``log_p[K, B]``."""
    padded = n_vectors(rows, n_rows) * lanes(rows)
    for k in range(given.shape[1]):
        for b in range(n_rows):
            log_p[k, b] = given[start + b, k] * rows[0, b]
        for b in range(n_rows, padded):
            log_p[k, b] = 0


def posterior(log_p, n_rows, rows):
    """Turn weighted log-densities ``log_p[K, B]`` into responsibilities times the weights ``rows[0]``, in place.

    Writes each row's log-likelihood into ``rows[1]`` and returns their weighted sum; ``rows[2]`` is working memory.
    """
    return _posterior(log_p, log_p.shape[0], n_rows, rows)


def _posterior(log_p, n_components, n_rows, rows):
    """The same of the components in the first rows of ``log_p``."""
    width = lanes(log_p)
    for pair in range(n_vectors(log_p, n_rows) // 2):
        _normalise(log_p, n_components, 2 * pair * width, rows)
    total = 0.0
    # A loop of its own: the steps of a logarithm wait for each other, and those of several rows do not.
    for pair in range(n_vectors(log_p, n_rows) // 2):
        b = 2 * pair * width
        log_norm_a = load(rows, 2, b) + log_positive(load(rows, 1, b))
        log_norm_b = load(rows, 2, b + width) + log_positive(load(rows, 1, b + width))
        store(rows, 1, b, log_norm_a)
        store(rows, 1, b + width, log_norm_b)
        total += lane_sum(load(rows, 0, b) * log_norm_a + load(rows, 0, b + width) * log_norm_b)
    return total


def _normalise(log_p, n_components, b, rows):
    """Responsibilities of the two vectors of rows from ``b``; ``rows[1]`` becomes a row's norm, ``rows[2]`` its top."""
    width = lanes(log_p)
    top_a = load(log_p, 0, b)
    top_b = load(log_p, 0, b + width)
    for k in range(1, n_components):
        top_a = maximum(top_a, load(log_p, k, b))
        top_b = maximum(top_b, load(log_p, k, b + width))
    norm_a = zero(log_p)
    norm_b = norm_a
    lowest = fill(top_a, -50.0)
    for k in range(n_components):
        p = load(log_p, k, b) - top_a
        q = load(log_p, k, b + width) - top_b
        if all_less(p, lowest) and all_less(q, lowest):
            store(log_p, k, b, zero(log_p))
            store(log_p, k, b + width, zero(log_p))
        else:
            p = exp_nonpositive(p)
            q = exp_nonpositive(q)
            store(log_p, k, b, p)
            store(log_p, k, b + width, q)
            norm_a = norm_a + p
            norm_b = norm_b + q
    store(rows, 1, b, norm_a)
    store(rows, 1, b + width, norm_b)
    store(rows, 2, b, top_a)
    store(rows, 2, b + width, top_b)
    scale_a = load(rows, 0, b) / norm_a
    scale_b = load(rows, 0, b + width) / norm_b
    for k in range(n_components):
        store(log_p, k, b, load(log_p, k, b) * scale_a)
        store(log_p, k, b + width, load(log_p, k, b + width) * scale_b)


def likeliest(log_p, n_rows, rows):
    """Index of each row's component of largest ``log_p[K, B]``, the first of equals, into ``rows[0]``."""
    width = lanes(log_p)
    for v in range(n_vectors(log_p, n_rows)):
        b = v * width
        top = load(log_p, 0, b)
        index = zero(log_p)
        one = fill(top, 1.0)
        component = zero(log_p)
        for k in range(1, log_p.shape[0]):
            component = component + one
            candidate = load(log_p, k, b)
            index = where_less(top, candidate, component, index)
            top = maximum(top, candidate)
        store(rows, 0, b, index)


def accumulate_panel(
    log_density, accumulate, X, sample_weight, given, order, start, stop, theta, common, XT, log_p, rows, scratch, S
):
    """E-step over rows ``start .. stop``: write their moments into ``S`` and return their weighted log-likelihood.

    Responsibilities are the posterior, or ``given[n_rows, K]`` where that is not empty. Where ``order`` is not empty it
    says which row of ``X``, counted from ``start``, takes the place of each.
    """
    block = XT.shape[1]
    n_components = theta.shape[0]
    total = 0.0
    list_all(log_p, n_components)
    note_active(log_p, n_components, 0)
    for k in range(S.shape[0]):
        for q in range(S.shape[1]):
            S[k, q] = 0
    for index in range((stop - start + block - 1) // block):
        first = start + index * block
        n_rows = min(block, stop - first)
        if order.shape[0] > 0:
            gather_block(X, order, start, first, n_rows, XT)
        else:
            load_block(X, first, n_rows, XT)
        if order.shape[0] > 0 and sample_weight.shape[0] > 0:
            gather_weights(sample_weight, order, start, first, n_rows, rows)
        else:
            load_weights(sample_weight, first, n_rows, rows)
        if given.shape[0] > 0:
            load_responsibilities(given, first, n_rows, rows, log_p)
        else:
            log_density(XT, n_rows, theta, common, scratch, log_p)
            total += _posterior(log_p, n_listed(log_p, n_components), n_rows, rows)
            spread(log_p, n_components, n_rows)
        accumulate(XT, n_rows, log_p, theta, scratch, S)
    return total


def evaluate_panel(
    log_density, X, start, stop, theta, common, XT, log_p, rows, scratch, labels, log_likelihood, responsibilities
):
    """Posterior of rows ``start .. stop``, into those of the three outputs that are not empty."""
    block = XT.shape[1]
    for index in range((stop - start + block - 1) // block):
        first = start + index * block
        n_rows = min(block, stop - first)
        load_block(X, first, n_rows, XT)
        log_density(XT, n_rows, theta, common, scratch, log_p)
        if labels.shape[0] > 0:
            likeliest(log_p, n_rows, rows)
            for b in range(n_rows):
                labels[first + b] = truncate(rows[0, b])
        if log_likelihood.shape[0] > 0 or responsibilities.shape[0] > 0:
            unit_weights(n_rows, rows)
            posterior(log_p, n_rows, rows)
            if log_likelihood.shape[0] > 0:
                for b in range(n_rows):
                    log_likelihood[first + b] = rows[1, b]
            if responsibilities.shape[0] > 0:
                for b in range(n_rows):
                    for k in range(log_p.shape[0]):
                        responsibilities[first + b, k] = log_p[k, b]

"""The components that can matter to a block of rows, listed behind the last component's row of ``log_p``.

A pass's ``log_p`` has room for all components, their number, and how many mattered to the block before. Its first rows
are those of the listed components, in order; the list holds all of them unless a density kernel rules some out. Where
``log_p`` has one row a component and no more, as for a caller who wants all densities, there is no list, and each
component has its row.
"""

from fastem.kernels.vectors import lanes, load, n_vectors, store, truncate


def has_list(log_p, n_components):
    return log_p.shape[0] > n_components


def list_all(log_p, n_components):
    if has_list(log_p, n_components):
        for k in range(n_components):
            write_entry(log_p, n_components, k, k)
        set_listed(log_p, n_components)


def shortens(log_p, n_components):
    """Whether the list is worth it: rows of half of the components or more are not moved to the front and back."""
    if has_list(log_p, n_components):
        return 2 * log_p[log_p.shape[0] - 1, log_p.shape[1] - 2] <= n_components
    return False


def note_active(log_p, n_components, count):
    """Take down how many components matter to a block: as many may matter to the next."""
    if has_list(log_p, n_components):
        log_p[log_p.shape[0] - 1, log_p.shape[1] - 2] = count


def n_listed(log_p, n_components):
    if has_list(log_p, n_components):
        return truncate(log_p[log_p.shape[0] - 1, log_p.shape[1] - 1])
    return n_components


def set_listed(log_p, count):
    """Set the number of listed components."""
    log_p[log_p.shape[0] - 1, log_p.shape[1] - 1] = count


def listed(log_p, n_components, index):
    """The component that stands in row ``index`` of ``log_p``."""
    if has_list(log_p, n_components):
        return truncate(read_entry(log_p, n_components, index))
    return index


def read_entry(log_p, n_components, index):
    block = log_p.shape[1]
    if index < block:
        return log_p[n_components, index]
    return log_p[n_components + index // block, index % block]


def write_entry(log_p, n_components, index, value):
    block = log_p.shape[1]
    # Divisions take long, and most lists need none.
    if index < block:
        log_p[n_components, index] = value
    else:
        log_p[n_components + index // block, index % block] = value


def spread(log_p, n_components, n_rows):
    """Move what stands in the first rows of ``log_p`` to the rows of the listed components."""
    width = lanes(log_p)
    count = n_listed(log_p, n_components)
    if count == n_components:
        return
    # From the last on: a row is written when it has been moved itself.
    for step in range(count):
        index = count - 1 - step
        k = listed(log_p, n_components, index)
        if k > index:
            for v in range(n_vectors(log_p, n_rows)):
                store(log_p, k, v * width, load(log_p, index, v * width))

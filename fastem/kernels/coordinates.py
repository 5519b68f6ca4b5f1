"""Rows in coordinates of unit covariance, and the variances of their bulk, in double precision."""

from fastem.kernels.structures import _diagonalise
from fastem.kernels.vectors import square_root


def whiten_rows(rows, share, n_trims, far_out, constant, collinear, matrix, axes, table, coordinates):
    """Coordinates in which the bulk of ``rows[N, D]`` has mean 0 and unit covariance, into ``coordinates[N, D]``.

    ``share[N]`` are weights, which become 0 where a row is far out: its squared distance from the mean is more than
    ``far_out`` and 3 for each coordinate. This is seen at most ``n_trims`` times. Features whose deviation is
    ``constant`` of their largest value have no direction, and neither have those of the share ``collinear`` of the
    largest variance, of features scaled alike. ``matrix[D, D]``, ``axes[D, D]`` and ``table[3, D]`` are working memory.
    Returns the number of coordinates.
    """
    n_features = rows.shape[1]
    for i in range(n_features):
        table[0, i] = 0
        table[1, i] = 0
    for row in range(rows.shape[0]):
        for i in range(n_features):
            size = rows[row, i]
            if size < 0:
                size = -size
            if size > table[0, i]:
                table[0, i] = size
    for i in range(n_features):
        if table[0, i] == 0:
            table[0, i] = 1
    n_kept = 0
    n_far = 1
    for _trim in range(n_trims):
        if n_far > 0:
            _correlate(rows, share, constant, table, matrix)
            _diagonalise(matrix, axes)
            largest = matrix[n_features - 1, n_features - 1]
            n_kept = 0
            for a in range(n_features):
                if matrix[a, a] > collinear * largest:
                    for i in range(n_features):
                        axes[i, n_kept] = axes[i, a] / square_root(matrix[a, a])
                    n_kept += 1
            n_far = 0
            for row in range(rows.shape[0]):
                square = _look_from(rows, row, table, axes, n_kept, coordinates)
                if share[row] > 0 and square > far_out + 3 * n_kept:
                    share[row] = 0
                    n_far += 1
    return n_kept


def _correlate(rows, share, constant, table, matrix):
    """Correlations of rows in units of ``table[0]``: means into ``table[1]``, one over deviations into ``table[2]``."""
    n_features = rows.shape[1]
    total = 0.0
    for i in range(n_features):
        table[2, i] = 0
        for j in range(n_features):
            matrix[i, j] = 0
    for row in range(rows.shape[0]):
        total += share[row]
        for i in range(n_features):
            table[2, i] += share[row] * (rows[row, i] / table[0, i] - table[1, i])
    for i in range(n_features):
        table[1, i] += table[2, i] / total
    for row in range(rows.shape[0]):
        for i in range(n_features):
            apart = share[row] * (rows[row, i] / table[0, i] - table[1, i])
            for j in range(i, n_features):
                matrix[i, j] += apart * (rows[row, j] / table[0, j] - table[1, j])
    for i in range(n_features):
        table[2, i] = 0
        deviation = square_root(matrix[i, i] / total)
        if deviation > constant:
            table[2, i] = 1 / deviation
    for i in range(n_features):
        for j in range(i, n_features):
            matrix[i, j] *= table[2, i] * table[2, j] / total
            matrix[j, i] = matrix[i, j]


def _look_from(rows, row, table, axes, n_kept, coordinates):
    """Coordinates of a row along the axes, and the sum of their squares."""
    total = 0.0
    for a in range(coordinates.shape[1]):
        coordinates[row, a] = 0
    for i in range(rows.shape[1]):
        apart = (rows[row, i] / table[0, i] - table[1, i]) * table[2, i]
        for a in range(n_kept):
            coordinates[row, a] += apart * axes[i, a]
    for a in range(n_kept):
        total += coordinates[row, a] * coordinates[row, a]
    return total


def unit_rows(rows, within, collinear, matrix, axes, coordinates):
    """Coordinates in which the covariance ``within[D, D]`` is the unit matrix, its small variances held up.

    Variances are at least ``collinear`` times the largest one; where that is not more than ``collinear`` itself,
    nothing changes. ``matrix[D, D]`` and ``axes[D, D]`` are working memory.
    """
    n_features = rows.shape[1]
    for i in range(n_features):
        for j in range(n_features):
            matrix[i, j] = within[i, j]
    _diagonalise(matrix, axes)
    largest = matrix[n_features - 1, n_features - 1]
    for a in range(n_features):
        variance = matrix[a, a]
        if variance < collinear * largest:
            variance = collinear * largest
        if largest > collinear:
            for i in range(n_features):
                axes[i, a] /= square_root(variance)
        else:
            for i in range(n_features):
                axes[i, a] = 0
            axes[a, a] = 1
    for row in range(rows.shape[0]):
        for a in range(n_features):
            total = 0.0
            for i in range(n_features):
                total += rows[row, i] * axes[i, a]
            coordinates[row, a] = total


def bulk_variances(X, weight, n_trims, far_out, shares, variances):
    """Variance of each feature of ``X[N, D]`` without values that are far out, into ``variances[D]``.

    Values whose squared deviation is more than ``far_out`` variances count no more: this is seen at most ``n_trims``
    times. ``shares[N]`` is working memory.
    """
    n_rows = X.shape[0]
    for i in range(X.shape[1]):
        for row in range(n_rows):
            shares[row] = weight[row]
        centre = 1.0 * X[0, i]
        n_far = 1
        for _trim in range(n_trims):
            if n_far > 0:
                mass = 2.2250738585072014e-308
                shift = 0.0
                for row in range(n_rows):
                    mass += shares[row]
                    shift += shares[row] * (X[row, i] - centre)
                centre += shift / mass
                total = 0.0
                for row in range(n_rows):
                    total += shares[row] * (X[row, i] - centre) * (X[row, i] - centre)
                variances[i] = total / mass
                n_far = 0
                for row in range(n_rows):
                    if shares[row] > 0 and (X[row, i] - centre) * (X[row, i] - centre) > far_out * variances[i]:
                        shares[row] = 0
                        n_far += 1

"""A fitted model's parameters as text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastem.estimators import GaussianMixture
from fastem.families.covariance_storage import SPHERICAL, TIED

# Columns of numbers side by side.
_COLUMNS = 6


def parameters(model: GaussianMixture) -> list[str]:
    """Lines of weights, means, standard deviations, and of matrices that are small."""
    means, family = np.asarray(model.means_), model._family()
    n_components, n_features = means.shape
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"x{j}" for j in range(n_features)])]
    covariances = family.full_covariances(model._fitted_params())
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    rows_of_deviations = names
    if family.storage is SPHERICAL and n_features > 1:
        deviations, rows_of_deviations = deviations[:, :1], ["every feature"]
    lines: list[str] = []
    for first in range(0, n_components, _COLUMNS):
        some = slice(first, first + _COLUMNS)
        block: list[list[str]] = [
            ["component", *map(str, range(n_components)[some])],
            ["weight", *_numbers(model.weights_[some])],
        ]
        for title, rows, values in (("mean", names, means), ("standard deviation", rows_of_deviations, deviations)):
            block.append([title])
            block += [[f"  {name}", *_numbers(v[some])] for name, v in zip(rows, values.T, strict=True)]
        lines += ["", *aligned(block)]
    if family.storage.is_matrix and 1 < n_features <= _COLUMNS:
        common = family.storage is TIED
        for k, matrix in enumerate(covariances[:1] if common else covariances):
            title = "covariance of every component" if common else f"covariance of component {k}"
            entries = [[f"  {name}", *_numbers(row)] for name, row in zip(names, matrix, strict=True)]
            lines += ["", title, *aligned([["", *names], *entries])]
    return lines


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:#.6g}" for value in values]


def aligned(rows: list[list[str]], left: bool = False) -> list[str]:
    """Cells in columns, the first flush left and the others flush right (or left)."""
    widths = [max(len(row[j]) for row in rows if len(row) > j) for j in range(max(map(len, rows)))]
    align = str.ljust if left else str.rjust
    lines = []
    for row in rows:
        cells = [align(cell, width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines

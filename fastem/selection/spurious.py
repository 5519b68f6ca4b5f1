"""Maxima of the likelihood that say nothing about the data: a component on rows that lie together by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastem.degeneracy import told
from fastem.families import Gaussian, GaussianParams
from fastem.fitting import FitResult
from fastem.selection.neighbours import Components

# So much smaller than those of the other components is the determinant of a spurious one.
_FAR_BELOW = 1e-4


def fault_of_fit(family: Gaussian, result: FitResult, n_samples: int) -> str:
    """Why the solution of a fit is spurious, one that had to be held up among them; empty where it is not."""
    params: Any = result.params
    fault = fault_of(family, params, n_samples)
    if not fault and any(diagnosis.kind == "held up" for diagnosis in result.diagnostics):
        return told(result.diagnostics)
    return fault


def fault_of(family: Gaussian, params: GaussianParams, n_samples: int) -> str:
    """Why a solution is spurious; empty where it is not.

    The likelihood is unbounded where a component collapses onto a point or a plane, and has local maxima nearby.

    - A component has *collapsed* where its variance in some direction is ``reg_covar`` alone: the rows agree in it.
    - A component is on *too few rows* where its weight times the number of rows is less than two more than there are
      features, and its determinant is far (10,000 times) below that of every component on more rows: so few rows lie
      close to a point or a plane by chance, and the likelihood takes it for structure.

    Parameters
    ----------
    n_samples : int
        Rows of positive weight.

    References
    ----------
    McLachlan & Peel (2000), Finite mixture models, sections 3.9 and 3.10: spurious maximisers are recognised by
    components of few rows and of generalised variances far below the others'. Day (1969), Estimating the components of
    a mixture of normal distributions, section 7. The figures are ours.
    """
    if family.collapsed_components(params).any():
        return (
            "a component collapsed onto too few distinct rows in every start; try fewer components, more starts "
            "(n_init) or a larger reg_covar"
        )
    mixture = Components.of(family, params)
    alone = _on_few_rows(mixture, n_samples)
    if alone is not None:
        rows = mixture.weights[alone] * n_samples
        return f"a component is on {rows:.1f} rows, with a determinant far below the others', in every start"
    return ""


def _on_few_rows(mixture: Components, n_samples: int) -> int | None:
    """The component of the smallest determinant, if it is spurious."""
    few = mixture.weights * n_samples < mixture.means.shape[1] + 2
    if few.all() or not few.any():
        return None
    logs = np.linalg.slogdet(mixture.covariances)[1]
    smallest = int(np.argmin(np.where(few, logs, np.inf)))
    return smallest if logs[smallest] < logs[~few].min() + np.log(_FAR_BELOW) else None

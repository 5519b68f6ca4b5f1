"""Maxima of the likelihood that say nothing about the data: a component on rows that lie together by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastem.degeneracy import told
from fastem.em import EMResult
from fastem.families import Gaussian, GaussianParams
from fastem.fitting import FitResult
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components

# So much smaller than those of the other components is the determinant of a spurious one.
_FAR_BELOW = 1e-4
# So much smaller than their mean is that of a component which has to show that it is there.
_TIGHT = 0.1


def found_by_chance(fits: Fits, family: Gaussian, run: EMResult[GaussianParams]) -> str:
    """Why a solution is one that chance alone would give; empty where it is not.

    A tight component, whose determinant is less than a tenth of the (weighted, geometric) mean of all, may owe its
    place and shape to rows that lie close to each other by chance. The mixture without it, the others as they are,
    then is hardly worse: by less than ``p log n`` of log-likelihood, where the component has ``p`` free parameters of
    its own.

    That is a bound of what chance gains. For a component whose parameters were fixed beforehand, the likelihood ratio
    of the rows has mean 1 under the mixture without it, and is ``exp(x)`` with a chance of ``exp(-x)`` at most. And of
    the order of ``n^p`` components can be told apart on ``n`` rows: as many sets of rows are cut out by ellipsoids.
    BIC, which asks for half as much, takes the component's parameters for ones that all rows tell of.

    References
    ----------
    McLachlan & Peel (2000), Finite mixture models, section 3.10; Seo & Kim (2012), Root selection in normal mixture
    models: what a few rows contribute to the likelihood tells spurious maxima. Vapnik & Chervonenkis (1971), On the
    uniform convergence of relative frequencies of events to their probabilities, for the number of sets.
    """
    params = run.params
    n_components, n_features = params.means.shape
    if n_components == 1:
        return ""
    logs = -2 * family.storage.log_determinants(params.precisions_cholesky, n_features)
    if len(logs) == 1:  # of one covariance for all
        return ""
    tight = np.flatnonzero(logs < params.weights @ logs + np.log(_TIGHT))
    own = family.n_parameters(n_components + 1, n_features) - family.n_parameters(n_components, n_features)
    for k in tight:
        loss = run.lower_bound * fits.weight - fits.totals(family, _without(params, int(k))).log_likelihood
        if loss < own * np.log(fits.weight):
            return (
                f"a component of {params.weights[k] * fits.weight:.1f} rows is much smaller than the others, and "
                f"without it the log-likelihood falls by {loss:.1f} only, as it may by chance"
            )
    return ""


def _without(params: GaussianParams, k: int) -> GaussianParams:
    """A mixture without one of its components, the others as they are."""
    others = np.arange(len(params.weights)) != k
    weights, means, covariances, factors = (
        values[others] for values in (params.weights, params.means, params.covariances, params.precisions_cholesky)
    )
    return GaussianParams(weights / weights.sum(), means, covariances, factors)


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

"""Cross-validated log-likelihood of a fitted model, from its own parameters with a part of the rows taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastem.em import Callback
from fastem.families import Gaussian, GaussianParams
from fastem.families.base import DegenerateComponentError
from fastem.mixture import Mixture
from fastem.selection.fits import Fits
from fastem.stats import Stats


def make_folds(n_samples: int, n_folds: int, rng: np.random.RandomState) -> list[np.ndarray]:
    """Row numbers of each fold, in order; sizes differ by one at most.

    Raises
    ------
    ValueError
        If there are fewer than 2 folds, or more than rows.
    """
    if not 2 <= n_folds <= n_samples:
        raise ValueError(f"n_folds must be between 2 and the number of rows, {n_samples}, but got {n_folds!r}")
    return [np.sort(rows) for rows in np.array_split(rng.permutation(n_samples), n_folds)]


def cross_validated(
    fits: Fits,
    family: Gaussian,
    params: GaussianParams,
    folds: Sequence[np.ndarray],
    callbacks: Sequence[Callback] = (),
) -> float:
    """Log-likelihood of all rows, each under a fit to the rows of the other folds.

    The fit without a fold starts from ``params``, the fit to all rows. Its first M-step needs no pass over the rows
    that stay: their statistics are those of all rows less those of the fold. Then EM goes on over the rows that stay,
    which are rows of weight 0 for the others, not copies.

    Raises
    ------
    DegenerateComponentError
        If a component collapses where a fold is taken out.

    References
    ----------
    Smyth (2000), Model selection for probabilistic clustering using cross-validated likelihood. Neal & Hinton (1998),
    A view of the EM algorithm that justifies incremental, sparse, and other variants, for the difference of statistics.
    """
    everything = fits.passes(family).accumulate(params)
    total = 0.0
    for rows in folds:
        weight = np.ones(len(fits.X)) if fits.sample_weight is None else fits.sample_weight.copy()
        held_out = weight[rows]
        if not held_out.any():
            continue
        weight[rows] = 0.0
        start = without_fold(family, everything, fits.passes(family, rows).accumulate(params), params)
        fitted = replace(fits, sample_weight=weight, strict=True).run(family, start, callbacks)
        found = Mixture(family, fitted.params).posterior(
            fits.X[rows], "log_likelihood", engine=fits.engine, n_threads=fits.n_threads
        )
        total += float(held_out @ found.log_likelihood.astype(np.float64))
    return total


def without_fold(family: Gaussian, everything: Stats, fold: Stats, params: GaussianParams) -> GaussianParams:
    """The M-step of all rows but the fold's; ``params`` where rounding is all that is left of a component."""
    try:
        return family.update(everything - fold)
    except DegenerateComponentError:
        return params

"""One judge of everyone's result: the likelihood of the parameters that a fit ended with."""

from __future__ import annotations

import numpy as np
from peers.base import Outcome


def log_likelihood(X: np.ndarray, outcome: Outcome, structure: str) -> float:
    """Mean log-likelihood of a row, in float64 by the reference engine; NaN where there are no such densities."""
    from fastem import Gaussian, get_engine

    family = Gaussian(structure, reg_covar=0.0)
    weights, means, covariances = (
        np.asarray(a, dtype=np.float64) for a in (outcome.weights, outcome.means, outcome.covariances)
    )
    try:
        params = family.make_params(weights / weights.sum(), means, covariances)
    except ValueError:
        return float("nan")
    return get_engine("numpy").accumulate(family, X, params).log_likelihood / len(X)

"""Standard errors and intervals of a mixture's parameters, by fits to the rows with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastem.data.arrays import as_weights
from fastem.em import OnInterrupt
from fastem.engines import choose_engine, pass_work
from fastem.families.base import DegenerateComponentError, attempt
from fastem.passes import ArrayRows, Runner
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components
from fastem.selection.workers import Workers

Method = Literal["rows", "weights"]


@dataclass(frozen=True, eq=False)
class ParameterBootstrap:
    """Parameters of the fits to resampled rows; components are in the order of the model's.

    Attributes
    ----------
    weights : ndarray of shape (n_fits, n_components)
    means : ndarray of shape (n_fits, n_components, n_features)
    covariances : ndarray of shape (n_fits, n_components, n_features, n_features)
    n_failed : int
        Resamples to which no model could be fitted.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    n_failed: int

    def standard_errors(self) -> dict[str, np.ndarray]:
        """Standard deviation of each weight, mean and covariance over the fits."""
        return {name: values.std(axis=0, ddof=1) for name, values in self._values().items()}

    def intervals(self, level: float = 0.95) -> dict[str, np.ndarray]:
        """Percentile intervals: the first axis is (lower end, upper end)."""
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, but got {level!r}")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: np.quantile(values, ends, axis=0) for name, values in self._values().items()}

    def _values(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}


def bootstrap_parameters(
    model: Any,
    X: Any,
    n_bootstrap: int = 999,
    method: Method = "rows",
    *,
    sample_weight: Any = None,
    random_state: Any = None,
    n_threads: int | None = None,
    on_interrupt: OnInterrupt = "raise",
) -> ParameterBootstrap:
    """Fit a model again to resampled rows, each time from its own parameters.

    Resampling is a weight for each row: no row is copied.

    Parameters
    ----------
    model : GaussianMixture
        Fitted to ``X``; its ``tol``, ``max_iter`` and regularisation are used again. A ``tol`` of 1e-5 or less leaves
        the stop of EM out of the errors.
    X : array-like of shape (n_samples, n_features)
    n_bootstrap : int, default=999
    method : {"rows", "weights"}, default="rows"
        Weights that count how often a row was drawn with replacement; or exponential ones of mean 1, none of which is
        zero, so that small components keep their rows.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the fit, which those of the resampling multiply.
    random_state, n_threads, on_interrupt
        As for :func:`fastem.search`.

    Returns
    -------
    ParameterBootstrap

    Raises
    ------
    ValueError
        If an option is not as described, or no resample could be fitted.

    References
    ----------
    Efron (1979), Bootstrap methods. Newton & Raftery (1994), Approximate Bayesian inference with the weighted
    likelihood bootstrap. O'Hagan, Murphy, Scrucca & Gormley (2019), Investigation of parameter uncertainty in
    clustering using a Gaussian mixture model via jackknife, bootstrap and weighted likelihood bootstrap.
    """
    check_is_fitted(model)
    if n_bootstrap < 2 or method not in get_args(Method):
        raise ValueError(
            f"n_bootstrap must be at least 2, and method one of {get_args(Method)}, but got {n_bootstrap!r} and "
            f"{method!r}"
        )
    rows = model._check_rows(X)
    given = as_weights(sample_weight, len(rows))
    runner = Runner(choose_engine(model.engine, 0.0), n_threads)
    family = ArrayRows(rows, given).scaled(model._family(), model.n_components, runner)
    start = model._fitted_params()
    workers = Workers(n_threads, pass_work(rows.shape, model.n_components, family.moments), on_interrupt)
    fitted = Components.of(family, start)

    def refit(seed: int) -> Components | DegenerateComponentError | None:
        weight = _random_weights(len(rows), method, np.random.RandomState(seed))
        fits = Fits.like(model, rows, weight if given is None else weight * given, workers)
        result = attempt(lambda: fits.run(family, start))
        if workers.interrupted.is_set():
            return None
        if isinstance(result, DegenerateComponentError):
            return result
        params: Any = result.params
        return _in_order_of(fitted, Components.of(family, params))

    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_bootstrap)
    outcomes = workers.map(refit, seeds.tolist())
    found = [outcome for outcome in outcomes if isinstance(outcome, Components)]
    n_failed = sum(isinstance(outcome, DegenerateComponentError) for outcome in outcomes)
    if not found and workers.interrupted.is_set():
        raise KeyboardInterrupt
    if not found:
        raise ValueError(f"a component collapsed in each of the {n_bootstrap} resamples; try method='weights'")
    return ParameterBootstrap(
        np.stack([components.weights for components in found]),
        np.stack([components.means for components in found]),
        np.stack([components.covariances for components in found]),
        n_failed=n_failed,
    )


def _random_weights(n_samples: int, method: Method, rng: np.random.RandomState) -> np.ndarray:
    if method == "rows":
        return np.bincount(rng.randint(n_samples, size=n_samples), minlength=n_samples).astype(np.float64)
    weight = rng.standard_exponential(n_samples)
    return weight * (n_samples / weight.sum())


def _in_order_of(fitted: Components, found: Components) -> Components:
    """Components in the order in which their means are nearest to those of the model, in its own deviations."""
    unit = np.sqrt(np.maximum(np.diagonal(fitted.total()), np.finfo(np.float64).tiny))
    apart = (fitted.means[:, None] - found.means) / unit
    order = linear_sum_assignment((apart**2).sum(axis=2))[1]
    return Components(found.weights[order], found.means[order], found.covariances[order])

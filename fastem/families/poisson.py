"""Components of independent Poisson counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastem.families.base import (
    DegenerateComponentError,
    Family,
    Packed,
    Params,
    component_means,
    component_weights,
    weighted_logs,
    weights_from_vector,
    weights_to_vector,
)
from fastem.kernels import poisson as kernels
from fastem.stats import Stats


@dataclass(frozen=True, eq=False)
class PoissonParams(Params):
    """Parameters of a Poisson mixture: weights (n_components,) and rates (n_components, n_features) > 0."""

    rates: np.ndarray

    @property
    def origin(self) -> np.ndarray:
        return self.rates


@dataclass(frozen=True)
class Poisson(Family[PoissonParams]):
    """Counts, independent given the component: ``p(x | k) = prod_j rate_kj^x_j exp(-rate_kj) / x_j!``.

    Fractional values, such as rates by exposure, are taken as they are, with the gamma function for the factorial.
    """

    name = "poisson"
    params_type = PoissonParams
    moments = "first"
    log_density_kernel = staticmethod(kernels.poisson_log_density)

    def check_params(self, params: PoissonParams) -> None:
        super().check_params(params)
        if not (params.rates > 0).all():
            raise ValueError("rates must be positive")

    def check_data(self, X: np.ndarray) -> None:
        for start in range(0, X.shape[0], 65536):
            negative = np.argwhere(X[start : start + 65536] < 0)
            if len(negative):
                row, column = start + int(negative[0, 0]), int(negative[0, 1])
                raise ValueError(
                    f"Negative values in data (first {X[row, column]:g} in row {row}, feature {column}): a Poisson "
                    "mixture takes counts 0, 1, 2, ..."
                )

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features + n_components - 1

    def pack(self, params: PoissonParams, dtype: np.dtype[Any]) -> Packed:
        with np.errstate(divide="ignore"):
            constant = np.log(params.weights) - params.rates.sum(axis=1)
        theta = np.concatenate([constant[:, None], params.rates, np.log(params.rates)], axis=1)
        return Packed(np.ascontiguousarray(theta, dtype=dtype), np.zeros((1, 0), dtype=dtype))

    def log_density(self, X: np.ndarray, params: PoissonParams) -> np.ndarray:
        from scipy.special import gammaln

        counts = X.astype(np.float64)
        base = gammaln(counts + 1).sum(axis=1)
        return counts @ np.log(params.rates).T - params.rates.sum(axis=1) - base[:, None]

    def update(self, stats: Stats) -> PoissonParams:
        return self.make_params(component_weights(stats), component_means(stats))

    def make_params(self, weights: np.ndarray, rates: np.ndarray) -> PoissonParams:
        """Parameters of given rates, which are kept just above 0 so that their logarithm is finite."""
        return PoissonParams(weights, np.maximum(rates, np.finfo(np.float32).tiny))

    def expected_log_likelihood(self, stats: Stats, params: PoissonParams) -> float:
        counts = stats.first + stats.mass[:, None] * stats.origin
        expected = stats.mass @ params.rates.sum(axis=1)
        return float(weighted_logs(stats.mass, params.weights) + np.sum(counts * np.log(params.rates)) - expected)

    def to_vector(self, params: PoissonParams, like: PoissonParams) -> np.ndarray:
        """Logarithms of the weights and of the rates."""
        unit = np.sqrt(like.weights[:, None] * like.rates)
        rates = unit * np.log(params.rates / like.rates)
        return np.concatenate([weights_to_vector(params.weights, like.weights), rates.ravel()])

    def from_vector(self, vector: np.ndarray, like: PoissonParams) -> PoissonParams:
        n_components = len(like.weights)
        unit = np.sqrt(like.weights[:, None] * like.rates)
        with np.errstate(all="ignore"):
            weights = weights_from_vector(vector[:n_components], like.weights)
            rates = like.rates * np.exp(vector[n_components:].reshape(unit.shape) / unit)
        if not np.isfinite(vector).all() or not np.isfinite(rates).all():
            raise DegenerateComponentError("the vector is not that of Poisson components: it is not finite")
        return self.make_params(weights, rates)

    def sample(self, params: PoissonParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        return rng.poisson(params.rates[component], size=(n_samples, params.rates.shape[1])).astype(np.float64)

"""Gaussian components in any of the covariance structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fastem.families.base import (
    DegenerateComponentError,
    Family,
    Packed,
    component_masses,
    weighted_logs,
    weights_from_vector,
    weights_to_vector,
)
from fastem.families.covariance_storage import GaussianParams, Ridge, Storage
from fastem.families.covariance_structures import COVARIANCE_TYPES, CovarianceType, Structure, structure_of
from fastem.families.screening import may_screen
from fastem.stats import Stats

_LOG_2PI = float(np.log(2 * np.pi))
_SQRT_HALF = 0.5**0.5
# Of a feature's variance over all rows: what reg_covar="auto" adds to its variance in a component.
_RELATIVE_RIDGE = 1e-6
# The same, for covariances that are singular with the ridge that they have.
_LARGER_RIDGES = (1e-6, 1e-4, 1e-2)
# A variance is that of reg_covar alone, and the mixture's far more.
_ALONE, _FAR_MORE = 1.001, 100.0
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Gaussian(Family[GaussianParams]):
    """Gaussian components.

    Parameters
    ----------
    covariance_type : str
        A covariance structure by mclust's name, from "EII" to "VVV", or by scikit-learn's: "full", "tied", "diag",
        "spherical". See :mod:`fastem.families.covariance_structures`.
    reg_covar : float, sequence of float or "auto"
        Added to the diagonal of every component's covariance, in the squared units of the data, before the structure
        is imposed on them: the result has the structure. One number, or one for each feature. "auto" is 1e-6 times the
        variance of each feature over all rows, which a fit measures at its start.
    """

    covariance_type: CovarianceType = "full"
    reg_covar: float | tuple[float, ...] | Literal["auto"] = 1e-6

    name = "gaussian"
    params_type = GaussianParams

    def __post_init__(self) -> None:
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type must be one of {COVARIANCE_TYPES}, but got {self.covariance_type!r}")
        if np.ndim(self.reg_covar) == 1:
            # A tuple, so that families compare, and settings can be written.
            object.__setattr__(self, "reg_covar", tuple(map(float, self.reg_covar)))  # type: ignore[arg-type]
        if isinstance(self.reg_covar, str):
            if self.reg_covar != "auto":
                raise ValueError(f"reg_covar must be numbers or 'auto', but got {self.reg_covar!r}")
        elif np.size(self.reg_covar) == 0 or not np.all(np.asarray(self.reg_covar) >= 0):
            raise ValueError(f"reg_covar must be at least 0, but got {self.reg_covar!r}")

    @property
    def ridge(self) -> Ridge:
        """``reg_covar`` in numbers.

        Raises
        ------
        ValueError
            If they are not known, because ``scaled_to`` has not been asked for them.
        """
        if isinstance(self.reg_covar, str):
            raise ValueError(
                "reg_covar='auto' is relative to the variances of all rows, which are measured by a fit; elsewhere "
                "pass numbers, or use the family that scaled_to(variances) returns"
            )
        return np.array(self.reg_covar) if isinstance(self.reg_covar, tuple) else self.reg_covar

    def scaled_to(self, variances: Callable[[], np.ndarray]) -> Gaussian:
        if self.reg_covar != "auto":
            return self
        return replace(self, reg_covar=tuple(_RELATIVE_RIDGE * _or_one(variances())))

    def check_data(self, X: np.ndarray) -> None:
        if isinstance(self.reg_covar, tuple) and len(self.reg_covar) != X.shape[1]:
            raise ValueError(
                f"reg_covar must be one number or one for each of the {X.shape[1]} features, but got "
                f"{len(self.reg_covar)}"
            )

    @property
    def structure(self) -> Structure:
        return structure_of(self.covariance_type)

    @property
    def storage(self) -> Storage:
        return self.structure.storage

    @property
    def log_density_kernel(self) -> Callable[..., None]:  # type: ignore[override]
        return self.storage.log_density_kernel

    @property
    def update_kernel(self) -> Callable[..., int] | None:  # type: ignore[override]
        return self.storage.update_kernel if self.structure.is_free else None

    def ridges(self, n_features: int) -> np.ndarray:
        return np.full(n_features, self.ridge, dtype=np.float64)

    @property
    def moments(self) -> Any:  # type: ignore[override]
        return self.storage.moments

    @property
    def shared_moments(self) -> Any:  # type: ignore[override]
        return self.storage.shared_moments

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return self.storage.shape(n_components, n_features)

    def full_covariances(self, params: GaussianParams) -> np.ndarray:
        """Covariance matrices (n_components, n_features, n_features), in whatever structure, float64."""
        return self.storage.matrices(np.asarray(params.covariances, dtype=np.float64), *params.means.shape)

    def collapsed_components(self, params: GaussianParams) -> np.ndarray:
        """Whether a component's variance in some direction is ``reg_covar`` alone, and the mixture's far more."""
        # Precisions are at most the sum of their traces: most mixtures are told to be sound by one sum.
        precision = np.square(params.precisions_cholesky).sum()
        if precision * params.means.shape[1] * np.max(self.ridge) * _ALONE < 1:
            return np.zeros(len(params.weights), dtype=bool)
        covariances = self.full_covariances(params)
        variances, directions = np.linalg.eigh(covariances)
        offset = params.means - params.weights @ params.means
        total = np.tensordot(params.weights, covariances, axes=1) + (params.weights[:, None] * offset).T @ offset
        overall = (directions * (total @ directions)).sum(axis=1)
        ridge = np.broadcast_to(self.storage.least_variances(self.ridge), offset.shape[1:]) @ directions**2
        return np.any((variances <= _ALONE * ridge) & (overall > _FAR_MORE * ridge), axis=1)

    def held_up(self, stats: Stats) -> GaussianParams | None:
        """The M-step with as small a ``reg_covar`` as it can have, of shares of the variances of all rows."""
        variances = _variances_of_all(stats)
        if not np.isfinite(variances).all():
            return None
        for share in _LARGER_RIDGES:
            try:
                return replace(self, reg_covar=tuple(np.maximum(self.ridge, share * variances))).update(stats)
            except DegenerateComponentError:
                continue
        return None

    def check_params(self, params: GaussianParams) -> None:
        super().check_params(params)
        shape = self.covariance_shape(*params.means.shape)
        for name, values in (("covariances", params.covariances), ("precisions_cholesky", params.precisions_cholesky)):
            if np.shape(values) != shape:
                raise ValueError(f"{self.covariance_type} {name} must have shape {shape}, but got {np.shape(values)}")
            if not np.isfinite(values).all() or not (self.storage.variances(values) > 0).all():
                raise ValueError(f"{name} must be finite, with a positive diagonal")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        covariance = self.structure.n_parameters(n_components, n_features)
        return covariance + n_components * n_features + n_components - 1

    def _log_determinants(self, params: GaussianParams) -> np.ndarray:
        return self.storage.log_determinants(params.precisions_cholesky, params.means.shape[1])

    def separates(self, params: GaussianParams) -> bool:
        # Known by what the kernels would be told.
        may = self.storage.can_screen and may_screen(*params.means.shape)
        return may and self.pack(params, np.dtype(np.float64)).common.size > 0

    def pack(self, params: GaussianParams, dtype: np.dtype[Any]) -> Packed:
        n_components, n_features = params.means.shape
        theta = self.storage.theta(params, dtype)
        if theta is not None:
            return Packed(theta, np.empty((1, 0), dtype=dtype))
        constant = _log(params.weights)
        constant += self._log_determinants(params)
        constant -= 0.5 * n_features * _LOG_2PI
        rows, common = self.storage.kernel_rows(params, constant, params.precisions_cholesky * _SQRT_HALF, dtype)
        theta = np.empty((n_components, 1 + n_features + rows.shape[1]), dtype=dtype)
        theta[:, 0] = constant
        theta[:, 1 : 1 + n_features] = params.means
        theta[:, 1 + n_features :] = rows
        return Packed(theta, common.astype(dtype, copy=False))

    def log_density(self, X: np.ndarray, params: GaussianParams) -> np.ndarray:
        n_components, n_features = params.means.shape
        squares = np.empty((X.shape[0], n_components))
        for k in range(n_components):
            d = X.astype(np.float64) - params.means[k]
            squares[:, k] = (self.storage.whiten(d, params.precisions_cholesky, k) ** 2).sum(axis=1)
        return self._log_determinants(params) - 0.5 * (n_features * _LOG_2PI + squares)

    def update(self, stats: Stats) -> GaussianParams:
        found = self.storage.free_update(stats, self.ridge) if self.structure.is_free else None
        return self._update(stats) if found is None else found

    def _update(self, stats: Stats) -> GaussianParams:
        masses = component_masses(stats)
        shift = stats.first / masses[:, None]
        covariances = self.storage.covariances(stats, masses, shift, self.ridge)
        covariances = self.structure.impose(masses, covariances)
        return self.make_params(masses / masses.sum(), stats.origin + shift, covariances)

    def make_params(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> GaussianParams:
        """Parameters of given covariances, as they are.

        Raises
        ------
        DegenerateComponentError
            If a covariance is not positive definite.
        """
        return GaussianParams(weights, means, covariances, self.storage.factors(covariances, self.reg_covar))

    def from_precisions(self, weights: np.ndarray, means: np.ndarray, precisions: np.ndarray) -> GaussianParams:
        """Parameters of given precision matrices (or inverse variances)."""
        return self.make_params(weights, means, self.storage.inverse(precisions))

    def expected_log_likelihood(self, stats: Stats, params: GaussianParams) -> float:
        squares = self.storage.squares(stats, params)
        determinants = stats.mass @ np.broadcast_to(self._log_determinants(params), stats.mass.shape)
        return float(weighted_logs(stats.mass, params.weights) + determinants - 0.5 * squares)

    def to_vector(self, params: GaussianParams, like: GaussianParams) -> np.ndarray:
        """Logarithms of the weights, means, and Cholesky factors of the precisions with logarithms of the diagonal.

        They are the storage's coordinates; a structure that asks for more is a surface in them.
        """
        means, scale = self.storage.to_coordinates(params, like)
        return np.concatenate([weights_to_vector(params.weights, like.weights), means.ravel(), scale.ravel()])

    def from_vector(self, vector: np.ndarray, like: GaussianParams) -> GaussianParams:
        n_components, n_features = like.means.shape
        logs, means, scale = np.split(vector, [n_components, n_components * (1 + n_features)])
        with np.errstate(all="ignore"):
            weights = weights_from_vector(logs, like.weights)
            means, covariances, factor = self.storage.from_coordinates(means, scale, like)
        if not np.isfinite(vector).all() or not np.isfinite(means).all() or not np.isfinite(covariances).all():
            raise DegenerateComponentError("the vector is not that of Gaussian components: it is not finite")
        if not (self.storage.variances(covariances) > self.storage.least_variances(self.ridge)).all():
            raise DegenerateComponentError(f"the vector has a variance of reg_covar = {self.reg_covar} or less")
        if self.structure.is_free:
            return GaussianParams(weights, means, covariances, factor)
        # Back to the surface: the M-step of rows with these weights and covariances is the nearest point of it.
        return self.make_params(weights, means, self.structure.impose(weights, covariances))

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        return self.storage.sample(params, component, n_samples, rng)


def _or_one(variances: np.ndarray) -> np.ndarray:
    """Variances; of a constant feature, which has no scale of its own, 1."""
    return np.where(variances > 0, variances, 1.0)


def _variances_of_all(stats: Stats) -> np.ndarray:
    """Variance of each feature over all rows, whatever their component."""
    every = stats if stats.shared is None else stats.shared
    centre = every.mass @ (every.origin + every.first / np.maximum(every.mass, _TINY)[:, None]) / every.mass.sum()
    second = every.recenter(np.broadcast_to(centre, every.origin.shape)).second
    by_feature = np.diagonal(second, axis1=1, axis2=2) if every.moments == "full" else second
    return _or_one(np.maximum(by_feature.sum(axis=0) / every.mass.sum(), 0.0))


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)

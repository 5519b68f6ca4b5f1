"""Gaussian components in any of the covariance structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from fastem.families.base import (
    CompiledUpdate,
    DegenerateComponentError,
    Family,
    Packed,
    component_masses,
    weighted_logs,
    weights_from_vector,
    weights_to_vector,
)
from fastem.families.conjugate_prior import NormalInverseWishart, as_prior
from fastem.families.covariance_storage import GaussianParams, Ridge, Storage
from fastem.families.covariance_structures import (
    COVARIANCE_TYPES,
    SKLEARN_COVARIANCE_TYPES,
    STRUCTURES,
    CovarianceType,
    Structure,
    structure_of,
)
from fastem.families.eigenvalue_bound import bounded
from fastem.families.screening import may_screen
from fastem.stats import Moments, Stats, variances_of

_LOG_2PI = float(np.log(2 * np.pi))
_SQRT_HALF = 0.5**0.5
# Of a feature's variance over all rows: what reg_covar="auto" adds to its variance in a component.
_RELATIVE_RIDGE = 1e-6
# The same, for covariances that are singular with the ridge that they have.
_LARGER_RIDGES = (1e-6, 1e-4, 1e-2)
# A variance that is so many times that of the bulk of the rows is that of outliers.
_INFLATED = 10.0
# A variance is that of reg_covar alone, and the mixture's far more.
_ALONE, _FAR_MORE = 1.001, 100.0
# A share of the variance over all rows that is rounding.
_CONSTANT_SHARE = 1e-13
# Rows whose distance from 0, in a component's deviations, is less, are rounded to single precision by less than 6e-5 of
# these. Squares in this range leave room for those of the factors.
_FURTHEST, _SINGLE_RANGE = 2.0**10, (1e-24, 1e24)


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
        variance of each feature over all rows but outliers, which a fit measures at its start; or 0 with one of the
        other two.
    covariance_prior : NormalInverseWishart, "auto", dict or None
        Conjugate prior of means and covariances, of which the M-step finds the posterior mode; "auto" is one that
        depends on the rows alone, and a dict has parameters of :class:`fastem.NormalInverseWishart`. For "full",
        "tied", "diag", "spherical", and "EII" and "EEI".
    eigenvalue_ratio : float or None
        Largest ratio of two eigenvalues of covariances, over all components; at least 1. For the same types.
    """

    covariance_type: CovarianceType = "full"
    reg_covar: float | tuple[float, ...] | Literal["auto"] = "auto"
    covariance_prior: NormalInverseWishart | Literal["auto"] | dict[str, Any] | None = None
    eigenvalue_ratio: float | None = None

    name = "gaussian"
    params_type = GaussianParams

    def __post_init__(self) -> None:
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type must be one of {COVARIANCE_TYPES}, but got {self.covariance_type!r}")
        if not isinstance(self.reg_covar, (str, float, int)) and np.ndim(self.reg_covar) == 1:
            # A tuple, so that families compare, and settings can be written.
            object.__setattr__(self, "reg_covar", tuple(map(float, self.reg_covar)))
        ridges = self.reg_covar if isinstance(self.reg_covar, tuple) else (self.reg_covar,)
        if isinstance(self.reg_covar, str):
            if self.reg_covar != "auto":
                raise ValueError(f"reg_covar must be numbers or 'auto', but got {self.reg_covar!r}")
        elif not ridges or not all(ridge >= 0 for ridge in ridges):  # type: ignore[operator]
            raise ValueError(f"reg_covar must be at least 0, but got {self.reg_covar!r}")
        object.__setattr__(self, "covariance_prior", as_prior(self.covariance_prior))
        if self.eigenvalue_ratio is not None:
            if not 1 <= self.eigenvalue_ratio < np.inf:
                raise ValueError(
                    f"eigenvalue_ratio must be None or a number of at least 1, but got {self.eigenvalue_ratio!r}"
                )
            object.__setattr__(self, "eigenvalue_ratio", float(self.eigenvalue_ratio))
        for name in ("covariance_prior", "eigenvalue_ratio"):
            if getattr(self, name) is not None and not self.structure.is_all_or_nothing:
                possible = [*SKLEARN_COVARIANCE_TYPES, *(s.name for s in STRUCTURES.values() if s.is_all_or_nothing)]
                raise ValueError(
                    f"{name} is for covariances that have nothing in common, or all: covariance_type must be one of "
                    f"{possible}, but is {self.covariance_type!r}; take one of them, or reg_covar"
                )

    @cached_property
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
                "pass numbers, or use the family that scaled_to(measure, n_components) returns"
            )
        return np.array(self.reg_covar) if isinstance(self.reg_covar, tuple) else self.reg_covar

    @cached_property
    def _largest_ridge(self) -> float:
        return float(np.max(self.ridge))

    @property
    def prior(self) -> NormalInverseWishart | None:
        """``covariance_prior``, whatever it was given as."""
        return self.covariance_prior  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        """The settings; what is kept beside them is found again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def is_relative(self) -> bool:
        """Whether a setting is relative to the data, and not yet in numbers."""
        return self.reg_covar == "auto" or (self.prior is not None and not self.prior.is_complete)

    def scaled_to(
        self,
        measure: Callable[[Moments], Stats],
        n_components: int,
        bulk_variances: Callable[[], np.ndarray] | None = None,
    ) -> Gaussian:
        if not self.is_relative:
            return self
        reg_covar, prior = self.reg_covar, self.prior
        if prior is not None and not prior.is_complete:
            total = measure("full" if self.storage.is_matrix else "diag").together()
            prior = prior.completed(total, n_components, self.structure)
        if reg_covar == "auto":
            if prior is not None or self.eigenvalue_ratio is not None:
                reg_covar = 0.0
            else:
                variances = _variances(measure("diag"))
                bulk = variances if bulk_variances is None else bulk_variances()
                # Outliers make the variance as large as they like, and what is small beside it may be all of a cluster.
                variances = np.where((variances > _INFLATED * bulk) & (bulk > 0), bulk, variances)
                reg_covar = tuple((_RELATIVE_RIDGE * variances).tolist())
        return replace(self, reg_covar=reg_covar, covariance_prior=prior)

    def in_units(self, scale: np.ndarray) -> Gaussian:
        return replace(self, reg_covar=tuple((self.ridge * scale**2).tolist()))

    def rescaled(self, params: GaussianParams, centre: np.ndarray, scale: np.ndarray) -> GaussianParams:
        if self.prior is not None:
            raise ValueError("standardize is not for fits with a covariance_prior, which says itself what is small")
        if params.covariances.ndim == 1:
            raise ValueError(
                f"with covariance_type={self.covariance_type!r} components are spheres in scaled features, and not in "
                "those of the data: scale the features before the fit in place of standardize, or take 'diag'"
            )
        factor = np.outer(scale, scale) if self.storage.is_matrix else scale**2
        return self.make_params(params.weights, centre + scale * params.means, params.covariances * factor)

    def _relative_to(self, stats: Stats) -> Gaussian:
        return self.scaled_to(lambda _: stats.together(), len(stats.mass))

    def check_data(self, X: np.ndarray) -> None:
        if isinstance(self.reg_covar, tuple) and len(self.reg_covar) != X.shape[1]:
            raise ValueError(
                f"reg_covar must be one number or one for each of the {X.shape[1]} features, but got "
                f"{len(self.reg_covar)}"
            )
        if self.prior is not None:
            self.prior.check(X.shape[1], self.structure)

    @cached_property
    def structure(self) -> Structure:
        return structure_of(self.covariance_type)

    @cached_property
    def storage(self) -> Storage:
        return self.structure.storage

    @property
    def log_density_kernel(self) -> Callable[..., None]:  # type: ignore[override]
        return self.storage.log_density_kernel

    def compiled_update(self, n_components: int, n_features: int) -> CompiledUpdate | None:
        structure = self.structure
        if self.is_relative or not self._is_plain or n_features > structure.compiled_features:
            return None
        ridges = np.full(n_features, self.ridge, dtype=np.float64)

        def memory() -> tuple[np.ndarray, ...]:
            return np.empty((2, n_features**2)), *structure.memory(n_components, n_features)

        widths = self.storage.packed_widths(n_features)
        letters = structure.letters, structure.trial_letters
        return CompiledUpdate(structure.update_kernel, *letters, ridges, widths, memory)

    @property
    def _is_plain(self) -> bool:
        """Whether the M-step is that of the structure, with nothing but ``reg_covar`` added."""
        return self.prior is None and self.eigenvalue_ratio is None

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
        # A precision is at most its trace, or D times it where that of a sphere is written once: most mixtures are told
        # to be sound by these sums.
        factors = params.precisions_cholesky
        factors = factors.reshape(1 if self.structure.has_one_covariance else len(factors), -1)
        largest = float(np.einsum("kp,kp->k", factors, factors).max())
        if largest * params.means.shape[1] * self._largest_ridge * _ALONE < 1:
            return np.zeros(len(params.weights), dtype=bool)
        covariances = self.full_covariances(params)
        variances, directions = np.linalg.eigh(covariances)
        offset = params.means - params.weights @ params.means
        total = np.tensordot(params.weights, covariances, axes=1) + (params.weights[:, None] * offset).T @ offset
        overall = (directions * (total @ directions)).sum(axis=1)
        ridge = np.broadcast_to(self.storage.least_variances(self.ridge), offset.shape[1:]) @ directions**2
        return np.any((variances <= _ALONE * ridge) & (overall > _FAR_MORE * ridge), axis=1)

    def with_common_covariance(self, params: GaussianParams, components: np.ndarray) -> GaussianParams | None:
        covariances = np.array(params.covariances, dtype=np.float64)
        others = np.where(components, 0, params.weights)
        if len(covariances) != len(others) or self.structure.has_one_covariance or not others.sum() > 0:
            return None
        covariances[components] = np.tensordot(others / others.sum(), covariances, axes=1)
        return self.make_params(params.weights, params.means, covariances)

    def held_up(self, stats: Stats) -> GaussianParams | None:
        """The M-step with as small a ``reg_covar`` as it can have, of shares of the variances within components."""
        if self.is_relative:
            return self._relative_to(stats).held_up(stats)
        variances = _variances_within(stats)
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

    def bears_rounding(self, params: GaussianParams) -> bool:
        # Rounding moves a row by a share of its distance from 0: not so far that it is seen in any component's units.
        variances = np.broadcast_to(self.storage.variances(params.covariances), params.means.shape)
        squares = (np.abs(params.means).max(axis=0) + np.sqrt(variances.max(axis=0))) ** 2
        precisions = np.broadcast_to(self.storage.precisions(params.precisions_cholesky), params.means.shape)
        sizes = np.array([squares.max(), precisions.min(), precisions.max()])
        far = float((precisions @ squares).max())
        return far < _FURTHEST**2 and bool(((sizes > _SINGLE_RANGE[0]) & (sizes < _SINGLE_RANGE[1])).all())

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
        # Of rows that come in pieces, relative to those so far.
        if self._is_plain and self.structure.is_free:
            ridge = _RELATIVE_RIDGE * _variances(stats.together()) if self.is_relative else self.ridge
            found = self.storage.free_update(stats, ridge)
            if found is not None:
                return found
        if self.is_relative:
            return self._relative_to(stats).update(stats)
        masses = component_masses(stats)
        weights, prior = masses / masses.sum(), self.prior
        if prior is not None:
            rows = prior.rows(self.structure, prior.shrunk_means(stats, masses))
            stats = stats + rows.recenter(stats.origin)
            masses = stats.mass
        shift = stats.first / masses[:, None]
        covariances = self.storage.covariances(stats, masses, shift, self.ridge)
        return self.make_params(weights, stats.origin + shift, self._imposed(masses, covariances))

    def _imposed(self, masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """The best covariances of the structure, and under the bound, for components of their own covariances."""
        covariances = self.structure.impose(masses, covariances)
        if self.eigenvalue_ratio is None:
            return covariances
        return bounded(self.storage, masses, covariances, self.eigenvalue_ratio)

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
        likelihood = weighted_logs(stats.mass, params.weights) + self._expected(stats, params)
        return float(likelihood + self.log_prior(params))

    def log_prior(self, params: GaussianParams) -> float:
        if self.prior is None:
            return 0.0
        return self._expected(self.prior.rows(self.structure, params.means), params)

    def _expected(self, stats: Stats, params: GaussianParams) -> float:
        """Expected log-density of the rows, up to a constant."""
        determinants = stats.mass @ np.broadcast_to(self._log_determinants(params), stats.mass.shape)
        return float(determinants - 0.5 * self.storage.squares(stats, params))

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
        if self.structure.is_free and self.eigenvalue_ratio is None:
            return GaussianParams(weights, means, covariances, factor)
        # Back to the surface: the M-step of rows with these weights and covariances is the nearest point of it.
        return self.make_params(weights, means, self._imposed(weights, covariances))

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        return self.storage.sample(params, component, n_samples, rng)


def _variances(total: Stats) -> np.ndarray:
    """Variance of each feature, of rows as one component; of a constant one, which has no scale of its own, 1."""
    variances = variances_of(total)
    return np.where(variances > 0, variances, 1.0)


def _variances_within(stats: Stats) -> np.ndarray:
    """Variance of each feature within components, on average; over all rows where there is none, or it is not known."""
    overall = _variances(stats.together())
    if stats.moments == "first":
        return overall
    masses = np.maximum(stats.mass, np.finfo(np.float64).tiny)
    second = stats.recenter(stats.origin + stats.first / masses[:, None]).second
    within = (np.diagonal(second, axis1=1, axis2=2) if stats.moments == "full" else second).sum(axis=0) / masses.sum()
    return np.where(within > _CONSTANT_SHARE * overall, within, overall)


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)

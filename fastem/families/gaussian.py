"""Gaussian components in four covariance structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from fastem.families.base import (
    DegenerateComponentError,
    Family,
    Packed,
    Params,
    component_masses,
    weighted_logs,
    weights_from_vector,
    weights_to_vector,
)
from fastem.families.screening import find_screening
from fastem.kernels import gaussian as kernels
from fastem.stats import Stats

CovarianceType = Literal["full", "tied", "diag", "spherical"]
COVARIANCE_TYPES: tuple[str, ...] = get_args(CovarianceType)
_LOG_2PI = float(np.log(2 * np.pi))
_SQRT_HALF = 0.5**0.5
# Features up to which NumPy's inverse of a triangle, of eight times the work, is quicker than the import of SciPy's.
_GENERAL_INVERSE = 32
# One variance a component is a diagonal of equal entries: no kernel of its own.
_LOG_DENSITIES: dict[str, Callable[..., None]] = {
    "full": kernels.full_log_density,
    "tied": kernels.tied_log_density,
    "diag": kernels.diag_log_density,
    "spherical": kernels.diag_log_density,
}
_MOMENTS = {"full": "full", "tied": "first", "diag": "diag", "spherical": "diag"}

# A tied covariance is the difference of two moments about one point; rounding leaves this share of them.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class GaussianParams(Params):
    """Parameters of a Gaussian mixture, in the shapes of scikit-learn's attributes.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray
        full (K, D, D), tied (D, D), diag (K, D), spherical (K,).
    precisions_cholesky : ndarray, as covariances
        Upper-triangular ``P`` with ``P P' = covariance^-1``; for diag and spherical the inverse standard deviation.
    """

    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray

    @property
    def origin(self) -> np.ndarray:
        return self.means


@dataclass(frozen=True)
class Gaussian(Family[GaussianParams]):
    """Gaussian components.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    reg_covar : float
        Added to the diagonal of every covariance, in the squared units of the data.
    """

    covariance_type: CovarianceType = "full"
    reg_covar: float = 1e-6

    name = "gaussian"
    params_type = GaussianParams

    def __post_init__(self) -> None:
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type must be one of {COVARIANCE_TYPES}, but got {self.covariance_type!r}")
        if not self.reg_covar >= 0:
            raise ValueError(f"reg_covar must be at least 0, but got {self.reg_covar!r}")

    @property
    def log_density_kernel(self) -> Callable[..., None]:  # type: ignore[override]
        return _LOG_DENSITIES[self.covariance_type]

    @property
    def moments(self) -> Any:  # type: ignore[override]
        return _MOMENTS[self.covariance_type]

    @property
    def shared_moments(self) -> Any:  # type: ignore[override]
        # sum x x' does not depend on the parameters: one pass over all rows serves every iteration.
        return "full" if self.covariance_type == "tied" else None

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return {
            "full": (n_components, n_features, n_features),
            "tied": (n_features, n_features),
            "diag": (n_components, n_features),
            "spherical": (n_components,),
        }[self.covariance_type]

    def check_params(self, params: GaussianParams) -> None:
        super().check_params(params)
        shape = self.covariance_shape(*params.means.shape)
        for name, values in (("covariances", params.covariances), ("precisions_cholesky", params.precisions_cholesky)):
            if np.shape(values) != shape:
                raise ValueError(f"{self.covariance_type} {name} must have shape {shape}, but got {np.shape(values)}")
            is_matrix = self.covariance_type in ("full", "tied")
            diagonal = np.diagonal(values, axis1=-2, axis2=-1) if is_matrix else values
            if not np.isfinite(values).all() or not (diagonal > 0).all():
                raise ValueError(f"{name} must be finite, with a positive diagonal")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        triangle = n_features * (n_features + 1) // 2
        covariance = {
            "full": n_components * triangle,
            "tied": triangle,
            "diag": n_components * n_features,
            "spherical": n_components,
        }[self.covariance_type]
        return covariance + n_components * n_features + n_components - 1

    def _log_determinant(self, params: GaussianParams) -> np.ndarray:
        """``log |P|`` of each component, shape (n_components,) or (1,)."""
        n_features = params.means.shape[1]
        factor = params.precisions_cholesky
        if self.covariance_type == "full":
            return np.log(factor.reshape(len(factor), -1)[:, :: n_features + 1]).sum(axis=1)
        if self.covariance_type == "tied":
            return np.log(np.diagonal(factor)).sum(keepdims=True)
        if self.covariance_type == "diag":
            return np.log(factor).sum(axis=1)
        return n_features * np.log(factor)

    def separates(self, params: GaussianParams) -> bool:
        # Known by what the kernels would be told.
        return self.covariance_type == "full" and self.pack(params, np.dtype(np.float64)).common.size > 0

    def pack(self, params: GaussianParams, dtype: np.dtype[Any]) -> Packed:
        n_components, n_features = params.means.shape
        constant = _log(params.weights)
        constant += self._log_determinant(params)
        constant -= 0.5 * n_features * _LOG_2PI
        factor = params.precisions_cholesky * _SQRT_HALF
        common = np.empty((1, 0))
        if self.covariance_type == "full":
            rows = factor.reshape(n_components, -1).take(_tile_order(n_features), axis=1)
            screening = find_screening(constant, params.weights, params.means, params.covariances, factor)
            if screening is not None:
                bounds, slack = screening.packed(constant, dtype)
                whitening = screening.factor.take(_tile_order(n_features))
                common = np.concatenate([screening.centre, whitening, slack])[None]
                rows = np.concatenate([rows, bounds], axis=1)
        elif self.covariance_type == "tied":
            centre = params.weights @ params.means
            common = np.append(centre, factor.take(_tile_order(n_features)))[None]
            rows = (params.means - centre) @ factor
        elif self.covariance_type == "diag":
            rows = factor
        else:
            rows = np.repeat(factor[:, None], n_features, axis=1)
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
            factor = params.precisions_cholesky
            if self.covariance_type == "full":
                y = d @ factor[k]
            elif self.covariance_type == "tied":
                y = d @ factor
            else:
                y = d * factor[k]
            squares[:, k] = (y**2).sum(axis=1)
        return self._log_determinant(params) - 0.5 * (n_features * _LOG_2PI + squares)

    def update(self, stats: Stats) -> GaussianParams:
        masses = component_masses(stats)
        shift = stats.first / masses[:, None]
        means = stats.origin + shift
        return self.make_params(masses / masses.sum(), means, self._covariances(stats, masses, shift, means))

    def _covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Covariances of the moments: ``S2 / N - s s'`` with the shift ``s`` of the mean from the origin."""
        n_features = means.shape[1]
        if self.covariance_type == "tied":
            if stats.shared is None:
                raise ValueError("a tied covariance needs the shared moments of all rows, and the statistics have none")
            shared = stats.shared
            offset = means - shared.origin
            between = (masses[:, None] * offset).T @ offset
            tied = (shared.second[0] - between) / masses.sum()
            # What is left of a variance after a cancellation to the last digits is noise, and counts as none.
            noise = _ROUNDING * np.diagonal(shared.second[0]) / masses.sum()
            tied[np.diag_indices(n_features)] *= np.diagonal(tied) > noise
            tied[np.diag_indices(n_features)] += self.reg_covar
            return tied
        if self.covariance_type == "full":
            full = stats.second / masses[:, None, None]
            full -= shift[:, :, None] * shift[:, None, :]
            full.reshape(len(full), -1)[:, :: n_features + 1] += self.reg_covar
            return full
        diag = stats.second / masses[:, None] - shift**2 + self.reg_covar
        return diag if self.covariance_type == "diag" else diag.mean(axis=1)

    def make_params(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> GaussianParams:
        """Parameters of given covariances.

        Raises
        ------
        DegenerateComponentError
            If a covariance is not positive definite.
        """
        if self.covariance_type == "full":
            factor = self._factors(covariances)
        elif self.covariance_type == "tied":
            factor = self._factors(covariances[None])[0]
        else:
            bad = np.flatnonzero(~(covariances.reshape(len(means), -1) > 0).all(axis=1))
            if bad.size:
                raise DegenerateComponentError(self._collapse(f"component {bad[0]}"))
            factor = 1 / np.sqrt(covariances)
        return GaussianParams(weights, means, covariances, factor)

    def from_precisions(self, weights: np.ndarray, means: np.ndarray, precisions: np.ndarray) -> GaussianParams:
        """Parameters of given precision matrices (or inverse variances)."""
        if self.covariance_type in ("diag", "spherical"):
            return self.make_params(weights, means, 1 / precisions)
        return self.make_params(weights, means, np.linalg.inv(precisions))

    def _factors(self, covariances: np.ndarray) -> np.ndarray:
        """Upper-triangular ``P`` with ``P P' = covariance^-1`` for each: the inverse of the upper Cholesky factor."""
        if np.isfinite(covariances).all():
            try:
                factors = _inverses(np.linalg.cholesky(covariances).swapaxes(1, 2))
                if np.isfinite(factors).all():
                    return factors
            except np.linalg.LinAlgError:
                pass
        for k, covariance in enumerate(covariances):
            whose = "all components" if self.covariance_type == "tied" else f"component {k}"
            if not np.isfinite(covariance).all():
                raise DegenerateComponentError(
                    f"the covariance of {whose} is not finite: values of the data are too large to be squared. Scale "
                    "the features, or use float64."
                )
            if not _has_factor(covariance):
                raise DegenerateComponentError(self._collapse(whose))
        raise DegenerateComponentError(self._collapse("a component"))

    def _collapse(self, whose: str) -> str:
        return (
            f"the covariance of {whose} is not positive definite: it has collapsed onto too few distinct rows, or "
            f"features are constant or collinear. Try fewer components, a larger reg_covar (now {self.reg_covar:g}, in "
            "squared units of the data), scaling the features, or another start (init_params, random_state, n_init)."
        )

    def expected_log_likelihood(self, stats: Stats, params: GaussianParams) -> float:
        factor = params.precisions_cholesky
        if self.covariance_type == "tied":
            assert stats.shared is not None
            # Of all rows about one centre: S2 - sum (s1 e' + e s1' - mass e e') with e = mean - centre.
            shared = stats.shared
            first = stats.first + stats.mass[:, None] * (stats.origin - shared.origin)
            offset = params.means - shared.origin
            cross = (first - 0.5 * stats.mass[:, None] * offset).T @ offset
            squares = np.sum((factor @ factor.T) * (shared.second[0] - cross - cross.T))
        else:
            second = stats.recenter(params.means).second
            if self.covariance_type == "full":
                squares = np.sum((factor @ factor.transpose(0, 2, 1)) * second)
            else:
                squares = np.sum(factor.reshape(len(factor), -1) ** 2 * second)
        determinants = stats.mass @ np.broadcast_to(self._log_determinant(params), stats.mass.shape)
        return float(weighted_logs(stats.mass, params.weights) + determinants - 0.5 * squares)

    def to_vector(self, params: GaussianParams, like: GaussianParams) -> np.ndarray:
        """Logarithms of the weights, means, and Cholesky factors of the precisions with logarithms of the diagonal."""
        share, unit = self._units(like)
        shift = params.means - like.means
        factor = params.precisions_cholesky
        if self.covariance_type in ("full", "tied"):
            means = (shift[:, None, :] @ unit)[:, 0]
            relative = np.linalg.solve(unit, factor)
            diagonal = np.arange(relative.shape[-1])
            logs = relative[..., diagonal, diagonal]
            rows, columns = np.triu_indices(relative.shape[-1], 1)
            above = relative[..., rows, columns]
            with np.errstate(invalid="ignore", divide="ignore"):
                scale = np.concatenate([np.sqrt(2) * np.log(logs), above], axis=-1)
        else:
            per_feature = unit.reshape(len(unit), -1)
            means = shift * per_feature
            with np.errstate(invalid="ignore", divide="ignore"):
                scale = np.sqrt(2.0 * shift.size / factor.size) * np.log(factor / unit).reshape(len(unit), -1)
        scale = scale if self.covariance_type == "tied" else share * scale
        return np.concatenate([weights_to_vector(params.weights, like.weights), (share * means).ravel(), scale.ravel()])

    def from_vector(self, vector: np.ndarray, like: GaussianParams) -> GaussianParams:
        n_components, n_features = like.means.shape
        share, unit = self._units(like)
        weights, means, scale = np.split(vector, [n_components, n_components * (1 + n_features)])
        with np.errstate(all="ignore"):
            weights = weights_from_vector(weights, like.weights)
            means = means.reshape(n_components, n_features) / share
            if self.covariance_type in ("full", "tied"):
                scale = scale if self.covariance_type == "tied" else scale.reshape(n_components, -1) / share
                relative = np.zeros(unit.shape)
                rows, columns = np.triu_indices(n_features, 1)
                relative[..., rows, columns] = scale[..., n_features:]
                diagonal = np.arange(n_features)
                relative[..., diagonal, diagonal] = np.exp(scale[..., :n_features] / np.sqrt(2))
                means = like.means + np.linalg.solve(np.swapaxes(unit, -1, -2), means[..., None])[..., 0]
                factor = unit @ relative
                root = np.linalg.inv(factor) if np.isfinite(factor).all() else np.full(factor.shape, np.nan)
                covariances = np.swapaxes(root, -1, -2) @ root
                variances = covariances[..., diagonal, diagonal]
            else:
                means = like.means + means / unit.reshape(n_components, -1)
                scale = scale.reshape(n_components, -1) / share / np.sqrt(2.0 * like.means.size / unit.size)
                factor = unit * np.exp(scale).reshape(unit.shape)
                variances = covariances = 1 / factor**2
        if not np.isfinite(vector).all() or not np.isfinite(means).all() or not np.isfinite(covariances).all():
            raise DegenerateComponentError("the vector is not that of Gaussian components: it is not finite")
        if not (variances > self.reg_covar).all():
            raise DegenerateComponentError(f"the vector has a variance of reg_covar = {self.reg_covar:g} or less")
        return GaussianParams(weights, means, covariances, factor)

    def _units(self, like: GaussianParams) -> tuple[np.ndarray, np.ndarray]:
        """Square roots of the weights (K, 1), and the precision factors, which are one unit of the coordinates."""
        return np.sqrt(like.weights)[:, None], like.precisions_cholesky

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        mean = params.means[component]
        if self.covariance_type in ("full", "tied"):
            covariance = params.covariances if self.covariance_type == "tied" else params.covariances[component]
            return rng.multivariate_normal(mean, covariance, n_samples)
        deviation = np.sqrt(params.covariances[component])
        return mean + rng.standard_normal(size=(n_samples, mean.shape[0])) * deviation


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)


def _inverses(upper: np.ndarray) -> np.ndarray:
    """Inverses of upper-triangular matrices, upper-triangular to the last bit."""
    if upper.shape[1] <= _GENERAL_INVERSE:
        # Elimination finds nothing below the diagonal to eliminate: back substitution is all that is left.
        return np.linalg.inv(upper)
    from scipy.linalg import lapack

    return np.stack([np.ascontiguousarray(lapack.dtrtri(factor, lower=0)[0]) for factor in upper])


def _has_factor(covariance: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(_inverses(np.linalg.cholesky(covariance[None]).swapaxes(1, 2))).all())
    except np.linalg.LinAlgError:
        return False


@cache
def _tile_order(n_features: int) -> np.ndarray:
    """Flat indices into a (D, D) factor in the order that the kernel reads it: tiles of 4 columns, row by row."""
    order = []
    n_tiles = n_features // 4
    for tile in range(n_tiles):
        for i in range(4 * tile + 4):
            order += [i * n_features + 4 * tile + c for c in range(4)]
    for j in range(4 * n_tiles, n_features):
        order += [i * n_features + j for i in range(j + 1)]
    return np.array(order, dtype=np.intp)

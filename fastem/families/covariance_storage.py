"""The four shapes in which covariances of Gaussian components are held, and the arithmetic that follows from each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from fastem import compiled
from fastem.families.base import DegenerateComponentError, Params
from fastem.families.screening import find_screening, may_screen
from fastem.kernels import gaussian as kernels
from fastem.stats import Moments, Stats

# Features up to which NumPy's inverse of a triangle, of eight times the work, is quicker than the import of SciPy's.
_GENERAL_INVERSE = 32
# Features up to which the compiled M-step is quicker than LAPACK's blocks.
_COMPILED_FEATURES = 32
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

    @cached_property
    def roots(self) -> np.ndarray:
        """Of matrices, inverses of ``precisions_cholesky``: upper-triangular ``U`` with ``U'U = covariance``.

        Kept, because many points are told in the coordinates of one.
        """
        factors = self.precisions_cholesky
        return _inverses(factors.reshape(-1, *factors.shape[-2:])).reshape(factors.shape)


#: What is added to the variances: a number, or one for each feature.
Ridge = float | np.ndarray

_kernels: dict[str, Any] = {}
if compiled.level is not None:
    _kernels = {np.dtype(name).char: compiled.module(name) for name in ("float64", "float32")}


class Storage(ABC):
    """How covariances, and the factors ``P`` of precisions, are held; no state."""

    name: ClassVar[str]
    log_density_kernel: Callable[..., None]
    moments: ClassVar[Moments]
    shared_moments: ClassVar[Moments | None] = None
    #: Whether matrices are held, and not variances.
    is_matrix: ClassVar[bool]
    #: Whether the kernel knows bounds that rule out components.
    can_screen: ClassVar[bool] = False

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of the array."""

    @abstractmethod
    def covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, ridge: Ridge) -> np.ndarray:
        """Covariances of the moments, ``S2 / N - s s'`` with the shift ``s`` of the mean from the origin, regularised.

        ``ridge`` comes to the diagonals here, before a structure is imposed, so that the result has the structure.
        """

    @abstractmethod
    def factors(self, covariances: np.ndarray, reg_covar: Any) -> np.ndarray:
        """``P`` of the covariances; a DegenerateComponentError where one is not positive definite."""

    @abstractmethod
    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        """Covariances of precisions, and the other way round."""

    def free_update(self, stats: Stats, ridge: Ridge) -> GaussianParams | None:
        """The M-step without a structure in one call, the factors included; None where there is none, or it fails."""
        return None

    @abstractmethod
    def variances(self, covariances: np.ndarray) -> np.ndarray:
        """The diagonals, in an array that broadcasts to (n_components, n_features)."""

    @abstractmethod
    def precisions(self, factor: np.ndarray) -> np.ndarray:
        """The diagonals of the precisions, likewise."""

    def packed_widths(self, n_features: int) -> tuple[int, int]:
        """Length of a component's row of packed parameters without bounds, and of the row that all share."""
        return 1 + 2 * n_features, 0

    def least_variances(self, ridge: Ridge) -> Ridge:
        """What no variance that is held falls below."""
        return ridge

    @abstractmethod
    def log_determinants(self, factor: np.ndarray, n_features: int) -> np.ndarray:
        """``log |P|`` of each component, shape (n_components,) or (1,)."""

    @abstractmethod
    def matrices(self, covariances: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        """The covariances as matrices (n_components, n_features, n_features)."""

    @abstractmethod
    def whiten(self, d: np.ndarray, factor: np.ndarray, component: int) -> np.ndarray:
        """Rows ``d P``, whose squares sum to the Mahalanobis distance."""

    @abstractmethod
    def kernel_rows(
        self, params: GaussianParams, constant: np.ndarray, factor: np.ndarray, dtype: np.dtype[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the kernel reads after each component's constant and mean, and what all components share."""

    def theta(self, params: GaussianParams, dtype: np.dtype[Any]) -> np.ndarray | None:
        """The kernel's parameters in one call; None where there is none, or bounds of components may be of use too."""
        return None

    @abstractmethod
    def squares(self, stats: Stats, params: GaussianParams) -> float:
        """Sum of the rows' Mahalanobis distances, weighted by responsibilities."""

    @abstractmethod
    def to_coordinates(self, params: GaussianParams, like: GaussianParams) -> tuple[np.ndarray, np.ndarray]:
        """Means and factors in units of ``like``, where the information of the complete data is near to one."""

    @abstractmethod
    def from_coordinates(
        self, means: np.ndarray, scale: np.ndarray, like: GaussianParams
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, covariances and factors of coordinates."""

    @abstractmethod
    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        """Rows of one component."""


class _Matrices(Storage):
    is_matrix = True

    def matrices(self, covariances: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        if covariances.ndim == 3:
            return covariances
        return np.broadcast_to(covariances, (n_components, n_features, n_features))

    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        return np.linalg.inv(matrices)

    def variances(self, covariances: np.ndarray) -> np.ndarray:
        return np.diagonal(covariances, axis1=-2, axis2=-1)

    def precisions(self, factor: np.ndarray) -> np.ndarray:
        return (factor**2).sum(axis=-1)

    def _matrix_factors(self, covariances: np.ndarray, reg_covar: Any) -> np.ndarray:
        """Upper-triangular ``P`` with ``P P' = covariance^-1`` for each: the inverse of the upper Cholesky factor."""
        factors = _factors_in_one_call(covariances)
        if factors is not None:
            return factors
        if np.isfinite(covariances).all():
            try:
                factors = _inverses(np.linalg.cholesky(covariances).swapaxes(1, 2))
                if np.isfinite(factors).all():
                    return factors
            except np.linalg.LinAlgError:
                pass
        for k, covariance in enumerate(covariances):
            whose = self._whose(k)
            if not np.isfinite(covariance).all():
                raise DegenerateComponentError(
                    f"the covariance of {whose} is not finite: values of the data are too large to be squared. Scale "
                    "the features, or use float64."
                )
            if not _has_factor(covariance):
                raise DegenerateComponentError(_collapse(whose, reg_covar), self._number(k))
        raise DegenerateComponentError(_collapse("a component", reg_covar))

    @abstractmethod
    def _number(self, k: int) -> int | None:
        """Which component the ``k``-th matrix is of; None for all."""

    def _whose(self, k: int) -> str:
        number = self._number(k)
        return "all components" if number is None else f"component {number}"

    @abstractmethod
    def _scale_share(self, like: GaussianParams) -> Any:
        """Square root of the share of the rows that a matrix is estimated from."""

    def to_coordinates(self, params: GaussianParams, like: GaussianParams) -> tuple[np.ndarray, np.ndarray]:
        """The factors' diagonals as logarithms, and what is above, relative to ``like``'s factor."""
        unit = like.precisions_cholesky
        means = ((params.means - like.means)[:, None, :] @ unit)[:, 0]
        relative = like.roots @ params.precisions_cholesky
        diagonal = np.arange(relative.shape[-1])
        logs = relative[..., diagonal, diagonal]
        rows, columns = np.triu_indices(relative.shape[-1], 1)
        above = relative[..., rows, columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.concatenate([np.sqrt(2) * np.log(logs), above], axis=-1)
        return np.sqrt(like.weights)[:, None] * means, self._scale_share(like) * scale

    def from_coordinates(
        self, means: np.ndarray, scale: np.ndarray, like: GaussianParams
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        unit, n_features = like.precisions_cholesky, like.means.shape[1]
        scale = scale.reshape(*unit.shape[:-2], -1) / self._scale_share(like)
        relative = np.zeros(unit.shape)
        rows, columns = np.triu_indices(n_features, 1)
        relative[..., rows, columns] = scale[..., n_features:]
        diagonal = np.arange(n_features)
        relative[..., diagonal, diagonal] = np.exp(scale[..., :n_features] / np.sqrt(2))
        means = means.reshape(like.means.shape) / np.sqrt(like.weights)[:, None]
        means = like.means + (means[:, None, :] @ like.roots)[:, 0]
        factor = unit @ relative
        if not np.isfinite(factor).all():
            return means, np.full(factor.shape, np.nan), factor
        root = _inverses(factor.reshape(-1, n_features, n_features)).reshape(factor.shape)
        return means, np.swapaxes(root, -1, -2) @ root, factor


class Full(_Matrices):
    """A matrix for each component, (K, D, D)."""

    name = "full"
    log_density_kernel = staticmethod(kernels.full_log_density)
    moments = "full"
    can_screen = True

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features, n_features

    def packed_widths(self, n_features: int) -> tuple[int, int]:
        return 1 + n_features + len(_tile_order(n_features)), 0

    def covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, ridge: Ridge) -> np.ndarray:
        full = stats.second / masses[:, None, None]
        full -= shift[:, :, None] * shift[:, None, :]
        full.reshape(len(full), -1)[:, :: shift.shape[1] + 1] += ridge
        return full

    def free_update(self, stats: Stats, ridge: Ridge) -> GaussianParams | None:
        n_components, n_features = stats.origin.shape
        if not _kernels or n_features > _COMPILED_FEATURES:
            return None
        weights, means = np.empty(n_components), np.empty((n_components, n_features))
        covariances, factors = np.empty((2, n_components, n_features, n_features))
        flat = n_components, n_features**2
        S, origin = (np.ascontiguousarray(a, dtype=np.float64) for a in (stats.S, stats.origin))
        done = _kernels["d"].full_parameters(
            *(S, stats.weight, ridge if np.ndim(ridge) else np.full(n_features, ridge, dtype=np.float64), origin),
            *(np.empty((2, n_features**2)), weights, means, covariances.reshape(flat), factors.reshape(flat)),
        )
        return GaussianParams(weights, means, covariances, factors) if done == n_components else None

    def factors(self, covariances: np.ndarray, reg_covar: Any) -> np.ndarray:
        return self._matrix_factors(covariances, reg_covar)

    def log_determinants(self, factor: np.ndarray, n_features: int) -> np.ndarray:
        return np.log(factor.reshape(len(factor), -1)[:, :: n_features + 1]).sum(axis=1)

    def whiten(self, d: np.ndarray, factor: np.ndarray, component: int) -> np.ndarray:
        return d @ factor[component]

    def kernel_rows(
        self, params: GaussianParams, constant: np.ndarray, factor: np.ndarray, dtype: np.dtype[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        n_components, n_features = params.means.shape
        rows = factor.reshape(n_components, -1).take(_tile_order(n_features), axis=1)
        screening = find_screening(constant, params.weights, params.means, params.covariances, factor)
        if screening is None:
            return rows, np.empty((1, 0))
        bounds, slack = screening.packed(constant, dtype)
        whitening = screening.factor.take(_tile_order(n_features))
        common = np.concatenate([screening.centre, whitening, slack])[None]
        return np.concatenate([rows, bounds], axis=1), common

    def theta(self, params: GaussianParams, dtype: np.dtype[Any]) -> np.ndarray | None:
        n_components, n_features = params.means.shape
        if not _kernels or n_features > _COMPILED_FEATURES or may_screen(n_components, n_features):
            return None
        theta = np.empty((n_components, 1 + n_features + len(_tile_order(n_features))), dtype=dtype)
        factors = params.precisions_cholesky.reshape(n_components, -1)
        given = (np.ascontiguousarray(a, dtype=np.float64) for a in (params.weights, params.means, factors))
        _kernels[theta.dtype.char].pack_full(*given, theta)
        return theta

    def squares(self, stats: Stats, params: GaussianParams) -> float:
        factor, second = params.precisions_cholesky, stats.recenter(params.means).second
        return np.sum((factor @ factor.transpose(0, 2, 1)) * second)

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        return rng.multivariate_normal(params.means[component], params.covariances[component], n_samples)

    def _number(self, k: int) -> int:
        return k

    def _scale_share(self, like: GaussianParams) -> np.ndarray:
        return np.sqrt(like.weights)[:, None]


class Tied(_Matrices):
    """One matrix for all components, (D, D)."""

    name = "tied"
    log_density_kernel = staticmethod(kernels.tied_log_density)
    moments = "first"
    # sum x x' does not depend on the parameters: one pass over all rows serves every iteration.
    shared_moments = "full"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_features, n_features

    def packed_widths(self, n_features: int) -> tuple[int, int]:
        return 1 + 2 * n_features, n_features + len(_tile_order(n_features))

    def covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, ridge: Ridge) -> np.ndarray:
        if stats.shared is None:
            raise ValueError("a tied covariance needs the shared moments of all rows, and the statistics have none")
        shared = stats.shared
        offset = stats.origin + shift - shared.origin
        between = (masses[:, None] * offset).T @ offset
        tied = (shared.second[0] - between) / masses.sum()
        # What is left of a variance after a cancellation to the last digits is noise, and counts as none.
        noise = _ROUNDING * np.diagonal(shared.second[0]) / masses.sum()
        diagonal = np.diag_indices(len(tied))
        tied[diagonal] *= np.diagonal(tied) > noise
        tied[diagonal] += ridge
        return tied

    def factors(self, covariances: np.ndarray, reg_covar: Any) -> np.ndarray:
        return self._matrix_factors(covariances[None], reg_covar)[0]

    def log_determinants(self, factor: np.ndarray, n_features: int) -> np.ndarray:
        return np.log(np.diagonal(factor)).sum(keepdims=True)

    def whiten(self, d: np.ndarray, factor: np.ndarray, component: int) -> np.ndarray:
        return d @ factor

    def kernel_rows(
        self, params: GaussianParams, constant: np.ndarray, factor: np.ndarray, dtype: np.dtype[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        centre = params.weights @ params.means
        common = np.append(centre, factor.take(_tile_order(params.means.shape[1])))[None]
        return (params.means - centre) @ factor, common

    def squares(self, stats: Stats, params: GaussianParams) -> float:
        assert stats.shared is not None
        # Of all rows about one centre: S2 - sum (s1 e' + e s1' - mass e e') with e = mean - centre.
        shared, factor = stats.shared, params.precisions_cholesky
        first = stats.first + stats.mass[:, None] * (stats.origin - shared.origin)
        offset = params.means - shared.origin
        cross = (first - 0.5 * stats.mass[:, None] * offset).T @ offset
        return np.sum((factor @ factor.T) * (shared.second[0] - cross - cross.T))

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        return rng.multivariate_normal(params.means[component], params.covariances, n_samples)

    def _number(self, k: int) -> None:
        return None

    def _scale_share(self, like: GaussianParams) -> float:
        return 1.0


class _Variances(Storage):
    # One variance a component is a diagonal of equal entries: no kernel of its own.
    log_density_kernel = staticmethod(kernels.diag_log_density)
    moments = "diag"
    is_matrix = False

    def matrices(self, covariances: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        by_feature = np.broadcast_to(covariances.reshape(n_components, -1), (n_components, n_features))
        return by_feature[:, :, None] * np.eye(n_features)

    def factors(self, covariances: np.ndarray, reg_covar: Any) -> np.ndarray:
        bad = np.flatnonzero(~(covariances.reshape(len(covariances), -1) > 0).all(axis=1))
        if bad.size:
            raise DegenerateComponentError(_collapse(f"component {bad[0]}", reg_covar), int(bad[0]))
        return 1 / np.sqrt(covariances)

    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        return 1 / matrices

    def variances(self, covariances: np.ndarray) -> np.ndarray:
        return covariances.reshape(len(covariances), -1)

    def precisions(self, factor: np.ndarray) -> np.ndarray:
        return factor.reshape(len(factor), -1) ** 2

    def whiten(self, d: np.ndarray, factor: np.ndarray, component: int) -> np.ndarray:
        return d * factor[component]

    def squares(self, stats: Stats, params: GaussianParams) -> float:
        factor, second = params.precisions_cholesky, stats.recenter(params.means).second
        return np.sum(factor.reshape(len(factor), -1) ** 2 * second)

    def to_coordinates(self, params: GaussianParams, like: GaussianParams) -> tuple[np.ndarray, np.ndarray]:
        """The factors as logarithms, relative to ``like``'s."""
        unit, factor, share = like.precisions_cholesky, params.precisions_cholesky, np.sqrt(like.weights)[:, None]
        shift = params.means - like.means
        means = shift * unit.reshape(len(unit), -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(2.0 * shift.size / factor.size) * np.log(factor / unit).reshape(len(unit), -1)
        return share * means, share * scale

    def from_coordinates(
        self, means: np.ndarray, scale: np.ndarray, like: GaussianParams
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        unit, share = like.precisions_cholesky, np.sqrt(like.weights)[:, None]
        n_components = len(unit)
        means = means.reshape(like.means.shape) / share
        means = like.means + means / unit.reshape(n_components, -1)
        scale = scale.reshape(n_components, -1) / share / np.sqrt(2.0 * like.means.size / unit.size)
        factor = unit * np.exp(scale).reshape(unit.shape)
        return means, 1 / factor**2, factor

    def sample(self, params: GaussianParams, component: int, n_samples: int, rng: Any) -> np.ndarray:
        mean, deviation = params.means[component], np.sqrt(params.covariances[component])
        return mean + rng.standard_normal(size=(n_samples, mean.shape[0])) * deviation


class Diag(_Variances):
    """A variance for each component and feature, (K, D)."""

    name = "diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features

    def covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, ridge: Ridge) -> np.ndarray:
        return stats.second / masses[:, None] - shift**2 + ridge

    def log_determinants(self, factor: np.ndarray, n_features: int) -> np.ndarray:
        return np.log(factor).sum(axis=1)

    def kernel_rows(
        self, params: GaussianParams, constant: np.ndarray, factor: np.ndarray, dtype: np.dtype[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        return factor, np.empty((1, 0))


class Spherical(_Variances):
    """A variance for each component, (K,)."""

    name = "spherical"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def covariances(self, stats: Stats, masses: np.ndarray, shift: np.ndarray, ridge: Ridge) -> np.ndarray:
        return DIAG.covariances(stats, masses, shift, ridge).mean(axis=1)

    def least_variances(self, ridge: Ridge) -> Ridge:
        return float(np.mean(ridge))

    def log_determinants(self, factor: np.ndarray, n_features: int) -> np.ndarray:
        return n_features * np.log(factor)

    def kernel_rows(
        self, params: GaussianParams, constant: np.ndarray, factor: np.ndarray, dtype: np.dtype[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(factor[:, None], params.means.shape[1], axis=1), np.empty((1, 0))


FULL, TIED, DIAG, SPHERICAL = Full(), Tied(), Diag(), Spherical()


def _collapse(whose: str, reg_covar: Any) -> str:
    if isinstance(reg_covar, tuple):
        now = f"{min(reg_covar):g} to {max(reg_covar):g}"
    else:
        now = reg_covar if isinstance(reg_covar, str) else f"{reg_covar:g}"
    return (
        f"the covariance of {whose} is not positive definite: it has collapsed onto too few distinct rows, or "
        f"features are constant or collinear. Try fewer components, a larger reg_covar (now {now}, in squared units of "
        "the data) or a covariance_prior, scaling the features, or another start (init_params, random_state, n_init)."
    )


def _factors_in_one_call(covariances: np.ndarray) -> np.ndarray | None:
    """By the compiled kernel; None where it is not for these, or one is not positive definite."""
    n_components, n_features, _ = covariances.shape
    if not _kernels or n_features > _COMPILED_FEATURES or covariances.dtype != np.float64:
        return None
    factors, work = np.empty(covariances.shape), np.empty((2, n_features**2))
    done = _kernels["d"].invert_roots(np.ascontiguousarray(covariances), work, factors.reshape(n_components, -1))
    return factors if done == n_components else None


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

"""The 14 covariance structures of Gaussian components, and their estimates.

A covariance is ``lambda_k D_k A_k D_k'``: a volume ``lambda_k``, a shape ``A_k`` (diagonal, of determinant 1) and an
orientation ``D_k`` (of eigenvectors). mclust's name of a structure has a letter for each of them, in this order: ``E``
where components have it in common, ``V`` where each has its own, ``I`` where it is the identity.

Every estimate is the M-step's: it maximises ``-sum_k n_k (log |Sigma_k| + tr(S_k Sigma_k^-1)) / 2`` over the
structure, given the masses ``n_k`` and the covariances ``S_k`` that the components have of their own. An estimate along
the features' axes serves other axes too: those of each component, where ``S_k`` is diagonal, and common ones, which are
sought (``common_axes.py``). The covariance of a component that has collapsed is returned as 0, so that the storage can
say whose it is.

References
----------
Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering. Celeux & Govaert (1995), Gaussian
parsimonious clustering models: the structures, and all estimates but those of EVE and VVE. Browne & McNicholas (2014),
Estimating common principal components in high dimensions: these two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from fastem import compiled
from fastem.families.common_axes import find_common_axes, variances_along
from fastem.families.covariance_storage import DIAG, FULL, SPHERICAL, TIED, Storage
from fastem.kernels.structures import structured_update, tied_update

SklearnCovarianceType = Literal["full", "tied", "diag", "spherical"]
CovarianceType = Literal[
    SklearnCovarianceType,
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV",
]  # fmt: skip
SKLEARN_COVARIANCE_TYPES: tuple[str, ...] = get_args(SklearnCovarianceType)
COVARIANCE_TYPES: tuple[str, ...] = get_args(CovarianceType)

#: ``(masses (K,), covariances)`` to the covariances of the structure.
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Newton's steps are few; so many are taken only where there is no end. After one of this size the next is its square.
_VOLUME_STEPS = 200
_SMALLEST_STEP = 1e-9
_EPS = float(np.finfo(np.float64).eps)
# Features up to which the compiled estimate is quicker than LAPACK's blocks; and where it turns plane by plane.
_COMPILED_FEATURES, _TURNED_FEATURES = 32, 12
_LETTERS = {"E": 0, "V": 1, "I": 2}
# Of starts that are tried, common axes are turned so far in an M-step, from where the one before left them: the whole
# way takes ten times as long as the E-step of a few rows.
_TRIAL_SWEEPS = 2
_kernels: Any = None if compiled.level is None else compiled.module("float64")


def pooled(masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """One for all: the mean of the components'."""
    flat = covariances.reshape(len(covariances), -1)
    mean = (masses / masses.sum()) @ flat
    return np.repeat(mean[None], len(flat), axis=0).reshape(covariances.shape)


def equal_volume(masses: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Own shapes of one volume, the mean of the components' (Celeux & Govaert 1995, model EVI)."""
    alive = np.all(variances > 0, axis=1)
    if not np.all(alive):
        return variances * alive[:, None]
    volumes = np.exp(np.log(variances).mean(axis=1))
    return variances * (masses @ volumes / masses.sum() / volumes)[:, None]


def proportional(masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Own volumes of one shape, and of one orientation where matrices are given: ``lambda_k C``.

    For given volumes ``C = sum_k p_k S_k / lambda_k``, with ``p`` the shares of the masses. What is left is a convex
    function of ``u_k = log lambda_k``, ``D sum_k p_k u_k + log |C|``. It is minimised by Newton's steps, and where one
    does not go down, by that of Celeux & Govaert (1995, models VEI and VEE), which always does: ``lambda_k = tr(S_k
    C^-1) / D``.
    """
    n_features = covariances.shape[1]
    shares = masses / masses.sum()
    by_component = (-1,) + (1,) * (covariances.ndim - 1)
    variances = np.diagonal(covariances, axis1=1, axis2=2) if covariances.ndim == 3 else covariances
    volumes = variances.mean(axis=1)
    if not (volumes > 0).all():
        return covariances * (volumes > 0).reshape(by_component)
    logs = np.log(volumes)
    here = _Proportions.of(shares, covariances, logs)
    for _ in range(_VOLUME_STEPS):
        if here is None:
            break
        step = here.newton_step(shares, n_features)
        if np.abs(step).max() <= _SMALLEST_STEP:
            return np.exp(logs + step).reshape(by_component) * here.common
        there = _Proportions.of(shares, covariances, logs + step)
        if there is None or not there.value <= here.value + 8 * _EPS * (1 + abs(here.value)):
            step = np.log(here.traces / (n_features * shares))
            there = _Proportions.of(shares, covariances, logs + step)
        logs, here = logs + step, there
    # There is no end: a component's volume goes to 0, to the others' advantage.
    return covariances * (np.arange(len(logs)) != np.argmin(logs)).reshape(by_component)


@dataclass(frozen=True)
class _Proportions:
    """The function that ``proportional`` minimises, where it is.

    Attributes
    ----------
    value : float
    common : ndarray
        ``C``.
    parts : ndarray of shape (n_components, any)
        ``C^-1/2 (p_k S_k / lambda_k) C^-1/2``, which sum to the identity.
    traces : ndarray of shape (n_components,)
        Of the parts.
    """

    value: float
    common: np.ndarray
    parts: np.ndarray
    traces: np.ndarray

    @classmethod
    def of(cls, shares: np.ndarray, covariances: np.ndarray, logs: np.ndarray) -> _Proportions | None:
        """None where ``C`` is not positive definite."""
        n_components, n_features = covariances.shape[:2]
        with np.errstate(over="ignore", invalid="ignore"):
            parts = (shares * np.exp(-logs)).reshape((-1,) + (1,) * (covariances.ndim - 1)) * covariances
            common = parts.sum(axis=0)
        value = float(n_features * shares @ logs)
        if not np.isfinite(common).all():
            return None
        if covariances.ndim == 2:
            if not np.all(common > 0):
                return None
            parts = parts / common
            return cls(value + float(np.log(common).sum()), common, parts, parts.sum(axis=1))
        try:
            root = np.linalg.cholesky(common)
        except np.linalg.LinAlgError:
            return None
        parts = np.linalg.solve(root, np.linalg.solve(root, parts).swapaxes(1, 2)).reshape(n_components, -1)
        value += 2 * float(np.log(np.diagonal(root)).sum())
        return cls(value, common, parts, parts[:, :: n_features + 1].sum(axis=1))

    def newton_step(self, shares: np.ndarray, n_features: int) -> np.ndarray:
        # The mean of the logarithms is free, for C takes the other part: the last term keeps it.
        curvature = np.diag(self.traces) - self.parts @ self.parts.T + np.outer(shares, shares)
        return np.linalg.lstsq(curvature, self.traces - n_features * shares, rcond=None)[0]


def in_own_axes(estimate: Estimate) -> Estimate:
    """The estimate in each component's own axes: its eigenvectors, by order of the eigenvalues."""

    def estimated(masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        variances, axes = np.linalg.eigh(covariances)
        return _composed(axes, estimate(masses, _without_rounding(variances)))

    return estimated


def in_common_axes(estimate: Estimate) -> Estimate:
    """The estimate in the best axes for all components: that of equal volumes, or of nothing in common."""

    def estimated(masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        axes = find_common_axes(masses, covariances, one_volume=estimate is equal_volume)
        return _composed(axes, estimate(masses, _without_rounding(variances_along(axes, covariances))))

    return estimated


def free(masses: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Each component's own."""
    return variances


def _without_rounding(variances: np.ndarray) -> np.ndarray:
    """Variances along a component's axes; what rounding leaves of one that is none is not taken for one."""
    noise = variances.shape[1] * _EPS * variances.max(axis=1, keepdims=True)
    return np.where(variances > noise, variances, 0.0)


def _composed(axes: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """``D A D'``, symmetric to the last bit."""
    matrices = (axes * variances[:, None, :]) @ np.swapaxes(axes, -1, -2)
    return 0.5 * (matrices + matrices.swapaxes(1, 2))


@dataclass(frozen=True)
class Structure:
    """A covariance structure.

    Attributes
    ----------
    name : str
        mclust's.
    storage : Storage
        How its covariances are held. It decides the kernel and the moments, and with them which ``S_k`` are known.
    estimate : callable
        The M-step of the structure, from what the components have of their own.
    """

    name: str
    storage: Storage
    estimate: Estimate = free

    @cached_property
    def letters(self) -> np.ndarray:
        """The name as ``kernels/structures.py`` reads it."""
        return np.array([*(_LETTERS[letter] for letter in self.name), 0], dtype=np.intp)

    @cached_property
    def trial_letters(self) -> np.ndarray:
        """The same for M-steps of starts that are tried, which are cut short."""
        return np.array([*self.letters[:3], _TRIAL_SWEEPS], dtype=np.intp)

    @property
    def update_kernel(self) -> Callable[..., int]:
        """The compiled M-step."""
        return tied_update if self.storage is TIED else structured_update

    @property
    def compiled_features(self) -> int:
        """Features up to which the compiled M-step is the quicker one."""
        has_axes = self.storage is FULL and not self.is_free and self.estimate is not proportional
        return _TURNED_FEATURES if has_axes else _COMPILED_FEATURES

    def memory(self, n_components: int, n_features: int) -> tuple[np.ndarray, ...]:
        """``matrices``, ``axes``, ``thin`` and ``table`` of the kernels."""
        width = n_features if self.storage.is_matrix else 0
        matrices, axes = np.empty((2, n_components, width, width)), np.empty((n_components + 1, width, width))
        return matrices, axes, np.empty((3, n_components, n_features, 1)), np.empty((n_components + 5, n_components))

    @property
    def is_free(self) -> bool:
        """Whether every covariance that can be held has the structure."""
        return self.estimate is free

    @property
    def has_one_covariance(self) -> bool:
        """Whether components have one covariance."""
        return self.storage is TIED or self.estimate is pooled

    @property
    def is_all_or_nothing(self) -> bool:
        """Whether components have nothing of their covariances in common, or all."""
        return self.is_free or self.has_one_covariance

    def impose(self, masses: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """The covariances of the structure that fit best to components of their own covariances."""
        if self.is_free or not np.isfinite(covariances).all():  # which is for the storage to say
            return covariances
        found = self._imposed_in_one_call(masses, covariances)
        return self.estimate(masses, covariances) if found is None else found

    def _imposed_in_one_call(self, masses: np.ndarray, covariances: np.ndarray) -> np.ndarray | None:
        """By the compiled kernel; None where there is none, a component has collapsed, or steps have no end."""
        shape = covariances.shape
        if _kernels is None or covariances.ndim == 1 or shape[1] > self.compiled_features:
            return None
        matrices, axes, thin, table = self.memory(shape[0], shape[1])
        table[-2] = masses / masses.sum()
        given = matrices[0] if self.storage.is_matrix else thin[0, :, :, 0]
        given[:] = covariances
        return given if _kernels.impose_structure(self.letters, 0, matrices, axes, thin, table) else None

    def is_of(self, covariances: np.ndarray) -> bool:
        """Whether covariances have the structure, to half the digits of their float type."""
        given = covariances.astype(np.float64)
        by_component = tuple(range(1, given.ndim))
        error = np.abs(self.impose(np.ones(len(given)), given) - given).max(axis=by_component)
        return bool((error <= np.finfo(covariances.dtype).eps ** 0.5 * np.abs(given).max(axis=by_component)).all())

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Number of free parameters of the covariances, as the letters say."""
        sizes = (1, n_features - 1, n_features * (n_features - 1) // 2)
        times = {"E": 1, "V": n_components, "I": 0}
        return sum(times[letter] * size for letter, size in zip(self.name, sizes, strict=True))


STRUCTURES: dict[str, Structure] = {
    structure.name: structure
    for structure in (
        Structure("EII", SPHERICAL, pooled),
        Structure("VII", SPHERICAL),
        Structure("EEI", DIAG, pooled),
        Structure("VEI", DIAG, proportional),
        Structure("EVI", DIAG, equal_volume),
        Structure("VVI", DIAG),
        Structure("EEE", TIED),
        Structure("VEE", FULL, proportional),
        Structure("EVE", FULL, in_common_axes(equal_volume)),
        Structure("VVE", FULL, in_common_axes(free)),
        Structure("EEV", FULL, in_own_axes(pooled)),
        Structure("VEV", FULL, in_own_axes(proportional)),
        Structure("EVV", FULL, in_own_axes(equal_volume)),
        Structure("VVV", FULL),
    )
}
#: scikit-learn's names of four of them.
SKLEARN_NAMES = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}
_BY_NAME = STRUCTURES | {name: STRUCTURES[mclust] for name, mclust in SKLEARN_NAMES.items()}


def structure_of(covariance_type: str) -> Structure:
    """The structure of a name, mclust's or scikit-learn's."""
    return _BY_NAME[covariance_type]


def storage_of(covariance_type: str) -> Storage:
    """How covariances of a type are held."""
    return structure_of(covariance_type).storage

"""What a family of component distributions owns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from fastem.kernels import moments as moment_kernels
from fastem.stats import Moments, Stats

MOMENT_KERNELS: dict[str, Callable[..., None]] = {
    "first": moment_kernels.first_moments,
    "diag": moment_kernels.diag_moments,
    "full": moment_kernels.full_moments,
}

T = TypeVar("T")

_EPS = float(np.finfo(np.float64).eps)


class DegenerateComponentError(ValueError):
    """A component's parameters are no longer those of a distribution.

    Attributes
    ----------
    component : int or None
        None where it is all of them, or not known.
    """

    def __init__(self, message: str, component: int | None = None) -> None:
        super().__init__(message)
        self.component = component


def attempt(make: Callable[[], T]) -> T | DegenerateComponentError:
    """What ``make`` returns, or the collapse that it ended in."""
    try:
        return make()
    except DegenerateComponentError as error:
        return error


@dataclass(frozen=True, eq=False)
class Params:
    """Parameters of a mixture; a family's own record adds its components' parameters. Never changed in place."""

    weights: np.ndarray

    @property
    def origin(self) -> np.ndarray:
        """The components' means (n_components, n_features), which moments are taken about."""
        raise NotImplementedError


@dataclass(frozen=True)
class Packed:
    """Parameters as the kernels read them.

    Attributes
    ----------
    theta : ndarray of shape (n_components, P)
        A row ``[constant, mean (D), ...]`` a component.
    common : ndarray of shape (1, any)
        What all components share.
    """

    theta: np.ndarray
    common: np.ndarray


@dataclass(frozen=True)
class CompiledUpdate:
    """A compiled M-step from moments to packed parameters, as ``kernels/structures.py`` describes it.

    Attributes
    ----------
    kernel : callable
    letters, trial_letters : ndarray of shape (4,)
        Of the covariance structure; and of it with M-steps that are cut short.
    settings : ndarray
        Of covariances (n_features,), what is added to the variances.
    widths : (int, int)
        Length of a component's row of packed parameters, and of the row that all share.
    memory : callable
        Makes the working memory of a thread.
    """

    kernel: Callable[..., int]
    letters: np.ndarray
    trial_letters: np.ndarray
    settings: np.ndarray
    widths: tuple[int, int]
    memory: Callable[[], tuple[np.ndarray, ...]]


P = TypeVar("P", bound=Params)


class Family(ABC, Generic[P]):
    """A component distribution: packing, densities, M-step and sampling. Holds settings, never data or parameters."""

    name: ClassVar[str]
    params_type: ClassVar[type[Params]]
    #: Compiled log-density of a block, ``(XT, n_rows, theta, common, scratch, log_p)``.
    log_density_kernel: Callable[..., None]
    #: The moments that the M-step needs.
    moments: Moments
    #: Moments of all rows together that the M-step needs too; they do not depend on the parameters.
    shared_moments: Moments | None = None

    @property
    def moments_kernel(self) -> Callable[..., None]:
        """Kernel that adds a block's moments, ``(XT, n_rows, r, theta, scratch, S)``."""
        return MOMENT_KERNELS[self.moments]

    @abstractmethod
    def pack(self, params: P, dtype: np.dtype[Any]) -> Packed:
        """The parameters as the kernels read them."""

    @abstractmethod
    def update(self, stats: Stats) -> P:
        """M-step: the parameters that maximise the expected log-likelihood."""

    def compiled_update(self, n_components: int, n_features: int) -> CompiledUpdate | None:
        """The M-step on packed parameters, where there is one: steps of EM may then follow each other in one call."""
        return None

    def held_up(self, stats: Stats) -> P | None:
        """M-step for statistics of which ``update`` makes no distribution: with more regularisation, if that helps."""
        return None

    def collapsed_components(self, params: P) -> np.ndarray:
        """Whether each component stands on rows that agree, and is held up by regularisation alone."""
        return np.zeros(len(params.weights), dtype=bool)

    @abstractmethod
    def log_density(self, X: np.ndarray, params: P) -> np.ndarray:
        """``log p(x | k)``, shape (n_samples, n_components), written from the formula in float64."""

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Number of free parameters."""

    @abstractmethod
    def sample(self, params: P, component: int, n_samples: int, rng: Any) -> np.ndarray:
        """Draw rows of one component, shape (n_samples, n_features)."""

    def separates(self, params: P) -> bool:
        """Whether most components are ruled out for most rows, so that rows of one component should stand together."""
        return False

    def bears_rounding(self, params: P) -> bool:
        """Whether rows rounded to single precision have nearly the same posterior under ``params``."""
        return False

    # What acceleration needs, and nothing else does.

    def expected_log_likelihood(self, stats: Stats, params: P) -> float:
        """``Q(params)`` of the E-step that gave ``stats``: the M-step's objective, up to a constant of the rows."""
        raise NotImplementedError(f"{type(self).__name__} has no expected_log_likelihood")

    def to_vector(self, params: P, like: P) -> np.ndarray:
        """Unconstrained coordinates of ``params``, a vector whose length depends on K and D alone.

        At ``like`` they are near to orthonormal in the information of the complete data, so that one unit of any of
        them is as far: the same whatever the units of the features are.
        """
        raise NotImplementedError(f"{type(self).__name__} has no to_vector")

    def from_vector(self, vector: np.ndarray, like: P) -> P:
        """The parameters of ``to_vector(params, like)``.

        Raises
        ------
        DegenerateComponentError
            If they are not those of distributions that an M-step could give.
        """
        raise NotImplementedError(f"{type(self).__name__} has no from_vector")

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that make this family again; families are dataclasses."""
        return asdict(self)  # type: ignore[call-overload]

    def check_params(self, params: P) -> None:
        """Raise ValueError unless these are parameters of a mixture of this family: of its type, shaped and finite."""
        if not isinstance(params, self.params_type):
            raise ValueError(
                f"a {self.name} mixture takes {self.params_type.__name__}, but got {type(params).__name__}"
            )
        origin = np.asarray(params.origin)
        n_components = len(np.atleast_1d(params.weights))
        if origin.ndim != 2 or params.weights.shape != (n_components,) or len(origin) != n_components:
            raise ValueError(
                f"weights of shape {np.shape(params.weights)} and means of shape {origin.shape} do not go together: "
                "they must be (n_components,) and (n_components, n_features)"
            )
        if not np.isfinite(origin).all() or (params.weights < 0).any() or not abs(params.weights.sum() - 1) < 1e-3:
            raise ValueError("means must be finite, and weights non-negative with sum 1")

    def with_common_covariance(self, params: P, components: np.ndarray) -> P | None:
        """``params`` with the others' mean covariance in place of some components'; None where there is none."""
        return None

    @property
    def is_relative(self) -> bool:
        """Whether a setting is relative to the data, and not yet in numbers: :meth:`scaled_to` measures variances."""
        return False

    def scaled_to(
        self,
        measure: Callable[[Moments], Stats],
        n_components: int,
        bulk_variances: Callable[[], np.ndarray] | None = None,
    ) -> Family[P]:
        """The family with settings that are relative to the data made absolute, before a fit starts.

        Parameters
        ----------
        measure : callable
            Moments of all rows, as statistics of one component; called only where they are needed.
        n_components : int
        bulk_variances : callable, optional
            Variance of each feature without outliers (:func:`fastem.data.coordinates.bulk_variances`).
        """
        return self

    def in_units(self, scale: np.ndarray) -> Family[P]:
        """The family with settings that are in units of the features, in units of ``1 / scale`` of them."""
        return self

    def rescaled(self, params: P, centre: np.ndarray, scale: np.ndarray) -> P:
        """Parameters of ``centre + scale x`` of those of ``x``, feature by feature.

        Raises
        ------
        ValueError
            If these are not of the family.
        """
        raise ValueError(f"standardize is for Gaussian components, and not for a {self.name} mixture")

    def log_prior(self, params: P) -> float:
        """Logarithm of the prior density of ``params``, up to a constant, where the M-step has a prior.

        The loop adds it to the log-likelihood, and ``expected_log_likelihood`` has it too.
        """
        return 0.0

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError where rows are outside of the distribution's support."""
        return


def update_or_hold_up(family: Family[P], stats: Stats) -> tuple[P, DegenerateComponentError | None]:
    """M-step, where need be with more regularisation, and the collapse that called for it.

    Raises
    ------
    DegenerateComponentError
        If that does not help.
    """
    try:
        return family.update(stats), None
    except DegenerateComponentError as error:
        params = family.held_up(stats)
        if params is None:
            raise
        return params, error


def origin_only(origin: np.ndarray, dtype: np.dtype[Any]) -> Packed:
    """Parameters for a pass with given responsibilities, which needs origins alone."""
    n_components, n_features = origin.shape
    theta = np.zeros((n_components, 1 + n_features), dtype=dtype)
    theta[:, 1:] = origin
    return Packed(theta, np.zeros((1, 0), dtype=dtype))


def scratch_shape(n_features: int, block: int) -> tuple[int, int]:
    """Working memory of the kernels for a block: three copies of it in whole vectors, and room at their ends."""
    padded = (n_features + 15) // 16 * 16
    return 3, (padded + 1) * block + 32


def weights_to_vector(weights: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Coordinates of weights: centred logarithms, in the information's unit ``1 / sqrt(like)``; not finite for a 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(weights / like)
        return np.sqrt(like) * (logs - like @ logs)


def weights_from_vector(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    logs = vector / np.sqrt(like)
    weights = like * np.exp(logs - logs.max())
    return weights / weights.sum()


def weighted_logs(masses: np.ndarray, weights: np.ndarray) -> float:
    """``sum_k mass_k log w_k``, where an empty component adds nothing."""
    there = masses > 0
    return float(masses[there] @ np.log(weights[there]))


def component_masses(stats: Stats) -> np.ndarray:
    """Masses that may be divided by: as in scikit-learn, 10 eps above zero, or less where all weights are tiny."""
    return stats.mass + 10 * _EPS * min(1.0, stats.weight)


def component_means(stats: Stats) -> np.ndarray:
    """Means from moments about the origin; a component without mass stays where it is."""
    return stats.origin + stats.first / component_masses(stats)[:, None]


def component_weights(stats: Stats) -> np.ndarray:
    masses = component_masses(stats)
    return masses / masses.sum()

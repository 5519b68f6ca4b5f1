"""The conjugate prior of Gaussian components, as statistics that the M-step adds to those of the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fastem.families.covariance_storage import SPHERICAL
from fastem.families.covariance_structures import Structure
from fastem.stats import Stats

# What the paper takes for the weight of the prior mean, in rows.
_SHRINKAGE = 0.01


@dataclass(frozen=True)
class NormalInverseWishart:
    """Prior of a Gaussian component's mean and covariance.

    The mean is normal around ``mean`` with covariance ``Sigma / shrinkage``. ``Sigma`` is inverse Wishart, of a density
    proportional to ``|Sigma|^-(degrees_of_freedom + D + 1)/2 exp(-tr(scale Sigma^-1) / 2)``. Variances ("diag",
    "spherical") are inverse gamma: ``v^-(degrees_of_freedom + 2)/2 exp(-scale / (2 v))``. A covariance that all
    components have in common has one prior.

    Parameters
    ----------
    shrinkage : float
        So many rows' worth the prior mean has; with 0 means have no prior.
    mean : array-like of shape (n_features,), optional
        By default the mean of all rows.
    degrees_of_freedom : float, optional
        Above ``n_features - 1`` for matrices, above 0 for variances; by default ``n_features + 2``.
    scale : float or array-like, optional
        A matrix (n_features, n_features), or numbers of its diagonal. For "diag" one number or one for each feature,
        for "spherical" one. By default the covariance of all rows, for "diag" and "spherical" the mean of its diagonal,
        over ``n_components^(2 / n_features)``.

    References
    ----------
    Fraley & Raftery (2007), Bayesian regularization for normal mixture estimation and model-based clustering, Journal
    of Classification 24, for the prior and the values by default.
    """

    shrinkage: float = _SHRINKAGE
    mean: Any = None
    degrees_of_freedom: float | None = None
    scale: Any = None

    def __post_init__(self) -> None:
        # Tuples, so that priors compare, and settings can be written.
        for name in ("mean", "scale"):
            given = getattr(self, name)
            if given is not None:
                values = np.asarray(given, dtype=np.float64)
                if not np.isfinite(values).all() or values.ndim > 2 or (name == "mean" and values.ndim != 1):
                    raise ValueError(f"the prior's {name} must be finite numbers, but got {given!r}")
                object.__setattr__(self, name, _as_tuple(values.tolist()))
        object.__setattr__(self, "shrinkage", float(self.shrinkage))
        if self.degrees_of_freedom is not None:
            object.__setattr__(self, "degrees_of_freedom", float(self.degrees_of_freedom))
        if not 0 <= self.shrinkage < np.inf:
            raise ValueError(f"the prior's shrinkage must be a number of at least 0, but got {self.shrinkage!r}")
        if self.mean is not None and self.shrinkage == 0:
            raise ValueError("the prior has a mean, which counts for nothing with shrinkage=0; give it a shrinkage")

    @property
    def is_complete(self) -> bool:
        """Whether all values are known."""
        return None not in (self.mean if self.shrinkage > 0 else 0, self.degrees_of_freedom, self.scale)

    def check(self, n_features: int, structure: Structure) -> None:
        """Raise ValueError where a value that is given does not fit the rows or the structure."""
        is_matrix = structure.storage.is_matrix
        least = n_features - 1 if is_matrix else 0
        if self.degrees_of_freedom is not None and not least < self.degrees_of_freedom < np.inf:
            raise ValueError(
                f"the prior's degrees_of_freedom must be a number above {least} here, but got "
                f"{self.degrees_of_freedom!r}"
            )
        if self.mean is not None and len(self.mean) != n_features:
            raise ValueError(f"the prior's mean must have {n_features} numbers, but has {len(self.mean)}")
        if self.scale is None:
            return
        shapes: list[tuple[int, ...]] = [()]
        shapes += [(n_features,)] * (structure.storage is not SPHERICAL) + [(n_features, n_features)] * is_matrix
        scale = np.asarray(self.scale)
        if scale.shape not in shapes:
            raise ValueError(f"the prior's scale must have one of the shapes {shapes} here, but has {scale.shape}")
        if scale.ndim < 2:
            is_covariance = bool((scale >= 0).all())
        else:
            is_covariance = bool(np.allclose(scale, scale.T)) and np.linalg.eigvalsh(scale)[0] >= 0
        if not is_covariance:
            raise ValueError(f"the prior's scale must be a covariance, or variances, but is {self.scale!r}")

    def completed(self, total: Stats, n_components: int, structure: Structure) -> NormalInverseWishart:
        """With the values by default in place of those that are not given.

        Parameters
        ----------
        total : Stats
            Of all rows, about their mean, as one component.
        """
        n_features = total.origin.shape[1]
        mean = total.origin[0] if self.mean is None and self.shrinkage > 0 else self.mean
        freedom, scale = self.degrees_of_freedom, self.scale
        if scale is None:
            # Of so many rows less one; of weights that sum to less than two rows there is no such number.
            scale = total.second[0] / max(total.weight - 1, total.weight / 2) * n_components ** (-2 / n_features)
            scale = scale if structure.storage.is_matrix else float(scale.mean())
        return replace(
            self, mean=mean, degrees_of_freedom=n_features + 2.0 if freedom is None else freedom, scale=scale
        )

    def shrunk_means(self, stats: Stats, masses: np.ndarray) -> np.ndarray:
        """The means of the M-step."""
        pull = self.shrinkage * self._offset(stats.origin)
        return stats.origin + (stats.first + pull) / (masses + self.shrinkage)[:, None]

    def rows(self, structure: Structure, means: np.ndarray) -> Stats:
        """Statistics, about ``means``, of which the likelihood is the prior density up to a constant.

        They are those of ``shrinkage`` rows at the prior mean, with the scatter ``scale``, and of rows at ``means``,
        which count for the covariances alone: masses of the prior's exponents. With the rows of the data they lead to
        the posterior modes of Fraley & Raftery (2007), section 3, if ``means`` are those of ``shrunk_means``.
        """
        n_components, n_features = means.shape
        storage, scale = structure.storage, np.asarray(self.scale)
        assert self.degrees_of_freedom is not None
        if storage.is_matrix:
            mass = self.degrees_of_freedom + n_features + 1
        elif storage is SPHERICAL:
            mass, scale = (self.degrees_of_freedom + 2) / n_features, scale / n_features
        else:
            mass = self.degrees_of_freedom + 2
        if structure.has_one_covariance:
            mass, scale = mass / n_components, scale / n_components
        if storage.is_matrix and scale.ndim < 2:
            scale = scale * np.eye(n_features)
        offset = self._offset(means)
        if storage.is_matrix:
            second = scale + self.shrinkage * offset[:, :, None] * offset[:, None, :]
        else:
            second = scale + self.shrinkage * offset**2
        masses = np.full((n_components, 1), mass + (self.shrinkage > 0))
        S = np.concatenate([masses, self.shrinkage * offset, second.reshape(n_components, -1)], axis=1)
        stats = Stats(0.0, 0.0, means, S, "full" if storage.is_matrix else "diag")
        if storage.moments != "first":
            return stats
        return Stats(0.0, 0.0, means, S[:, : 1 + n_features], "first", stats.together())

    def _offset(self, means: np.ndarray) -> np.ndarray:
        return np.zeros_like(means) if self.mean is None else np.asarray(self.mean) - means


def as_prior(given: Any) -> NormalInverseWishart | None:
    """The prior of what a user may give: a prior, "auto", a mapping of its parameters, or None.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if given is None or isinstance(given, NormalInverseWishart):
        return given
    if isinstance(given, str) and given == "auto":
        return NormalInverseWishart()
    names = set(asdict(NormalInverseWishart()))
    if not isinstance(given, dict) or not set(given) <= names:
        raise ValueError(
            "covariance_prior must be None, 'auto', a fastem.NormalInverseWishart or a dict of its parameters "
            f"{sorted(names)}, but got {given!r}"
        )
    return NormalInverseWishart(**given)


def _as_tuple(values: Any) -> Any:
    return tuple(map(_as_tuple, values)) if isinstance(values, list) else values

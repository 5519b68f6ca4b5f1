"""The scikit-learn face: validation and attributes, no numerics."""

# The whole package before its parts: by way of one of them it takes a twentieth longer to load.
import sklearn  # noqa: F401

from fastem.estimators.gaussian_mixture import GaussianMixture
from fastem.estimators.loading import load
from fastem.estimators.poisson_mixture import PoissonMixture

__all__ = ["GaussianMixture", "PoissonMixture", "load"]

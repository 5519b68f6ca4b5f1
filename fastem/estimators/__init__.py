"""The scikit-learn face: validation and attributes, no numerics."""

from fastem.estimators.gaussian_mixture import GaussianMixture
from fastem.estimators.loading import load
from fastem.estimators.poisson_mixture import PoissonMixture

__all__ = ["GaussianMixture", "PoissonMixture", "load"]

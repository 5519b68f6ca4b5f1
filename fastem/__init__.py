"""Expectation-Maximization at the speed of the hardware.

The public names are loaded when they are first used: ``import fastem`` imports neither Numba nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "GaussianMixture": "fastem.estimators",
    "PoissonMixture": "fastem.estimators",
    "fit": "fastem.fitting",
    "Mixture": "fastem.mixture",
    "FitResult": "fastem.fitting",
    "fit_online": "fastem.online",
    "OnlineResult": "fastem.online",
    "StepSize": "fastem.online",
    "coreset": "fastem.coresets",
    "open_source": "fastem.data.sources",
    "Source": "fastem.data.sources",
    "Checkpoint": "fastem.streaming",
    "Gaussian": "fastem.families",
    "GaussianParams": "fastem.families",
    "NormalInverseWishart": "fastem.families",
    "Poisson": "fastem.families",
    "PoissonParams": "fastem.families",
    "DegenerateComponentError": "fastem.families.base",
    "DegenerateComponentWarning": "fastem.degeneracy",
    "Stats": "fastem.stats",
    "Iteration": "fastem.em",
    "search": "fastem.selection",
    "GaussianMixtureSearch": "fastem.selection",
    "bootstrap_lrt": "fastem.selection",
    "bootstrap_parameters": "fastem.selection",
    "available_engines": "fastem.engines",
    "get_engine": "fastem.engines",
    "load": "fastem.estimators",
    "warmup": "fastem.compilation",
}
_MODULES = {"plot": "fastem.plotting"}

__all__ = ["__version__", *_HOMES, *_MODULES]

if TYPE_CHECKING:
    from fastem import plotting as plot
    from fastem.compilation import warmup
    from fastem.coresets import coreset
    from fastem.data.sources import Source, open_source
    from fastem.degeneracy import DegenerateComponentWarning
    from fastem.em import Iteration
    from fastem.engines import available_engines, get_engine
    from fastem.estimators import GaussianMixture, PoissonMixture, load
    from fastem.families import Gaussian, GaussianParams, NormalInverseWishart, Poisson, PoissonParams
    from fastem.families.base import DegenerateComponentError
    from fastem.fitting import FitResult, fit
    from fastem.mixture import Mixture
    from fastem.online import OnlineResult, StepSize, fit_online
    from fastem.selection import GaussianMixtureSearch, bootstrap_lrt, bootstrap_parameters, search
    from fastem.stats import Stats
    from fastem.streaming import Checkpoint


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'fastem' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

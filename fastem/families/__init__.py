"""Component distributions by name."""

from __future__ import annotations

from typing import Any

from fastem.families.base import Family, Packed, Params, scratch_shape
from fastem.families.covariance_storage import GaussianParams
from fastem.families.gaussian import Gaussian
from fastem.families.poisson import Poisson, PoissonParams

FAMILIES: dict[str, type[Family[Any]]] = {"gaussian": Gaussian, "poisson": Poisson}

__all__ = [
    "FAMILIES",
    "Family",
    "Gaussian",
    "GaussianParams",
    "Packed",
    "Params",
    "Poisson",
    "PoissonParams",
    "scratch_shape",
]

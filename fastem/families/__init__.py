"""Component distributions by name."""

from __future__ import annotations

from typing import Any

from fastem.families.base import Family, Packed, Params, scratch_shape
from fastem.families.conjugate_prior import NormalInverseWishart
from fastem.families.covariance_storage import GaussianParams
from fastem.families.gaussian import Gaussian
from fastem.families.poisson import Poisson, PoissonParams

FAMILIES: dict[str, type[Family[Any]]] = {"gaussian": Gaussian, "poisson": Poisson}


def as_family(family: Any) -> Family[Any]:
    """The family itself, or that of a name with its usual settings."""
    if not isinstance(family, str):
        return family
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {tuple(FAMILIES)} or a Family, but got {family!r}")
    return FAMILIES[family]()


__all__ = [
    "FAMILIES",
    "Family",
    "Gaussian",
    "GaussianParams",
    "NormalInverseWishart",
    "Packed",
    "Params",
    "Poisson",
    "PoissonParams",
    "as_family",
    "scratch_shape",
]

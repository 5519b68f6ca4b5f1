"""Fitted estimators out of files, whatever their family."""

from __future__ import annotations

import os
from typing import Any

from fastem.estimators.base import BaseMixture
from fastem.estimators.gaussian_mixture import GaussianMixture
from fastem.estimators.poisson_mixture import PoissonMixture

ESTIMATORS: tuple[type[BaseMixture], ...] = (GaussianMixture, PoissonMixture)


def load(path: str | os.PathLike[str]) -> Any:
    """The fitted estimator in a file that ``model.save(path)`` wrote, whatever its family.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    GaussianMixture or PoissonMixture

    Raises
    ------
    ValueError
        If the file is damaged, of another program, or of a newer version.
    """
    from fastem.persistence import load_mixture

    mixture, details = load_mixture(path)
    for estimator in ESTIMATORS:
        if estimator.family_name == mixture.family.name:
            return estimator._from_mixture(mixture, details)
    raise ValueError(f"{path} holds a {mixture.family.name} mixture, for which there is no estimator")

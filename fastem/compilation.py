"""Compilation ahead of the first fit, for images and installations that are built once and start often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastem.engines import available_engines, get_engine
from fastem.families import FAMILIES, Family, Gaussian
from fastem.families.covariance_structures import SKLEARN_COVARIANCE_TYPES


def warmup(
    engine: str | None = None,
    dtypes: Iterable[Any] = ("float64", "float32"),
    families: Sequence[str | Family[Any]] | None = None,
) -> None:
    """Compile, or load, what a first fit would.

    Numba's kernels and drivers are compiled into its cache on disk, from where later processes load them in a fraction
    of the time. The kernels of the ``cython`` engine are compiled already; they are loaded.

    Parameters
    ----------
    engine : {"numba", "cython", "numpy", "python"}, optional
        None for each that is available.
    dtypes : iterable of dtype
        Float types of the rows: float64, float32 or both.
    families : sequence of str or Family, optional
        None for each family with all its kernels. A name stands for the family with its default settings.

    Raises
    ------
    ImportError
        If the engine that is named cannot run here.
    ValueError
        If there is no engine, float type or family of a name.
    """
    if families is None:
        # One for each way in which covariances are held; the other structures run the same kernels.
        structures = [Gaussian(structure) for structure in SKLEARN_COVARIANCE_TYPES]  # type: ignore[arg-type]
        families = [*structures, *(name for name in FAMILIES if name != Gaussian.name)]
    unknown = [f for f in families if not isinstance(f, Family) and f not in FAMILIES]
    if unknown:
        raise ValueError(f"families must be of {tuple(FAMILIES)} or Family objects, but got {unknown[0]!r}")
    # The start of a fit is computed in float64 whatever the rows are.
    kinds = list(dict.fromkeys([*map(np.dtype, dtypes), np.dtype(np.float64)]))
    bad = [kind for kind in kinds if kind not in (np.float64, np.float32)]
    if bad:
        raise ValueError(f"dtypes must be float64 or float32, but got {bad[0]}")
    for name in available_engines() if engine is None else (engine,):
        runner = get_engine(name)
        for family in families:
            for kind in kinds:
                runner.prepare(FAMILIES[family]() if isinstance(family, str) else family, kind)

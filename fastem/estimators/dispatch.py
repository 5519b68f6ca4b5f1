"""Data that are no arrays: who reads them, by the package that their type comes from."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np

from fastem.criteria import Totals
from fastem.mixture import Mixture
from fastem.passes import Rows

# Nothing of these packages is imported for data of another.
_HOMES = {
    "dask": ("fastem.distributed.dask", "DaskCollection"),
    "pyspark": ("fastem.distributed.spark", "no_collection"),
}


class Collection(Protocol):
    """Data that an estimator fits, predicts and scores without having them in memory.

    Attributes
    ----------
    like : array or data frame without rows
        Of the same features and their names.
    dtype : numpy.dtype
        Float type of the fit.
    """

    like: Any
    dtype: np.dtype[Any]

    def rows(self, sample_weight: Any = None) -> Rows:
        """What a fit reads."""

    def posterior(self, mixture: Mixture, wanted: str, engine: str, n_threads: int | None) -> Any:
        """``labels``, ``log_likelihood`` or ``responsibilities`` of the rows, in the way of such data."""

    def totals(
        self, mixture: Mixture, sample_weight: Any, engine: str, n_threads: int | None, entropy: bool = False
    ) -> Totals:
        """Sums over the rows that ``score`` and the criteria are made of."""


def as_collection(X: Any) -> Collection | None:
    """The collection that ``X`` is; None for what scikit-learn's validation makes an array of."""
    home = _HOMES.get(type(X).__module__.partition(".")[0])
    if home is None:
        return None
    module, name = home
    return getattr(importlib.import_module(module), name)(X)

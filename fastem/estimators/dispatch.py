"""Data that are no arrays: who reads them, by the package that their type comes from."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np

from fastem.criteria import Totals
from fastem.data.arrays import is_plain
from fastem.data.kinds import is_streamed
from fastem.mixture import Mixture

# Nothing of these packages is imported for data of another.
_HOMES = {
    "dask": ("fastem.distributed.dask", "DaskCollection"),
    "pyspark": ("fastem.distributed.spark", "no_collection"),
}
_STREAMED = ("fastem.streaming", "StreamedCollection")


class Collection(Protocol):
    """Data that an estimator fits, predicts and scores without having them in memory.

    Attributes
    ----------
    like : array or data frame without rows
        Of the same features and their names.
    names : list of str or None
        Of the features, where ``like`` has none.
    dtype : numpy.dtype
        Float type of the fit.
    shape : tuple
        (n_samples, n_features); 0 for what is not known before the rows are read.
    n_dropped : int
        Rows with missing values that the last pass left out.
    """

    like: Any
    names: list[str] | None
    dtype: np.dtype[Any]
    shape: tuple[int, int]

    @property
    def n_dropped(self) -> int: ...

    def of_features(self, names: Any) -> Collection:
        """With the features of these names, where the data have ``names``."""

    def rows(self, sample_weight: Any = None) -> Any:
        """What :func:`fastem.fit` reads."""

    def posterior(self, mixture: Mixture, wanted: str, engine: str, n_threads: int | None) -> Any:
        """``labels``, ``log_likelihood`` or ``responsibilities`` of the rows, in the way of such data."""

    def totals(
        self, mixture: Mixture, sample_weight: Any, engine: str, n_threads: int | None, entropy: bool = False
    ) -> Totals:
        """Sums over the rows that ``score`` and the criteria are made of."""


def as_collection(X: Any) -> Collection | None:
    """The collection that ``X`` is; None for what scikit-learn's validation makes an array of."""
    if is_plain(X):
        return None
    home = _HOMES.get(type(X).__module__.partition(".")[0])
    if home is None and is_streamed(X):
        home = _STREAMED
    if home is None:
        return None
    module, name = home
    return getattr(importlib.import_module(module), name)(X)

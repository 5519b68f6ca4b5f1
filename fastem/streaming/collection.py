"""A source as the estimators take it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastem.criteria import Totals
from fastem.data.sources import OnBlock, Source, open_source, told
from fastem.mixture import Mixture
from fastem.streaming.posteriors import posteriors


class StreamedCollection:
    """Files, Arrow data, blocks: what :func:`fastem.open_source` takes or returns.

    Attributes
    ----------
    source : Source
    like : ndarray of shape (0, n_features)
    names : list of str or None
        Of the features, where the data have their own.
    dtype : numpy.dtype
    shape : tuple
        (n_samples, n_features); 0 for what is not known before it is read.
    """

    def __init__(self, X: Any) -> None:
        self.source: Source = X if isinstance(X, Source) else open_source(X, cache=None)
        self._data = X
        self.like = np.empty((0, self.source.n_features))
        self.names = self.source.names if self.source.named else None
        self.dtype = self.source.dtype
        self.shape = (self.source.n_samples or 0, self.source.n_features)

    @property
    def n_dropped(self) -> int:
        return self.source.n_dropped

    def of_features(self, names: Any) -> StreamedCollection:
        """With the features of these names, in their order; the same where there are none, or it was opened before."""
        if names is None or self.names is None or self.names == list(names) or isinstance(self._data, Source):
            return self
        return StreamedCollection(open_source(self._data, columns=list(names), cache=None))

    def rows(self, sample_weight: Any = None) -> Source:
        if sample_weight is not None:
            raise ValueError("weights of files and blocks come with them; see fastem.open_source")
        return self.source

    def posterior(self, mixture: Mixture, wanted: str, engine: str, n_threads: int | None) -> Iterator[np.ndarray]:
        """Labels, log-likelihoods or responsibilities of each block."""
        return (getattr(found, wanted) for found in posteriors(mixture, self.source, (wanted,), engine, n_threads))

    def totals(
        self,
        mixture: Mixture,
        sample_weight: Any,
        engine: str,
        n_threads: int | None,
        entropy: bool = False,
        on_block: OnBlock | None = None,
    ) -> Totals:
        total = Totals(0.0, 0.0, 0.0)
        for block in told(self.rows(sample_weight).blocks(), self.source.n_samples, on_block):
            total = total + mixture.totals(block.X, block.weight, entropy=entropy, engine=engine, n_threads=n_threads)
        return total

"""What the first pass over a source finds out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastem.data.blocks import Block
from fastem.passes import ArrayRows
from fastem.stats import Stats

# Values that are converted to float64 at a time: they stay in the nearest caches.
_PIECE_VALUES = 2**14


@dataclass(frozen=True)
class Survey:
    """What the first pass found out.

    Attributes
    ----------
    n_samples : int
        Rows, without those that were dropped.
    n_dropped : int
    n_weighted : int
        Rows of positive weight.
    weight : float
        Their total weight.
    sample : ArrayRows
        Uniform sample of the rows of positive weight.
    """

    n_samples: int
    n_dropped: int
    n_weighted: int
    weight: float
    sample: ArrayRows


class VarianceSums:
    """Weight, sum and sum of squares of each feature, about the mean of the first block."""

    def __init__(self) -> None:
        self._centre: np.ndarray | None = None
        self._weight = 0.0

    def add(self, block: Block) -> None:
        if self._centre is None:
            self._centre = block.X.mean(axis=0, dtype=np.float64)
            self._first, self._second = np.zeros_like(self._centre), np.zeros_like(self._centre)
        step = max(1, _PIECE_VALUES // block.X.shape[1])
        for start in range(0, len(block), step):
            # Features in rows, whose sums are contiguous.
            d = np.subtract(block.X[start : start + step].T, self._centre[:, None], order="C")
            if block.weight is None:
                self._weight += d.shape[1]
                self._first += d.sum(axis=1)
                self._second += np.einsum("ij,ij->i", d, d)
            else:
                weight = block.weight[start : start + step]
                self._weight += float(weight.sum())
                self._first += d @ weight
                d *= d
                self._second += d @ weight

    @property
    def stats(self) -> Stats:
        """Moments of all rows as one component."""
        assert self._centre is not None
        S = np.concatenate([[self._weight], self._first, self._second])
        return Stats(self._weight, 0.0, self._centre[None], S[None], "diag")

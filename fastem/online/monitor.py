"""How well the parameters do on rows that they do not learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastem.data.blocks import Block
from fastem.em import Iteration
from fastem.sampling import Reservoir

# Every so many rows one is offered to the sample, so that few are held back from learning.
_EVERY_ROW = 20
# Mini-batches between two evaluations, which then cost little.
_EVERY_BATCH = 8


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Course of the log-likelihood of held-out rows.

    Attributes
    ----------
    n_samples : ndarray of int
        Rows that had been read.
    log_likelihood : ndarray
        Mean log-likelihood of the rows then in the sample.
    rows : ndarray of shape (up to size, n_features)
        The sample at the end: uniform over the stream, and never learned from.
    """

    n_samples: np.ndarray
    log_likelihood: np.ndarray
    rows: np.ndarray = field(repr=False)


class Monitor:
    """A callback of the loop that evaluates a reservoir of rows now and then, and keeps these rows from the E-step."""

    def __init__(
        self, size: int, rng: np.random.RandomState, log_likelihood: Callable[[np.ndarray, Any], np.ndarray]
    ) -> None:
        self.reservoir = Reservoir(size, rng)
        self._log_likelihood = log_likelihood
        self._n_read = 0
        self._course: list[tuple[int, float]] = []
        self._last: Iteration | None = None

    def hold_out(self, block: Block) -> Block:
        """The block, the rows that the sample took having weight 0."""
        block = block.gathered()
        self._n_read += len(block)
        rng = self.reservoir.rng
        offered = np.unique(rng.randint(len(block), size=rng.binomial(len(block), 1 / _EVERY_ROW)))
        weight = np.ones(len(block)) if block.weight is None else block.weight.copy()
        taken = offered[self.reservoir.offer(block.X[offered], weight[offered])]
        if len(taken) == 0:
            return block
        weight[taken] = 0.0
        return Block(block.X, weight)

    def __call__(self, iteration: Iteration) -> None:
        self._last = iteration
        if iteration.iteration % _EVERY_BATCH == 1:
            self._evaluate(iteration)

    def _evaluate(self, iteration: Iteration) -> None:
        weight = self.reservoir.weight
        if weight.sum() > 0:
            found = self._log_likelihood(self.reservoir.rows, iteration.params).astype(np.float64)
            self._course.append((self._n_read, float(weight @ found / weight.sum())))

    def ended(self) -> HeldOut:
        """The course, the last parameters included."""
        if self._last is not None and (not self._course or self._course[-1][0] != self._n_read):
            self._evaluate(self._last)
        counts, values = zip(*self._course, strict=True) if self._course else ((), ())
        return HeldOut(np.array(counts, dtype=np.int64), np.array(values), self.reservoir.rows.copy())

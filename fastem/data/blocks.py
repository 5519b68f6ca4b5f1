"""Blocks of rows: what passes over data that does not fit in memory, and steps of online EM, are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastem.engines import Runs

# Runs of a mini-batch at least, where mini-batches are spread over an array.
_LEAST_RUNS = 64
# Rows of a run that is read where it lies: enough for the kernels to work on one after another without loss, and so few
# that there are many. Shorter ones are copied, so many rows of them at most.
_PLACED_ROWS = range(256, 4097)
_COPIED_ROWS = 64

#: Where reading goes on: the number of a part (a file, a block that was given) and of a row in it.
Position = tuple[int, int]
BEGIN: Position = (0, 0)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows and their weights.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
        None where all are 1.
    end : Position
        Behind the last row.
    runs : Runs or None
        Which of the rows these are, where it is not all of them.
    """

    X: np.ndarray
    weight: np.ndarray | None = None
    end: Position = BEGIN
    runs: Runs | None = None

    def __len__(self) -> int:
        return len(self.X) if self.runs is None else self.runs.count(len(self.X))

    def copy(self) -> Block:
        """In memory of its own: that of a block from a file is used again."""
        if self.runs is not None:
            return self.gathered()
        return Block(self.X.copy(order="K"), None if self.weight is None else self.weight.copy(), self.end)

    def gathered(self) -> Block:
        """A block of these rows alone: itself, or a copy of what lies in runs."""
        if self.runs is None:
            return self
        return Block(self.runs.of(self.X), self.own_weight, self.end)

    @property
    def own_weight(self) -> np.ndarray | None:
        """Weights of these rows alone."""
        return self.weight if self.weight is None or self.runs is None else self.runs.of(self.weight)

    def cut(self, n_rows: int, interleave: bool = False) -> Iterator[Block]:
        """Pieces of ``n_rows`` rows or some more, as equal as can be: rows in a row, or spread over all of them."""
        n_pieces = max(1, len(self.X) // n_rows)
        if n_pieces == 1:
            yield self
            return
        n_runs = max(_LEAST_RUNS, -(-len(self.X) // (n_pieces * _PLACED_ROWS[-1])))
        run = -(-len(self.X) // (n_pieces * n_runs))
        for piece in range(n_pieces):
            if interleave and run in _PLACED_ROWS:
                yield Block(self.X, self.weight, runs=Runs(piece, n_pieces, run))
            elif interleave:
                weight = None if self.weight is None else _spread(self.weight, piece, n_pieces)
                yield Block(_spread(self.X, piece, n_pieces), weight)
            else:
                rows = slice(len(self.X) * piece // n_pieces, len(self.X) * (piece + 1) // n_pieces)
                yield Block(self.X[rows], None if self.weight is None else self.weight[rows])


def _spread(values: np.ndarray, piece: int, n_pieces: int) -> np.ndarray:
    """A copy of every m-th run of rows: single rows lie on a page each, which takes half of a pass to read."""
    run = min(_COPIED_ROWS, max(1, len(values) // (_LEAST_RUNS * n_pieces)))
    whole = len(values) // (n_pieces * run) * n_pieces * run
    runs = values[:whole].reshape(-1, n_pieces, run, *values.shape[1:])[:, piece]
    return np.concatenate([runs.reshape(-1, *values.shape[1:]), values[whole:][piece::n_pieces]])


def joined(blocks: list[Block]) -> Block:
    """One block of all rows, the same memory where there is one."""
    if len(blocks) == 1:
        return blocks[0]
    blocks = [block.gathered() for block in blocks]
    weight = None
    if any(block.weight is not None for block in blocks):
        weight = np.concatenate([np.ones(len(b)) if b.weight is None else b.weight for b in blocks])
    return Block(np.concatenate([block.X for block in blocks]), weight)

"""Blocks of rows: what passes over data that does not fit in memory, and steps of online EM, are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Rows of a run, and runs of a mini-batch at least, where mini-batches are spread over an array.
_RUN_ROWS = 64
_LEAST_RUNS = 64

#: Where reading goes on: the number of a part (a file, a block that was given) and of a row in it.
Position = tuple[int, int]
BEGIN: Position = (0, 0)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows (n, n_features), their weights (n,), None where all are 1, and the position behind the last row."""

    X: np.ndarray
    weight: np.ndarray | None = None
    end: Position = BEGIN

    def __len__(self) -> int:
        return len(self.X)

    def copy(self) -> Block:
        """In memory of its own: that of a block from a file is used again."""
        return Block(self.X.copy(order="K"), None if self.weight is None else self.weight.copy(), self.end)

    def cut(self, n_rows: int, interleave: bool = False) -> Iterator[Block]:
        """Pieces of ``n_rows`` rows or some more, as equal as can be: rows in a row, or spread over all of them."""
        n_pieces = max(1, len(self.X) // n_rows)
        if n_pieces == 1:
            yield self
            return
        for piece in range(n_pieces):
            if interleave:
                weight = None if self.weight is None else _spread(self.weight, piece, n_pieces)
                yield Block(_spread(self.X, piece, n_pieces), weight)
            else:
                rows = slice(len(self.X) * piece // n_pieces, len(self.X) * (piece + 1) // n_pieces)
                yield Block(self.X[rows], None if self.weight is None else self.weight[rows])


def _spread(values: np.ndarray, piece: int, n_pieces: int) -> np.ndarray:
    """A copy of every m-th run of rows: single rows lie on a page each, which takes half of a pass to read."""
    run = min(_RUN_ROWS, max(1, len(values) // (_LEAST_RUNS * n_pieces)))
    n_runs = len(values) // (n_pieces * run)
    rest = values[n_runs * n_pieces * run :][piece::n_pieces]
    spread = np.empty((n_runs * run + len(rest), *values.shape[1:]), values.dtype)
    for number in range(n_runs):
        start = (number * n_pieces + piece) * run
        spread[number * run : (number + 1) * run] = values[start : start + run]
    spread[n_runs * run :] = rest
    return spread


def joined(blocks: list[Block]) -> Block:
    """One block of all rows, the same memory where there is one."""
    if len(blocks) == 1:
        return blocks[0]
    weight = None
    if any(block.weight is not None for block in blocks):
        weight = np.concatenate([np.ones(len(b)) if b.weight is None else b.weight for b in blocks])
    return Block(np.concatenate([block.X for block in blocks]), weight)

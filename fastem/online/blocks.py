"""Mini-batches: cut out of an array or out of a stream of blocks, and checked as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from fastem.data.arrays import as_rows, as_weights, is_plain
from fastem.families import Family

# A mini-batch has enough rows for the pass to cost much more than the M-step, and for two rows a free parameter.
_BATCH_ROWS = 32_768
_ROWS_A_PARAMETER = 2
# Rows of a run, and runs of a mini-batch at least, where mini-batches are spread over an array.
_RUN_ROWS = 64
_LEAST_RUNS = 64
# More rows than these are not gathered before a start, whatever the number of parameters.
MOST_GATHERED = 50_000


@dataclass(frozen=True, eq=False)
class Block:
    """Rows (n, n_features) and their weights (n,), None where all are 1."""

    X: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.X)

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


def gathering_rows(n_parameters: int) -> int:
    """Rows that a start of a model of so many free parameters is found from, at least."""
    return min(max(2, _ROWS_A_PARAMETER * n_parameters), MOST_GATHERED)


def batch_rows(n_parameters: int) -> int:
    """Rows of a mini-batch, where nobody said."""
    return max(_BATCH_ROWS, gathering_rows(n_parameters))


def joined(blocks: list[Block]) -> Block:
    """One block of all rows, the same memory where there is one."""
    if len(blocks) == 1:
        return blocks[0]
    weight = None
    if any(block.weight is not None for block in blocks):
        weight = np.concatenate([np.ones(len(b)) if b.weight is None else b.weight for b in blocks])
    return Block(np.concatenate([block.X for block in blocks]), weight)


def gather(blocks: Iterator[Block], n_rows: Callable[[int], int]) -> Block:
    """The first blocks, taken until they have ``n_rows(n_features)`` rows, as one."""
    first: list[Block] = []
    for block in blocks:
        first.append(block)
        if sum(map(len, first)) >= n_rows(block.X.shape[1]):
            break
    if not first:
        raise ValueError("there are no rows: the iterable of blocks is empty, or was read before")
    return joined(first)


class Blocks:
    """Mini-batches of an array, or of an iterable of blocks, in the order of the rows.

    Parameters
    ----------
    rows : ndarray or iterable
        An array, or blocks ``X`` or ``(X, sample_weight)``.
    sample_weight : array-like, optional
        Of an array's rows.
    family : Family
        Says whether rows are of its support.
    n_rows : callable
        Number of features to the rows of a mini-batch; larger blocks are cut, smaller ones are taken as they are.
    interleave : bool
        Whether a mini-batch of an array takes every m-th row.
    """

    def __init__(
        self, rows: Any, sample_weight: Any, family: Family[Any], n_rows: Callable[[int], int], interleave: bool
    ) -> None:
        self.family = family
        self.n_rows = n_rows
        self.interleave = interleave
        self.n_read = 0
        #: The whole, where it is one array.
        self.array: Block | None = None
        self._items: Iterable[Any] = ()
        if hasattr(rows, "__array__"):
            X = rows if is_plain(rows) else as_rows(rows)
            self.array = Block(X, as_weights(sample_weight, len(X)))
            return
        if sample_weight is not None:
            raise ValueError("weights of blocks come with them, as pairs (X, sample_weight), and not in sample_weight")
        if not isinstance(rows, Iterable):
            raise ValueError(f"rows must be an array or an iterable of blocks, but got {type(rows).__name__}")
        self._items = rows

    @property
    def again(self) -> bool:
        """Whether the rows can be read more than once."""
        return not isinstance(self._items, Iterator)

    def __iter__(self) -> Iterator[Block]:
        n_features = None
        for number, block in enumerate(chain(() if self.array is None else [self.array], map(_as_block, self._items))):
            n_features = n_features or block.X.shape[1]
            for piece in block.cut(self.n_rows(n_features), self.interleave):
                try:
                    as_rows(piece.X, n_features)
                    self.family.check_data(piece.X)
                except ValueError as error:
                    if self.array is not None:
                        # Rows of a piece have other numbers than those of the array: it is asked, to name the row.
                        as_rows(self.array.X)
                        self.family.check_data(self.array.X)
                    raise ValueError(f"block {number} (from 0): {error}") from error
                self.n_read += len(piece)
                yield piece


def _as_block(item: Any) -> Block:
    X, weight = item if isinstance(item, tuple) else (item, None)
    X = X if is_plain(X) else as_rows(X)
    return Block(X, as_weights(weight, len(X)))

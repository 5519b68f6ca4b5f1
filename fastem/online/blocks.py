"""Mini-batches: cut out of an array, or out of the blocks of a source as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastem.data.arrays import as_rows
from fastem.data.blocks import Block, joined
from fastem.data.sources import Source
from fastem.families import Family

# A mini-batch has enough rows for the pass to cost much more than the M-step, and for two rows a free parameter.
_BATCH_ROWS = 32_768
_ROWS_A_PARAMETER = 2
# More rows than these are not gathered before a start, whatever the number of parameters.
MOST_GATHERED = 50_000


def gathering_rows(n_parameters: int) -> int:
    """Rows that a start of a model of so many free parameters is found from, at least."""
    return min(max(2, _ROWS_A_PARAMETER * n_parameters), MOST_GATHERED)


def batch_rows(n_parameters: int) -> int:
    """Rows of a mini-batch, where nobody said."""
    return max(_BATCH_ROWS, gathering_rows(n_parameters))


def gather(blocks: Iterator[Block], n_rows: int, are_reused: bool) -> Block:
    """The first blocks, taken until they have ``n_rows`` rows of positive weight, as one.

    ``are_reused`` says whether the memory of blocks is used again, so that they have to be copied.
    """
    first: list[Block] = []
    n_weighted = 0
    for block in blocks:
        first.append(block.copy() if are_reused else block)
        weight = block.own_weight
        n_weighted += len(block) if weight is None else int(np.count_nonzero(weight))
        if n_weighted >= n_rows:
            break
    if not first:
        raise ValueError("no row has a positive weight, while the fit needs some")
    return joined(first)


class Blocks:
    """Mini-batches of a source in the order of its rows, those of an array spread over all of it.

    Parameters
    ----------
    source : Source
    family : Family
        Says whether rows are of its support.
    n_rows : int
        Rows of a mini-batch; larger blocks are cut, smaller ones are taken as they are.
    interleave : bool
        Whether a mini-batch of an array, or of a large block, takes every m-th run of rows, of many where they lie.
    """

    def __init__(self, source: Source, family: Family[Any], n_rows: int, interleave: bool) -> None:
        self.source = source
        self.family = family
        self.n_rows = n_rows
        self.interleave = interleave
        self.n_read = 0

    @property
    def whole(self) -> Block | None:
        """All rows, where they are one array."""
        return None if self.source.array is None else Block(self.source.array, self.source.weight)

    def __iter__(self) -> Iterator[Block]:
        for number, block in enumerate([self.whole] if self.whole is not None else self.source.blocks()):
            self._check(number, block)
            for piece in block.cut(self.n_rows, self.interleave):
                self.n_read += len(piece)
                # From rows without weight there is nothing to learn.
                weight = piece.own_weight
                if weight is None or weight.any():
                    yield piece

    def _check(self, number: int, block: Block) -> None:
        try:
            self.family.check_data(block.X)
        except ValueError as error:
            raise error if self.whole is not None else ValueError(f"block {number} (from 0): {error}") from error

    @contextmanager
    def naming_rows(self) -> Iterator[None]:
        """Have errors name the row of the array that cannot be used, if there is one.

        Values are not looked at before: one that is not finite makes the log-likelihood of its mini-batch so. And rows
        of a piece, or of a sample, have other numbers than those of the array.
        """
        try:
            yield
        except ValueError:
            if self.whole is not None:
                as_rows(self.whole.X)
                self.family.check_data(self.whole.X)
            raise

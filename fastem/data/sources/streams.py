"""Blocks as they come: an iterable of them, or a function that makes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from fastem.data.arrays import as_rows_unchecked, as_weights
from fastem.data.blocks import BEGIN, Position
from fastem.data.sources.reading import Columns, Piece, Reader, generic_names


class BlocksReader(Reader):
    """Blocks ``X`` or ``(X, sample_weight)``, which are read where they lie.

    Parameters
    ----------
    given : iterable or callable
        A function is called for each pass, and returns an iterable of blocks.
    """

    def __init__(self, given: Any, columns: Any, weight_column: str | int | None) -> None:
        self.where = f"the {type(given).__name__} of blocks"
        if not callable(given) and not isinstance(given, Iterable):
            raise ValueError(f"rows must be an array or an iterable of blocks, but got {type(given).__name__}")
        self._given = given
        self.again = not isinstance(given, Iterator)
        # A list's blocks are in memory; what a generator takes to make one, nobody knows.
        self.in_memory = isinstance(given, (list, tuple))
        self.decodes = callable(given)
        rest = self._items()
        # The number of the item and the item itself.
        first = next(rest, None)
        if first is None:
            raise ValueError(f"there are no rows: {self.where} is empty, or was read before")
        # The first pass begins with what was looked at.
        self._opened: Iterator[tuple[int, Any]] | None = chain([first], rest)
        piece = self._piece(*first)
        assert piece.X is not None
        n_columns = piece.X.shape[1]
        self.columns = Columns.choose(
            self.where, generic_names(n_columns), range(n_columns), columns, weight_column, named=False
        )
        self._is_whole = self.columns.indices == list(range(n_columns))
        self.dtype = piece.X.dtype
        self._n_columns = n_columns
        if self.in_memory:
            blocks = [item[0] if isinstance(item, tuple) else item for item in given]
            self.n_samples = sum(map(len, blocks))
            if any(getattr(X, "dtype", None) != np.float32 for X in blocks):
                self.dtype = np.dtype(np.float64)

    def _items(self) -> Iterator[tuple[int, Any]]:
        """Blocks and their numbers, without those that have no rows."""
        for number, item in enumerate(self._given() if callable(self._given) else self._given):
            X = item[0] if isinstance(item, tuple) else item
            if getattr(X, "ndim", 0) != 2 or len(X) > 0:
                yield number, item

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        items, self._opened = self._opened or self._items(), None
        for number, item in items:
            if number < start[0]:
                continue
            piece = self._piece(number, item)
            assert piece.X is not None
            if piece.X.shape[1] != self._n_columns:
                raise ValueError(
                    f"block {number} (from 0): X has {piece.X.shape[1]} features, but the first block has "
                    f"{self._n_columns}"
                )
            if piece.X.dtype.itemsize > self.dtype.itemsize:
                raise ValueError(
                    f"block {number} (from 0): X is {piece.X.dtype}, but the first block is {self.dtype}; give all "
                    "blocks one type"
                )
            X, weight = piece.X.astype(self.dtype, copy=False), piece.weight
            if not self._is_whole:
                weight = weight if self.columns.weight is None else X[:, self.columns.weight].astype(np.float64)
                X = X[:, self.columns.indices]
            begin = start[1] if number == start[0] else 0
            if begin >= len(X):
                continue
            rest = None if weight is None else weight[begin:]
            yield Piece(piece.where, number, begin, X[begin:], weight=rest)

    @staticmethod
    def _piece(number: int, item: Any) -> Piece:
        X, weight = item if isinstance(item, tuple) else (item, None)
        where = f"block {number} (from 0)"
        try:
            X = as_rows_unchecked(X)
            return Piece(where, number, 0, X, weight=as_weights(weight, len(X), are_all=False))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

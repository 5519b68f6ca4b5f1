"""Buffers that blocks are read into, used again and again: memory does not grow with the rows."""

from __future__ import annotations

from itertools import cycle
from typing import Any, Literal

import numpy as np

from fastem.data.blocks import Block
from fastem.data.sources.ahead import ALIVE


def bytes_of(values: np.ndarray) -> memoryview:
    """Memory of a contiguous array, to read into or to write."""
    return memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


class Ring:
    """As many buffers as blocks are alive at a time; one that is handed out again is no longer in use."""

    def __init__(self, n_rows: int, n_features: int, dtype: Any) -> None:
        self.n_rows = n_rows
        self.n_features = n_features
        self._buffers = cycle([(np.empty(n_rows * n_features, dtype), np.empty(n_rows)) for _ in range(ALIVE)])

    def next(self, n_rows: int, order: Literal["C", "F"], weighted: bool) -> Block:
        """A block to be filled; with order "F" each column is contiguous."""
        values, weight = next(self._buffers)
        shape = (n_rows, self.n_features)
        X = values[: n_rows * self.n_features].reshape(shape if order == "C" else shape[::-1])
        return Block(X if order == "C" else X.T, weight[:n_rows] if weighted else None)

"""Data frames of pandas, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastem.data.blocks import BEGIN, Position
from fastem.data.sources.reading import Columns, Piece, Reader, real_type


class FrameReader(Reader):
    """A pandas data frame; its index is no feature."""

    decodes = False

    def __init__(self, frame: Any, columns: Sequence[str | int] | None, weight_column: str | int | None) -> None:
        self.where = "the data frame"
        names = [str(name) for name in frame.columns]
        usable = [j for j, dtype in enumerate(frame.dtypes) if _is_number(dtype)]
        self.columns = Columns.choose(self.where, names, usable, columns, weight_column)
        self._series = [frame.iloc[:, j] for j in self.columns.all_indices]
        features = self._series[: len(self.columns.indices)]
        self.dtype = real_type(_numpy_type(series.dtype) for series in features)
        self.n_samples = len(frame)

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        assert self.n_samples is not None
        for first in range(start[1], self.n_samples, n_rows):
            found = []
            for series in self._series:
                part = series.iloc[first : first + n_rows]
                is_numpy = isinstance(part.dtype, np.dtype)
                found.append(part.to_numpy() if is_numpy else part.to_numpy(np.float64, na_value=np.nan))
            yield Piece(self.where, 0, first, columns=found)


def _is_number(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        return dtype.kind in "fiub"
    # Extension types say so themselves.
    return bool(getattr(dtype, "_is_numeric", False) or getattr(dtype, "_is_boolean", False))


def _numpy_type(dtype: Any) -> Any:
    if isinstance(dtype, np.dtype):
        return dtype
    found = getattr(dtype, "numpy_dtype", np.float64)
    return found if getattr(found, "kind", "") == "f" else np.float64

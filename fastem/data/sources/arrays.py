"""Arrays: in memory, memory maps, files of ``numpy.save``, and what is sliced like them (HDF5, Zarr)."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastem.data.arrays import as_rows_unchecked, as_weights, is_plain
from fastem.data.blocks import BEGIN, Position
from fastem.data.sources.ahead import AT_WORK
from fastem.data.sources.reading import Columns, FileState, Piece, Reader, generic_names, real_type
from fastem.data.sources.rings import Ring, bytes_of

ColumnNames = Sequence[str | int] | None


class ArrayReader(Reader):
    """An array in memory or in a memory map, read where it lies.

    Pages of a map that have been read are given back, so that they do not count as memory of the process.
    """

    in_memory = True

    def __init__(
        self, array: Any, columns: ColumnNames, weight_column: str | int | None, sample_weight: Any = None
    ) -> None:
        self.where = "X"
        X = array if is_plain(array) else as_rows_unchecked(array)
        n_columns = X.shape[1]
        self.columns = Columns.choose(
            "X", generic_names(n_columns), range(n_columns), columns, weight_column, named=False
        )
        self.X = X
        self._is_whole = self.columns.indices == list(range(n_columns))
        self.dtype = X.dtype
        self.n_samples = len(X)
        self.sample_weight = as_weights(sample_weight, len(X))
        self._map = _map_below(X)

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        in_use: deque[np.ndarray] = deque()
        for first in range(start[1], len(self.X), n_rows):
            rows = slice(first, first + n_rows)
            X = self.X[rows]
            weight = None if self.sample_weight is None else self.sample_weight[rows]
            if not self._is_whole:
                if self.columns.weight is not None:
                    weight = X[:, self.columns.weight].astype(np.float64)
                X = X[:, self.columns.indices]
            yield Piece("X", 0, first, X, weight=weight)
            in_use.append(self.X[rows])
            if len(in_use) == AT_WORK:
                self._give_back(in_use.popleft())
        while in_use:
            self._give_back(in_use.popleft())

    def _give_back(self, X: np.ndarray) -> None:
        if self._map is not None:
            _give_back(self._map, X)

    @property
    def whole(self) -> np.ndarray | None:
        return self.X if self._is_whole else None


def _map_below(X: np.ndarray) -> mmap.mmap | None:
    """The map of a file that an array is a view of, if it cannot have changes of its own."""
    base: Any = X
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None


def _give_back(below: mmap.mmap, X: np.ndarray) -> None:
    """Tell the system that the whole pages of rows in C order are not needed for now."""
    if not X.flags.c_contiguous:
        return
    begin = np.frombuffer(below, np.uint8).__array_interface__["data"][0]
    offset = X.__array_interface__["data"][0] - begin
    # The page at the end holds the next rows as well; that at the beginning has been read.
    first, last = offset // mmap.PAGESIZE, (offset + X.nbytes) // mmap.PAGESIZE
    if last > first:
        below.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)


class NpyReader(Reader):
    """Files of ``numpy.save``, one after another, read into buffers."""

    def __init__(self, paths: Sequence[Path], columns: ColumnNames, weight_column: str | int | None) -> None:
        self.where = str(paths[0]) if len(paths) == 1 else f"the {len(paths)} files {paths[0]} ..."
        self.files = [FileState.of(path) for path in paths]
        self._headers = [_header(path) for path in paths]
        shape, dtype, _, _ = self._headers[0]
        for path, header in zip(paths[1:], self._headers[1:], strict=True):
            if header[0][1] != shape[1]:
                raise ValueError(f"{path} has {header[0][1]} columns, but {paths[0]} has {shape[1]}")
            if header[1] != dtype:
                raise ValueError(f"{path} holds {header[1]}, but {paths[0]} holds {dtype}")
        self.columns = Columns.choose(
            self.where, generic_names(shape[1]), range(shape[1]), columns, weight_column, named=False
        )
        self._is_whole = self.columns.indices == list(range(shape[1]))
        self.dtype = real_type([dtype])
        self.n_samples = sum(header[0][0] for header in self._headers)

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        ring: Ring | None = None
        for part in range(start[0], len(self.files)):
            state = self.files[part]
            shape, dtype, is_fortran, offset = self._headers[part]
            begin = start[1] if part == start[0] else 0
            with _opened(state) as file:
                for first in range(begin, shape[0], n_rows):
                    n = min(n_rows, shape[0] - first)
                    ring = ring or Ring(n_rows, shape[1], dtype)
                    X = ring.next(n, "F" if is_fortran else "C", False).X
                    if is_fortran:
                        for j in range(shape[1]):
                            _read_into(file, state.path, offset + (j * shape[0] + first) * dtype.itemsize, X[:, j])
                    else:
                        _read_into(file, state.path, offset + first * shape[1] * dtype.itemsize, X)
                    yield self._piece(state.path, part, first, X)

    @property
    def whole(self) -> np.ndarray | None:
        """A map of the file, where one holds the very rows."""
        if len(self.files) > 1 or not self._is_whole:
            return None
        shape, dtype, is_fortran, offset = self._headers[0]
        if dtype != self.dtype:
            return None
        return np.memmap(self.files[0].path, dtype, "r", offset, shape, "F" if is_fortran else "C")

    def _piece(self, path: Path, part: int, first: int, X: np.ndarray) -> Piece:
        weight = None if self.columns.weight is None else X[:, self.columns.weight].astype(np.float64)
        if not self._is_whole:
            X = X[:, self.columns.indices]
        return Piece(str(path), part, first, X.astype(self.dtype, copy=False), weight=weight)


def _header(path: Path) -> tuple[tuple[int, int], np.dtype[Any], bool, int]:
    """Shape, type, whether in Fortran order, and where the values begin."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{path} is not an array of numbers saved by numpy.save, or it is damaged") from error
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path} is not an array of numbers saved by numpy.save, or it is damaged")
    if dtype.kind not in "fiub" or len(shape) not in (1, 2):
        raise ValueError(f"{path} must hold a table of numbers, but it holds an array of shape {shape} of {dtype}")
    shape = (shape[0], (*shape, 1)[1])
    if 0 in shape:
        raise ValueError(f"{path} has no rows" if shape[1] else f"{path} has no columns")
    size = offset + shape[0] * shape[1] * dtype.itemsize
    if path.stat().st_size < size:
        raise ValueError(f"{path} is cut short: its header says {size} bytes, but it has {path.stat().st_size}")
    return shape, dtype, is_fortran, offset


def _opened(state: FileState) -> IO[bytes]:
    state.check()
    return state.path.open("rb", buffering=0)


def _read_into(file: IO[bytes], path: Path, offset: int, values: np.ndarray) -> None:
    file.seek(offset)
    left = bytes_of(values)
    while left:
        n_read = file.readinto(left)  # type: ignore[attr-defined]
        if not n_read:
            raise ValueError(f"{path} was cut short while it was read")
        left = left[n_read:]


class SlicedReader(Reader):
    """Arrays that give their rows when sliced, and are no NumPy arrays: HDF5 datasets, Zarr arrays.

    Parameters
    ----------
    where : str
    tables : list of array-like
        One of two dimensions, or columns of one dimension.
    names : list of str
        Of the columns.
    """

    decodes = True

    def __init__(
        self,
        where: str,
        tables: Sequence[Any],
        names: list[str] | None,
        columns: ColumnNames,
        weight_column: str | int | None,
    ) -> None:
        self.where = where
        self._tables = list(tables)
        is_one = names is None
        n_columns = (*tables[0].shape, 1)[1] if names is None else len(names)
        self.columns = Columns.choose(
            where, names or generic_names(n_columns), range(n_columns), columns, weight_column, named=not is_one
        )
        self._is_one = is_one
        used = tables if is_one else [tables[j] for j in self.columns.indices]
        self.dtype = real_type(table.dtype for table in used)
        self.n_samples = tables[0].shape[0]
        if self.n_samples == 0:
            raise ValueError(f"{where} has no rows")
        self._is_whole = self.columns.indices == list(range(n_columns))

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        assert self.n_samples is not None
        for state in self.files:
            state.check()
        for first in range(start[1], self.n_samples, n_rows):
            rows = slice(first, first + n_rows)
            try:
                if not self._is_one:
                    found = [np.asarray(self._tables[j][rows]) for j in self.columns.all_indices]
                    yield Piece(self.where, 0, first, columns=found)
                    continue
                X = np.asarray(self._tables[0][rows])
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                raise ValueError(
                    f"{self.where} could not be read from row {first} on; it was changed or is damaged ({error})"
                ) from error
            if X.ndim == 1:
                X = X[:, None]
            weight = None if self.columns.weight is None else X[:, self.columns.weight].astype(np.float64)
            if not self._is_whole:
                X = X[:, self.columns.indices]
            yield Piece(self.where, 0, first, X.astype(self.dtype, copy=False), weight=weight)


def sliced(data: Any, where: str, columns: ColumnNames, weight_column: str | int | None) -> SlicedReader:
    """A reader of a dataset, or of a group that holds one table or columns of one length.

    Raises
    ------
    ValueError
        If there is no table of numbers, or more than one.
    """
    if hasattr(data, "shape"):
        if len(data.shape) not in (1, 2) or np.dtype(data.dtype).kind not in "fiub":
            raise ValueError(f"{where} must be a table of numbers, but has shape {data.shape} and type {data.dtype}")
        return SlicedReader(where, [data], None, columns, weight_column)
    members = {name: data[name] for name in sorted(data.keys())}
    numbers = {n: a for n, a in members.items() if hasattr(a, "shape") and np.dtype(a.dtype).kind in "fiub"}
    tables = [name for name, array in numbers.items() if len(array.shape) == 2]
    if len(tables) == 1:
        name = tables[0]
        return SlicedReader(f"{where}/{name}", [numbers[name]], None, columns, weight_column)
    lines = {name: array for name, array in numbers.items() if len(array.shape) == 1}
    if tables or not lines or len({array.shape for array in lines.values()}) > 1:
        raise ValueError(
            f"{where} must hold one table of numbers, or columns of one length, but it holds "
            f"{', '.join(f'{n} {tuple(a.shape)}' for n, a in numbers.items()) or 'neither'}; give the dataset itself"
        )
    return SlicedReader(where, list(lines.values()), list(lines), columns, weight_column)

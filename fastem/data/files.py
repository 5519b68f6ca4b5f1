"""Tables in files: CSV text, NumPy arrays and Parquet, read as rows of floats and written whole or not at all."""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")

_SAMPLE_LINES = 200
_DELIMITERS = "\t;,"
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "."})


@dataclass(frozen=True)
class Table:
    """Columns of numbers from a file.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_features)
        float32 or float64; a read-only memory map where the file is one (``.npy``).
    names : list of str
        Of the columns; ``x0``, ``x1``, ... where the file has no names.
    named : bool
        Whether the names are the file's.
    left_out : list of str
        Columns that hold no numbers, or have no name where others do.
    """

    values: np.ndarray
    names: list[str]
    named: bool = False
    left_out: list[str] = field(default_factory=list)


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Table:
    """Read columns of numbers from a CSV, NumPy or Parquet file.

    Parameters
    ----------
    path : path-like
        Ends in ``.csv``, ``.tsv`` or ``.txt`` (text with commas, semicolons or tabs, and names in the first line or
        not), ``.npy`` (an array, mapped into memory) or ``.parquet``.
    columns : sequence of str, optional
        Names of the columns to read, in that order; by default all that hold numbers.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If there is no such file or column, a cell is empty or not a finite number, rows differ in length, or the file
        is not what its name says.
    ImportError
        If the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    return _reader(path)(path, None if columns is None else list(columns))


def column_names(path: str | os.PathLike[str]) -> list[str] | None:
    """Names of all columns of a file; None where it has none.

    Raises
    ------
    ValueError, ImportError
        As in :func:`read_table`.
    """
    path = Path(path)
    reader = _reader(path)
    if reader is _read_text:
        layout = _layout(path)
        return layout.names if layout.header else None
    return _parquet(path).schema_arrow.names if reader is _read_parquet else None


def _reader(path: Path) -> Any:
    readers = {
        **dict.fromkeys(TEXT_ENDINGS, _read_text),
        ".npy": _read_npy,
        **dict.fromkeys(PARQUET_ENDINGS, _read_parquet),
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"cannot read {path}: the name of a table must end in {', '.join(readers)}")
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    return readers[path.suffix.lower()]


def _chosen(path: Path, names: list[str], usable: Sequence[int], columns: list[str] | None) -> list[int]:
    """Indices of the columns to read."""
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"{path} has more than one column {repeated[0]!r}; give each a name of its own")
    if columns is None:
        if not usable:
            raise ValueError(f"{path} has no column of numbers (decimals are written with a point, 1.5)")
        return list(usable)
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns must be different names, but got {columns}")
    for name in columns:
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}; its columns are {_listed(names)}")
        if names.index(name) not in usable:
            raise ValueError(f"column {name!r} of {path} holds no numbers")
    return [names.index(name) for name in columns]


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _generic_names(n_columns: int) -> list[str]:
    return [f"x{j}" for j in range(n_columns)]


# Text.


@dataclass(frozen=True)
class _Layout:
    """What a sample of the first lines says about a text file."""

    delimiter: str
    header: bool
    names: list[str]
    numeric: list[int]


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text in UTF-8 (byte {error.start} of a block); save it as such") from error
        except csv.Error as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from error


def _layout(path: Path) -> _Layout:
    with _open_text(path) as file:
        lines = list(islice(file, _SAMPLE_LINES))
        delimiter = _delimiter(lines)
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    if not rows:
        raise ValueError(f"{path} is empty")
    body = [_kinds(column) for column in zip(*_same_length(rows[1:], len(rows[0])), strict=True)]
    first = [_kinds([cell]) for cell in rows[0]]
    # A first line with text above numbers holds names; so does one with text that nothing follows.
    header = any(text and (not body or body[j][0] > body[j][1]) for j, (_, text) in enumerate(first))
    if header and not body:
        raise ValueError(f"{path} has names of columns in its first line, but no rows")
    pairs = zip(first, body or [(0, 0)] * len(first), strict=True)
    counts = body if header else [(a + c, b + d) for (a, b), (c, d) in pairs]
    names = [cell.strip() for cell in rows[0]] if header else _generic_names(len(first))
    numeric = [j for j, (numbers, texts) in enumerate(counts) if numbers >= texts and names[j]]
    return _Layout(delimiter, header, names, numeric)


def _delimiter(lines: list[str]) -> str:
    """The character that cuts most lines into the same number of cells, more than one; else the comma."""

    def share(delimiter: str) -> float:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        return count / widths.total() if width > 1 else 0.0

    best = max(_DELIMITERS, key=share)
    return best if share(best) > 0 else ","


def _same_length(rows: list[list[str]], width: int) -> list[list[str]]:
    return [(row + [""] * width)[:width] for row in rows]


def _kinds(cells: Iterable[str]) -> tuple[int, int]:
    """How many of the cells are numbers and how many are text; missing values are neither."""
    numbers = texts = 0
    for cell in cells:
        if cell.strip().lower() in _MISSING:
            continue
        try:
            _number(cell)
            numbers += 1
        except ValueError:
            texts += 1
    return numbers, texts


def _number(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value) or "_" in cell:
        raise ValueError
    return value


def _read_text(path: Path, columns: list[str] | None) -> Table:
    layout = _layout(path)
    chosen = _chosen(path, layout.names, layout.numeric, columns)
    values = None
    if chosen == list(range(len(layout.names))):
        values = _read_numbers(path, layout)
    if values is None:
        values = _read_cells(path, layout, chosen)
    left_out = [name or f"column {j + 1}" for j, name in enumerate(layout.names) if j not in layout.numeric]
    names = [layout.names[j] for j in chosen]
    return Table(values, names, layout.header, left_out if columns is None else [])


def _read_numbers(path: Path, layout: _Layout) -> np.ndarray | None:
    """All columns, quickly; None where something is wrong, which :func:`_read_cells` will find and name."""
    with _open_text(path) as file:
        if layout.header:
            next(row for row in csv.reader(file, delimiter=layout.delimiter) if row)
        try:
            values = np.loadtxt(file, delimiter=layout.delimiter, comments=None, quotechar='"', ndmin=2)
        except ValueError:
            return None
    return values if values.shape[1] == len(layout.names) and np.isfinite(values).all() else None


def _read_cells(path: Path, layout: _Layout, chosen: list[int]) -> np.ndarray:
    """The chosen columns, cell by cell."""
    numbers = array("d")
    # One index makes itemgetter return a cell in place of a tuple.
    cells_of = itemgetter(*chosen) if len(chosen) > 1 else itemgetter(slice(chosen[0], chosen[0] + 1))
    with _open_text(path) as file:
        reader = csv.reader(file, delimiter=layout.delimiter)
        first, width = layout.header, len(layout.names)
        for row in reader:
            if not row:
                continue
            if len(row) != width:
                raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells, but {width} in the first line")
            if first:
                first = False
                continue
            try:
                numbers.extend(map(_number, cells_of(row)))
            except ValueError:
                raise _bad_cell(path, reader.line_num, row, layout, chosen) from None
    return np.frombuffer(numbers).reshape(-1, len(chosen))


def _bad_cell(path: Path, line: int, row: list[str], layout: _Layout, chosen: list[int]) -> ValueError:
    j = next(j for j in chosen if _kinds([row[j]])[0] == 0)
    what = "is empty" if not row[j].strip() else f"holds {row[j]!r}, which is not a finite number"
    return ValueError(
        f"{path}, line {line}: column {layout.names[j]!r} {what}; correct or remove such rows, or choose other columns"
    )


# NumPy.


def _read_npy(path: Path, columns: list[str] | None) -> Table:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{path} is not an array of numbers saved by numpy.save, or it is damaged") from error
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
        raise ValueError(
            f"{path} must hold a table of numbers, but it holds an array of shape {values.shape} of {values.dtype}"
        )
    values = values[:, None] if values.ndim == 1 else values
    names = _generic_names(values.shape[1])
    chosen = _chosen(path, names, range(len(names)), columns)
    values = values if chosen == list(range(len(names))) else values[:, chosen]
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    return Table(values, [names[j] for j in chosen])


# Parquet.


def _parquet(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"reading {path} needs pyarrow: pip install 'fastem[parquet]'") from error
    try:
        return parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file, or it is damaged") from error


def _read_parquet(path: Path, columns: list[str] | None) -> Table:
    with _parquet(path) as file:
        schema = file.schema_arrow
        usable = [j for j, column in enumerate(schema) if _is_numeric(column)]
        chosen = _chosen(path, schema.names, usable, columns)
        names = [schema.names[j] for j in chosen]
        single = all(str(schema.field(j).type) in ("float", "halffloat") for j in chosen)
        values = np.empty((file.metadata.num_rows, len(names)), np.float32 if single else np.float64, order="F")
        start = 0
        for batch in file.iter_batches(columns=names):
            for j, name in enumerate(names):
                values[start : start + len(batch), j] = _checked_column(path, name, batch.column(name), start)
            start += len(batch)
    if len(values) == 0:
        raise ValueError(f"{path} has no rows")
    left_out = [name for j, name in enumerate(schema.names) if j not in usable]
    return Table(values, names, True, left_out if columns is None else [])


def _is_numeric(column: Any) -> bool:
    from pyarrow import types

    kinds = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    # pandas stores the labels of its rows under such a name.
    return not column.name.startswith("__index_level_") and any(is_kind(column.type) for is_kind in kinds)


def _checked_column(path: Path, name: str, column: Any, start: int) -> np.ndarray:
    """A column's values; ValueError with the first row that is missing or not finite."""
    import pyarrow

    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    missing = column.is_null().to_numpy(zero_copy_only=False)
    numbers = column.to_numpy(zero_copy_only=False)
    bad = missing if missing.any() else ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        what = "is missing" if missing[row] else f"holds {numbers[row]}, which is not a finite number"
        raise ValueError(
            f"{path}, row {start + row} (from 0): column {name!r} {what}; correct or remove such rows, or choose other "
            "columns"
        )
    return numbers

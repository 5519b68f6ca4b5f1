"""Text: CSV and its like, whose delimiter, names and columns of numbers a sample of lines tells."""

from __future__ import annotations

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO

import numpy as np

from fastem.data.blocks import BEGIN, Position
from fastem.data.sources.reading import MISSING, Columns, FileState, Piece, Reader, generic_names

TEXT_ENDINGS = (".csv", ".tsv", ".txt")

_SAMPLE_LINES = 200
_DELIMITERS = "\t;,"
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "."})
# Bytes of text that are parsed at a time.
_TEXT_BYTES = 2**22


class TextReader(Reader):
    """Text files with the same columns, one after another: by pyarrow where it is installed, else line by line.

    Where pyarrow finds a fault, the file is read again line by line, to name the place.
    """

    decodes = True
    dtype = np.dtype(np.float64)

    def __init__(
        self, paths: Sequence[Path], columns: Sequence[str | int] | None, weight_column: str | int | None
    ) -> None:
        self.where = str(paths[0]) if len(paths) == 1 else f"the {len(paths)} files {paths[0]} ..."
        self.files = [FileState.of(path) for path in paths]
        self.layouts = [layout_of(path) for path in paths]
        first = self.layouts[0]
        for path, layout in zip(paths[1:], self.layouts[1:], strict=True):
            if layout.names != first.names:
                raise ValueError(
                    f"the columns of {path} are {', '.join(layout.names)}, but those of {paths[0]} are "
                    f"{', '.join(first.names)}"
                )
        self.columns = Columns.choose(
            str(paths[0]), first.names, first.numeric, columns, weight_column, named=first.header
        )

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        for part in range(start[0], len(self.files)):
            state, row = self.files[part], 0
            state.check()
            skip = start[1] if part == start[0] else 0
            for columns in self._columns(state.path, self.layouts[part], n_rows):
                late, row = max(0, skip - row), row + len(columns[0])
                if late < len(columns[0]):
                    first = row - len(columns[0]) + late
                    yield Piece(str(state.path), part, first, columns=[column[late:] for column in columns])

    def _columns(self, path: Path, layout: Layout, n_rows: int) -> Iterator[list[np.ndarray]]:
        try:
            import pyarrow
            from pyarrow import csv as arrow_csv
        except ImportError:
            yield from self._lines(path, layout, n_rows)
            return
        names = generic_names(len(layout.names))
        used = [names[j] for j in self.columns.all_indices]
        try:
            with arrow_csv.open_csv(
                path,
                read_options=arrow_csv.ReadOptions(
                    use_threads=False,
                    block_size=_TEXT_BYTES,
                    column_names=names,
                    skip_rows_after_names=layout.n_blank + layout.header,
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=used,
                    column_types=dict.fromkeys(used, pyarrow.float64()),
                    null_values=_MISSING_AS_WRITTEN,
                ),
            ) as batches:
                for batch in batches:
                    if len(batch):
                        yield [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        except (pyarrow.ArrowInvalid, OSError) as error:
            for _ in self._lines(path, layout, n_rows):  # whose error names the line
                pass
            raise ValueError(f"{path} is not a CSV file: {str(error)[:200]}") from error

    def _lines(self, path: Path, layout: Layout, n_rows: int, are_wanted: bool = False) -> Iterator[list[np.ndarray]]:
        """Columns in place of ``pyarrow``'s; ValueError where a cell is no number or, if all are wanted, is missing."""
        chosen = self.columns.all_indices
        numbers = array("d")
        # One index makes itemgetter return a cell in place of a tuple.
        cells_of = itemgetter(*chosen) if len(chosen) > 1 else itemgetter(slice(chosen[0], chosen[0] + 1))
        read = _number if are_wanted else _number_or_missing
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
                    numbers.extend(map(read, cells_of(row)))
                except ValueError:
                    raise _bad_cell(path, reader.line_num, row, layout, chosen) from None
                if len(numbers) >= n_rows * len(chosen):
                    yield list(np.array(numbers).reshape(-1, len(chosen)).T)
                    del numbers[:]
        if numbers:
            yield list(np.array(numbers).reshape(-1, len(chosen)).T)

    def fault(self, piece: Piece, row: int, column: str, what: str) -> ValueError:
        """Names the line, not the row: lines are what an editor counts."""
        path, layout = self.files[piece.part].path, self.layouts[piece.part]
        try:
            for _ in self._lines(path, layout, 2**16, are_wanted=what == MISSING):
                pass
        except ValueError as error:
            return error
        return super().fault(piece, row, column, what)


@dataclass(frozen=True)
class Layout:
    """What a sample of the first lines says about a text file; ``n_blank`` empty ones come before the others."""

    delimiter: str
    header: bool
    names: list[str]
    numeric: list[int]
    n_blank: int


_MISSING_AS_WRITTEN = sorted({form for text in _MISSING for form in (text, text.upper(), text.title())} | {"NaN"})


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text in UTF-8 (byte {error.start} of a block); save it as such") from error
        except csv.Error as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from error


def layout_of(path: Path) -> Layout:
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
    names = [cell.strip() for cell in rows[0]] if header else generic_names(len(first))
    numeric = [j for j, (numbers, texts) in enumerate(counts) if numbers >= texts and names[j]]
    n_blank = next(number for number, line in enumerate(lines) if line.strip("\r\n"))
    return Layout(delimiter, header, names, numeric, n_blank)


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


def _number_or_missing(cell: str) -> float:
    return math.nan if cell.strip().lower() in _MISSING else _number(cell)


def _bad_cell(path: Path, line: int, row: list[str], layout: Layout, chosen: list[int]) -> ValueError:
    j = next(j for j in chosen if _kinds([row[j]])[0] == 0)
    what = "is empty" if not row[j].strip() else f"holds {row[j]!r}, which is not a finite number"
    return ValueError(
        f"{path}, line {line}: column {layout.names[j]!r} {what}; correct or remove such rows, or choose other columns"
    )

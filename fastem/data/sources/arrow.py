"""Arrow: tables, record batches and datasets of files, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastem.data.blocks import BEGIN, Position
from fastem.data.sources.reading import Columns, FileState, Piece, Reader

#: Endings of files that a dataset reads, and what pyarrow calls their format.
FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc", ".orc": "orc"}

_STREAM_BYTES = 2**20
# Rows of a batch: larger ones only take more memory.
_BATCH_ROWS = 2**16


def need_pyarrow(what: str, deed: str = "reading") -> Any:
    """pyarrow, or an ImportError that says what to install."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"{deed} {what} needs pyarrow: pip install 'fastem[parquet]'") from error
    return pyarrow


def open_files(paths: Sequence[Path], what: str) -> Any:
    """A ``pyarrow.dataset`` of files of one format; parts ``name=value`` of their paths can be filtered by.

    Raises
    ------
    ValueError
        If the first of them is not what its name says.
    """
    pyarrow = need_pyarrow(what)
    from pyarrow import dataset

    kind = FORMATS[paths[0].suffix.lower()]
    for path in paths:
        FileState.of(path)
    try:
        return dataset.dataset(
            [str(path) for path in paths], format=kind, partitioning=dataset.partitioning(flavor="hive")
        )
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{paths[0]} is not a {kind.capitalize()} file, or it is damaged ({_brief(error)})") from error


class ArrowReader(Reader):
    """A ``pyarrow.dataset``, its files one after another in its order.

    Parameters
    ----------
    data : pyarrow.dataset.Dataset
    where : str
    columns, weight_column
        Only these are read.
    filter : pyarrow.compute.Expression, or what ``pyarrow.parquet`` takes as filters
        Rows to read; parts of files that cannot hold such rows are passed over.
    """

    def __init__(
        self,
        data: Any,
        where: str,
        columns: Sequence[str | int] | None,
        weight_column: str | int | None,
        filter: Any = None,
    ) -> None:
        self.where = where
        self._data = data
        self._filter = _expression(filter)
        self.filter = "" if self._filter is None else str(self._filter)
        self._fragments = list(data.get_fragments(self._filter) if self._filter is not None else data.get_fragments())
        if not self._fragments:
            raise ValueError(f"{where} has no files" + (" that the filter leaves" if filter is not None else ""))
        self._paths = [getattr(fragment, "path", None) for fragment in self._fragments]
        is_local = type(getattr(data, "filesystem", None)).__name__ == "LocalFileSystem"
        self._states = [FileState.of(path) if is_local and path else None for path in self._paths]
        first = self._schema(0)
        own = set(first.names)
        usable = [j for j, field in enumerate(first) if _is_numeric(field)]
        self.columns = Columns.choose(
            self._place(0) if len(self._paths) == 1 else where, first.names, usable, columns, weight_column
        )
        self._names = [first.names[j] for j in self.columns.all_indices]
        # Parts of the paths are in the dataset's schema alone.
        self._partitions = [field for field in data.schema if field.name not in own]
        single = True
        n_samples = 0
        for number, fragment in enumerate(self._fragments):
            schema = first if number == 0 else self._schema(number)
            self._check_schema(number, schema)
            features = self._names[: len(self.columns.names)]
            single = single and all(str(schema.field(name).type) in ("float", "halffloat") for name in features)
            if self._filter is None:
                n_samples += fragment.count_rows()
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.n_samples = n_samples if self._filter is None else None
        self.files = [state for state in self._states if state is not None]
        self.decodes = any(self._paths)

    def _place(self, number: int) -> str:
        return str(self._paths[number] or self.where)

    def _schema(self, number: int) -> Any:
        import pyarrow

        try:
            return self._fragments[number].physical_schema
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"{self._place(number)} cannot be read, or it is damaged ({_brief(error)})") from error

    def _check_schema(self, number: int, schema: Any) -> None:
        for name in self._names:
            if name not in schema.names:
                raise ValueError(f"{self._place(number)} has no column {name!r}, but {self._place(0)} has")
            if not _is_numeric(schema.field(name)):
                raise ValueError(
                    f"column {name!r} of {self._place(number)} is of type {schema.field(name).type}, which is no "
                    f"number; in {self._place(0)} it is"
                )

    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        import pyarrow

        for part in range(start[0], len(self._fragments)):
            state = self._states[part]
            if state is not None:
                state.check()
            skip = start[1] if part == start[0] else 0
            try:
                for batch, first in self._batches(part, skip, min(n_rows, _BATCH_ROWS)):
                    columns = [_numbers(batch.column(name)) for name in self._names]
                    yield Piece(self._place(part), part, first, columns=columns)
            except (pyarrow.ArrowException, OSError) as error:
                if state is not None:
                    state.check()
                raise ValueError(
                    f"{self._place(part)} could not be read; it was changed or is damaged ({_brief(error)})"
                ) from error

    def _batches(self, part: int, skip: int, n_rows: int) -> Iterator[tuple[Any, int]]:
        """Batches of a file and the number of the first row of each, from row ``skip`` on."""
        fragment = self._fragments[part]
        row = 0
        if self._filter is None and hasattr(fragment, "row_groups"):
            sizes = [group.num_rows for group in fragment.row_groups]
            first = 0
            while first < len(sizes) and row + sizes[first] <= skip:  # groups that are not opened
                row += sizes[first]
                first += 1
            batches = self._of_groups(fragment, range(first, len(sizes)), n_rows)
        else:
            batches = self._scanned(fragment, n_rows)
        for batch in batches:
            late = max(0, skip - row)
            row += len(batch)
            if late < len(batch):
                yield batch.slice(late), row - len(batch) + late

    def _of_groups(self, fragment: Any, groups: Sequence[int], n_rows: int) -> Iterator[Any]:
        """Batches of a Parquet file, in memory of a batch's size however large its row groups are."""
        from pyarrow import parquet

        with fragment.open() as file:
            # Without a buffer size whole groups would be read, and with pre_buffer the whole file.
            opened = parquet.ParquetFile(file, buffer_size=_STREAM_BYTES, pre_buffer=False)
            yield from opened.iter_batches(n_rows, row_groups=list(groups), columns=self._names, use_threads=False)

    def _scanned(self, fragment: Any, n_rows: int) -> Iterator[Any]:
        """Batches of what the filter leaves, in memory of a row group's size."""
        from pyarrow import dataset

        options: dict[str, Any] = {}
        if hasattr(fragment, "row_groups"):
            options["fragment_scan_options"] = dataset.ParquetFragmentScanOptions(
                pre_buffer=False, use_buffered_stream=True, buffer_size=_STREAM_BYTES
            )
        schema = fragment.physical_schema
        for field in self._partitions:
            schema = schema if field.name in schema.names else schema.append(field)
        return fragment.scanner(
            schema=schema,
            columns=self._names,
            filter=self._filter,
            batch_size=n_rows,
            # Threads are the kernels'; a thread of our own reads ahead.
            use_threads=False,
            batch_readahead=1,
            fragment_readahead=1,
            **options,
        ).to_batches()


def _numbers(column: Any) -> np.ndarray:
    """Values of a column, the same memory where they are floats and none is missing; NaN where one is."""
    import pyarrow

    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    elif column.null_count and pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.int8())
    return column.to_numpy(zero_copy_only=False)


def _expression(filter: Any) -> Any:
    if filter is None:
        return None
    from pyarrow import compute, parquet

    if isinstance(filter, compute.Expression):
        return filter
    try:
        return parquet.filters_to_expression(filter)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            "filter must be an expression of pyarrow, as pyarrow.dataset.field('x') > 0, or a list of "
            f"(column, operator, value), but got {filter!r}"
        ) from error


def _is_numeric(column: Any) -> bool:
    from pyarrow import types

    kinds = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    # pandas stores the labels of its rows under such a name.
    return not column.name.startswith("__index_level_") and any(is_kind(column.type) for is_kind in kinds)


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]

"""``open_source``: what was given, and the reader for it."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastem.data.kinds import is_path
from fastem.data.sources.arrays import ArrayReader, NpyReader, SlicedReader, sliced
from fastem.data.sources.arrow import FORMATS, ArrowReader, need_pyarrow, open_files
from fastem.data.sources.frames import FrameReader
from fastem.data.sources.reading import FileState, Reader, listed
from fastem.data.sources.source import CacheKind, Missing, Source
from fastem.data.sources.streams import BlocksReader
from fastem.data.sources.text import TEXT_ENDINGS, TextReader

HDF5_ENDINGS = (".h5", ".hdf5")
ENDINGS = (*TEXT_ENDINGS, ".npy", *FORMATS, *HDF5_ENDINGS, ".zarr")


def open_source(
    data: Any,
    *,
    columns: Sequence[str | int] | None = None,
    weight_column: str | int | None = None,
    sample_weight: Any = None,
    filter: Any = None,
    missing: Missing = "raise",
    block_rows: int | None = None,
    cache: CacheKind | None = "auto",
) -> Source:
    """Rows of any kind of data as blocks that are read as often as needed.

    Parameters
    ----------
    data : array-like, data frame, Arrow data, path, list of paths, or iterable of blocks
        - an array or a memory map of shape (n_samples, n_features), an HDF5 dataset, a Zarr array; an HDF5 or Zarr
          group with one table, or with columns of one length;
        - a data frame of pandas or Polars, an Arrow table, record batch or list of them, a ``pyarrow.dataset``;
        - a path, a folder, a pattern such as ``"events/*.parquet"``, or a list of paths of one kind: ``.parquet``,
          ``.arrow``, ``.feather``, ``.orc``, ``.csv``, ``.tsv``, ``.txt``, ``.npy``, ``.h5``, ``.zarr``. Files are
          read in the order of their names;
        - blocks: an iterable of arrays or of pairs ``(X, sample_weight)``, or a function that returns one for each
          pass. They are taken as they come, and cut where they are larger than ``block_rows``.
    columns : list of str or int, optional
        Names or places of the features, in that order; by default all columns that hold numbers. Others are not read.
    weight_column : str or int, optional
        Column of non-negative weights of the rows; it is no feature.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the rows of an array.
    filter : pyarrow.compute.Expression or list of tuples, optional
        Rows to read, of Arrow data and files: ``pyarrow.dataset.field("year") > 2020`` or ``[("year", ">", 2020)]``.
    missing : {"raise", "drop"}
        Whether a row with a missing value (NaN or null) is an error, or is left out and counted in ``n_dropped``.
    block_rows : int, optional
        Rows of a block; by default a power of two that makes 8 MB, up to 262,144 rows. Blocks do not depend on the
        number of threads.
    cache : {"auto", "memory", "disk"} or None
        What keeps the decoded rows for later passes: memory, or a file in the folder of temporary files that is gone
        with the process. "auto" is the disk where files have to be decoded and half of its free space is enough.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If the data are none of these, or there is no such file or column.
    ImportError
        If reading needs a package that is not installed.
    """
    if isinstance(data, Source):
        return data
    reader = _reader(data, columns, weight_column, sample_weight, filter)
    return Source(reader, missing, block_rows, cache)


def _reader(data: Any, columns: Any, weight_column: Any, sample_weight: Any, filter: Any) -> Reader:
    paths = _paths(data)
    kind = None if paths is None else paths[0].suffix.lower()
    table = _arrow_data(data) if paths is None else None
    if filter is not None and table is None and kind not in FORMATS:
        raise ValueError("filter is for Arrow data and for files of its formats; select the rows of other data before")
    if sample_weight is not None:
        if weight_column is not None:
            raise ValueError("weights are given twice, by sample_weight and by weight_column")
        if not isinstance(data, np.ndarray) and not _is_array_like(data):
            raise ValueError(
                "sample_weight is for arrays; weights of blocks come with them, as pairs (X, sample_weight), and those "
                "of tables in a weight_column"
            )
    if paths is not None:
        return _file_reader(paths, data, columns, weight_column, filter)
    if table is not None:
        return ArrowReader(table, _kind_name(data), columns, weight_column, filter)
    module = type(data).__module__.partition(".")[0]
    if module == "pandas" and hasattr(data, "iloc"):
        return FrameReader(data, columns, weight_column)
    if module in ("h5py", "zarr"):
        return sliced(data, _name_of(data), columns, weight_column)
    if isinstance(data, np.ndarray) or _is_array_like(data):
        return ArrayReader(data, columns, weight_column, sample_weight)
    return BlocksReader(data, columns, weight_column)


def _is_array_like(data: Any) -> bool:
    return hasattr(data, "__array__") or _is_table_of_numbers(data)


def _is_table_of_numbers(data: Any) -> bool:
    """A list of lists of numbers, and not a list of blocks."""
    if not isinstance(data, (list, tuple)) or not data or not isinstance(data[0], (list, tuple)):
        return False
    return all(np.isscalar(value) for value in data[0])


# Files.


def _paths(data: Any) -> list[Path] | None:
    """The files that are meant, in the order of their names; None where no paths were given."""
    if is_path(data):
        return _expanded(data)
    if isinstance(data, (list, tuple)) and data and all(map(is_path, data)):
        return [path for item in data for path in _expanded(item)]
    return None


def _expanded(given: str | os.PathLike[str]) -> list[Path]:
    path = Path(given)
    if not path.exists() and glob.has_magic(str(given)):
        found = sorted(Path(name) for name in glob.glob(str(given), recursive=True))  # noqa: PTH207
        if not found:
            raise ValueError(f"there are no files {given}")
        return [file for each in found for file in _expanded(each)]
    if path.is_dir() and path.suffix.lower() != ".zarr":
        files = sorted(file for file in path.rglob("*") if _is_data(file.relative_to(path)) and file.is_file())
        if not files:
            raise ValueError(f"the folder {path} has no files that end in {listed(ENDINGS)}")
        return files
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot read {path}: the name of a table must end in {', '.join(ENDINGS)}")
    return [path]


def _is_data(path: Path) -> bool:
    # As Spark and pyarrow do: such names are of notes, and of what is being written.
    return path.suffix.lower() in ENDINGS and not any(part.startswith(("_", ".")) for part in path.parts)


def _file_reader(paths: list[Path], data: Any, columns: Any, weight_column: Any, filter: Any) -> Reader:
    kinds = {FORMATS.get(path.suffix.lower(), path.suffix.lower()) for path in paths}
    kind = paths[0].suffix.lower()
    if len(kinds) > 1 and not kinds <= set(TEXT_ENDINGS):
        raise ValueError(f"files of one kind are required, but got {' and '.join(sorted(kinds))}; convert some of them")
    if kind in FORMATS:
        name = str(paths[0]) if len(paths) == 1 else str(data) if isinstance(data, (str, os.PathLike)) else "the files"
        return ArrowReader(open_files(paths, name), name, columns, weight_column, filter)
    if kind == ".npy":
        return NpyReader(paths, columns, weight_column)
    if kind in TEXT_ENDINGS:
        return TextReader(paths, columns, weight_column)
    if len(paths) > 1:
        raise ValueError(f"one file {kind} is read at a time, but {data} has {len(paths)}")
    return (
        _open_hdf5(paths[0], columns, weight_column)
        if kind in HDF5_ENDINGS
        else _open_zarr(paths[0], columns, weight_column)
    )


def _open_hdf5(path: Path, columns: Any, weight_column: Any) -> SlicedReader:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"reading {path} needs h5py: pip install 'fastem[hdf5]'") from error
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file, or it is damaged ({error})") from error
    reader = sliced(file, str(path), columns, weight_column)
    reader.files = [FileState.of(path)]
    return reader


def _open_zarr(path: Path, columns: Any, weight_column: Any) -> SlicedReader:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(f"reading {path} needs Zarr: pip install 'fastem[zarr]'") from error
    if not path.exists():
        raise ValueError(f"there is no folder {path}")
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # whatever a damaged store makes of its reader
        raise ValueError(f"{path} is not a Zarr array or group, or it is damaged ({error})") from error
    return sliced(found, str(path), columns, weight_column)


# Arrow.


def _arrow_data(data: Any) -> Any:
    """A dataset of what is Arrow's, or gives itself as such; None of other data."""
    items = data if isinstance(data, (list, tuple)) and data else [data]
    modules = {type(item).__module__.partition(".")[0] for item in items}
    if modules == {"pyarrow"}:
        import pyarrow
        from pyarrow import dataset

        if isinstance(data, dataset.Dataset):
            return data
        if all(isinstance(item, (pyarrow.Table, pyarrow.RecordBatch)) for item in items):
            return dataset.dataset(list(items) if len(items) > 1 else items[0])
        raise ValueError(
            f"of Arrow's data tables, record batches and datasets can be read, but not {type(items[0]).__name__}; its "
            "read_all() makes a table"
        )
    if len(items) == 1 and items[0] is data and hasattr(data, "__arrow_c_stream__") and modules != {"pandas"}:
        pyarrow = need_pyarrow(f"a {type(data).__name__}")
        from pyarrow import dataset

        return dataset.dataset(pyarrow.table(data))
    if modules == {"polars"}:
        raise ValueError(
            f"collect() the Polars {type(data).__name__} before, or write it to Parquet with sink_parquet()"
        )
    return None


def _kind_name(data: Any) -> str:
    module = type(data).__module__.partition(".")[0]
    return f"the {module} {type(data).__name__}" if not isinstance(data, (list, tuple)) else "the Arrow data"


def _name_of(data: Any) -> str:
    file = getattr(getattr(data, "file", None), "filename", None) or getattr(data, "store", None) or type(data).__name__
    return f"{file}{getattr(data, 'name', '') or ''}".rstrip("/")

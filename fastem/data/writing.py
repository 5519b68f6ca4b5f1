"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastem.data.sources.arrow import need_pyarrow
from fastem.data.sources.text import TEXT_ENDINGS

_PARQUET_ENDINGS = (".parquet", ".pq")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` if the block ends well, and disappears if not."""
    path = Path(path)
    # Of one's own, whoever else writes there: other processes and other threads.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # as where the disk is full
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str], endings: Sequence[str], what: str) -> None:
    """Raise ValueError where ``what`` could not be written to ``path``, before the work that leads to it is done."""
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise ValueError(f"cannot write {what} to {path}: its name must end in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {path.parent} is read-only")


def check_table(path: str | os.PathLike[str]) -> None:
    """Raise ValueError where :func:`table_writer` could not write to ``path``, ImportError where it lacks pyarrow."""
    if path == "-":
        return
    check_target(path, (*TEXT_ENDINGS, *_PARQUET_ENDINGS), "a table")
    if Path(path).suffix.lower() in _PARQUET_ENDINGS:
        need_pyarrow(str(path), "writing")


@contextmanager
def table_writer(
    path: str | os.PathLike[str], names: Sequence[str]
) -> Iterator[Callable[[Sequence[np.ndarray]], object]]:
    """A function that writes columns of a part of the rows, to standard output (``-``), a text file or Parquet."""
    with ExitStack() as files:
        target: Any = sys.stdout
        if path != "-":
            temporary = files.enter_context(whole_file(path))
            if temporary.suffix.lower() in _PARQUET_ENDINGS:
                yield files.enter_context(_parquet_writer(temporary, names))
                return
            target = files.enter_context(temporary.open("w", newline="", encoding="utf-8"))
        writer = csv.writer(target, delimiter="\t" if str(path).endswith(".tsv") else ",", lineterminator="\n")
        writer.writerow(names)
        # Python's numbers are written so that reading gives the same again.
        yield lambda columns: writer.writerows(zip(*(column.tolist() for column in columns), strict=True))


@contextmanager
def _parquet_writer(path: Path, names: Sequence[str]) -> Iterator[Callable[[Sequence[np.ndarray]], object]]:
    import pyarrow
    from pyarrow import parquet

    with ExitStack() as files:
        writer: Any = None

        def write(columns: Sequence[np.ndarray]) -> None:
            nonlocal writer
            table = pyarrow.table([np.ascontiguousarray(column) for column in columns], names=list(names))
            writer = writer or files.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write

"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from fastem.data.sources.text import TEXT_ENDINGS


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` if the block ends well, and disappears if not."""
    path = Path(path)
    # Of one's own, whoever else writes there: other processes and other threads.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
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


def check_table(path: str) -> None:
    """Raise ValueError where :func:`table_writer` could not write to ``path``."""
    if path != "-":
        check_target(path, TEXT_ENDINGS, "a table")


@contextmanager
def table_writer(path: str, header: Sequence[str]) -> Iterator[Callable[[list[list[Any]]], object]]:
    """A function that writes rows below a line of names, to standard output (``-``) or to a whole text file."""
    with ExitStack() as files:
        file: IO[str] = sys.stdout
        if path != "-":
            temporary = files.enter_context(whole_file(path))
            file = files.enter_context(temporary.open("w", newline="", encoding="utf-8"))
        writer = csv.writer(file, delimiter="\t" if path.endswith(".tsv") else ",", lineterminator="\n")
        writer.writerow(header)
        yield writer.writerows

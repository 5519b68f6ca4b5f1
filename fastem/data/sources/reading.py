"""What a reader of one kind of data does: it gives the rows piece by piece, in order, as often as it is asked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastem.data.blocks import BEGIN, Position

#: What is said of NaN.
MISSING = "is missing (NaN or null)"


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows as a reader finds them, as one array or column by column.

    Attributes
    ----------
    where : str
        What a message calls the place: the name of a file, or of what was given.
    part, first : int
        Position of the first row.
    X : ndarray of shape (n, n_features), optional
        float32 or float64.
    columns : list of ndarray of shape (n,)
        In place of ``X``: of any type of numbers, missing values being NaN.
    weight : ndarray of shape (n,), optional
    """

    where: str
    part: int
    first: int
    X: np.ndarray | None = None
    columns: Sequence[np.ndarray] = ()
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0] if self.X is None else self.X)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are features and which one holds the weights.

    Attributes
    ----------
    names : list of str
        Of the features.
    indices : list of int
        Their places in the table.
    weight : int or None
        Place of the weights.
    weight_name : str
    named : bool
        Whether the names are the data's own, and not ``x0``, ``x1``, ...
    left_out : list of str
        Columns that hold no numbers, where nobody chose.
    """

    names: list[str]
    indices: list[int]
    weight: int | None = None
    weight_name: str = ""
    named: bool = True
    left_out: list[str] = field(default_factory=list)

    @property
    def all_indices(self) -> list[int]:
        """Features, then the weights."""
        return self.indices if self.weight is None else [*self.indices, self.weight]

    @classmethod
    def choose(
        cls,
        where: str,
        names: list[str],
        usable: Iterable[int],
        columns: Sequence[str | int] | None,
        weight_column: str | int | None,
        named: bool = True,
    ) -> Columns:
        """Columns by name or place, in the order asked for; by default all that hold numbers.

        Raises
        ------
        ValueError
            If there is no such column, it holds no numbers, or names are not unique.
        """
        repeated = [name for name, count in Counter(names).items() if count > 1 and name]
        if repeated:
            raise ValueError(f"{where} has more than one column {repeated[0]!r}; give each a name of its own")
        usable = list(usable)

        def place(column: str | int) -> int:
            is_place = isinstance(column, (int, np.integer)) and not isinstance(column, bool)
            index = int(column) if is_place else names.index(str(column)) if column in names else -1
            if not 0 <= index < len(names):
                raise ValueError(f"{where} has no column {column!r}; its columns are {listed(names)}")
            if index not in usable:
                raise ValueError(f"column {column!r} of {where} holds no numbers")
            return index

        weight = None if weight_column is None else place(weight_column)
        if columns is None:
            chosen = [j for j in usable if j != weight]
            if not chosen:
                raise ValueError(f"{where} has no column of numbers (decimals are written with a point, 1.5)")
            left_out = [name or f"column {j + 1}" for j, name in enumerate(names) if j not in usable]
        else:
            if isinstance(columns, str):
                raise ValueError(f"columns must be a list of names, but got {columns!r}")
            chosen = [place(column) for column in columns]
            left_out = []
            if not chosen or len(set(chosen)) < len(chosen) or weight in chosen:
                raise ValueError(f"columns must be different names, without that of the weights, but got {columns}")
        return cls([names[j] for j in chosen], chosen, weight, "" if weight is None else names[weight], named, left_out)


class Reader(ABC):
    """Rows of one kind of data.

    Attributes
    ----------
    where : str
        What messages call the data.
    columns : Columns
    dtype : dtype
        float32 or float64.
    n_samples : int or None
        None where it is not known before the rows are read.
    files : list of FileState
        What is read, where it is files.
    sample_weight : ndarray or None
        Weights that were given with an array.
    filter : str
        Which rows are read, where not all are.
    again : bool
        Whether the rows can be read more than once.
    in_memory : bool
        Whether pieces take no time to read: no thread reads ahead, and nothing is kept of them.
    decodes : bool
        Whether reading is so much work that a cache saves time where memory or disk have room.
    """

    where: str
    columns: Columns
    dtype: np.dtype[Any]
    n_samples: int | None = None
    files: Sequence[FileState] = ()
    sample_weight: np.ndarray | None = None
    filter: str = ""
    again: bool = True
    in_memory: bool = False
    decodes: bool = False

    @property
    def whole(self) -> np.ndarray | None:
        """All rows, where they are one array in memory or a memory map."""
        return None

    @abstractmethod
    def pieces(self, start: Position = BEGIN, n_rows: int = 2**16) -> Iterator[Piece]:
        """Pieces from a position on, of about ``n_rows`` rows where the reader can choose."""

    def fault(self, piece: Piece, row: int, column: str, what: str) -> ValueError:
        """The error for a value that cannot be used, in that row of a piece."""
        return ValueError(
            f"{piece.where}, row {piece.first + row} (from 0): column {column!r} {what}; correct or remove such rows, "
            "or choose other columns"
        )


@dataclass(frozen=True)
class FileState:
    """What a file looked like when it was opened, by which a change is found out."""

    path: Path
    size: int
    modified: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> FileState:
        """Raises ValueError where there is no such file, or it is empty."""
        path = Path(path)
        if not path.exists():
            raise ValueError(f"there is no file {path}")
        if not path.is_file():
            raise ValueError(f"{path} is not a file")
        found = path.stat()
        if found.st_size == 0:
            raise ValueError(f"{path} is empty")
        return cls(path, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Raise ValueError where the file is not what it was."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise ValueError(
                f"{self.path} has vanished since it was opened ({error.strerror}); put it back, and go on from there"
            ) from error
        if found.st_size != self.size:
            change = "cut short" if found.st_size < self.size else "lengthened"
            raise ValueError(
                f"{self.path} was {change} since it was opened: it had {self.size} bytes, and has {found.st_size}"
            )
        if found.st_mtime_ns != self.modified:
            raise ValueError(f"{self.path} was changed since it was opened; all passes must read the same rows")


def real_type(dtypes: Iterable[Any]) -> np.dtype[Any]:
    """float32 where nothing is lost by it, else float64."""
    return np.dtype(np.float32 if all(np.dtype(d) in (np.float16, np.float32) for d in dtypes) else np.float64)


def listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def generic_names(n_columns: int) -> list[str]:
    return [f"x{j}" for j in range(n_columns)]

"""Blocks kept for later passes: decoded once, then as fast as rows in memory where the system keeps the file there."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from fastem.data.blocks import BEGIN, Block, Position
from fastem.data.sources.rings import bytes_of

# Share of the free space that a cache nobody asked for may take.
_SHARE = 0.5
# Rows that are written at a time, for which columns are made rows in the nearest caches.
_WRITTEN_ROWS = 2**13


class Cache(ABC):
    """Blocks of one whole pass, their rows in C order: kernels read these in less time than columns."""

    def __init__(self) -> None:
        self.ends: list[Position] = []

    def add(self, block: Block) -> None:
        self._keep(block)
        self.ends.append(block.end)

    def _number(self, start: Position) -> int:
        """The block that begins at a position."""
        return 0 if start == BEGIN else self.ends.index(start) + 1

    @abstractmethod
    def blocks(self, start: Position = BEGIN) -> Generator[Block, None, None]:
        """The blocks from a position on, at which one of them begins."""

    @abstractmethod
    def _keep(self, block: Block) -> None: ...

    def close(self) -> None:
        return


class MemoryCache(Cache):
    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Block] = []

    def _keep(self, block: Block) -> None:
        weight = None if block.weight is None else block.weight.copy()
        self._kept.append(Block(np.array(block.X, order="C"), weight, block.end))

    def blocks(self, start: Position = BEGIN) -> Generator[Block, None, None]:
        yield from self._kept[self._number(start) :]


@dataclass(frozen=True)
class _Place:
    """Where a block lies in the file: its weights, which are of 8 bytes whatever the rows are, then its rows."""

    offset: int
    n_rows: int
    weighted: bool


class DiskCache(Cache):
    """A file without a name, which is gone when the process is, however it ends.

    Each block is a memory map of its own, which ends with it: only those in use count as memory of the process, and
    none of it is copied.
    """

    def __init__(self, n_features: int, dtype: Any, folder: str | None = None) -> None:
        super().__init__()
        self.folder = folder or tempfile.gettempdir()
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115
            buffering=0, dir=self.folder, prefix="fastem-"
        )
        # Nobody has to close a source.
        weakref.finalize(self, self._file.close)
        self._n_features, self._dtype = n_features, np.dtype(dtype)
        self._places: list[_Place] = []
        self._end = 0

    def _keep(self, block: Block) -> None:
        # Where a map can begin.
        self._end += -self._end % mmap.ALLOCATIONGRANULARITY
        place = _Place(self._end, len(block), block.weight is not None)
        if block.weight is not None:
            self._write(bytes_of(np.ascontiguousarray(block.weight)))
        for start in range(0, len(block), _WRITTEN_ROWS):
            self._write(bytes_of(np.ascontiguousarray(block.X[start : start + _WRITTEN_ROWS])))
        self._places.append(place)

    def _write(self, data: memoryview) -> None:
        self._file.seek(self._end)
        while data:
            written = self._file.write(data)
            self._end += written
            data = data[written:]

    def blocks(self, start: Position = BEGIN) -> Generator[Block, None, None]:
        for number in range(self._number(start), len(self._places)):
            if number + 1 < len(self._places):
                self._fetch(self._places[number + 1])
            yield self._mapped(self._places[number], self.ends[number])

    def _mapped(self, place: _Place, end: Position) -> Block:
        below = mmap.mmap(self._file.fileno(), self._n_bytes(place), access=mmap.ACCESS_READ, offset=place.offset)
        weight = np.frombuffer(below, np.float64, place.n_rows * place.weighted)
        X = np.frombuffer(below, self._dtype, place.n_rows * self._n_features, weight.nbytes)
        return Block(X.reshape(-1, self._n_features), weight if place.weighted else None, end)

    def _n_bytes(self, place: _Place) -> int:
        return place.n_rows * (self._n_features * self._dtype.itemsize + 8 * place.weighted)

    def _fetch(self, place: _Place) -> None:
        """Have the system read a block while another one is in use."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), place.offset, self._n_bytes(place), os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        self._file.close()


def room_on_disk() -> float:
    """Bytes that a cache which nobody asked for may take of the disk."""
    try:
        return _SHARE * shutil.disk_usage(tempfile.gettempdir()).free
    except OSError:
        return 0.0


class Keeping:
    """Keeps blocks in a cache as they go by, which ``kept`` is when all have.

    Parameters
    ----------
    cache : Cache
    room : float, optional
        Bytes that it may take, of a cache that nobody asked for: it is given up where they do not suffice, or the disk
        fills.
    """

    def __init__(self, cache: Cache, room: float | None = None) -> None:
        self.kept: Cache | None = None
        self._cache: Cache | None = cache
        self._room = room

    def __call__(self, blocks: Generator[Block, None, None]) -> Generator[Block, None, None]:
        try:
            for block in blocks:
                if self._cache is not None:
                    self._add(block)
                yield block
            self.kept, self._cache = self._cache, None
        finally:
            blocks.close()
            if self._cache is not None:
                self._cache.close()

    def _add(self, block: Block) -> None:
        assert self._cache is not None
        try:
            if self._room is not None:
                self._room -= block.X.nbytes
                if self._room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._cache.add(block)
        except OSError as error:
            folder = getattr(self._cache, "folder", "")
            self._cache.close()
            self._cache = None
            if self._room is None:
                raise OSError(
                    error.errno,
                    f"the cache of decoded rows cannot be written ({error.strerror}); make room, set TMPDIR to a "
                    "folder that has it, or use cache=None",
                    folder,
                ) from error

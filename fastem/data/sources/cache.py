"""Blocks kept for later passes: decoded once, then read at the speed of memory or of the disk's cache."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator
from threading import Lock
from typing import IO, Any

import numpy as np

from fastem.data.blocks import BEGIN, Block, Position
from fastem.data.sources.rings import Ring, bytes_of

# Share of the free space that a cache nobody asked for may take.
_SHARE = 0.5


class Cache(ABC):
    """Blocks of one whole pass."""

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
        self._kept.append(block.copy())

    def blocks(self, start: Position = BEGIN) -> Generator[Block, None, None]:
        yield from self._kept[self._number(start) :]


class DiskCache(Cache):
    """A file without a name, which is gone when the process is, however it ends.

    It is read into buffers and not mapped: mapped pages would count as memory of the process.
    """

    def __init__(self, n_features: int, dtype: Any, folder: str | None = None) -> None:
        super().__init__()
        self.folder = folder or tempfile.gettempdir()
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115
            buffering=0, dir=self.folder, prefix="fastem-"
        )
        # Nobody has to close a source.
        weakref.finalize(self, self._file.close)
        self._shape = (n_features, np.dtype(dtype))
        # Of each block: offset, number of rows, whether columns are contiguous, whether there are weights.
        self._index: list[tuple[int, int, bool, bool]] = []
        self._end = 0
        # Of the file's position: passes may run side by side.
        self._lock = Lock()

    def _keep(self, block: Block) -> None:
        offset = self._end
        with self._lock:
            for line in _lines(block):
                self._write(bytes_of(np.ascontiguousarray(line)))
        self._index.append((offset, len(block), not block.X.flags.c_contiguous, block.weight is not None))

    def _write(self, data: memoryview) -> None:
        self._file.seek(self._end)
        while data:
            written = self._file.write(data)
            self._end += written
            data = data[written:]

    def blocks(self, start: Position = BEGIN) -> Generator[Block, None, None]:
        ring = Ring(max((n for _, n, _, _ in self._index), default=0), *self._shape)
        for number in range(self._number(start), len(self._index)):
            offset, n_rows, by_columns, weighted = self._index[number]
            block = ring.next(n_rows, "F" if by_columns else "C", weighted)
            with self._lock:
                self._file.seek(offset)
                for line in _lines(block):
                    self._read(bytes_of(line))
            yield Block(block.X, block.weight, self.ends[number])

    def _read(self, left: memoryview) -> None:
        while left:
            n_read = self._file.readinto(left)  # type: ignore[attr-defined]
            if not n_read:
                raise OSError(errno.EIO, "the cache on disk was cut short", self.folder)
            left = left[n_read:]

    def close(self) -> None:
        self._file.close()


def _lines(block: Block) -> list[np.ndarray]:
    """Contiguous parts of a block, in the order in which they are written."""
    X = [block.X] if block.X.flags.c_contiguous else list(block.X.T)
    return X if block.weight is None else [*X, block.weight]


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

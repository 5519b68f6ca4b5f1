"""Rows from anywhere as checked blocks of fixed boundaries, as often as they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from fastem.data.arrays import all_finite
from fastem.data.blocks import BEGIN, Block, Position, joined
from fastem.data.sources.ahead import read_ahead
from fastem.data.sources.cache import Cache, DiskCache, Keeping, MemoryCache, room_on_disk
from fastem.data.sources.reading import MISSING, Piece, Reader
from fastem.data.sources.rings import Ring, bytes_of

#: Called after each block with the rows of the pass so far, and of all (None where it is not known yet).
OnBlock = Callable[[int, "int | None"], object]
Missing = Literal["raise", "drop"]
CacheKind = Literal["auto", "memory", "disk"]

# Bytes of a block: so much work for the kernels that starting threads costs nothing, so few that buffers are small.
_BLOCK_BYTES = 2**24
_BLOCK_ROWS = (2**10, 2**19)
# Rows by which data in memory are known again.
_DIGESTED_ROWS = 1000


def told(blocks: Iterable[Block], n_samples: int | None, on_block: OnBlock | None) -> Iterator[Block]:
    """The blocks; ``on_block`` is told of each that was worked on."""
    n_rows = 0
    for block in blocks:
        yield block
        n_rows += len(block)
        if on_block is not None:
            on_block(n_rows, n_samples)


def block_rows_for(n_features: int, dtype: Any) -> int:
    """Rows of a block, a power of two."""
    rows = _BLOCK_BYTES // (n_features * np.dtype(dtype).itemsize)
    return min(max(_BLOCK_ROWS[0], 1 << (rows.bit_length() - 1) if rows else 1), _BLOCK_ROWS[1])


class Source:
    """Rows of any kind of data as blocks, made by :func:`open_source`.

    Attributes
    ----------
    names : list of str
        Of the features; ``x0``, ``x1``, ... where the data have none.
    named : bool
        Whether the names are the data's own.
    left_out : list of str
        Columns that hold no numbers, where nobody chose columns.
    n_features : int
    dtype : dtype
        float32 or float64.
    n_samples : int or None
        Rows, those that will be dropped included; None where it is not known before they are read.
    n_dropped : int
        Rows with missing values that the last whole pass dropped.
    again : bool
        Whether the rows can be read more than once.
    """

    def __init__(
        self,
        reader: Reader,
        missing: Missing = "raise",
        block_rows: int | None = None,
        cache: CacheKind | None = "auto",
    ) -> None:
        if missing not in get_args(Missing):
            raise ValueError(f"missing must be 'raise' or 'drop', but got {missing!r}")
        if cache is not None and cache not in get_args(CacheKind):
            raise ValueError(f"cache must be 'auto', 'memory', 'disk' or None, but got {cache!r}")
        self.where = reader.where
        self.names = reader.columns.names
        self.named = reader.columns.named
        self.left_out = reader.columns.left_out
        self.n_features = len(self.names)
        self.dtype = reader.dtype
        self.n_samples = reader.n_samples
        self.again = reader.again
        self.n_dropped = 0
        if block_rows is not None and (not isinstance(block_rows, (int, np.integer)) or block_rows < 1):
            raise ValueError(f"block_rows must be a positive integer, but got {block_rows!r}")
        self.block_rows = int(block_rows) if block_rows else block_rows_for(self.n_features, self.dtype)
        self._reader = reader
        self._missing = missing
        self._cache_kind = cache
        self._cache: Cache | None = None
        # Rows that stay what they are need one look.
        self._is_known_good = False

    def __iter__(self) -> Iterator[Block]:
        return self.blocks()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what is cached."""
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def blocks(self, start: Position = BEGIN, ahead: bool = True) -> Generator[Block, None, None]:
        """Blocks in the order of the rows, from the ``end`` of one of them on.

        A block's memory is used again once the next one is asked for: keep a ``copy()``. Unless ``ahead`` has a thread
        make it before, the next one is made when it is asked for, and the one before it may still be in use then.

        Raises
        ------
        ValueError
            If a value is infinite or, with ``missing="raise"``, missing; a weight is negative; a file has changed
            since it was opened. The message names the place.
        """
        if self._cache is not None:
            yield from self._cache.blocks(start)
            return
        if self._reader.in_memory:
            yield from self._checked(start)
            return
        keeping = self._new_cache() if start == BEGIN else None
        blocks = read_ahead(self._checked(start)) if ahead else self._checked(start)
        # Written by this thread: the other one has enough to do with decoding.
        yield from blocks if keeping is None else keeping(blocks)
        if keeping is not None:
            self._cache = keeping.kept

    def _new_cache(self) -> Keeping | None:
        kind = self._cache_kind
        if kind is None or not self.again or (kind == "auto" and not self._reader.decodes):
            return None
        if kind == "memory":
            return Keeping(MemoryCache())
        if kind == "disk":
            return Keeping(DiskCache(self.n_features, self.dtype))
        size = (self.n_samples or 0) * (self.n_features * self.dtype.itemsize + 8 * self._has_weight_column)
        room = room_on_disk()
        if size >= room:
            return None
        try:
            return Keeping(DiskCache(self.n_features, self.dtype), room)
        except OSError:  # no folder that can be written to
            return None

    def whole(self) -> np.ndarray:
        """All rows as one array, which takes the memory for it; a file of ``numpy.save`` is mapped."""
        return self.gathered()[0]

    def gathered(self, on_block: OnBlock | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """All rows as by :meth:`whole`, and their weights, None where all are 1."""
        if self.array is not None:
            return self.array, self.weight
        if self.n_samples is None or self._missing == "drop":
            everything = joined([block.copy() for block in told(self.blocks(), self.n_samples, on_block)])
            return everything.X, everything.weight
        X, weight = np.empty((self.n_samples, self.n_features), self.dtype, order="F"), None
        start = 0
        for block in told(self.blocks(), self.n_samples, on_block):
            rows = slice(start, start + len(block))
            X[rows] = block.X
            if block.weight is not None:
                weight = np.ones(len(X)) if weight is None else weight
                weight[rows] = block.weight
            start += len(block)
        return X, weight

    @property
    def size(self) -> int:
        """Bytes of all rows; of files whose rows were not counted yet, the files' own."""
        if self.n_samples is None:
            return sum(state.size for state in self._reader.files)
        return self.n_samples * self.n_features * self.dtype.itemsize

    @property
    def array(self) -> np.ndarray | None:
        """All rows, where they are one array in memory or a file of ``numpy.save``, which is mapped."""
        return None if self._missing == "drop" else self._reader.whole

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of the rows of ``array``."""
        return self._reader.sample_weight

    @property
    def decodes(self) -> bool:
        """Whether a pass has to decode its blocks, as of now: no cache holds them."""
        return self._cache is None and self._reader.decodes

    @property
    def reuses_memory(self) -> bool:
        """Whether a block's memory is that of a later one."""
        return not self._reader.in_memory

    def facts(self) -> dict[str, Any]:
        """What tells whether another source has the same blocks, as far as can be told without reading them."""
        stated = {
            "features": self.names,
            "weight column": self._reader.columns.weight_name,
            "float type": self.dtype.name,
            "block rows": self.block_rows,
            "missing values": self._missing,
            "filter": self._reader.filter,
            "number of rows": self._reader.n_samples,
            "first rows": self._digest_of_first_rows(),
            "file names": [str(state.path) for state in self._reader.files],
        }
        return {**stated, **{f"file {s.path}": [s.size, s.modified] for s in self._reader.files}}

    def _digest_of_first_rows(self) -> str:
        """Of data in memory, which have neither names nor times of change."""
        if self._reader.files or self._reader.n_samples is None:
            return ""
        digest = hashlib.blake2b(digest_size=8)
        for piece in islice(self._reader.pieces(BEGIN, _DIGESTED_ROWS), 1):
            for values in (*([] if piece.X is None else [piece.X]), *piece.columns, piece.weight):
                if values is not None:
                    digest.update(bytes_of(np.ascontiguousarray(values[:_DIGESTED_ROWS])))
        return digest.hexdigest()

    @property
    def _has_weight_column(self) -> bool:
        return self._reader.columns.weight is not None

    # Pieces to blocks.

    def _checked(self, start: Position) -> Generator[Block, None, None]:
        dropped = n_rows = 0
        ring: Ring | None = None
        block: Block | None = None
        filled = 0
        for piece in self._reader.pieces(start, self.block_rows):
            done = 0
            while done < len(piece):
                if piece.X is not None:
                    n = min(self.block_rows, len(piece) - done)
                    found = self._cut(piece, done, n)
                    dropped += n - len(found)
                    n_rows += len(found)
                    if len(found):
                        yield found
                else:
                    if block is None:
                        ring = ring or Ring(self.block_rows, self.n_features, self.dtype)
                        block, filled = ring.next(self.block_rows, "F", self._has_weight_column), 0
                    n = min(self.block_rows - filled, len(piece) - done)
                    taken = self._fill(block, filled, piece, done, n)
                    dropped += n - taken
                    n_rows += taken
                    filled += taken
                    if filled == self.block_rows:
                        yield Block(block.X, block.weight, (piece.part, piece.first + done + n))
                        block = None
                done += n
        if block is not None and filled:
            weight = None if block.weight is None else block.weight[:filled]
            yield Block(block.X[:filled], weight, (piece.part, piece.first + done))
        if start == BEGIN:
            if n_rows == 0:
                rows = f"{dropped} rows, each with a missing value" if dropped else "no rows"
                raise ValueError(f"{self.where} has {rows}")
            self.n_dropped = dropped
            self.n_samples = n_rows + dropped
            self._is_known_good = dropped == 0 and (self._reader.in_memory or bool(self._reader.files))

    def _cut(self, piece: Piece, start: int, n: int) -> Block:
        """Rows of a piece that is an array, in place where none is dropped."""
        assert piece.X is not None
        rows = slice(start, start + n)
        X = piece.X[rows]
        weight = None if piece.weight is None else piece.weight[rows]
        end = (piece.part, piece.first + start + n)
        if self._is_known_good or (all_finite(X) and (weight is None or _are_weights(weight))):
            return Block(X, weight, end)
        there = ~np.isnan(X).any(axis=1)
        if weight is not None:
            there &= ~np.isnan(weight)
        if self._missing == "raise" and not there.all():
            row = int(np.argmin(there))
            at = np.flatnonzero(np.isnan(X[row]))
            raise self._fault(piece, start + row, int(at[0]) if len(at) else None, np.nan)
        X, weight = X[there], None if weight is None else weight[there]
        if not all_finite(X):
            row, column = (int(i) for i in np.argwhere(~np.isfinite(X))[0])
            raise self._fault(piece, start + int(np.flatnonzero(there)[row]), column, X[row, column])
        if weight is not None and not _are_weights(weight):
            row = int(np.argmax(~((weight >= 0) & np.isfinite(weight))))
            raise self._fault(piece, start + int(np.flatnonzero(there)[row]), None, weight[row])
        return Block(X, weight, end)

    def _fill(self, block: Block, filled: int, piece: Piece, start: int, n: int) -> int:
        """Copy rows of a piece of columns to a block; the number that was not dropped."""
        into = slice(filled, filled + n)
        targets = [block.X[into, j] for j in range(self.n_features)]
        if block.weight is not None:
            targets.append(block.weight[into])
        is_good = True
        for target, column in zip(targets, piece.columns, strict=True):
            with np.errstate(over="ignore"):
                target[...] = column[start : start + n]
                is_good = is_good and (self._is_known_good or all_finite(target))
        if block.weight is not None and is_good and not self._is_known_good:
            is_good = _are_weights(targets[-1])
        if is_good:
            return n
        there = ~np.any([np.isnan(target) for target in targets], axis=0)
        if self._missing == "raise" and not there.all():
            row = int(np.argmin(there))
            j = next(j for j, target in enumerate(targets) if np.isnan(target[row]))
            raise self._fault(piece, start + row, j if j < self.n_features else None, np.nan)
        for j, target in enumerate(targets):
            usable = np.isfinite(target) if j < self.n_features else np.isfinite(target) & (target >= 0)
            if not (usable | ~there).all():
                row = int(np.argmax(~usable & there))
                raise self._fault(piece, start + row, j if j < self.n_features else None, target[row])
        kept = int(there.sum())
        for target in targets:
            target[:kept] = target[there]
        return kept

    def _fault(self, piece: Piece, row: int, column: int | None, value: float) -> ValueError:
        if column is None:
            names = self._reader.columns
            name = "sample_weight" if names.weight is None else names.weight_name
            what = MISSING if np.isnan(value) else f"holds {value}, but weights are finite and not negative"
        else:
            name = self.names[column]
            what = MISSING if np.isnan(value) else f"holds {value}, which is not a finite number"
        return self._reader.fault(piece, row, name, what)


def _are_weights(weight: np.ndarray) -> bool:
    return bool(np.isfinite(weight.sum()) and weight.min() >= 0)

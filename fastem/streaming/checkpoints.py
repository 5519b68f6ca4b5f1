"""Checkpoints: what a fit has learned of its rows, in a file from which it goes on after any end.

EM knows its rows by statistics alone. So the file has those of every finished pass and of the beginning of this one,
and what the first pass found out. A fit that goes on makes the same steps again, is given these in place of the rows,
and comes to the same bits, whatever the method of its steps.

The file is a journal: records are added at its end, each with its length and checksum, and one that was not written
to its end is cut off. There is no pickle in it. It is locked as long as a fit uses it; the lock is the system's, and
ends with the process however that ends.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import sys
import time
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from fastem.data.blocks import BEGIN, Position
from fastem.data.writing import whole_file
from fastem.families import Family, Params
from fastem.passes import ArrayRows
from fastem.stats import Moments, Stats
from fastem.streaming.survey import Survey

_MAGIC = b"fastem checkpoint 1\n"
_HEAD = struct.Struct("<QI")


@dataclass(frozen=True)
class Checkpoint:
    """Where a fit writes down what it has learned.

    Attributes
    ----------
    path : path-like
    every : float
        Seconds between two records within a pass. A finished pass is always written.
    resume : bool
        Whether to go on from the file, where there is one. Otherwise there must be none.
    """

    path: str | os.PathLike[str]
    every: float = 30.0
    resume: bool = False


class Journal:
    """The checkpoint of one fit, opened.

    Raises
    ------
    ValueError
        If there is a file already and ``resume`` is not said, another fit has it open, the file is something else, or
        ``every`` is no time.
    """

    _end = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = Path(checkpoint.path)
        every: Any = checkpoint.every
        if not isinstance(every, Real) or not float(every) >= 0:
            raise ValueError(f"checkpoint_every must be a number of seconds of at least 0, but got {every!r}")
        self.every = float(every)
        self._written = time.monotonic()
        # Runs may go side by side.
        self._lock = Lock()
        self._index: dict[str, tuple[int, int]] = {}
        if self.path.is_dir():
            raise ValueError(f"cannot write the checkpoint {self.path}: it is a folder; give the path of a file")
        if not self.path.parent.is_dir():
            raise ValueError(f"cannot write the checkpoint {self.path}: there is no folder {self.path.parent}")
        self._use(_opened_alone(self.path))
        try:
            self._read(checkpoint.resume)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the file."""
        self._file.close()

    # The file.

    def _read(self, resume: bool) -> None:
        """Find what is there, if it is what the fit goes on from."""
        magic = self._file.read(len(_MAGIC))
        if not magic:
            return
        if not resume:
            raise ValueError(
                f"there is a checkpoint {self.path} already; resume=True goes on from it, or remove it first"
            )
        if magic != _MAGIC:
            raise ValueError(
                f"{self.path} is not a checkpoint of fastem, or of another version; remove it to begin anew"
            )
        self._rewrite()

    def _rewrite(self) -> None:
        """Leave out what later records replace or what was not written to its end."""
        with self._file as old, whole_file(self.path) as temporary, temporary.open("w+b") as new:
            # Before it has its name: there is no moment in which another fit could have it.
            _lock_file(new, self.path)
            new.write(_MAGIC)
            places = {name: place for name, *place in _records(old)}
            finished = {name.partition(" ")[2] for name in places if name.startswith("stats ")}
            for name, (start, length) in places.items():
                kind, _, key = name.partition(" ")
                if kind == "partial" and key in finished:
                    continue
                old.seek(start)
                data = old.read(length)
                self._index[name] = (new.tell() + _HEAD.size, length)
                new.write(_HEAD.pack(length, zlib.crc32(data)) + data)
            self._end = new.tell()
            new.flush()
            os.fsync(new.fileno())
            # The lock goes with it.
            self._use(os.fdopen(os.dup(new.fileno()), "r+b", buffering=0))

    def _use(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] = file
        weakref.finalize(self, file.close)

    def _add(self, name: str, **arrays: Any) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, name=np.array(name), **arrays)
        data = buffer.getvalue()
        with self._lock:
            self._append(name, data)

    def _append(self, name: str, data: bytes) -> None:
        record = _HEAD.pack(len(data), zlib.crc32(data)) + data
        try:
            if self._end == 0:
                record = _MAGIC + record
            self._file.seek(self._end)
            left = memoryview(record)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise OSError(
                error.errno,
                f"the checkpoint cannot be written ({error.strerror}); what it had is intact, and resume=True goes on "
                "from there",
                str(self.path),
            ) from error
        self._end += len(record)
        self._index[name] = (self._end - len(data), len(data))
        self._written = time.monotonic()

    def _get(self, name: str) -> dict[str, np.ndarray] | None:
        if name not in self._index:
            return None
        start, length = self._index[name]
        # One at a time: NumPy parses headers by ast, which threads of CPython up to 3.12 cannot use side by side.
        with self._lock, self.path.open("rb") as file:
            file.seek(start)
            with np.load(io.BytesIO(file.read(length)), allow_pickle=False) as found:
                return dict(found)

    # What is in it.

    def begin(self, facts: dict[str, Any], seed: int) -> int:
        """State what the fit is of; the seed of its random numbers, which is the one that it began with.

        Raises
        ------
        ValueError
            If the checkpoint is of something else.
        """
        stated = json.loads(_as_json(facts))
        found = self._get("fit")
        if found is None:
            self._add("fit", facts=np.array(json.dumps(stated)), seed=np.array(seed))
            return seed
        before = json.loads(str(found["facts"]))
        for name in sorted(set(before) | set(stated)):
            if before.get(name) != stated.get(name):
                raise ValueError(
                    f"the checkpoint {self.path} is of another fit: its {name} is {_short(before.get(name))}, and now "
                    f"it is {_short(stated.get(name))}; give what it was, or remove the checkpoint to begin anew"
                )
        return int(found["seed"])

    def survey(self) -> Survey | None:
        found = self._get("survey")
        if found is None:
            return None
        n_samples, n_dropped, n_weighted = (int(n) for n in found["counts"])
        weight = found["sample_weight"] if found["sample_weight"].size else None
        return Survey(n_samples, n_dropped, n_weighted, float(found["weight"]), ArrayRows(found["X"], weight))

    def add_survey(self, survey: Survey) -> None:
        weight = survey.sample.sample_weight
        self._add(
            "survey",
            counts=np.array([survey.n_samples, survey.n_dropped, survey.n_weighted]),
            weight=survey.weight,
            X=survey.sample.X,
            sample_weight=np.empty(0) if weight is None else weight,
        )

    def moments(self, kind: Moments) -> Stats | None:
        found = self._get(f"moments {kind}")
        return None if found is None else _as_stats(found)

    def add_moments(self, kind: Moments, stats: Stats) -> None:
        self._add(f"moments {kind}", **_as_arrays(stats))

    def key_of(self, family: Family[Any], params: Params) -> str:
        """Name of a pass: what a family and its parameters are, and nothing else, decides on its statistics."""
        digest = hashlib.blake2b(_as_json([family.name, family.settings()]).encode(), digest_size=16)
        for each in fields(params):
            digest.update(np.ascontiguousarray(getattr(params, each.name)).tobytes())
        return digest.hexdigest()

    def stats(self, key: str) -> Stats | None:
        """Statistics of a pass, if it was finished."""
        found = self._get(f"stats {key}")
        return None if found is None else _as_stats(found)

    def beginning(self, key: str) -> tuple[Stats | None, Position, int]:
        """Statistics of the part of a pass that was finished, where it goes on, and the rows of that part."""
        found = self._get(f"partial {key}")
        if found is None:
            return None, BEGIN, 0
        part, row, n_rows = (int(n) for n in found["end"])
        return _as_stats(found), (part, row), n_rows

    def block_is_done(self, key: str, total: Stats, end: Position, n_rows: int) -> None:
        if time.monotonic() - self._written >= self.every:
            self._add(f"partial {key}", end=np.array([*end, n_rows]), **_as_arrays(total))

    def add_stats(self, key: str, total: Stats) -> None:
        self._add(f"stats {key}", **_as_arrays(total))


def _opened_alone(path: Path) -> IO[bytes]:
    """The file, which is made if there is none, locked."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b", buffering=0)
        try:
            _lock_file(file, path)
            # Whoever had it before may have put another in its place meanwhile.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock_file(file: IO[bytes], path: Path) -> None:
    """Lock a file, where the system and its disk can.

    Raises
    ------
    ValueError
        If another fit has locked it.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another fit, of this process or of another, is using the checkpoint {path}; wait for its end, or give "
            "this one a file of its own"
        ) from None
    except OSError:  # a network's disk that knows no locks
        pass


def _records(file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, place and length of each whole record."""
    while True:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        length, checksum = _HEAD.unpack(head)
        start = file.tell()
        data = file.read(length)
        if len(data) < length or zlib.crc32(data) != checksum:
            return
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            name = str(found["name"])
        yield name, start, length


def _as_arrays(stats: Stats) -> dict[str, Any]:
    # Shared moments are not those of a pass, and have a record of their own.
    return {
        "totals": np.array([stats.weight, stats.log_likelihood]),
        "origin": stats.origin,
        "S": stats.S,
        "moments": np.array(stats.moments),
    }


def _as_stats(found: dict[str, np.ndarray]) -> Stats:
    weight, log_likelihood = (float(value) for value in found["totals"])
    moments: Any = str(found["moments"])
    return Stats(weight, log_likelihood, found["origin"], found["S"], moments)


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda array: np.asarray(array).tolist())


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 200 else text[:200] + " ..."

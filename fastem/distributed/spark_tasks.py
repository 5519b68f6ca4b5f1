"""What Spark's executors run: arrays of Arrow's batches, jobs over blocks of rows. Knows Arrow, but not Spark."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastem.distributed.jobs import apply, total
from fastem.mixture import Mixture

# Values of a block of rows, the unit in which arrays travel between Spark and Python.
_BLOCK_VALUES = 2**22

# A block or what became of it; an error travels as a value, since Spark would try again what raises, and wrap it.
Block = tuple[np.ndarray, np.ndarray | None] | ValueError


def to_blocks(batches: Iterable[pa.RecordBatch], dtype: np.dtype[Any], weighted: bool) -> Iterator[pa.RecordBatch]:
    """The rows of a partition, and their weights from the last column, as pickled blocks."""
    for block in _blocks(batches, dtype, weighted):
        yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps(block, protocol=5)], pa.binary())], names=["block"])


def _blocks(batches: Iterable[pa.RecordBatch], dtype: np.dtype[Any], weighted: bool) -> Iterator[Block]:
    waiting: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for batch in batches:
        columns = batch.columns
        if weighted:
            weights.append(columns.pop().to_numpy(zero_copy_only=False))
        try:
            waiting.append(as_matrix(columns, dtype))
            # Rows of another length are found here.
            n_rows, size = sum(map(len, waiting)), max(1, _BLOCK_VALUES // max(1, waiting[0].shape[1]))
            if n_rows >= size:
                X, weight = np.concatenate(waiting), np.concatenate(weights) if weighted else None
        except ValueError as error:
            yield error
            return
        if n_rows < size:
            continue
        last = n_rows // size * size
        for start in range(0, last, size):
            yield X[start : start + size], None if weight is None else weight[start : start + size]
        waiting, weights = [X[last:]], [] if weight is None else [weight[last:]]
    if sum(map(len, waiting)):
        try:
            yield np.concatenate(waiting), np.concatenate(weights) if weighted else None
        except ValueError as error:
            yield error


def as_matrix(columns: Sequence[pa.Array], dtype: np.dtype[Any]) -> np.ndarray:
    """Rows of one column of lists, or of several columns of numbers; a null number is NaN.

    Raises
    ------
    ValueError
        If a list is null, or their lengths differ.
    """
    if not pa.types.is_list(columns[0].type):
        return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1).astype(dtype, copy=False)
    lists = columns[0]
    if lists.null_count:
        raise ValueError(f"{lists.null_count} rows are null; drop or impute them before the fit")
    lengths = pc.min_max(pc.list_value_length(lists))
    least, most = lengths["min"].as_py() or 0, lengths["max"].as_py() or 0
    if least != most:
        raise ValueError(f"rows have {least} to {most} values, while all must have as many")
    return lists.flatten().to_numpy(zero_copy_only=False).astype(dtype, copy=False).reshape(len(lists), most)


def unpickled(row: Any) -> Block:
    return pickle.loads(bytes(row[0]))


def shapes(blocks: Iterable[Block]) -> Iterator[list[Any]]:
    """Of a partition: the shape of each block, or what is wrong with it."""
    yield [block if isinstance(block, ValueError) else block[0].shape for block in blocks]


def listed(found: list[Any]) -> list[Any]:
    return found


def over_blocks(
    number: int, blocks: Iterable[Block], job: Any, first_blocks: Sequence[int], together: Callable[[list[Any]], Any]
) -> Iterator[tuple[int, Any]]:
    """The number of a partition, and what a broadcast job makes of all of its blocks."""
    found = []
    for i, block in enumerate(blocks):
        try:
            found.append(apply(job.value, *block, number=first_blocks[number] + i))  # type: ignore[misc]
        except ValueError as error:
            yield number, ValueError(f"partition {number}: {error}")
            return
    yield number, together(found)


def in_group(fan_in: int, numbered: tuple[int, Any]) -> tuple[int, tuple[int, Any]]:
    return numbered[0] // fan_in, numbered


def add_group(group: tuple[int, Iterable[tuple[int, Any]]]) -> tuple[int, Any]:
    """The sum of a group by number, whatever order it came in; or the first error."""
    found = [part for _, part in sorted(group[1], key=lambda numbered: numbered[0])]
    errors = [part for part in found if isinstance(part, ValueError)]
    return group[0], errors[0] if errors else total(found)


def with_posterior(
    batches: Iterable[pa.RecordBatch],
    n_inputs: int,
    dtype: np.dtype[Any],
    mixture: Mixture,
    engine: str,
    wanted: Sequence[str],
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Labels, responsibilities, those that are wanted, in place of the inputs, which are the last columns."""
    for batch in batches:
        if not batch.num_rows:
            continue
        X = as_matrix(batch.columns[-n_inputs:], dtype)
        mixture.family.check_data(X)
        found = mixture.posterior(X, *wanted, engine=engine, n_threads=1)
        columns = batch.columns[:-n_inputs]
        if "labels" in wanted:
            columns.append(pa.array(found.labels, pa.int32()))
        if "responsibilities" in wanted:
            n_rows, n_components = found.responsibilities.shape
            ends = np.arange(0, (n_rows + 1) * n_components, n_components, dtype=np.int32)
            values = found.responsibilities.astype(np.float64, copy=False).ravel()
            columns.append(pa.ListArray.from_arrays(pa.array(ends), pa.array(values)))
        yield pa.RecordBatch.from_arrays(columns, names=list(names))

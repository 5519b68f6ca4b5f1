"""Spark: rows of a data frame, wherever its executors hold them.

``mapInArrow`` makes arrays of the rows of a partition, once; they stay with Spark for as long as a fit takes. A pass
broadcasts the parameters, each task returns statistics, and a tree adds them. It is not ``RDD.treeReduce``, which adds
in the order of arrival: here sums are in the order of the partitions, so that the bits do not depend on the executors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from pyspark import StorageLevel
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions
from pyspark.sql.types import ArrayType, DoubleType, FloatType, IntegerType, NumericType, StructField, StructType

from fastem.distributed import spark_tasks as tasks
from fastem.distributed.jobs import Job, total
from fastem.distributed.partitions import FAN_IN, PartitionedRows
from fastem.families import Family
from fastem.fitting import FitResult
from fastem.fitting import fit as fit_rows
from fastem.mixture import Mixture


class SparkRows(PartitionedRows):
    """Rows of a Spark data frame, kept as arrays until :meth:`release`, or the end of a ``with`` block.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        Of a classic session: Spark Connect has no RDDs.
    columns : str or sequence of str
        One column of vectors or of arrays of numbers, or several of numbers. Single precision is computed in float32,
        all else in float64.
    weightCol : str, optional
        Column of non-negative weights.

    Attributes
    ----------
    dtype : numpy.dtype
        Float type of the rows.

    Raises
    ------
    TypeError
        If a column is of another type, or the session is one of Spark Connect.
    ValueError
        If a column is not there, there are no rows, or they are not of one length.
    """

    def __init__(self, df: Any, columns: str | Sequence[str], weightCol: str | None = None) -> None:
        if ".connect." in type(df).__module__:
            raise TypeError("the data frame must be of a classic Spark session, but this one is of Spark Connect")
        inputs, self.dtype = _inputs(df, columns)
        if weightCol is not None:
            _check_columns(df, [weightCol])
            inputs = [*inputs, _column(weightCol).cast(DoubleType())]
        to_blocks = partial(tasks.to_blocks, dtype=self.dtype, weighted=weightCol is not None)
        blocks = df.select(*_numbered(inputs)).mapInArrow(to_blocks, "block binary")
        self._context = df.sparkSession.sparkContext
        self._blocks = blocks.rdd.map(tasks.unpickled).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            # The one job that reads the data frame.
            with self._described("read"):
                shapes = self._blocks.mapPartitions(tasks.shapes).collect()
            widths = [shape[1] for part in shapes for shape in _sound(part)]
            if not widths:
                raise ValueError("the data frame has no rows, while at least one is required")
        except BaseException:
            self.release()
            raise
        # Blocks are numbered through; a partition has none, or several.
        ends = np.cumsum([len(part) for part in shapes])
        self._first_blocks = [0, *ends[:-1].tolist()]
        super().__init__(widths[0], int(ends[-1]))

    def release(self) -> None:
        """Give the memory back that the arrays take."""
        self._blocks.unpersist()

    def __enter__(self) -> SparkRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def n_threads(self) -> int:
        """The cores of a task, as the session has them."""
        return int(self._context.getConf().get("spark.task.cpus", "1"))

    @contextmanager
    def _described(self, name: str) -> Iterator[None]:
        """Spark's own pages show the job under this name."""
        before = self._context.getLocalProperty("spark.job.description")
        self._context.setLocalProperty("spark.job.description", f"fastem {name}")
        try:
            yield
        finally:
            self._context.setLocalProperty("spark.job.description", before)

    def collect(self, name: str, job: Job) -> list[Any]:
        return [each for part in self._run(name, job, tasks.listed) for each in part]

    def add(self, name: str, job: Job) -> Any:
        return total(self._run(name, job, total))

    def _run(self, name: str, job: Job, together: Callable[[list[Any]], Any]) -> list[Any]:
        """What becomes of the blocks of each partition; where they are added, of groups of partitions."""
        broadcast = self._context.broadcast(job)
        try:
            task = partial(tasks.over_blocks, job=broadcast, first_blocks=self._first_blocks, together=together)
            parts = self._blocks.mapPartitionsWithIndex(task)
            n_parts = self._blocks.getNumPartitions()
            while together is total and n_parts > FAN_IN:
                n_parts = -(-n_parts // FAN_IN)
                grouped = parts.map(partial(tasks.in_group, FAN_IN)).groupByKey(n_parts, partitionFunc=int)
                parts = grouped.map(tasks.add_group)
            with self._described(name):
                found = parts.collect()
        finally:
            broadcast.destroy()
        return _sound([part for _, part in sorted(found, key=itemgetter(0))])


def fit(
    df: Any,
    columns: str | Sequence[str],
    family: str | Family[Any] = "gaussian",
    n_components: int = 1,
    *,
    weightCol: str | None = None,
    **options: Any,
) -> FitResult:
    """Fit a mixture to the rows of a Spark data frame.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        Of a classic session. Its rows are read once; for the time of the fit Spark holds a copy of the columns.
    columns : str or sequence of str
        One column of vectors or of arrays of numbers, or several of numbers. Single precision is computed in float32,
        all else in float64.
    family, n_components
        As in :func:`fastem.fit`.
    weightCol : str, optional
        Column of non-negative weights; weight 2 is the row twice.
    **options
        As in :func:`fastem.fit`: ``start``, ``tol``, ``max_iter``, ``random_state`` and so on. ``n_threads`` are those
        of a task, by default ``spark.task.cpus``.

    Returns
    -------
    FitResult
        A :class:`~fastem.Mixture`, which :func:`transform` applies to data frames.

    Raises
    ------
    TypeError
        If a column is of another type, or the session is one of Spark Connect.
    ValueError
        If the rows hold NaN, infinity or nulls, or an option is not as described.
    """
    with SparkRows(df, columns, weightCol) as rows:
        return fit_rows(rows, family, n_components, **options)


def transform(
    df: Any,
    mixture: Mixture,
    columns: str | Sequence[str],
    *,
    predictionCol: str = "prediction",
    probabilityCol: str = "probability",
    engine: str = "auto",
) -> Any:
    """The data frame with the likeliest component of each row, and the probability of each component.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
    mixture : Mixture
        What :func:`fit` returned.
    columns : str or sequence of str
        As in :func:`fit`.
    predictionCol, probabilityCol : str
        Names of the new columns; an empty name leaves one out. Probabilities are vectors where ``columns`` is a column
        of vectors, and arrays elsewhere.
    engine : str

    Returns
    -------
    pyspark.sql.DataFrame
        Computed when it is read.

    Raises
    ------
    TypeError
        If a column is of another type.
    ValueError
        If a column is not there, or a new one is there already.
    """
    for name in (predictionCol, probabilityCol):
        if name in df.columns:
            raise ValueError(f"the data frame has a column {name!r} already; drop it, or name the new one differently")
    inputs, dtype = _inputs(df, columns)
    fields = list(df.schema.fields)
    if predictionCol:
        fields.append(StructField(predictionCol, IntegerType()))
    if probabilityCol:
        fields.append(StructField(probabilityCol, ArrayType(DoubleType())))
    work = partial(
        tasks.with_posterior,
        n_inputs=len(inputs),
        dtype=dtype,
        mixture=Mixture(mixture.family, mixture.params),
        engine=engine,
        wanted=[what for what, name in (("labels", predictionCol), ("responsibilities", probabilityCol)) if name],
        names=[field.name for field in fields],
    )
    kept = [_column(name) for name in df.columns]
    result = df.select(*_numbered([*kept, *inputs])).mapInArrow(work, StructType(fields))
    if probabilityCol and isinstance(columns, str) and isinstance(df.schema[columns].dataType, VectorUDT):
        result = result.withColumn(probabilityCol, array_to_vector(_column(probabilityCol)))
    return result


def no_collection(df: Any) -> None:
    """Raise TypeError, for estimators that are given a data frame of Spark's."""
    raise TypeError(
        "a Spark data frame has columns that are no features; name those that are to "
        "fastem.distributed.spark.fit(df, columns, ...), or use fastem.distributed.spark_ml.GaussianMixture"
    )


def _inputs(df: Any, columns: str | Sequence[str]) -> tuple[list[Any], np.dtype[Any]]:
    """The features as one column of arrays, or columns of numbers; and their float type."""
    names = [columns] if isinstance(columns, str) else list(columns)
    _check_columns(df, names)
    if not names:
        raise ValueError("columns must name at least one column")
    types = [df.schema[name].dataType for name in names]
    if len(names) == 1 and isinstance(types[0], VectorUDT):
        return [vector_to_array(_column(names[0]))], np.dtype(np.float64)
    is_array = len(names) == 1 and isinstance(types[0], ArrayType)
    numbers = [types[0].elementType] if is_array else types
    for name, each in zip(names, numbers, strict=True):
        if not isinstance(each, NumericType):
            raise TypeError(
                f"column {name!r} is of type {df.schema[name].dataType.simpleString()}, while features are one column "
                "of vectors or of arrays of numbers, or several columns of numbers"
            )
    single = all(isinstance(each, FloatType) for each in numbers)
    real = FloatType() if single else DoubleType()
    wanted = ArrayType(real) if is_array else real
    return [_column(name).cast(wanted) for name in names], np.dtype(np.float32 if single else np.float64)


def _check_columns(df: Any, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in df.columns]
    if missing:
        raise ValueError(f"the data frame has no column {missing[0]!r}, but {', '.join(map(repr, df.columns))}")


def _column(name: str) -> Any:
    return functions.col(f"`{name}`")  # quoted: a name may hold dots


def _numbered(inputs: Sequence[Any]) -> list[Any]:
    # Names without dots, which mapInArrow would take for fields of a structure.
    return [column.alias(f"fastem_{i}") for i, column in enumerate(inputs)]


def _sound(found: list[Any]) -> list[Any]:
    """What tasks returned, or the first error of them."""
    for each in found:
        if isinstance(each, ValueError):
            raise each
    return found

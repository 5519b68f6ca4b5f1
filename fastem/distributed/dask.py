"""Dask: rows of an array or a data frame, under any ``distributed.Client`` or a scheduler of this process.

A task a partition returns statistics, and a tree of tasks adds them. What is persisted is read where it lies; what is
not is computed anew in every pass.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from functools import cached_property
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import get_scheduler

from fastem.criteria import Totals
from fastem.data.arrays import as_weights
from fastem.distributed.jobs import Evaluate, Job, apply, total
from fastem.distributed.partitions import FAN_IN, PartitionedRows
from fastem.mixture import Mixture


class DaskRows(PartitionedRows):
    """Rows of a Dask array or data frame.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame
        Of shape (n_samples, n_features), in chunks of whole rows; of any number of rows, known or not.
    sample_weight : dask array or series of shape (n_samples,), or array-like, optional
        In the partitions of ``X``. An array in memory goes with an ``X`` of known chunks.

    Raises
    ------
    TypeError
        If ``X`` is another collection.
    ValueError
        If it is no table, or the partitions of the two differ.
    """

    def __init__(self, X: Any, sample_weight: Any = None) -> None:
        _check_table(X)
        weight = None if sample_weight is None else _weights_like(X, sample_weight)
        self._persisted = _persisted(X) | ({} if weight is None else _persisted(weight))
        self._graph: dict[Any, Any] = {**self._persisted}
        self._keys = self._add(X)
        self._weight_keys = [None] * len(self._keys) if weight is None else self._add(weight)
        self._sources = [self._sources_of(key) for key in self._keys]
        self._get = get_scheduler(collections=[X])
        super().__init__(X.shape[1], len(self._keys))

    def _add(self, collection: Any) -> list[Any]:
        """Take the collection into the graph, as Dask optimises it; the keys of its partitions."""
        keys = []
        for part in np.ravel(np.asarray(collection.to_delayed(), dtype=object)):
            keys.append(part.key)
            if part.key not in self._graph:
                self._graph.update(part.__dask_graph__())
        return keys

    def _sources_of(self, key: Any) -> set[Any]:
        """Keys of what is persisted and goes into a partition."""
        if key in self._persisted:
            return {key}
        needed = getattr(self._graph.get(key), "dependencies", ())
        return set().union(*(self._sources_of(each) for each in needed))

    @cached_property
    def n_threads(self) -> int:
        """One, unless the cluster has more threads than there are partitions."""
        client = self._client
        return 1 if client is None else max(1, sum(client.nthreads().values()) // self.n_partitions)

    @property
    def _client(self) -> Any:
        """The client whose ``get`` Dask would use here; None where a scheduler of this process runs the tasks."""
        client = getattr(self._get, "__self__", None)
        return client if hasattr(client, "who_has") else None

    def collect(self, name: str, job: Job) -> list[Any]:
        return self._compute(*self._tasks(name, job))

    def add(self, name: str, job: Job) -> Any:
        graph, keys, holders = self._tasks(name, job)
        token = _token()
        while len(keys) > FAN_IN:
            groups = [keys[first : first + FAN_IN] for first in range(0, len(keys), FAN_IN)]
            keys = [(f"fastem-add-{token}-{len(groups)}", i) for i in range(len(groups))]
            graph.update((key, (total, group)) for key, group in zip(keys, groups, strict=True))
        return total(self._compute(graph, keys, holders))

    def _tasks(self, name: str, job: Job) -> tuple[dict[Any, Any], list[Any], dict[Any, list[str]]]:
        """Graph of a pass, its keys by partition, and the workers that hold what each of them reads."""
        token = _token()
        keys = [(f"fastem-{name}-{token}", number) for number in range(self.n_partitions)]
        # A key of its own, so that it travels to each worker once, and is there again after a worker's death.
        broadcast = f"fastem-parameters-{token}"
        graph = {**self._graph, broadcast: job}
        for number, key in enumerate(keys):
            graph[key] = (_run, broadcast, self._keys[number], self._weight_keys[number], number)
        return graph, keys, dict(zip(keys, self._holders(), strict=True))

    def _holders(self) -> list[list[str]]:
        """Workers that hold all of the persisted sources of each partition."""
        client = self._client
        if client is None or not self._persisted:
            return [[]] * self.n_partitions
        found = client.who_has(list(self._persisted.values()))
        where = [[set(found.get(source, ())) for source in sources] for sources in self._sources]
        return [sorted(set.intersection(*holders)) if holders else [] for holders in where]

    def _compute(self, graph: dict[Any, Any], keys: list[Any], holders: dict[Any, list[str]]) -> list[Any]:
        client = self._client
        if client is None:
            return list(self._get(graph, keys))
        # A key without holders may run anywhere, and so may one whose holders have died.
        workers = defaultdict(list, holders).__getitem__
        with dask.annotate(workers=workers, allow_other_workers=True):
            futures = client.get(graph, keys, sync=False)
        return client.gather(futures)


class DaskCollection:
    """A Dask array or data frame as the estimators take it.

    Attributes
    ----------
    like : array or data frame without rows
        Of the same features and their names.
    dtype : numpy.dtype
        Float type of the fit.
    shape : tuple
        (n_samples, n_features); 0 rows where their number is not known.
    """

    #: Of features that ``like`` has no names for.
    names = None
    n_dropped = 0

    def __init__(self, X: Any) -> None:
        _check_table(X)
        self.X = X
        self._is_frame = not isinstance(X, da.Array)
        like: Any = X._meta if self._is_frame else np.empty((0, X.shape[1]), X.dtype)
        values = like.to_numpy() if self._is_frame else like
        self.like = like
        self.dtype = np.dtype(np.float32 if values.dtype == np.float32 else np.float64)
        n_samples = X.shape[0]
        self.shape = (n_samples if isinstance(n_samples, int) else 0, X.shape[1])

    def of_features(self, names: Any) -> DaskCollection:
        return self

    def rows(self, sample_weight: Any = None) -> DaskRows:
        return DaskRows(self.X, sample_weight)

    def posterior(self, mixture: Mixture, wanted: str, engine: str, n_threads: int | None) -> Any:
        """Labels, log-likelihoods or responsibilities, by row: an array, or a series or frame with the rows' index."""
        evaluate = Evaluate(mixture, wanted, engine, n_threads or 1)
        dtype = np.dtype(np.intp) if wanted == "labels" else self.dtype
        n_components = len(mixture.params.weights)
        by_component = wanted == "responsibilities"
        if self._is_frame:
            meta = _framed(self.like.astype(self.dtype), evaluate)
            return self.X.map_partitions(_framed, evaluate, meta=meta)
        chunks = (self.X.chunks[0], (n_components,)) if by_component else (self.X.chunks[0],)
        return self.X.map_blocks(
            evaluate,
            dtype=dtype,
            drop_axis=[] if by_component else [1],
            chunks=chunks,
            meta=np.empty((0, n_components) if by_component else 0, dtype),
        )

    def totals(
        self, mixture: Mixture, sample_weight: Any, engine: str, n_threads: int | None, entropy: bool = False
    ) -> Totals:
        return self.rows(sample_weight).totals(mixture, engine, n_threads, entropy)


def _run(job: Job, X: Any, sample_weight: Any, number: int) -> Any:
    try:
        return apply(job, X, sample_weight, number)
    except ValueError as error:
        raise ValueError(f"partition {number}: {error}") from error


def _framed(frame: Any, evaluate: Evaluate) -> Any:
    import pandas as pd

    values = evaluate(frame)
    return (pd.Series if values.ndim == 1 else pd.DataFrame)(values, index=frame.index)


def _token() -> str:
    # Of letters and digits as Dask's own: the dashboard leaves it out of a task's name.
    return uuid.uuid4().hex


def _persisted(collection: Any) -> dict[Any, Any]:
    """Futures of what is persisted on a cluster, by key; as long as they are kept, so is what they stand for."""
    values = dict(collection.__dask_graph__()).values()
    return {value.key: value for value in values if type(value).__module__.startswith("distributed.")}


def _check_table(X: Any) -> None:
    # The module of data frames, which needs pandas, is not imported for arrays.
    if not isinstance(X, da.Array) and not type(X).__module__.startswith("dask.dataframe"):
        raise TypeError(
            f"fastem takes dask arrays and data frames, but got a {type(X).__module__}.{type(X).__name__}; "
            "dask.array.from_delayed makes an array of delayed parts"
        )
    if X.ndim != 2:
        raise ValueError(f"Expected a 2-D collection (n_samples, n_features), but got one of {X.ndim} dimensions")
    if isinstance(X, da.Array) and len(X.chunks[1]) != 1:
        raise ValueError(
            f"the features lie in {len(X.chunks[1])} chunks, while each chunk must hold whole rows; use "
            "X.rechunk({1: -1})"
        )


def _weights_like(X: Any, sample_weight: Any) -> Any:
    """Weights as a collection in the partitions of ``X``."""
    if not dask.is_dask_collection(sample_weight):
        if not isinstance(X, da.Array) or any(np.isnan(size) for size in X.chunks[0]):
            raise ValueError(
                "sample_weight must be a dask series or array in the partitions of X, where the sizes of these are not "
                "known"
            )
        return da.from_array(as_weights(sample_weight, X.shape[0]), chunks=(X.chunks[0],))
    if sample_weight.ndim != 1 or sample_weight.npartitions != X.npartitions:
        raise ValueError(
            f"sample_weight must be 1-D and in the {X.npartitions} partitions of X, but has {sample_weight.ndim} "
            f"dimensions and {sample_weight.npartitions} partitions"
        )
    return sample_weight

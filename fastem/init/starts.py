"""Starting values by scikit-learn's names: rows or responsibilities, and the M-step that makes parameters of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastem.data.arrays import rough_centre
from fastem.engines.base import Engine
from fastem.families.base import Family, Params, component_means
from fastem.stats import Stats

START_METHODS = ("kmeans", "k-means++", "random", "random_from_data")

# k-means on more rows than these finds the same centres, only later.
_KMEANS_ROWS = 50_000
# Values of random responsibilities drawn at a time; the stream of numbers is that of one draw.
_RANDOM_VALUES = 2**17


def start_params(
    family: Family[Any],
    X: np.ndarray,
    n_components: int,
    method: str,
    rng: np.random.RandomState,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
) -> Params:
    """Parameters to start from.

    Parameters
    ----------
    method : {"kmeans", "k-means++", "random", "random_from_data"}
        As scikit-learn's ``init_params``: components from the clusters of k-means, from single rows chosen by
        k-means++ or at random, or from random responsibilities of all rows.
    """
    if method not in START_METHODS:
        raise ValueError(f"the start must be one of {START_METHODS} or given parameters, but got {method!r}")
    if method == "random":
        stats = _random_responsibilities(family, X, n_components, rng, engine, sample_weight, n_threads)
    elif method == "kmeans":
        rows, labels, weight = _kmeans(X, n_components, rng, sample_weight)
        stats = _labelled(family, rows, labels, n_components, engine, weight, n_threads)
    else:
        rows = _chosen_rows(X, n_components, method, rng, sample_weight)
        stats = _labelled(family, rows, np.arange(n_components), n_components, engine, None, n_threads)
    return family.update(stats)


def _labelled(
    family: Family[Any],
    X: np.ndarray,
    labels: np.ndarray,
    n_components: int,
    engine: Engine,
    sample_weight: np.ndarray | None,
    n_threads: int | None,
) -> Stats:
    """Statistics of rows that each belong to one component, about the components' means."""
    X64 = np.ascontiguousarray(X, dtype=np.float64)
    given = np.zeros((len(X64), n_components))
    given[np.arange(len(X64)), labels] = 1

    def accumulate(moments: Any, responsibilities: np.ndarray, origin: np.ndarray) -> Stats:
        return engine.accumulate_given(
            moments, X64, responsibilities, origin, sample_weight=sample_weight, n_threads=n_threads
        )

    first = accumulate("first", given, np.repeat(X64[:1], n_components, axis=0))
    means = component_means(first)
    stats = accumulate(family.moments, given, means)
    if family.shared_moments is None:
        return stats
    centre = stats.mass @ means / stats.mass.sum()
    return replace(stats, shared=accumulate(family.shared_moments, np.ones((len(X64), 1)), centre[None]))


def _random_responsibilities(
    family: Family[Any],
    X: np.ndarray,
    n_components: int,
    rng: np.random.RandomState,
    engine: Engine,
    sample_weight: np.ndarray | None,
    n_threads: int | None,
) -> Stats:
    """Statistics under uniform random responsibilities, drawn a chunk at a time and never held as a whole."""
    # All components' means lie near the mean of the data: moments about that point lose nothing.
    centre = rough_centre(X, sample_weight)
    origin = np.repeat(centre[None], n_components, axis=0)
    total: Stats | None = None
    for rows, responsibilities in _random_chunks(X.shape, n_components, rng):
        chunk = np.ascontiguousarray(X[rows], dtype=np.float64)
        weight = None if sample_weight is None else sample_weight[rows]
        stats = engine.accumulate_given(
            family.moments, chunk, responsibilities, origin, sample_weight=weight, n_threads=n_threads
        )
        if family.shared_moments is not None:
            every = np.ones((len(chunk), 1))
            shared = engine.accumulate_given(
                family.shared_moments, chunk, every, centre[None], sample_weight=weight, n_threads=n_threads
            )
            stats = replace(stats, shared=shared)
        total = stats if total is None else total + stats
    assert total is not None
    return total


def _random_chunks(
    shape: tuple[int, ...], n_components: int, rng: np.random.RandomState
) -> Iterator[tuple[slice, np.ndarray]]:
    n_samples, n_features = shape
    step = max(1, _RANDOM_VALUES // (n_components + n_features))
    for start in range(0, n_samples, step):
        rows = slice(start, min(start + step, n_samples))
        drawn = rng.uniform(size=(rows.stop - start, n_components))
        yield rows, drawn / drawn.sum(axis=1, keepdims=True)


def _subsample(
    X: np.ndarray, sample_weight: np.ndarray | None, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray | None]:
    """All rows of positive weight, or a random sample where they are many."""
    rows = None if sample_weight is None or (sample_weight > 0).all() else np.flatnonzero(sample_weight > 0)
    n_rows = len(X) if rows is None else len(rows)
    if n_rows > _KMEANS_ROWS:
        # Sorted, so that a memory map is read forwards.
        drawn = np.sort(rng.randint(n_rows, size=_KMEANS_ROWS))
        rows = drawn if rows is None else rows[drawn]
    if rows is None:
        return X, sample_weight
    return X[rows], None if sample_weight is None else sample_weight[rows]


def _kmeans(
    X: np.ndarray, n_components: int, rng: np.random.RandomState, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows, their k-means clusters, and their weights."""
    if n_components == 1:
        # One cluster is all rows, and needs no search.
        rows, weight = (X, sample_weight) if len(X) <= _KMEANS_ROWS else _subsample(X, sample_weight, rng)
        return rows, np.zeros(len(rows), dtype=np.intp), weight
    from sklearn.cluster import KMeans

    rows, weight = _subsample(X, sample_weight, rng)
    labels = KMeans(n_clusters=n_components, n_init=1, random_state=rng).fit(rows, sample_weight=weight).labels_
    return rows, labels, weight


def _chosen_rows(
    X: np.ndarray, n_components: int, method: str, rng: np.random.RandomState, sample_weight: np.ndarray | None
) -> np.ndarray:
    """One row a component."""
    if method == "random_from_data":
        chances = None if sample_weight is None else sample_weight / sample_weight.sum()
        return X[rng.choice(len(X), size=n_components, replace=False, p=chances)]
    from sklearn.cluster import kmeans_plusplus

    rows, weight = _subsample(X, sample_weight, rng)
    _, indices = kmeans_plusplus(rows, n_components, sample_weight=weight, random_state=rng)
    return rows[indices]

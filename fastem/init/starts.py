"""Starting values: partitions, rows or responsibilities, and the M-step that makes parameters of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastem.data.arrays import rough_centre, sample_rows
from fastem.engines.base import Engine
from fastem.families.base import (
    DegenerateComponentError,
    Family,
    Params,
    attempt,
    component_means,
    update_or_hold_up,
)
from fastem.init.candidates import Candidate, panels
from fastem.init.kmeans import Clusters, column_means, kmeans, lloyd, seed_rows
from fastem.init.tree import cluster_moments
from fastem.stats import Moments, Stats, n_moments

START_METHODS = ("auto", "kmeans", "k-means++", "random", "random_from_data")

# k-means on more rows than these finds the same centres, only later.
_KMEANS_ROWS = 50_000
# Of a sample, so many rows (or 100 a component) take the centres nearly all the way; a few iterations on all end it.
_COARSE_ROWS = 10_000
_FINE_ITERATIONS = 3
# Values of random responsibilities drawn at a time; the stream of numbers is that of one draw.
_RANDOM_VALUES = 2**17


@dataclass(frozen=True)
class Start:
    """Where a run may begin.

    Attributes
    ----------
    method : str
        How it was found.
    params : Params or DegenerateComponentError
        Parameters, or the collapse that making them ended in.
    """

    method: str
    params: Params | DegenerateComponentError


def find_starts(
    family: Family[Any],
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    n_components: int,
    method: str,
    n_init: int,
    rng: np.random.RandomState,
    engine: Engine,
    n_threads: int | None = None,
    amend: Callable[[Any], Any] | None = None,
) -> list[Start]:
    """Starts by one of scikit-learn's methods, ``n_init`` of them, or by ``"auto"``, ``n_init`` panels.

    A panel is a start by each of several methods (:func:`fastem.init.candidates.panels`), on the rows of ``X``, which
    should be a sample where the rows are many.

    Parameters
    ----------
    amend : callable, optional
        Applied to the parameters of each start.
    """
    if method not in START_METHODS:
        raise ValueError(f"the start must be one of {START_METHODS} or given parameters, but got {method!r}")
    changed = amend if amend is not None else lambda params: params
    if method == "auto" and not searches(family, n_components):
        method = "kmeans"
    if method != "auto":

        def of_method() -> Params:
            return changed(start_params(family, X, n_components, method, rng, engine, sample_weight, n_threads))

        return [Start(method, attempt(of_method)) for _ in range(n_init)]
    if len(X) < n_components:
        raise ValueError(
            f"{n_components} components need at least as many rows of positive weight, but there are {len(X)}; use "
            "fewer components or more rows"
        )
    rows = np.ascontiguousarray(X, dtype=np.float64)
    starts = []
    for found in panels(rows, n_components, n_init, rng, engine, sample_weight, n_threads):
        weight = None if sample_weight is None else sample_weight[found.rows]

        def of_labels(found: Candidate = found, weight: np.ndarray | None = weight) -> Params:
            part = rows if len(found.rows) == len(rows) else rows.take(found.rows, axis=0)
            stats = _label_stats(family.moments, part, found.labels, n_components, weight)
            return changed(_steady_params(family, stats, part, engine, weight, n_threads))

        starts.append(Start(found.method, attempt(of_labels)))
    return starts


def searches(family: Family[Any], n_components: int) -> bool:
    """Whether ``"auto"`` tries several methods, which all look for clusters with covariances; else it is "kmeans"."""
    return n_components > 1 and (family.moments != "first" or family.shared_moments is not None)


def params_of(
    family: Family[Any],
    rows: np.ndarray,
    responsibilities: np.ndarray,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
) -> Params:
    """The M-step of given responsibilities (n_rows, n_components), which holds also where a component has few rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64

    Raises
    ------
    DegenerateComponentError
        If features are constant or collinear within all components.
    """
    weight = np.ones(len(rows)) if sample_weight is None else sample_weight
    masses = weight @ responsibilities
    sums = (responsibilities.T * weight) @ (rows - rows[0])
    means = rows[0] + sums / np.where(masses > 0, masses, 1)[:, None]
    stats = engine.accumulate_given(
        family.moments, rows, responsibilities, means, sample_weight=sample_weight, n_threads=n_threads
    )
    return _steady_params(family, stats, rows, engine, sample_weight, n_threads)


def _label_stats(
    moments: Moments, rows: np.ndarray, labels: np.ndarray, n_clusters: int, sample_weight: np.ndarray | None
) -> Stats:
    """Moments of the rows of each label about their mean."""
    n_rows, n_features = rows.shape
    weight = np.ones(n_rows) if sample_weight is None else sample_weight
    masses, means, scatters = cluster_moments(rows, labels, n_clusters, weight)
    S = np.zeros((n_clusters, n_moments(moments, n_features)))
    S[:, 0] = masses
    if moments != "first":
        S[:, 1 + n_features :] = scatters if moments == "full" else scatters[:, :: n_features + 1]
    return Stats(float(weight.sum()), 0.0, means, S, moments)


def _steady_params(
    family: Family[Any],
    stats: Stats,
    rows: np.ndarray,
    engine: Engine,
    sample_weight: np.ndarray | None,
    n_threads: int | None,
) -> Params:
    steadied = _steadied(stats, len(rows))
    return update_or_hold_up(family, _with_shared(family, steadied, rows, engine, sample_weight, n_threads))[0]


def _steadied(stats: Stats, n_rows: int) -> Stats:
    """``stats`` about the clusters' means, with the scatter within all clusters added to each as D + 1 rows.

    A cluster of few rows has no covariance of its own, or one that would keep all other rows out.

    References
    ----------
    Fraley & Raftery (2007), Bayesian regularization for normal mixture estimation and model-based clustering: a prior
    of this form, there with the covariance of all rows.
    """
    if stats.moments == "first":
        return stats
    n_features = stats.origin.shape[1]
    mass = (n_features + 1) * stats.weight / n_rows
    S = stats.S.copy()
    scatters = S[:, 1 + n_features :]
    scatters += mass / stats.weight * np.add.reduce(scatters)
    S[:, 0] += mass
    return Stats(stats.weight + len(S) * mass, stats.log_likelihood, stats.origin, S, stats.moments, stats.shared)


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
    if method == "random":
        stats = _random_responsibilities(family, X, n_components, rng, engine, sample_weight, n_threads)
    elif method == "kmeans":
        rows, weight = sample_rows(X, sample_weight, _KMEANS_ROWS, rng)
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        # Most of the way on a part of a large sample, whose rows are in no order of their own.
        step = max(1, len(rows) // max(_COARSE_ROWS, 100 * n_components)) if len(X) > len(rows) else 1
        part = None if weight is None else weight[::step]
        centres = kmeans(np.ascontiguousarray(rows[::step]), n_components, rng, engine, part, n_threads)
        if step > 1:
            centres = lloyd(rows, centres, engine, weight, n_threads, max_iter=_FINE_ITERATIONS)
        clusters = Clusters(family.moments)
        stats = engine.accumulate(clusters, rows, centres, sample_weight=weight, n_threads=n_threads)
        stats = _with_shared(family, stats, rows, engine, weight, n_threads)
    else:
        rows = np.ascontiguousarray(_chosen_rows(X, n_components, method, rng, sample_weight), dtype=np.float64)
        stats = engine.accumulate_given(family.moments, rows, np.eye(n_components), rows, n_threads=n_threads)
        stats = _with_shared(family, stats, rows, engine)
    # Also of clusters that have no covariance of their own.
    return update_or_hold_up(family, stats)[0]


def _with_shared(
    family: Family[Any],
    stats: Stats,
    X: np.ndarray,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
) -> Stats:
    """``stats`` of rows with the moments of all these rows together, where the family needs them."""
    if family.shared_moments is None:
        return stats
    centre = stats.mass @ component_means(stats) / stats.mass.sum()
    every = np.ones((len(X), 1))
    shared = engine.accumulate_given(
        family.shared_moments, X, every, centre[None], sample_weight=sample_weight, n_threads=n_threads
    )
    return replace(stats, shared=shared)


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


def _chosen_rows(
    X: np.ndarray, n_components: int, method: str, rng: np.random.RandomState, sample_weight: np.ndarray | None
) -> np.ndarray:
    """One row a component."""
    if method == "random_from_data":
        chances = None if sample_weight is None else sample_weight / sample_weight.sum()
        return X[rng.choice(len(X), size=n_components, replace=False, p=chances)]
    rows, weight = sample_rows(X, sample_weight, _KMEANS_ROWS, rng)
    rows = np.asarray(rows, dtype=np.float64)
    return rows[seed_rows(rows - column_means(rows), n_components, rng, weight)]

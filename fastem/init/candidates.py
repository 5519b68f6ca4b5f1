"""Partitions of a sample of the rows to start from, by different ideas of what a cluster is.

All work on whitened rows, so that they do not depend on the units of the features. What one idea misses another finds:
the caller lets them race.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fastem import compiled
from fastem.data.coordinates import unit_within, whitened
from fastem.engines.base import Engine
from fastem.init.kmeans import SHARPNESS, Centres, Clusters, kmeans
from fastem.init.tree import merge_tree

Method = Literal["tree", "kmeans", "adaptive", "random_from_data"]
#: The methods of a panel, in the order in which they are tried.
METHODS: tuple[str, ...] = get_args(Method)

# Rows of a tree, whose cost goes with their square: so many, so many a cluster, or so many a cluster and direction, but
# not more. Few large trees find more than many small ones: of 8 clusters in 12 directions two trees of 8 rows a cluster
# and direction find the best optimum in 77 percent of fits, of 12 in 93, of 15 in all.
_TREE_ROWS = 300
_TREE_ROWS_A_CLUSTER = 110
_TREE_ROWS_A_DIRECTION = 15
_MOST_TREE_ROWS = 2000
# Cells that Ward's criterion leaves of them: so many, or so many a cluster, but not smaller.
_CELLS = 50
_CELLS_A_CLUSTER = 12
_CELL_ROWS = 3
# Trees of a panel: half as many as clusters, but not more. Of many clusters a tree finds only some. Where the rows of
# a tree go by directions it costs more and finds more: a third as many.
_MOST_TREES = 2
# Of few rows the likelihood has many optima, and a tree costs little: with six trees of iris' 150 rows 93 percent of
# fits find the best, with ten 99. So many rows all trees together, and one tree at least.
_MOST_TREES_OF_FEW = 10
_ROWS_OF_TREES = 1500
# Lloyd's iterations of k-means, which takes the centres most of the way: EM goes on from there.
_LLOYD_ITERATIONS = 5
_kernels: Any = None if compiled.level is None else compiled.module("float64")


@dataclass(frozen=True)
class Candidate:
    """A partition.

    Attributes
    ----------
    method : str
    rows : ndarray of shape (n_rows,), intp
        Numbers of the rows of the sample that it is a partition of.
    labels : ndarray of shape (n_rows,), intp
    """

    method: Method
    rows: np.ndarray
    labels: np.ndarray


def panels(
    rows: np.ndarray,
    n_clusters: int,
    n_panels: int,
    rng: np.random.RandomState,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
) -> Iterator[Candidate]:
    """Candidates of each method in turn, ``n_panels`` times.

    The first panel looks at whitened rows. The further ones look at them in the metric of the covariance within small
    clusters, which another tree of other rows gives each time, and try random rows too. Further trees of the same
    panel, which there are where clusters are many or rows few, look at them in that metric as well.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64
    sample_weight : ndarray of shape (n_rows,), optional
        Positive.
    """
    weight = np.ones(len(rows)) if sample_weight is None else sample_weight
    coordinates = within = whitened(rows, sample_weight)
    size, n_cells, n_trees = _trees(len(rows), n_clusters, coordinates.shape[1])
    for panel in range(n_panels):
        for number in range(panel * n_trees, (panel + 1) * n_trees):
            some = _some_rows(len(rows), size, n_clusters, number == 0, rng)
            # Few rows have many optima, and trees by another criterion find others.
            free = number % 2 == 0 or len(rows) > _ROWS_OF_TREES
            tree = merge_tree(within.take(some, axis=0), weight.take(some), n_cells, free)
            yield Candidate("tree", some, tree.partition(n_clusters))
            within = unit_within(within, tree.within)
        # The other methods look at the rows of the last tree: of more they find the same, only later.
        here = coordinates.take(some, axis=0)
        here_weight = None if sample_weight is None else sample_weight[some]
        centres = kmeans(here, n_clusters, rng, engine, here_weight, n_threads, _LLOYD_ITERATIONS)
        yield Candidate("kmeans", some, _labels(here, centres.means, engine, n_threads))
        labels = adaptive_labels(within.take(some, axis=0), n_clusters, rng, weight.take(some))
        yield Candidate("adaptive", some, labels)
        if panel > 0:
            chances = None if here_weight is None else here_weight / here_weight.sum()
            chosen = rng.choice(len(here), n_clusters, replace=False, p=chances)
            yield Candidate("random_from_data", some, _labels(here, here[chosen], engine, n_threads))
        coordinates = within


def _trees(n_rows: int, n_clusters: int, n_directions: int) -> tuple[int, int, int]:
    """Rows of a tree, cells that Ward's criterion leaves of them, and trees of a panel."""
    by_directions = _TREE_ROWS_A_DIRECTION * n_directions
    enough = n_clusters * max(_TREE_ROWS_A_CLUSTER, by_directions)
    size = min(n_rows, max(n_clusters, min(max(_TREE_ROWS, enough), _MOST_TREE_ROWS)))
    n_cells = max(min(max(_CELLS, _CELLS_A_CLUSTER * n_clusters), size // _CELL_ROWS), 2 * n_clusters)
    if n_rows <= _ROWS_OF_TREES:
        n_trees = min(_MOST_TREES_OF_FEW, _ROWS_OF_TREES // n_rows)
    else:
        share = 3 if by_directions > _TREE_ROWS_A_CLUSTER else 2
        n_trees = min(_MOST_TREES, max(1, n_clusters // share))
    return size, n_cells, n_trees


def _some_rows(n_rows: int, size: int, n_clusters: int, is_first: bool, rng: np.random.RandomState) -> np.ndarray:
    """Numbers of the rows of a tree: other ones than those of the trees before, also where one can have them all."""
    if not is_first:
        size = min(size, max(n_clusters, 3 * n_rows // 4))
    return np.arange(n_rows) if size == n_rows else np.sort(rng.choice(n_rows, size, replace=False))


def _labels(rows: np.ndarray, means: np.ndarray, engine: Engine, n_threads: int | None) -> np.ndarray:
    """Of each row the nearest mean."""
    centres = Centres(np.full(len(means), 1 / len(means)), means, SHARPNESS)
    return engine.evaluate(Clusters(), rows, centres, ("labels",), n_threads=n_threads).labels


def adaptive_labels(
    rows: np.ndarray, n_clusters: int, rng: np.random.RandomState, sample_weight: np.ndarray
) -> np.ndarray:
    """Clusters around rows that are drawn where the Gaussian clusters so far explain least.

    A row's chance is its weight times what its log-density, in its own cluster, falls short of the largest one. The new
    cluster takes the rows that are nearer to it than to the centre that they have.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_directions)
        Of about unit variance.
    sample_weight : ndarray of shape (n_rows,)

    References
    ----------
    Bloemer & Bujna (2016), Adaptive seeding for Gaussian mixture models: the adaptive method for mixtures, which takes
    the density for what k-means++ takes the distance.
    """
    uniforms = rng.random_sample(n_clusters)
    labels = np.zeros(len(rows), dtype=np.intp)
    if _kernels is not None:
        n_rows, n_directions = rows.shape
        shapes = n_rows, n_rows, n_clusters, (n_clusters, n_directions), (n_clusters, n_directions**2)
        given = np.ascontiguousarray(rows), np.ascontiguousarray(sample_weight, dtype=np.float64), uniforms
        _kernels.adaptive_labels(*given, labels, *map(np.empty, shapes), np.empty((2, n_directions**2)))
        return labels
    squares = _squares(rows, _drawn(sample_weight, uniforms[0]))
    scale = sample_weight @ squares / sample_weight.sum() / rows.shape[1] or 1.0
    shortfall = np.empty(len(rows))
    changed = np.ones(1, dtype=bool)
    for k in range(1, n_clusters):
        for cluster in np.flatnonzero(changed):
            here = labels == cluster
            shortfall[here] = _minus_log_density(rows[here], sample_weight[here], scale)
        new = _squares(rows, _drawn((shortfall - shortfall.min()) * sample_weight, uniforms[k]))
        nearer = new < squares
        changed = np.bincount(labels[nearer], minlength=k + 1) > 0
        changed[k] = True
        labels[nearer] = k
        squares = np.minimum(squares, new)
    return labels


def _squares(rows: np.ndarray, chosen: int) -> np.ndarray:
    apart = rows - rows[chosen]
    return np.einsum("ij,ij->i", apart, apart)


def _drawn(chances: np.ndarray, uniform: float) -> int:
    summed = chances.cumsum()
    found = summed.searchsorted(uniform * summed[-1], side="right")
    # Where all chances are 0, or by rounding, none is found.
    return min(int(found), len(chances) - 1)


def _minus_log_density(rows: np.ndarray, weight: np.ndarray, scale: float) -> np.ndarray:
    """Twice the negative log-density of rows under the weighted Gaussian that they make, up to a constant."""
    if len(rows) == 0:
        return np.empty(0)
    mass, n_directions = weight.sum(), rows.shape[1]
    apart = rows - weight @ rows / mass
    # A sphere of as many rows as there are directions, and one, where a cluster has too few for a covariance.
    prior_mass = (n_directions + 1) * mass / len(rows)
    covariance = ((weight * apart.T) @ apart + prior_mass * scale * np.eye(n_directions)) / (mass + prior_mass)
    squares = np.einsum("ij,ij->i", apart @ np.linalg.inv(covariance), apart)
    return squares + np.linalg.slogdet(covariance)[1] - 2 * np.log(mass)

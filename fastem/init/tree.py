"""Model-based agglomerative clustering: one tree of merges, and of it a partition for every number of clusters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastem import compiled
from fastem.kernels import merging

# Clusters that Ward's criterion leaves for the Gaussian one; fewer where a determinant of so many features costs more.
_CELLS = 80
_CELL_WORK = 1.5e8
# Clusters that may merge at first: those among so many nearest ones. A merged cluster has the neighbours of both.
_NEIGHBOURS = 12
# Variance of a cluster in whitened coordinates that is as good as none.
_FLOOR = 1e-8
# Columns beyond the last that the kernels may read: two vectors.
_MOST_LANES = 16
# A pure build has the formulas in NumPy and SciPy's linkage, for ten times as long.
_kernels: Any = None if compiled.level is None else compiled.module("float64")


@dataclass(frozen=True)
class MergeTree:
    """The merges of rows into one cluster, first to last.

    Attributes
    ----------
    merges : ndarray of shape (n_rows - 1, 2), intp
        The two nodes of each merge. Nodes are numbered as in SciPy: rows from 0, then the clusters in order of merging.
    n_cells : int
        Number of clusters up to which Ward's criterion merged.
    within : ndarray of shape (n_directions, n_directions)
        Covariance within these clusters.
    """

    merges: np.ndarray = field(repr=False)
    n_cells: int
    within: np.ndarray = field(repr=False)

    def partition(self, n_clusters: int) -> np.ndarray:
        """Labels 0 ... n_clusters - 1 of the rows where so many clusters are left."""
        return cut(self.merges, n_clusters)


def merge_tree(
    rows: np.ndarray,
    sample_weight: np.ndarray | None = None,
    n_cells: int = _CELLS,
    free_proportions: bool = False,
) -> MergeTree:
    """Tree of the merges that cost the least classification likelihood of Gaussian clusters.

    A cluster of mass ``n`` and scatter ``W`` counts as ``n log |(W + m V) / (n + m)|``. The covariance ``V`` within
    small clusters, taken ``m`` times, stands in where a cluster has too few rows for a covariance of its own. The first
    merges, down to some ten clusters, are by Ward's criterion.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_directions)
        Whitened (:func:`fastem.data.coordinates.whitened`). The cost grows with the square of their number: a thousand
        take some hundredths of a second.
    sample_weight : ndarray of shape (n_rows,), optional
    n_cells : int
        Clusters that Ward's criterion leaves, several times as many as are looked for. Of many features, fewer.
    free_proportions : bool
        Whether the clusters' proportions count too, by ``-2 n log n``, as in the likelihood of a mixture. Without, all
        clusters are as likely, and a large one is sooner split than a small one is kept.

    References
    ----------
    Banfield & Raftery (1993), Model-based Gaussian and non-Gaussian clustering. Fraley (1998), Algorithms for
    model-based Gaussian hierarchical clustering: the criterion of unconstrained covariances. Symons (1981), Clustering
    criteria and multivariate normal mixtures: the proportions. Scrucca & Raftery (2015),
    Improved initialisation of model-based clustering using Gaussian hierarchical partitions: scaled coordinates. Ward
    (1963), Hierarchical grouping to optimize an objective function.
    """
    n_rows, n_directions = rows.shape
    n_cells = min(n_rows, n_cells, max(2, int((_CELL_WORK / n_directions**3) ** 0.5)))
    ward = ward_merges(rows)
    cells, roots = _cut(ward, n_cells)
    weight = np.ones(n_rows) if sample_weight is None else sample_weight / sample_weight.mean()
    clusters = _Clusters.of_cells(rows, cells, n_cells, weight, free_proportions)
    # Ward's cells in the order of their labels are nodes of his tree; merges of cells take the place of his last ones.
    number = (merging if _kernels is None else _kernels).number_merges
    number(np.arange(n_cells - 1), clusters.merge_all(), 2 * n_rows - n_cells, roots, ward[n_rows - n_cells :])
    return MergeTree(ward, n_cells, clusters.within)


def ward_merges(rows: np.ndarray) -> np.ndarray:
    """Merges (n_rows - 1, 2) by Ward's criterion."""
    n_rows, n_directions = rows.shape
    if n_rows < 2:
        return np.empty((0, 2), dtype=np.intp)
    if _kernels is None:
        from scipy.cluster.hierarchy import linkage

        return linkage(rows, "ward")[:, :2].astype(np.intp)
    pairs, merges = np.empty((2, n_rows - 1, 2), dtype=np.intp)
    costs = np.empty(n_rows - 1)
    centres, work = (np.zeros((n, n_rows + _MOST_LANES)) for n in (n_directions, 4))
    centres[:, :n_rows] = rows.T
    _kernels.ward_pairs(centres, work, np.empty((2, n_rows), dtype=np.intp), pairs, costs)
    _kernels.number_merges(np.argsort(costs, kind="stable"), pairs, n_rows, np.arange(n_rows), merges)
    return merges


def cut(merges: np.ndarray, n_clusters: int) -> np.ndarray:
    """Labels of the rows after all but ``n_clusters - 1`` of the merges, in the order of the clusters' nodes."""
    return _cut(merges, n_clusters)[0]


def _cut(merges: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels, and the node of each cluster."""
    n_rows = len(merges) + 1
    if not 1 <= n_clusters <= n_rows:
        raise ValueError(f"a tree of {n_rows} rows has 1 to {n_rows} clusters, but {n_clusters} are asked for")
    labels, roots = np.empty(n_rows, dtype=np.intp), np.empty(n_clusters, dtype=np.intp)
    tops, places = np.empty((2, 2 * n_rows - n_clusters), dtype=np.intp)
    (merging if _kernels is None else _kernels).cut_merges(merges, tops, places, labels, roots)
    return labels, roots


def cluster_moments(
    rows: np.ndarray, labels: np.ndarray, n_clusters: int, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masses (G,), means (G, D) and scatters (G, D * D) of the rows of each label; one without rows is at the first."""
    n_directions = rows.shape[1]
    masses, means = np.zeros(n_clusters), np.zeros((n_clusters, n_directions))
    scatters = np.zeros((n_clusters, n_directions**2))
    if _kernels is not None:
        rows, labels = np.ascontiguousarray(rows), np.ascontiguousarray(labels, dtype=np.intp)
        _kernels.cluster_moments(rows, labels, np.ascontiguousarray(weight), masses, means, scatters)
        return masses, means, scatters
    means += rows[0]
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=n_clusters))
    for k, own in enumerate(np.split(order, ends[:-1])):
        if len(own):
            here, w = rows[own], weight[own]
            masses[k] = w.sum()
            means[k] = rows[0] + w @ (here - rows[0]) / masses[k]
            here = here - means[k]
            scatters[k] = ((w * here.T) @ here).ravel()
    return masses, means, scatters


class _Clusters:
    """Clusters that are merged in place: masses (G,), means (G, D), scatters (G, D * D), and what a merge costs."""

    def __init__(self, masses: np.ndarray, means: np.ndarray, scatters: np.ndarray, free_proportions: bool) -> None:
        self._masses, self._means, self._scatters = masses, means, scatters
        self._proportions = 2.0 if free_proportions else 0.0
        n_directions = means.shape[1]
        self.within = (scatters.sum(axis=0) / masses.sum()).reshape(n_directions, n_directions)
        # Masses are in units of the mean weight of a row. A floor, for rows that are nearly all equal.
        self._prior_mass = n_directions + 1.0
        self._prior = self._prior_mass * (self.within + _FLOOR * np.eye(n_directions))

    @classmethod
    def of_cells(
        cls, rows: np.ndarray, cells: np.ndarray, n_cells: int, weight: np.ndarray, free_proportions: bool
    ) -> _Clusters:
        return cls(*cluster_moments(rows, cells, n_cells, weight), free_proportions)

    def _costs(self, masses: np.ndarray, scatters: np.ndarray) -> np.ndarray:
        n_directions = len(self._prior)
        factors = np.linalg.cholesky(scatters.reshape(-1, n_directions, n_directions) + self._prior)
        roots = factors.reshape(len(masses), -1)[:, :: n_directions + 1]
        logs = n_directions * np.log(masses + self._prior_mass) + self._proportions * np.log(masses)
        return masses * (2 * np.log(roots).sum(axis=1) - logs)

    def _rises(self, i: Any, j: np.ndarray) -> np.ndarray:
        """By how much a merge of the clusters ``i`` with ``j`` raises the cost."""
        masses = self._masses[i] + self._masses[j]
        apart = self._means[i] - self._means[j]
        between = (self._masses[i] * self._masses[j] / masses)[:, None] * apart
        scatters = (between[:, :, None] * apart[:, None, :]).reshape(len(masses), -1)
        scatters += self._scatters[i]
        scatters += self._scatters[j]
        return self._costs(masses, scatters) - self._costs_now[i] - self._costs_now[j]

    def _merge(self, i: int, j: int, rise: float) -> None:
        mass = self._masses[i] + self._masses[j]
        apart = self._means[j] - self._means[i]
        self._scatters[i] += self._scatters[j]
        self._scatters[i] += (self._masses[i] * self._masses[j] / mass) * np.outer(apart, apart).ravel()
        self._means[i] += self._masses[j] / mass * apart
        self._masses[i] = mass
        self._costs_now[i] += self._costs_now[j] + rise

    def merge_all(self) -> np.ndarray:
        """Pairs (G - 1, 2) in the order of their merges; the first of a pair then is the merged cluster."""
        n_clusters, n_directions = self._means.shape
        if _kernels is not None:
            merged, least, near = (
                np.empty(shape, dtype=np.intp) for shape in ((n_clusters - 1, 2), n_clusters, (n_clusters, n_clusters))
            )
            costs, rises, matrix = map(np.empty, (n_clusters, (n_clusters, n_clusters), (n_directions, n_directions)))
            given = self._masses, self._means, self._scatters, self._prior.ravel(), self._prior_mass, self._proportions
            _kernels.gaussian_pairs(*given, _NEIGHBOURS, costs, least, near, rises, matrix, merged)
            return merged
        self._costs_now = self._costs(self._masses, self._scatters)
        near = self._neighbours()
        rises = self._all_rises(near)
        left = np.ones(n_clusters, dtype=bool)
        pairs = []
        for _ in range(n_clusters - 1):
            i, j = divmod(int(rises.argmin()), n_clusters)
            if rises[i, j] == np.inf:
                # Clusters that have no neighbours left: all others are candidates now.
                near = np.outer(left, left) & ~np.eye(n_clusters, dtype=bool)
                rises = self._all_rises(near)
                i, j = divmod(int(rises.argmin()), n_clusters)
            pairs.append((i, j))
            self._merge(i, j, rises[i, j])
            left[j] = False
            near[i] |= near[j]
            near[:, i] |= near[j]
            near[j] = near[:, j] = near[i, i] = False
            rises[j] = rises[:, j] = np.inf
            others = np.flatnonzero(near[i])
            if len(others):
                rises[i, others] = rises[others, i] = self._rises(i, others)
        return np.array(pairs, dtype=np.intp).reshape(-1, 2)

    def _neighbours(self) -> np.ndarray:
        """Which clusters (n_clusters, n_clusters) have one of the other among the nearest to them."""
        n_clusters = len(self._masses)
        squares = np.square(self._means).sum(axis=1)
        distances = squares - 2 * self._means @ self._means.T
        np.fill_diagonal(distances, np.inf)
        near = np.zeros((n_clusters, n_clusters), dtype=bool)
        nearest = np.argsort(distances, axis=1)[:, : min(_NEIGHBOURS, n_clusters - 1)]
        near[np.arange(n_clusters)[:, None], nearest] = True
        return near | near.T

    def _all_rises(self, near: np.ndarray) -> np.ndarray:
        first, second = np.nonzero(np.triu(near))
        rises = np.full(near.shape, np.inf)
        if len(first):
            rises[first, second] = rises[second, first] = self._rises(first, second)
        return rises

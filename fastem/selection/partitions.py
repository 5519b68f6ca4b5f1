"""Starts from partitions of the rows, for all numbers of components and structures from two trees of merges."""

from __future__ import annotations

import numpy as np

from fastem.data.coordinates import unit_within, whitened
from fastem.engines import Engine
from fastem.families import Gaussian, GaussianParams
from fastem.init.starts import params_of
from fastem.init.tree import MergeTree, merge_tree
from fastem.passes import Rows

# Rows of the tree: the cost goes with their square.
_MOST_ROWS = 2000
# Clusters that are merged by the Gaussian criterion: so many, or so many for each of the largest model's components.
_CELLS, _CELLS_A_COMPONENT = 80, 10


class Partitions:
    """Partitions of two trees as parameters.

    One tree is of whitened rows. The other is in the metric of the covariance within small clusters, which the first
    finds.

    Parameters
    ----------
    rows : Rows
        A random sample of them, if they are many.
    most : int
        The largest number of components.
    engine : Engine
    rng : RandomState

    References
    ----------
    Fraley & Raftery (1998), How many clusters? Which clustering method? Answers via model-based cluster analysis: one
    tree of the model without constraints starts EM for all numbers of components and structures. Art, Gnanadesikan &
    Kettenring (1982), Data-based metrics for cluster analysis, for the metric.
    """

    def __init__(self, rows: Rows, most: int, engine: Engine, rng: np.random.RandomState) -> None:
        sample = rows.sample(_MOST_ROWS, rng)
        self._X = np.ascontiguousarray(sample.X, dtype=np.float64)
        self._weight = sample.sample_weight
        self._engine = engine
        n_cells = max(_CELLS, _CELLS_A_COMPONENT * most)
        coordinates = whitened(self._X, self._weight)
        first = merge_tree(coordinates, self._weight, n_cells)
        second = merge_tree(unit_within(coordinates, first.within), self._weight, n_cells)
        self._trees: tuple[MergeTree, ...] = (second, first)

    def starts(self, family: Gaussian, n_components: int) -> list[GaussianParams]:
        """Components of the clusters of each tree.

        Raises
        ------
        ValueError
            If there are more components than rows, or features are constant or collinear in all clusters.
        """
        every = np.eye(n_components)
        partitions = (every[tree.partition(n_components)] for tree in self._trees)
        return [params_of(family, self._X, each, self._engine, self._weight) for each in partitions]  # type: ignore[misc]

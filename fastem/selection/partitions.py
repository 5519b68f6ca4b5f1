"""Starts from partitions of the rows, for all numbers of components and structures from one tree of merges."""

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
    """Partitions of a tree as parameters.

    The tree is in the metric of the covariance within small clusters, which a first tree, of whitened rows, finds.

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
        self._tree: MergeTree = merge_tree(unit_within(coordinates, first.within), self._weight, n_cells)

    def start(self, family: Gaussian, n_components: int) -> GaussianParams:
        """Components of the clusters.

        Raises
        ------
        ValueError
            If there are more components than rows, or features are constant or collinear in all clusters.
        """
        responsibilities = np.eye(n_components)[self._tree.partition(n_components)]
        return params_of(family, self._X, responsibilities, self._engine, self._weight)  # type: ignore[return-value]

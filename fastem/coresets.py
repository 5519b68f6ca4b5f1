"""``fastem.coreset``: a few weighted rows that stand for all, for any package that takes weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from fastem.data.arrays import sample_rows
from fastem.data.sources import Source, open_source
from fastem.engines import Engine, choose_engine, pass_work
from fastem.init.kmeans import SHARPNESS, Centres, Clusters, seed_rows
from fastem.sampling import Draws, Reservoir, as_random_state

# Rows of the uniform sample that the centres are drawn from.
_SEED_ROWS = 50_000
# Values of a piece of rows whose distances are computed at a time.
_PIECE_VALUES = 2**19


def coreset(
    rows: Any,
    size: int,
    *,
    n_components: int = 10,
    sample_weight: Any = None,
    random_state: Any = None,
    engine: str = "auto",
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A coreset for Gaussian mixtures: weighted rows whose likelihood is near to that of all rows, for any parameters.

    Rows are drawn with chances in proportion to a bound on how much a single row can matter to the likelihood. Small
    clusters far from the others, which a uniform sample misses, are in it.

    Parameters
    ----------
    rows : array-like of shape (n_samples, n_features), iterable, or what :func:`fastem.open_source` takes or returns
        An array, which is read once, or blocks of rows (each an array, or a pair ``(X, sample_weight)``) that can be
        iterated twice; or files, frames and other tables.
    size : int
        Rows of the coreset. They are drawn with replacement.
    n_components : int
        Number of centres that the distances of rows are measured from: about the number of components of the mixtures
        to be fitted, or more.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of an array's rows.
    random_state : int, RandomState or None
    engine, n_threads
        As in :func:`fastem.fit`.

    Returns
    -------
    rows : ndarray of shape (size, n_features)
        In the float type of the data. All rows, where there are no more than ``size``.
    weights : ndarray of shape (size,)
        Their sum is the total weight of the data.

    References
    ----------
    Lucic, Faulkner, Krause & Feldman (2018), Training Gaussian mixture models at scale via coresets, algorithms 1 and
    2. Distances are those of features scaled to unit variance, and the bicriteria solution is that of a uniform sample:
    rows that it misses are far from it, and likely for that.
    """
    for name, value in (("size", size), ("n_components", n_components)):
        if not isinstance(value, Integral) or int(value) < 1:
            raise ValueError(f"{name} must be an integer of at least 1, but got {value!r}")
    rng = as_random_state(random_state)
    source = open_source(rows, sample_weight=sample_weight)
    if source.array is not None:
        sample, given = sample_rows(source.array, source.weight, _SEED_ROWS, rng)
        weight = np.ones(len(sample)) if given is None else given
    else:
        if not source.again:
            raise ValueError(
                "a coreset reads blocks twice: give an array, a list of blocks, or an object whose __iter__ begins "
                f"anew, but not a {type(rows).__name__}"
            )
        sample, weight = _uniform_sample(source, rng)
    runner = choose_engine(engine, pass_work((len(sample), sample.shape[1]), n_components, "first"))
    solution = _Sensitivities.of_sample(sample, weight, int(n_components), rng, runner, n_threads)
    draws = Draws(int(size), rng)
    # All of them, as long as they may be no more than a coreset has.
    few: list[tuple[np.ndarray, np.ndarray]] = []
    n_rows, total = 0, 0.0
    for X, own in _pieces(source):
        n_rows += len(X)
        few = [*few, (X.copy(), own)] if n_rows <= size else []
        total += float(own.sum())
        chances = solution.of_rows(X)
        draws.offer(X, own * chances, 1 / chances)
    if few:
        return np.concatenate([X for X, _ in few]), np.concatenate([own for _, own in few])
    return draws.rows, draws.weight * (total / draws.weight.sum())


@dataclass(frozen=True)
class _Sensitivities:
    """Bounds on how much a row can matter, by the distance from the centres of a rough clustering.

    ``s(x) = alpha d(x)^2 / c + b_k`` for a row of cluster ``k``, with the mean square ``c`` of all distances and
    ``b_k = 2 alpha c_k / c + 4 / share_k`` of the cluster's own mean square and share of the rows.
    """

    centres: Centres
    scale: np.ndarray
    slope: float
    base: np.ndarray
    engine: Engine
    n_threads: int | None

    @classmethod
    def of_sample(
        cls,
        X: np.ndarray,
        weight: np.ndarray,
        n_centres: int,
        rng: np.random.RandomState,
        engine: Engine,
        n_threads: int | None,
    ) -> _Sensitivities:
        X = np.asarray(X, dtype=np.float64)
        total = weight.sum()
        mean = weight @ X / total
        deviation = np.sqrt(weight @ (X - mean) ** 2 / total)
        scale = 1 / np.where(deviation > 0, deviation, 1.0)
        scaled = (X - mean) * scale
        n_centres = min(n_centres, len(X))
        centres = Centres(
            np.full(n_centres, 1 / n_centres), X[seed_rows(scaled, n_centres, rng, weight)] * scale, SHARPNESS
        )
        found = cls(centres, scale, 0.0, np.zeros(n_centres), engine, n_threads)
        labels, squares = found._nearest(X)
        mass = np.bincount(labels, weight, n_centres)
        spread = np.bincount(labels, weight * squares, n_centres)
        alpha = 16 * (np.log(n_centres) + 2)
        mean_square = spread.sum() / total
        # A centre without rows, another's double, gets none later.
        mass = np.where(mass > 0, mass, total)
        slope = alpha / mean_square if mean_square > 0 else 0.0
        return cls(centres, scale, slope, 2 * slope * spread / mass + 4 * total / mass, engine, n_threads)

    def of_rows(self, X: np.ndarray) -> np.ndarray:
        labels, squares = self._nearest(X)
        return self.slope * squares + self.base[labels]

    def _nearest(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centre of each row, and the squared distance to it."""
        scaled = X * self.scale
        labels = self.engine.evaluate(Clusters(), scaled, self.centres, ("labels",), n_threads=self.n_threads).labels
        scaled -= self.centres.means[labels]
        return labels, np.einsum("ij,ij->i", scaled, scaled)


def _uniform_sample(source: Source, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Uniform over the rows of positive weight."""
    reservoir = Reservoir(_SEED_ROWS, rng)
    for X, weight in _pieces(source):
        there = weight > 0
        reservoir.offer(X[there], weight[there])
    if len(reservoir.rows) == 0:
        raise ValueError("there are no rows of positive weight")
    return reservoir.rows, reservoir.weight


def _pieces(source: Source) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and weights, a piece at a time."""
    step = max(1, _PIECE_VALUES // source.n_features)
    for block in source.blocks():
        for start in range(0, len(block), step):
            rows = slice(start, start + step)
            X = block.X[rows]
            yield X, np.ones(len(X)) if block.weight is None else block.weight[rows]

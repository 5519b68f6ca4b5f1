"""k-means on the engines' own pass: EM of spheres that all have one vanishing variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastem import compiled
from fastem.engines.base import Engine
from fastem.families.base import CompiledUpdate, Family, Packed, Params
from fastem.kernels.gaussian import diag_log_density
from fastem.kernels.seeding import centres_update
from fastem.stats import Moments, Stats

# Precision of the spheres over that of the data: a row whose squared distances to two centres differ by 1e-10 of the
# variance belongs to one of them alone.
SHARPNESS = 1e12
# Head start of a centre over the next in log-density, so that a row at equal distances goes to the first.
_PRECEDENCE = 100.0
# Lloyd's iterations end as scikit-learn's do.
_TOL = 1e-4
_MAX_ITER = 300
# Values of the rows up to which the compiled kernel finds seeds sooner than products of matrices.
_COMPILED_VALUES = 2**14
_kernels: Any = None if compiled.level is None else compiled.module("float64")
_NO_LETTERS = np.empty(0, dtype=np.intp)
_NO_MEMORY = tuple(np.empty((0,) * n_axes) for n_axes in (2, 4, 3, 4, 2))


@dataclass(frozen=True, eq=False)
class Centres(Params):
    """Centres (n_clusters, n_features) of clusters, and one precision for all."""

    means: np.ndarray
    precision: float

    @property
    def origin(self) -> np.ndarray:
        return self.means


@dataclass(frozen=True)
class Clusters(Family[Centres]):
    """Clusters of the rows nearest to a centre: responsibilities are 0 or 1, statistics those that are asked for.

    Steps in one call end where the centres move by ``tol``, squared, at most.
    """

    moments: Moments = "first"
    tol: float = 0.0

    name = "clusters"
    params_type = Centres
    log_density_kernel = staticmethod(diag_log_density)

    def pack(self, params: Centres, dtype: np.dtype[Any]) -> Packed:
        n_clusters, n_features = params.means.shape
        theta = np.empty((n_clusters, 1 + 2 * n_features), dtype=dtype)
        theta[:, 0] = _precedence(n_clusters)
        theta[:, 1 : 1 + n_features] = params.means
        theta[:, 1 + n_features :] = (0.5 * params.precision) ** 0.5
        return Packed(theta, np.empty((1, 0), dtype=dtype))

    def log_density(self, X: np.ndarray, params: Centres) -> np.ndarray:
        squares = np.stack([((X - mean) ** 2).sum(axis=1) for mean in params.means], axis=1)
        return _precedence(len(params.means)) - 0.5 * params.precision * squares

    def update(self, stats: Stats) -> Centres:
        raise NotImplementedError("the precision of clusters is not estimated")

    def compiled_update(self, n_components: int, n_features: int) -> CompiledUpdate:
        letters, widths = (_NO_LETTERS, _NO_LETTERS), (1 + 2 * n_features, 0)
        return CompiledUpdate(centres_update, *letters, np.array([self.tol]), widths, lambda: _NO_MEMORY)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def sample(self, params: Centres, component: int, n_samples: int, rng: Any) -> np.ndarray:
        raise NotImplementedError("clusters are no distribution")


def _precedence(n_clusters: int) -> np.ndarray:
    return np.arange(0.0, -_PRECEDENCE * n_clusters, -_PRECEDENCE)


def kmeans(
    X: np.ndarray,
    n_clusters: int,
    rng: np.random.RandomState,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
    max_iter: int = _MAX_ITER,
) -> Centres:
    """Centres of k-means: Lloyd's iterations from the centres that greedy k-means++ seeds.

    Draws the random numbers that ``sklearn.cluster.KMeans(n_init=1)`` draws, ends as it does, and gives its clusters.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64
    sample_weight : ndarray of shape (n_samples,), optional
        Positive.
    """
    middle = column_means(X)
    centred = X - middle
    variance = float(np.vdot(centred, centred)) / X.size
    weights = np.full(n_clusters, 1 / n_clusters)
    means = X[seed_rows(centred, n_clusters, rng, sample_weight)]
    centres = Centres(weights, means, SHARPNESS / variance if variance > 0 else 1.0)
    return lloyd(X, centres, engine, sample_weight, n_threads, max_iter)


def lloyd(
    X: np.ndarray,
    centres: Centres,
    engine: Engine,
    sample_weight: np.ndarray | None = None,
    n_threads: int | None = None,
    max_iter: int = _MAX_ITER,
) -> Centres:
    """Lloyd's iterations from ``centres``; a cluster without rows starts again from a row that is far from its centre.

    References
    ----------
    Lloyd (1982), Least squares quantization in PCM.
    """
    tol = _TOL * SHARPNESS / centres.precision
    clusters = Clusters(tol=tol)
    options: dict[str, Any] = {"sample_weight": sample_weight, "n_threads": n_threads}
    done = 0
    while done < max_iter:
        left = max_iter - done
        ahead = engine.run_ahead(clusters, X, [centres], previous=-np.inf, tol=0.0, max_iter=left, **options)
        stats = engine.accumulate(clusters, X, centres, **options) if ahead is None else ahead[0].stats
        done += 1 if ahead is None else len(ahead[0].lower_bounds)
        if stats.mass.all():
            means = stats.origin + stats.first / stats.mass[:, None]
        else:
            here = Centres(centres.weights, stats.origin, centres.precision)
            means = _refilled(X, here, engine, sample_weight, n_threads)
        moved = means - stats.origin
        centres = Centres(centres.weights, means, centres.precision)
        if np.vdot(moved, moved) <= tol:
            break
    return centres


def column_means(X: np.ndarray) -> np.ndarray:
    """Means of columns as a matrix product, many times as quick as a sum along the rows of a narrow array."""
    return np.full(len(X), 1 / len(X)) @ X


def seed_rows(
    X: np.ndarray, n_clusters: int, rng: np.random.RandomState, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Numbers of the rows that greedy k-means++ picks: each the best of a few drawn by their distance.

    ``X`` should be centred: squared distances come from products of rows.

    References
    ----------
    Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding. The greedy form, as examined by Celebi,
    Kingravi & Vela (2013), A comparative study of efficient initialization methods for the k-means clustering
    algorithm.
    """
    n_rows = len(X)
    n_trials = 2 + int(np.log(n_clusters))
    weight = np.ones(n_rows) if sample_weight is None else sample_weight
    chosen = np.empty(n_clusters, dtype=np.intp)
    if _kernels is not None and X.size <= _COMPILED_VALUES:
        uniforms = rng.random_sample(1 + (n_clusters - 1) * n_trials)
        given = np.ascontiguousarray(X, dtype=np.float64), np.ascontiguousarray(weight, dtype=np.float64), uniforms
        _kernels.greedy_rows(*given, chosen, *np.empty((3, n_rows)))
        return chosen
    squares = np.einsum("ij,ij->i", X, X)

    def distances(rows: np.ndarray) -> np.ndarray:
        found = (-2 * X[rows]) @ X.T
        found += squares
        found += squares[rows, None]
        return np.maximum(found, 0, out=found)

    def drawn(chances: np.ndarray, size: int) -> np.ndarray:
        summed = chances.cumsum()
        found = summed.searchsorted(rng.random_sample(size) * summed[-1], side="right")
        # Where all chances are 0, or by rounding, none is found.
        return np.minimum(found, len(chances) - 1)

    chosen[:1] = drawn(weight, 1)
    nearest = distances(chosen[:1])[0]
    for k in range(1, n_clusters):
        candidates = drawn(nearest * weight, n_trials)
        reached = distances(candidates)
        np.minimum(reached, nearest, out=reached)
        best = int((reached @ weight).argmin())
        nearest, chosen[k] = reached[best], candidates[best]
    return chosen


def _refilled(
    X: np.ndarray, centres: Centres, engine: Engine, sample_weight: np.ndarray | None, n_threads: int | None
) -> np.ndarray:
    """Means of the clusters, each empty one given one of the rows that are farthest from their centres."""
    n_clusters = len(centres.means)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    labels = engine.evaluate(Clusters(), X, centres, ("labels",), n_threads=n_threads).labels
    far = ((X - centres.means[labels]) ** 2).sum(axis=1)
    empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0)
    # Rows at their centre are not taken from it: there are fewer distinct rows than clusters.
    rows = np.argsort(-far, kind="stable")[: len(empty)]
    rows = rows[far[rows] > 0]
    labels[rows] = empty[: len(rows)]
    mass = np.bincount(labels, weight, n_clusters)
    sums = np.stack([np.bincount(labels, weight * column, n_clusters) for column in (X - X[0]).T], axis=1)
    return np.where(mass[:, None] > 0, X[0] + sums / np.where(mass > 0, mass, 1)[:, None], centres.means)

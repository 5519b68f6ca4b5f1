"""What is measured: shapes, rows, and a start that every library takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Rows are drawn so many values at a time: memory stays at the size of the data.
_CHUNK_VALUES = 2**20
# Rows that the start's covariance is estimated from.
_COVARIANCE_ROWS = 50_000
# Typical distance of two clusters' centres, in deviations of a cluster: their rows overlap at any number of features.
_SEPARATION = 3.0
# Distance (Frobenius norm) between two clusters' covariance factors: it does not grow with the number of features,
# or many features would keep the clusters apart.
_SHAPE = 1.5
# The same for clusters of one common covariance: responsibilities stay soft at any number of features.
_SOFT_SEPARATION = 2.0


@dataclass(frozen=True)
class Shape:
    """N rows, D features, K components, and how many times faster than scikit-learn an iteration shall be."""

    n_samples: int
    n_features: int
    n_components: int
    structure: str = "full"
    target: float | None = None

    @property
    def name(self) -> str:
        return f"{self.structure}-{self.n_samples}x{self.n_features}x{self.n_components}"

    def scaled(self, scale: float) -> Shape:
        """The same with N times ``scale``, but enough rows for each component."""
        least = 2 * self.n_components * (self.n_features + 1)
        n_samples = max(round(self.n_samples * scale), min(least, self.n_samples))
        return Shape(n_samples, self.n_features, self.n_components, self.structure, self.target)


SHAPES = (
    Shape(1_000_000, 2, 3, "full", 20),
    Shape(1_000_000, 8, 8, "full", 20),
    Shape(500_000, 16, 16, "full", 15),
    Shape(200_000, 32, 32, "full", 10),
    Shape(100_000, 64, 16, "full", 6),
    Shape(50_000, 128, 16, "full", 4),
    Shape(1_000_000, 8, 8, "diag", 10),
    Shape(1_000_000, 16, 16, "diag"),
    Shape(500_000, 32, 64, "diag", 6),
    Shape(200_000, 128, 64, "diag"),
)


def chosen_shapes(parts: Sequence[str] | None) -> list[Shape]:
    """Shapes whose names contain one of ``parts``; all where that is None."""
    chosen = [shape for shape in SHAPES if parts is None or any(part in shape.name for part in parts)]
    if not chosen:
        raise SystemExit(f"--shapes {' '.join(parts or ())} is in none of {', '.join(shape.name for shape in SHAPES)}")
    return chosen


def make_rows(shape: Shape, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    """Rows of K overlapping Gaussian clusters of unequal sizes, each with a full covariance of its own.

    The float32 rows are the float64 rows, rounded.
    """
    rng = np.random.default_rng(seed)
    n_features, n_components = shape.n_features, shape.n_components
    sizes = 1 + rng.random(n_components)
    centres = rng.standard_normal((n_components, n_features)) * _SEPARATION / np.sqrt(2 * n_features)
    common = np.eye(n_features) + rng.standard_normal((n_features, n_features)) / (2 * np.sqrt(n_features))
    own = rng.standard_normal((n_components, n_features, n_features)) * _SHAPE / np.sqrt(2) / n_features
    factors = (np.eye(n_features) + own) @ common
    return _draw(shape, dtype, sizes / sizes.sum(), centres @ common, factors, rng)


def make_soft_problem(shape: Shape, dtype: Any = np.float64, seed: int = 0) -> tuple[np.ndarray, Start]:
    """Rows of K clusters that share the unit covariance, and these clusters as the start.

    From random rows as means, many features make responsibilities hard in the first iteration, and whoever skips what
    vanishes has less to do. Here they stay soft: every component counts for every row.
    """
    rng = np.random.default_rng(seed)
    n_features, n_components = shape.n_features, shape.n_components
    sizes = 1 + rng.random(n_components)
    weights = sizes / sizes.sum()
    centres = rng.standard_normal((n_components, n_features)) * _SOFT_SEPARATION / np.sqrt(2 * n_features)
    units = np.broadcast_to(np.eye(n_features), (n_components, n_features, n_features))
    X = _draw(shape, dtype, weights, centres, units, rng)
    precisions = {"full": units.copy(), "diag": np.ones((n_components, n_features))}[shape.structure]
    return X, Start(*(a.astype(X.dtype) for a in (weights, centres, precisions)))


def make_separate_problem(
    shape: Shape, separation: float, dtype: Any = np.float64, seed: int = 0
) -> tuple[np.ndarray, Start]:
    """Rows of K clusters of unit covariance, the two nearest ``separation`` apart, and these clusters as the start."""
    rng = np.random.default_rng(seed)
    n_components, n_features = shape.n_components, shape.n_features
    centres = rng.standard_normal((n_components, n_features))
    apart = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(axis=2))
    centres *= separation / apart[np.triu_indices(n_components, 1)].min()
    weights = np.full(n_components, 1 / n_components)
    units = np.broadcast_to(np.eye(n_features), (n_components, n_features, n_features))
    X = _draw(shape, dtype, weights, centres, units, rng)
    return X, Start(*(a.astype(X.dtype) for a in (weights, centres, units)))


def _draw(
    shape: Shape, dtype: Any, weights: np.ndarray, centres: np.ndarray, factors: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    X = np.empty((shape.n_samples, shape.n_features), dtype=dtype)
    for chunk in _chunks(X):
        clusters = rng.choice(shape.n_components, size=len(chunk), p=weights)
        noise = rng.standard_normal(chunk.shape)
        for k in range(shape.n_components):
            here = clusters == k
            chunk[here] = centres[k] + noise[here] @ factors[k]
    return X


def _chunks(X: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK_VALUES // X.shape[1])
    for first in range(0, len(X), step):
        yield X[first : first + step]


@dataclass(frozen=True)
class Start:
    """Starting values in the shapes of scikit-learn's ``weights_init``, ``means_init`` and ``precisions_init``."""

    weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray

    def as_options(self) -> dict[str, np.ndarray]:
        """The constructor's parameters of either library's ``GaussianMixture``."""
        return {"weights_init": self.weights, "means_init": self.means, "precisions_init": self.precisions}


def make_start(X: np.ndarray, n_components: int, structure: str = "full", seed: int = 1) -> Start:
    """Equal weights, means at random rows, and for every component the covariance of (a sample of) the rows.

    In the dtype of the rows: scikit-learn computes in float64 where the start is float64.
    """
    chosen = np.random.default_rng(seed).choice(len(X), n_components, replace=False)
    sample = X[:_COVARIANCE_ROWS].astype(np.float64)
    covariance = np.atleast_2d(np.cov(sample, rowvar=False))
    precision = np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    variances = np.diagonal(covariance)
    precisions = {
        "full": np.tile(precision, (n_components, 1, 1)),
        "tied": precision,
        "diag": np.tile(1 / variances, (n_components, 1)),
        "spherical": np.full(n_components, 1 / variances.mean()),
    }[structure]
    weights = np.full(n_components, 1 / n_components)
    return Start(*(a.astype(X.dtype) for a in (weights, X[chosen], precisions)))


def overlap(responsibilities: np.ndarray) -> tuple[float, float]:
    """Mean of the rows' largest responsibility, and the share of responsibilities that change no sum.

    Components that are far apart make an iteration cheaper for whoever skips what vanishes.
    """
    return float(responsibilities.max(axis=1).mean()), float((responsibilities < 2e-22).mean())


@dataclass(frozen=True)
class Known:
    """A mixture to be found again: N rows of K Gaussian clusters in D features.

    Attributes
    ----------
    separation : float
        Least distance of two clusters, in the sum of their deviations along the line between the centres.
    elongation : float
        Ratio of a cluster's longest axis to its shortest.
    imbalance : float
        Ratio of the largest weight to the smallest.
    scales : float
        Ratio of the sizes (volume to the power 1/D) of the largest cluster and of the smallest.
    """

    n_samples: int
    n_features: int
    n_components: int
    separation: float = 2.0
    elongation: float = 1.0
    imbalance: float = 1.0
    scales: float = 1.0

    @property
    def name(self) -> str:
        kind = f"s{self.separation:g} e{self.elongation:g} i{self.imbalance:g} v{self.scales:g}"
        return f"{self.n_samples}x{self.n_features}x{self.n_components} {kind}"

    def draw(self, seed: int = 0) -> tuple[np.ndarray, Start]:
        """Rows, and the truth in the form of a start."""
        rng = np.random.default_rng(seed)
        n_features, n_components = self.n_features, self.n_components
        weights = self.imbalance ** rng.permutation(np.linspace(0, 1, n_components))
        weights /= weights.sum()
        factors = np.stack([self._factor(rng) for _ in range(n_components)])
        centres = self._centres(factors, rng)
        shape = Shape(self.n_samples, n_features, n_components)
        X = _draw(shape, np.float64, weights, centres, factors, rng)
        precisions = np.linalg.inv(factors.swapaxes(1, 2) @ factors)
        return X, Start(weights, centres, (precisions + precisions.swapaxes(1, 2)) / 2)

    def _factor(self, rng: np.random.Generator) -> np.ndarray:
        """``A`` of rows ``noise @ A``: axes in a random rotation."""
        rotation = np.linalg.qr(rng.standard_normal((self.n_features, self.n_features)))[0]
        axes = self.elongation ** np.linspace(-0.5, 0.5, self.n_features)
        return self.scales ** rng.uniform(-0.5, 0.5) * axes[:, None] * rotation

    def _centres(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Centres as near to each other as the separation allows, found in a growing box."""
        found: list[np.ndarray] = []
        side = self.separation
        while len(found) < self.n_components:
            centre = side * rng.uniform(-1, 1, self.n_features)
            gaps = [_separation(centre - other, factors[len(found)], factors[i]) for i, other in enumerate(found)]
            if all(gap >= self.separation for gap in gaps):
                found.append(centre)
            else:
                side *= 1.02
        return np.stack(found)


def _separation(between: np.ndarray, *factors: np.ndarray) -> float:
    distance = float(np.linalg.norm(between))
    return distance / float(sum(np.linalg.norm(factor @ between) for factor in factors) / max(distance, 1e-300))


#: Thirty mixtures, from easy to hard, small to large.
KNOWN = (
    Known(500, 2, 2, 2.0, 20, 1, 1),
    Known(500, 2, 3, 1.5, 5, 3, 2),
    Known(500, 2, 5, 2.0, 1, 3, 1),
    Known(500, 3, 4, 2.0, 10, 1, 4),
    Known(1_000, 2, 2, 2.0, 20, 5, 1),
    Known(1_000, 2, 4, 1.5, 10, 3, 4),
    Known(1_000, 2, 8, 2.0, 5, 3, 2),
    Known(1_000, 4, 3, 1.2, 5, 3, 2),
    Known(1_000, 4, 6, 2.0, 10, 3, 4),
    Known(2_000, 2, 6, 1.5, 10, 5, 4),
    Known(2_000, 3, 10, 2.0, 5, 3, 2),
    Known(2_000, 5, 4, 1.5, 20, 3, 4),
    Known(2_000, 8, 3, 1.2, 10, 3, 2),
    Known(5_000, 2, 10, 2.0, 20, 3, 4),
    Known(5_000, 2, 12, 2.0, 3, 5, 4),
    Known(5_000, 4, 8, 1.5, 10, 5, 4),
    Known(5_000, 6, 6, 1.5, 20, 5, 4),
    Known(5_000, 10, 4, 1.2, 5, 3, 2),
    Known(10_000, 3, 12, 2.0, 10, 5, 4),
    Known(10_000, 5, 8, 1.5, 5, 10, 4),
    Known(10_000, 8, 6, 1.2, 10, 5, 4),
    Known(10_000, 12, 4, 1.5, 20, 5, 4),
    Known(20_000, 2, 8, 1.5, 20, 10, 4),
    Known(20_000, 8, 10, 1.5, 10, 5, 4),
    Known(20_000, 20, 3, 1.2, 5, 3, 2),
    Known(50_000, 6, 12, 1.5, 10, 10, 4),
    Known(50_000, 12, 8, 1.2, 5, 5, 2),
    Known(50_000, 20, 5, 1.5, 20, 5, 4),
    Known(100_000, 8, 8, 1.2, 10, 10, 4),
    Known(100_000, 20, 12, 1.5, 10, 5, 4),
)

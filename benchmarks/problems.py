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

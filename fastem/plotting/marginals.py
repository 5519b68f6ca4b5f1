"""What is drawn: rows, the marginal mixture of the chosen features, its densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from fastem.families import Gaussian, Poisson
from fastem.families.covariance_storage import DIAG
from fastem.families.covariance_structures import storage_of
from fastem.mixture import Mixture

MAX_ROWS = 20_000  # more points than this look the same


def chosen_features(features: int | Sequence[int], n_features: int) -> list[int]:
    chosen = np.ravel(features)
    if n_features == 1 and np.array_equal(chosen, [0, 1]):
        return [0]
    known = chosen.dtype.kind in "iu" and len(chosen) > 0 and chosen.min() >= 0 and chosen.max() < n_features
    if not known or len(chosen) > 2 or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"features must be one or two different numbers from 0 to {n_features - 1}, for the model has n_features = "
            f"{n_features}, but got {features!r}"
        )
    return chosen.tolist()


def some_rows(model: Any, X: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``X``, always the same where there are too many, and their components."""
    n_samples, n_components = _num_samples(X), len(model.weights_)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (n_samples,) or not np.isin(labels, np.arange(n_components)).all():
            raise ValueError(f"labels must be {n_samples} numbers of components, from 0 to {n_components - 1}")
    if n_samples > MAX_ROWS:
        picked = np.sort(np.random.default_rng(0).choice(n_samples, MAX_ROWS, replace=False))
        X = _safe_indexing(X, picked)
        labels = None if labels is None else labels[picked]
    rows = validate_data(model, X, reset=False, dtype=np.float64)
    return rows, model.predict(X) if labels is None else labels.astype(int)


def marginal_mixture(model: Any, features: list[int]) -> Mixture:
    """The mixture of the chosen features alone, its Gaussians with full covariances."""
    weights, means = (np.asarray(a, dtype=np.float64) for a in (model.weights_, model.means_))
    if model.family_name == "poisson":
        return Mixture(Poisson(), Poisson().make_params(weights, means[:, features]))
    covariances, identity = np.asarray(model.covariances_, dtype=np.float64), np.eye(len(features))
    storage = storage_of(model.covariance_type)
    if storage.is_matrix:
        covariances = np.broadcast_to(covariances, (len(means), means.shape[1], means.shape[1]))
        covariances = covariances[:, features][:, :, features]
    elif storage is DIAG:
        covariances = covariances[:, features, None] * identity
    else:
        covariances = covariances[:, None, None] * identity
    return Mixture(Gaussian("full"), Gaussian("full").make_params(weights, means[:, features], covariances))


def log_shares(marginal: Mixture, points: np.ndarray) -> np.ndarray:
    """``log w_k + log p(x | k)``, of shape (n_points, n_components)."""
    with np.errstate(divide="ignore"):
        return marginal.family.log_density(points, marginal.params) + np.log(marginal.params.weights)


def axis_points(low: float, high: float, centres: np.ndarray, deviations: np.ndarray, n: int) -> np.ndarray:
    """Some ``n`` to ``3 n`` points, denser around the components, so that a narrow one is not lost between two."""
    # At 6 deviations a line to the next even point is as good as at zero.
    near = centres[:, None] + deviations[:, None] * np.linspace(-6, 6, max(7, n // len(centres)))
    points = np.unique(np.concatenate([np.linspace(low, high, n), near.clip(low, high).ravel()]))
    return points[:: 1 + len(points) // (3 * n)]


def recorded_history(model: Any, name: str) -> np.ndarray:
    check_is_fitted(model)
    recorded = getattr(model, "history_", {}).get(name, ())
    if len(recorded) == 0:
        raise ValueError("the model has no history to draw: only a fit of at least one iteration leaves one")
    return np.asarray(recorded, dtype=np.float64)

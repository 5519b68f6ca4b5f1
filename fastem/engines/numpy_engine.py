"""The reference: vectorised NumPy written from the formulas, sharing no code with the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastem.engines.base import Engine, Posterior, Runs, check_pass, total_weight
from fastem.families.base import Family, Params
from fastem.stats import Moments, Stats, moments_of, n_moments

# Rows at a time, so that temporaries stay small whatever N is.
_CHUNK_VALUES = 2**18
# Below exp(-50) of the likeliest component's, a responsibility is exactly 0 in every engine.
_NEGLIGIBLE = -50.0


def _chunks(n_samples: int, n_components: int, n_features: int) -> Iterator[slice]:
    step = max(1, _CHUNK_VALUES // (n_components + n_features))
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))


def _posterior(family: Family[Any], X: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted log-densities, log-likelihoods and responsibilities of a few rows."""
    with np.errstate(divide="ignore"):
        log_p = family.log_density(X, params) + np.log(params.weights)
    top = log_p.max(axis=1, keepdims=True)
    p = np.exp(log_p - top)
    p[log_p - top < _NEGLIGIBLE] = 0.0
    norm = p.sum(axis=1, keepdims=True)
    return log_p, (top + np.log(norm))[:, 0], p / norm


class NumpyEngine(Engine):
    """Always there, single-threaded apart from the matrix library, and always in float64."""

    name = "numpy"

    def accumulate(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        *,
        sample_weight: np.ndarray | None = None,
        n_threads: int | None = None,
        order: np.ndarray | None = None,
        runs: Runs | None = None,
        rounded: bool = False,
    ) -> Stats:
        check_pass(X, params.origin, sample_weight)
        if runs is not None:
            X, sample_weight = runs.of(X), None if sample_weight is None else runs.of(sample_weight)
        origin = params.origin
        S = np.zeros((origin.shape[0], n_moments(family.moments, X.shape[1])))
        log_likelihood = 0.0
        for rows in _chunks(X.shape[0], *origin.shape):
            _, log_norm, responsibilities = _posterior(family, X[rows], params)
            weight = np.ones(len(log_norm)) if sample_weight is None else sample_weight[rows]
            log_likelihood += float(weight @ log_norm)
            S += moments_of(X[rows], responsibilities * weight[:, None], origin, family.moments)
        return Stats(total_weight(X.shape[0], sample_weight), log_likelihood, origin, S, family.moments)

    def accumulate_given(
        self,
        moments: Moments,
        X: np.ndarray,
        responsibilities: np.ndarray,
        origin: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        n_threads: int | None = None,
    ) -> Stats:
        origin = np.asarray(origin, dtype=np.float64)
        check_pass(X, origin, sample_weight, responsibilities)
        S = np.zeros((origin.shape[0], n_moments(moments, X.shape[1])))
        for rows in _chunks(X.shape[0], *origin.shape):
            weight = 1.0 if sample_weight is None else sample_weight[rows][:, None]
            S += moments_of(X[rows], responsibilities[rows] * weight, origin, moments)
        return Stats(total_weight(X.shape[0], sample_weight), 0.0, origin, S, moments)

    def evaluate(
        self,
        family: Family[Any],
        X: np.ndarray,
        params: Params,
        wanted: tuple[str, ...],
        *,
        n_threads: int | None = None,
    ) -> Posterior:
        check_pass(X, params.origin, None)
        found = Posterior.empty(X.shape[0], len(params.weights), X.dtype, wanted)
        for rows in _chunks(X.shape[0], *params.origin.shape):
            log_p, log_norm, responsibilities = _posterior(family, X[rows], params)
            if "labels" in wanted:
                found.labels[rows] = log_p.argmax(axis=1)
            if "log_likelihood" in wanted:
                found.log_likelihood[rows] = log_norm
            if "responsibilities" in wanted:
                found.responsibilities[rows] = responsibilities
        return found

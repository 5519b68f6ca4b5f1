"""EM in JAX on the CPU, as its users write it: plain jnp code under jit, component by component."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from comparison.timing import clock
from peers.base import Fit, Outcome, Peer, covariances_of, package_version
from problems import Start

_REG_COVAR = 1e-6


class Jax(Peer):
    name = "JAX"

    def version(self) -> str:
        return package_version("jax")

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        em = _compiled(structure)
        rows = jax.device_put(X)
        first = tuple(jax.device_put(a) for a in (start.weights, start.means, covariances_of(start, structure)))
        # Compiles for these sizes.
        jax.block_until_ready(em(rows, first, 0))

        def fit(max_iter: int) -> Outcome:
            turn, found = clock(lambda: jax.block_until_ready(em(rows, first, max_iter)))
            return Outcome(turn, *(np.asarray(a) for a in found))

        yield fit


@cache
def _compiled(structure: str) -> Any:
    import jax
    import jax.numpy as jnp

    def full_log_density(X: Any, means: Any, covariances: Any) -> Any:
        def one(component: Any) -> Any:
            mean, covariance = component
            lower = jnp.linalg.cholesky(covariance)
            whitening = jax.scipy.linalg.solve_triangular(lower, jnp.eye(len(mean), dtype=X.dtype), lower=True)
            y = (X - mean) @ whitening.T
            return -0.5 * jnp.sum(y**2, axis=1) - jnp.sum(jnp.log(jnp.diagonal(lower)))

        return jax.lax.map(one, (means, covariances)).T

    def diag_log_density(X: Any, means: Any, covariances: Any) -> Any:
        def one(component: Any) -> Any:
            mean, variances = component
            return -0.5 * jnp.sum((X - mean) ** 2 / variances + jnp.log(variances), axis=1)

        return jax.lax.map(one, (means, covariances)).T

    def full_covariances(X: Any, r: Any, masses: Any, means: Any) -> Any:
        def one(component: Any) -> Any:
            weight, mass, mean = component
            d = X - mean
            return (weight[:, None] * d).T @ d / mass + _REG_COVAR * jnp.eye(len(mean), dtype=X.dtype)

        return jax.lax.map(one, (r.T, masses, means))

    def diag_covariances(X: Any, r: Any, masses: Any, means: Any) -> Any:
        def one(component: Any) -> Any:
            weight, mass, mean = component
            return weight @ (X - mean) ** 2 / mass + _REG_COVAR

        return jax.lax.map(one, (r.T, masses, means))

    log_density, covariances_given = {
        "full": (full_log_density, full_covariances),
        "diag": (diag_log_density, diag_covariances),
    }[structure]

    @jax.jit
    def em(X: Any, start: Any, max_iter: int) -> Any:
        def iteration(_: int, params: Any) -> Any:
            weights, means, covariances = params
            r = jax.nn.softmax(jnp.log(weights) + log_density(X, means, covariances), axis=1)
            masses = r.sum(axis=0)
            means = r.T @ X / masses[:, None]
            return masses / len(X), means, covariances_given(X, r, masses, means)

        return jax.lax.fori_loop(0, max_iter, iteration, start)

    return em

"""Block by block: the kernels as Numba compiles them, and a panel through each compiler.

    pytest benchmarks/test_kernels.py --benchmark-enable

Without ``--benchmark-enable`` each runs once. What a kernel computes is checked before its time is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from problems import Shape
from suites.engines import DTYPES, make_problem

from fastem.engines import Posterior, available_engines, get_engine
from fastem.engines.kernel_engine import Cut, Scratch, block_rows
from fastem.engines.numba_vectors import WIDE
from fastem.stats import moments_of

SIZES = ((2, 3), (8, 8), (16, 16), (32, 32), (128, 16))
STRUCTURES = ("full", "tied", "diag")
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}
PANEL_ROWS = 4096

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5)
over_dtypes = pytest.mark.parametrize("dtype", DTYPES)
over_structures = pytest.mark.parametrize("structure", STRUCTURES)
over_sizes = pytest.mark.parametrize(("n_features", "n_components"), SIZES)
over_compilers = pytest.mark.parametrize("compiler", ["numba", "cython"])


@dataclass(frozen=True)
class Block:
    """Rows, parameters and working memory, as a driver hands them to the kernels."""

    X: np.ndarray
    family: Any
    params: Any
    packed: Any
    memory: Scratch
    S: np.ndarray

    @classmethod
    def of(cls, structure: str, n_features: int, n_components: int, dtype: str, n_rows: int | None = None) -> Block:
        """A block of the length that fits the cache, or the rows of a panel."""
        X, family, params = make_problem(Shape(PANEL_ROWS, n_features, n_components, structure), dtype)
        packed = family.pack(params, X.dtype)
        block = block_rows(n_features, family.moments, X.dtype, WIDE)
        X = X[: n_rows or block]
        memory = Scratch.allocate(1, n_features, n_components, block, X.dtype)
        memory.XT[0] = X[:block].T
        memory.rows[0] = 1
        S = np.zeros_like(moments_of(X[:1], np.ones((1, n_components)), params.origin, family.moments))
        return cls(X, family, params, packed, memory, S)

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def as_panel(self) -> Cut:
        return Cut(self.n_rows, self.n_rows, self.memory.XT.shape[2], 1.0, 0, self.n_rows)

    def log_p(self) -> np.ndarray:
        """Weighted log-densities by the formula, component by component."""
        return (self.family.log_density(self.X, self.params) + np.log(self.params.weights)).T

    def responsibilities(self) -> np.ndarray:
        log_p = self.log_p()
        return np.exp(log_p - np.logaddexp.reduce(log_p, axis=0))

    def log_likelihood(self) -> float:
        return float(np.logaddexp.reduce(self.log_p(), axis=0).sum())


def close(found: Any, expected: Any, dtype: str) -> bool:
    scale = np.abs(expected).max()
    return bool(np.abs(found - expected).max() <= TOLERANCE[dtype] * scale)


def upper(S: np.ndarray, moments: str, n_features: int) -> np.ndarray:
    """Statistics without the lower triangles of full second moments, which the kernels do not write."""
    if moments != "full":
        return S
    second = np.triu(S[:, 1 + n_features :].reshape(-1, n_features, n_features))
    return np.hstack([S[:, : 1 + n_features], second.reshape(len(S), -1)])


@over_dtypes
@over_sizes
@over_structures
def test_log_density(benchmark, structure, n_features, n_components, dtype):
    drivers = pytest.importorskip("fastem.engines.numba_drivers", exc_type=ImportError)
    block = Block.of(structure, n_features, n_components, dtype)
    kernel = drivers.block_kernel(block.family.log_density_kernel, "log_density", np.dtype(dtype))
    XT, log_p, _, scratch = block.memory[0]
    arguments = (XT, block.n_rows, block.packed.theta, block.packed.common, scratch, log_p)
    kernel(*arguments)
    assert close(log_p, block.log_p(), dtype)
    benchmark(kernel, *arguments)


@over_dtypes
@over_sizes
@over_structures
def test_moments(benchmark, structure, n_features, n_components, dtype):
    drivers = pytest.importorskip("fastem.engines.numba_drivers", exc_type=ImportError)
    block = Block.of(structure, n_features, n_components, dtype)
    kernel = drivers.block_kernel(block.family.moments_kernel, "moments", np.dtype(dtype))
    XT, r, _, scratch = block.memory[0]
    r[:] = block.responsibilities()
    arguments = (XT, block.n_rows, r, block.packed.theta, scratch, block.S)
    kernel(*arguments)
    moments = block.family.moments
    expected = moments_of(block.X, r.T, block.packed.theta[:, 1 : 1 + n_features], moments)
    assert close(upper(block.S, moments, n_features), upper(expected, moments, n_features), dtype)
    benchmark(kernel, *arguments)


@over_dtypes
@over_sizes
def test_posterior(benchmark, n_features, n_components, dtype):
    drivers = pytest.importorskip("fastem.engines.numba_drivers", exc_type=ImportError)
    from numba import njit

    from fastem.kernels import panel

    @njit(**drivers.OPTIONS)
    def posterior(log_p, n_rows, rows):
        return panel.posterior(log_p, n_rows, rows)

    block = Block.of("full", n_features, n_components, dtype)
    _, log_p, rows, _ = block.memory[0]
    log_p[:] = block.log_p()
    total = posterior(log_p, block.n_rows, rows)
    assert close(total, block.log_likelihood(), dtype)
    assert close(log_p, block.responsibilities(), dtype)
    # In place: later calls find responsibilities, which are as good as logarithms for code without branches.
    benchmark(posterior, log_p, block.n_rows, rows)


@over_compilers
@over_dtypes
@over_sizes
@over_structures
def test_accumulate_panel(benchmark, structure, n_features, n_components, dtype, compiler):
    engine = _engine(compiler)
    block = Block.of(structure, n_features, n_components, dtype, PANEL_ROWS)
    kernels = (block.family.log_density_kernel, block.family.moments_kernel)
    data = (block.X, np.empty(0), np.empty((0, 0), dtype), np.empty(0, np.int32))
    log_likelihood = np.empty(1)
    outputs = (block.S[None], log_likelihood, 1)
    arguments = (kernels, data, block.as_panel(), 0, block.packed, block.memory, *outputs)
    engine._accumulate_group(*arguments)
    assert close(log_likelihood[0], block.log_likelihood(), dtype)
    benchmark(engine._accumulate_group, *arguments)


@over_compilers
@over_dtypes
@over_sizes
@over_structures
def test_evaluate_panel(benchmark, structure, n_features, n_components, dtype, compiler):
    engine = _engine(compiler)
    block = Block.of(structure, n_features, n_components, dtype, PANEL_ROWS)
    found = Posterior.empty(block.n_rows, n_components, dtype, ("responsibilities",))
    kernel = block.family.log_density_kernel
    arguments = (kernel, block.X, block.as_panel(), 0, 1, block.packed, block.memory, found, 1)
    engine._evaluate_group(*arguments)
    assert close(found.responsibilities.T, block.responsibilities(), dtype)
    benchmark(engine._evaluate_group, *arguments)


def _engine(compiler: str) -> Any:
    if compiler not in available_engines():
        pytest.skip(f"no engine {compiler!r} in this installation")
    return get_engine(compiler)

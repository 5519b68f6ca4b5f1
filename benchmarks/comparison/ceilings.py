"""The machine's ceilings: matrix products, exponentials, reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from comparison.timing import PAUSE

# Large enough for the matrix library to be at its best, small enough for a product to take some 50 ms.
_MATRIX = 1536
# Arguments and results of this many exponentials stay in a core's own cache.
_EXPONENTIALS = 4096
# A figure is the mean over this many seconds at least.
_LEAST_SECONDS = 0.1


def seconds_of(call: Callable[[], Any], least: float = _LEAST_SECONDS) -> float:
    """Mean seconds of a call, over as many as fill ``least`` seconds, after a pause for the threads before it."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    calls = 0
    while True:
        call()
        calls += 1
        taken = time.perf_counter() - began
        if taken >= least:
            return taken / calls


@dataclass(frozen=True)
class Ceilings:
    """Multiply-adds, exponentials and bytes a second, on all threads."""

    multiply_adds: float
    exponentials: float
    read: float

    def mean(self, other: Ceilings) -> Ceilings:
        """What holds between two measurements."""
        return Ceilings(
            (self.multiply_adds + other.multiply_adds) / 2,
            (self.exponentials + other.exponentials) / 2,
            (self.read + other.read) / 2,
        )


class Gauge:
    """Measures the ceilings for one float type and number of threads."""

    def __init__(self, dtype: str, n_threads: int) -> None:
        rng = np.random.default_rng(0)
        self.n_threads = n_threads
        self.A, self.B = (rng.standard_normal((_MATRIX, _MATRIX)).astype(dtype) for _ in range(2))
        self.C = np.empty_like(self.A)
        self.arguments = (-20 * rng.random((1, _EXPONENTIALS))).astype(dtype)

    def multiply_adds(self) -> float:
        return _MATRIX**3 / seconds_of(lambda: np.matmul(self.A, self.B, out=self.C))

    def exponentials(self) -> dict[str, float]:
        """Rates by who computes them: NumPy, and the kernels' own function where Numba is there."""
        found = {"numpy": self.n_threads * self._numpy_exponentials()}
        if (kernel := _kernel_exponential()) is not None:
            found["kernel"] = self._kernel_exponentials(kernel)
        return found

    def _numpy_exponentials(self) -> float:
        # On one thread: a call is too short for the interpreter to hand its lock to and fro.
        results = np.empty_like(self.arguments)
        return _EXPONENTIALS / seconds_of(lambda: np.exp(self.arguments, out=results), _LEAST_SECONDS / 2)

    def _kernel_exponentials(self, kernel: Any) -> float:
        from concurrent.futures import ThreadPoolExecutor

        calls = 2000
        with ThreadPoolExecutor(self.n_threads) as threads:
            results = [np.empty_like(self.arguments) for _ in range(self.n_threads)]

            def run() -> None:
                list(threads.map(lambda result: kernel(self.arguments, result, calls), results))

            run()
            return self.n_threads * calls * _EXPONENTIALS / seconds_of(run, _LEAST_SECONDS / 2)

    def read(self, X: np.ndarray) -> float:
        """Bytes a second of the rows themselves, by a dot product on all threads."""
        values = X.reshape(-1)
        return X.nbytes / seconds_of(lambda: values @ values)

    def measure(self, X: np.ndarray) -> Ceilings:
        return Ceilings(self.multiply_adds(), max(self.exponentials().values()), self.read(X))


@cache
def _kernel_exponential() -> Any:
    """``exp_nonpositive`` over an array, as Numba compiles it; None without Numba."""
    try:
        from numba import njit
    except ImportError:
        return None
    from fastem.engines.numba_drivers import OPTIONS
    from fastem.kernels.elementary import exp_nonpositive
    from fastem.kernels.vectors import lanes, load, store

    @njit(**OPTIONS)
    def exponentials(arguments, results, calls):
        width = lanes(arguments)
        for _ in range(calls):
            for v in range(arguments.shape[1] // width):
                store(results, 0, v * width, exp_nonpositive(load(arguments, 0, v * width)))

    return exponentials

"""What a report of a problem needs: versions, engines, threads, the processor."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastem import __version__

_VARIABLES = ("NUMBA_", "OMP_", "MKL_", "OPENBLAS_", "FASTEM_")


def facts() -> dict[str, Callable[[], object]]:
    """What a report of a problem needs, each found on its own."""
    import platform
    from importlib import import_module

    def library(name: str) -> Any:
        return import_module(name)

    packages = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "rich", "matplotlib", "pyarrow")
    return {
        "fastem": lambda: __version__,
        "Python": lambda: f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform,
        **{package: partial(_version, package) for package in packages},
        "engines": lambda: ", ".join(library("fastem.engines").available_engines()),
        "compiled kernels": lambda: library("fastem.compiled").level or "none: built without a C compiler",
        "threads": lambda: library("fastem.engines.threads").available_threads(),
        "processor": _processor,
        "processor features": _processor_features,
        "Numba threads": _numba_layer,
        "Numba cache": _numba_cache,
        "environment": lambda: (
            " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES))
            or "-"
        ),
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    import platform

    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _processor_features() -> str:
    from llvmlite import binding

    found = binding.get_host_cpu_features()
    wanted = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512vl", "neon", "sve")
    return f"{binding.get_host_cpu_name()}: {' '.join(name for name in wanted if found.get(name))}"


def _numba_layer() -> str:
    from importlib import import_module

    from numba import config

    found = []
    for layer, module in (("tbb", "tbbpool"), ("omp", "omppool"), ("workqueue", "workqueue")):
        with suppress(ImportError):
            import_module(f"numba.np.ufunc.{module}")
            found.append(layer)
    return f"layer {config.THREADING_LAYER}, available: {', '.join(found)}"  # type: ignore[attr-defined]


def _numba_cache() -> str:
    from inspect import unwrap

    from numba.core.caching import FunctionCache

    from fastem.engines import numba_drivers

    return FunctionCache(unwrap(numba_drivers.driver)).cache_path

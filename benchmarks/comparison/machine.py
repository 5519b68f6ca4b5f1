"""The machine, and the settings that must be the same for everyone. Imports nothing that reads them too early."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
# glibc gives large blocks back to the system when they are freed, and clears fresh pages at the next allocation.
_MALLOC_KEEPS = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**33)}
_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn")
_MAX_LOAD = 0.5


def set_threads(n_threads: int) -> None:
    """Same number of threads for every library, in this process and its children; to be called before NumPy is
    imported."""
    if "numpy" in sys.modules:
        raise RuntimeError("threads must be set before NumPy is imported")
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(n_threads)))
    # A peer that brings TBB would change what fastem's threads run on: Numba prefers it where it is installed.
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")


def malloc_keeps() -> bool:
    return all(os.environ.get(name) == value for name, value in _MALLOC_KEEPS.items())


def restart_with_malloc_keeping() -> None:
    """Run this program again in an environment where glibc keeps freed memory; does not return unless it does."""
    if malloc_keeps():
        return
    if platform.libc_ver()[0] != "glibc":
        raise SystemExit("--malloc-keep is a setting of glibc, which this Python does not use")
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **_MALLOC_KEEPS})


def describe() -> dict[str, Any]:
    """Processor, cores, versions, threads and load, as a value for the report."""
    import numba
    from threadpoolctl import threadpool_info

    from fastem import __version__, compiled

    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "python": platform.python_version(),
        "versions": {"fastem": __version__, **{name: _version(name) for name in _PACKAGES}},
        "compiled_level": compiled.level,
        "numba_threads": numba.get_num_threads(),
        "blas": sorted({f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
                        for pool in threadpool_info() if pool["user_api"] == "blas"}),
        "malloc_keeps": malloc_keeps(),
        "load": load(),
    }  # fmt: skip


def report(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}",
        f"Python {machine['python']}, {versions}; fastem's compiled kernels: {machine['compiled_level']}",
        f"BLAS: {'; '.join(machine['blas'])}. Numba: {machine['numba_threads']} threads",
        f"malloc keeps freed memory: {'yes' if machine['malloc_keeps'] else 'no (see --malloc-keep)'}",
        f"load average: {machine['load']}",
    ]
    if machine["load"] is not None and machine["load"] > _MAX_LOAD:
        lines.append(f"WARNING: the load is over {_MAX_LOAD}: something else runs here, and no figure below is safe.")
    return "\n".join(lines)


def plain(settings: argparse.Namespace) -> dict[str, Any]:
    """A program's settings as JSON takes them."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(settings).items()}


def load() -> float | None:
    """Load average of the last minute, where the system knows it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"

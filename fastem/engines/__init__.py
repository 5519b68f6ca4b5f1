"""Engines by name, what is available, and the rule of ``"auto"``."""

from __future__ import annotations

import importlib.util
from functools import cache

from fastem.engines.base import Engine, Posterior, Runs, pass_work
from fastem.engines.notices import say_once

ENGINES = ("numba", "cython", "numpy", "python")

__all__ = ["ENGINES", "Engine", "Posterior", "Runs", "available_engines", "choose_engine", "get_engine", "pass_work"]


@cache
def get_engine(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    ValueError
        If there is no engine of that name.
    ImportError
        If it cannot run here: Numba is not installed, or the package was built without a C compiler.
    """
    if name == "numba":
        if importlib.util.find_spec("numba") is None:
            raise ImportError("engine='numba' needs Numba: pip install numba, or leave the choice to engine='auto'")
        from fastem.engines.numba_engine import NumbaEngine

        return NumbaEngine()
    if name == "cython":
        from fastem.engines.cython_engine import CythonEngine

        return CythonEngine()
    if name == "numpy":
        from fastem.engines.numpy_engine import NumpyEngine

        return NumpyEngine()
    if name == "python":
        from fastem.engines.python_engine import PythonEngine

        return PythonEngine()
    raise ValueError(f"engine must be 'auto' or one of {ENGINES}, but got {name!r}")


@cache
def available_engines() -> tuple[str, ...]:
    """Names of the engines that run here, fastest first."""
    from fastem import compiled

    found = ["numba"] if importlib.util.find_spec("numba") is not None else []
    if compiled.level is not None:
        found.append("cython")
    return (*found, "numpy", "python")


# Multiply-adds of a whole fit below which compiling (10 s, or half a second from the cache) cannot pay for itself.
_NUMBA_WORK = 2e11
# Levels of the kernels compiled ahead of time that run as fast as Numba's (ratios .8 to 1.1 over all shapes of
# benchmarks/problems.py): there a compilation could only add its wait. The baseline has not been measured.
_EQUAL_LEVELS = ("v3", "v4")


def choose_engine(name: str, work: float) -> Engine:
    """The engine for ``work`` multiply-adds (see ``pass_work``) where ``name`` is ``"auto"``."""
    if name != "auto":
        return get_engine(name)
    available = available_engines()
    if "numba" in available and "cython" in available:
        # By the work alone: what else this process has done must not change the last bits of a result.
        from fastem import compiled

        numba_pays = work > _NUMBA_WORK and compiled.level not in _EQUAL_LEVELS
        return get_engine("numba" if numba_pays else "cython")
    missing = "its compiled kernels (install it with a C compiler at hand)" if "numba" in available else "Numba"
    if "numba" not in available and "cython" not in available:
        missing = "Numba and " + "its compiled kernels (pip install numba, or reinstall with a C compiler at hand)"
    say_once(f"fastem runs on its {available[0]} engine here, without {missing}")
    return get_engine(available[0])

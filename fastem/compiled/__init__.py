"""The kernels compiled ahead of time, at the best level that this processor runs.

``fastem.compiled.float64`` and ``fastem.compiled.float32`` stand for the modules of that level, for Python's import
and for other packages' ``cimport`` alike.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_LEVELS = {1: ("baseline",), 3: ("v3", "baseline"), 4: ("v4", "v3", "baseline")}


def _load() -> str | None:
    """Register the best modules of this build; their level, or None where nothing was compiled."""
    try:
        best = importlib.import_module(".float64_baseline", __name__).cpu_level()
    except ImportError:
        return None
    for level in _LEVELS[best]:
        try:
            modules = {d: importlib.import_module(f".{d}_{level}", __name__) for d in ("float64", "float32")}
        except ImportError:
            continue
        for dtype, module in modules.items():
            sys.modules[f"{__name__}.{dtype}"] = module
            globals()[dtype] = module
        return level
    return None


level: str | None = _load()


def module(dtype: str) -> ModuleType:
    """The compiled module for ``"float64"`` or ``"float32"``.

    Raises
    ------
    ImportError
        If the package was built without a C compiler.
    """
    if level is None:
        raise ImportError("fastem was built without its compiled kernels; reinstall it with a C compiler at hand")
    return sys.modules[f"{__name__}.{dtype}"]

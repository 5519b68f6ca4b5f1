"""What the asv suites share: who runs, on what rows, from which parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import Shape, make_rows, make_start

#: Engines to measure, the reference among them; those that an installation lacks are skipped.
ENGINES = ("numba", "cython", "numpy")
DTYPES = ("float64", "float32")


def require_engine(name: str) -> None:
    """Have asv skip what cannot run here."""
    from fastem import available_engines

    if name not in available_engines():
        raise NotImplementedError(f"no engine {name!r} in this installation")


def make_problem(shape: Shape, dtype: str) -> tuple[np.ndarray, Any, Any]:
    """Rows, family and parameters to start from."""
    from fastem import Gaussian

    X = make_rows(shape, dtype)
    start = make_start(X, shape.n_components, shape.structure)
    family = Gaussian(shape.structure)
    values = (a.astype(np.float64) for a in (start.weights, start.means, start.precisions))
    return X, family, family.from_precisions(*values)

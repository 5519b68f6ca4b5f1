"""Memory of a fit."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from problems import Shape, make_rows, make_start

from .engines import ENGINES, make_problem, require_engine

SHAPES = {shape.name: shape for shape in (Shape(200_000, 16, 16, "full"), Shape(200_000, 16, 16, "diag"))}


class Fit:
    """A fit of two iterations."""

    params: ClassVar = (ENGINES, tuple(SHAPES))
    param_names: ClassVar = ("engine", "shape")
    timeout = 300

    def setup(self, engine: str, shape: str) -> None:
        require_engine(engine)
        self.X, self.family, self.start = make_problem(SHAPES[shape], "float64")

    def peakmem_process(self, engine: str, shape: str) -> None:
        """Peak of the whole process: Python, libraries, compiler and the 26 MB of rows included."""
        import fastem

        fastem.fit(self.X, self.family, 16, start=self.start, tol=0.0, max_iter=2, engine=engine)


class BeyondRows:
    """The rise of memory above the loaded rows and the warm libraries, in a process of its own."""

    params: ClassVar = (ENGINES, tuple(SHAPES))
    param_names: ClassVar = ("engine", "shape")
    timeout = 300

    def setup(self, engine: str, shape: str) -> None:
        require_engine(engine)

    def track_rise(self, engine: str, shape: str) -> float:
        problem = SHAPES[shape]
        X = make_rows(problem)
        start = make_start(X, problem.n_components, problem.structure)
        child = Path(__file__).parents[1] / "comparison" / "fit_peak.py"
        with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
            for name, value in {"X": X, **start.as_options()}.items():
                np.save(Path(folder) / f"{name}.npy", value)
            command = [sys.executable, str(child), f"fastem {engine}", problem.structure, "2", "2", folder]
            return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6

    track_rise.unit = "MB"

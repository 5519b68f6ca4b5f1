"""One pass over the rows: the E-step with its statistics, and the posteriors."""

from __future__ import annotations

from typing import ClassVar

from problems import Shape

from .engines import DTYPES, ENGINES, make_problem, require_engine

SHAPES = {
    shape.name: shape
    for shape in (
        Shape(100_000, 2, 3, "full"),
        Shape(40_000, 16, 16, "full"),
        Shape(5_000, 64, 16, "full"),
        Shape(40_000, 16, 16, "tied"),
        Shape(40_000, 16, 16, "diag"),
    )
}


class Pass:
    """A pass of a compiled kernel, or of the reference; compiled and warm when the clock starts."""

    params: ClassVar = (ENGINES, DTYPES, tuple(SHAPES))
    param_names: ClassVar = ("engine", "dtype", "shape")
    timeout = 300

    def setup(self, engine: str, dtype: str, shape: str) -> None:
        from fastem import get_engine

        require_engine(engine)
        self.engine = get_engine(engine)
        self.X, self.family, self.start = make_problem(SHAPES[shape], dtype)
        self.accumulate()
        self.time_rounded(engine, dtype, shape)
        self.evaluate("labels")

    def accumulate(self) -> None:
        self.engine.accumulate(self.family, self.X, self.start)

    def evaluate(self, wanted: str) -> None:
        self.engine.evaluate(self.family, self.X, self.start, (wanted,))

    def time_accumulate(self, engine: str, dtype: str, shape: str) -> None:
        self.accumulate()

    def time_rounded(self, engine: str, dtype: str, shape: str) -> None:
        """Over rows that may be rounded to single precision, as the first passes of an accelerated fit."""
        self.engine.accumulate(self.family, self.X, self.start, rounded=True)

    def time_labels(self, engine: str, dtype: str, shape: str) -> None:
        self.evaluate("labels")

    def time_responsibilities(self, engine: str, dtype: str, shape: str) -> None:
        self.evaluate("responsibilities")

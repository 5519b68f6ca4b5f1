"""Fits: a fixed number of iterations, and the way to a solution with the objective that it reaches."""

from __future__ import annotations

from typing import Any, ClassVar

from problems import Shape, make_rows

from .engines import DTYPES, ENGINES, make_problem, require_engine

SHAPES = {
    shape.name: shape
    for shape in (Shape(40_000, 8, 8, "full"), Shape(40_000, 8, 8, "tied"), Shape(40_000, 8, 8, "diag"))
}


class Iterations:
    """Ten iterations from given parameters, the check of the rows included."""

    params: ClassVar = (ENGINES, DTYPES, tuple(SHAPES))
    param_names: ClassVar = ("engine", "dtype", "shape")
    timeout = 300

    def setup(self, engine: str, dtype: str, shape: str) -> None:
        require_engine(engine)
        self.X, self.family, self.start = make_problem(SHAPES[shape], dtype)
        self.fit(engine, max_iter=1)

    def fit(self, engine: str, max_iter: int) -> Any:
        import fastem

        n_components = len(self.start.weights)
        return fastem.fit(
            self.X, self.family, n_components, start=self.start, tol=0.0, max_iter=max_iter, engine=engine
        )

    def time_ten_iterations(self, engine: str, dtype: str, shape: str) -> None:
        self.fit(engine, max_iter=10)

    def track_log_likelihood(self, engine: str, dtype: str, shape: str) -> float:
        """Mean log-likelihood of a row after ten iterations: the same for all engines, or one is wrong."""
        return self.fit(engine, max_iter=10).run.lower_bound

    track_log_likelihood.unit = "nats a row"


class ToSolution:
    """A fit as a user calls it: found start, tolerance 1e-4, until converged."""

    params: ClassVar = (ENGINES, ("kmeans", "k-means++", "random_from_data"))
    param_names: ClassVar = ("engine", "start")
    timeout = 300

    def setup(self, engine: str, start: str) -> None:
        require_engine(engine)
        self.X, self.family, _ = make_problem(Shape(20_000, 4, 5, "full"), "float64")
        self.fit(engine, start, max_iter=1)

    def fit(self, engine: str, start: str, max_iter: int = 500) -> Any:
        import fastem

        return fastem.fit(
            self.X, self.family, 5, start=start, tol=1e-4, max_iter=max_iter, random_state=0, engine=engine
        )

    def time_to_solution(self, engine: str, start: str) -> None:
        self.fit(engine, start)

    def track_log_likelihood(self, engine: str, start: str) -> float:
        """Mean log-likelihood of a row where the fit ends."""
        return self.fit(engine, start).run.lower_bound

    def track_iterations(self, engine: str, start: str) -> int:
        return self.fit(engine, start).run.n_iter

    track_log_likelihood.unit = "nats a row"
    track_iterations.unit = "iterations"


class Small:
    """What surrounds the kernels: a fit of 1000 rows, options at their defaults, and answers for one row."""

    params: ClassVar = (("auto", "kmeans"),)
    param_names: ClassVar = ("init_params",)

    def setup(self, init_params: str) -> None:
        from fastem import GaussianMixture

        self.X = make_rows(Shape(1000, 2, 3, "full"))
        self.model = GaussianMixture(3, init_params=init_params, random_state=0).fit(self.X)

    def time_fit(self, init_params: str) -> None:
        self.model.fit(self.X)

    def time_predict_one_row(self, init_params: str) -> None:
        self.model.predict(self.X[:1])

    def track_log_likelihood(self, init_params: str) -> float:
        """Mean log-likelihood of a row where the fit ends."""
        return self.model.lower_bound_

    track_log_likelihood.unit = "nats a row"

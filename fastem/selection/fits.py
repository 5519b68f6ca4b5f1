"""The fits of a search: one data set, one set of options, many families and starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastem.acceleration import Acceleration
from fastem.data.arrays import sample_rows
from fastem.em import Callback, Stopping
from fastem.engines import choose_engine, pass_work
from fastem.families import Gaussian, GaussianParams, Params
from fastem.families.base import DegenerateComponentError
from fastem.fitting import FitResult, fit
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Passes, Runner
from fastem.restarts import RESTARTS


@dataclass(frozen=True, eq=False)
class Fits:
    """Rows and the options that all fits to them have.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None
    init_params, tol, max_iter, engine, n_threads, accelerate, stopping
        As in :func:`fastem.fit`.
    callbacks : sequence of callable
    strict : bool
        Whether a component that collapses is an error; else the result says so.
    """

    X: np.ndarray
    sample_weight: np.ndarray | None
    init_params: str
    tol: float
    max_iter: int
    engine: str
    n_threads: int | None
    accelerate: Acceleration | None
    stopping: Stopping
    callbacks: Sequence[Callback] = ()
    strict: bool = False

    @property
    def weight(self) -> float:
        return float(len(self.X) if self.sample_weight is None else self.sample_weight.sum())

    @property
    def n_samples(self) -> int:
        """Rows that count: those of positive weight."""
        return len(self.X) if self.sample_weight is None else int(np.count_nonzero(self.sample_weight))

    def fresh(self, family: Gaussian, n_components: int, seed: int) -> GaussianParams:
        """Parameters that ``init_params`` starts from."""
        found = self._fit(family, n_components, self.init_params, seed, max_iter=0)
        return found.params  # type: ignore[return-value]

    def run(self, family: Gaussian, start: GaussianParams, callbacks: Sequence[Callback] = ()) -> FitResult:
        """The fit from a start.

        Raises
        ------
        DegenerateComponentError
            If a component collapses.
        """
        return self._fit(family, len(start.weights), start, callbacks=(*self.callbacks, *callbacks))

    def shortlist(self, family: Gaussian, starts: Sequence[GaussianParams], most: int) -> list[GaussianParams]:
        """Where the best of the starts are after a few iterations; at most so many."""
        if len(starts) <= 1:
            return list(starts)
        reached: list[FitResult] = []
        for start in starts:
            try:
                reached.append(
                    self._fit(family, len(start.weights), start, tol=0.0, max_iter=RESTARTS.heats[0].max_iter)
                )
            except DegenerateComponentError:
                continue
        reached.sort(key=lambda result: result.run.lower_bound, reverse=True)
        return [result.params for result in reached[:most]]  # type: ignore[misc]

    def log_likelihood(self, family: Gaussian, params: Params) -> float:
        """Log-likelihood of all rows."""
        mixture = Mixture(family, params)
        found = mixture.posterior(self.X, "log_likelihood", engine=self.engine, n_threads=self.n_threads)
        log_likelihood = found.log_likelihood.astype(np.float64)
        return float(log_likelihood.sum() if self.sample_weight is None else self.sample_weight @ log_likelihood)

    def heat(self, n_parameters: int, rng: np.random.RandomState) -> Fits:
        """The same fits to a random sample of the rows, large enough for a model of so many parameters."""
        n_rows = RESTARTS.n_rows(n_parameters)
        if len(self.X) < 2 * n_rows:
            return self
        X, weight = sample_rows(self.X, self.sample_weight, n_rows, rng)
        return replace(self, X=X, sample_weight=weight)

    def passes(self, family: Gaussian, rows: np.ndarray | None = None) -> Passes:
        """The two steps of EM over all rows or some."""
        X, weight = self.X, self.sample_weight
        if rows is not None:
            X, weight = X[rows], None if weight is None else weight[rows]
        return Passes(family, ArrayRows(X, weight), Runner(choose_engine(self.engine, 0.0), self.n_threads))

    def _fit(
        self, family: Gaussian, n_components: int, start: str | GaussianParams, seed: int | None = None, **options: Any
    ) -> FitResult:
        # The engine of the whole fit also where a part of it runs.
        work = pass_work(self.X.shape, n_components, family.moments) * self.max_iter
        options = {"tol": self.tol, "max_iter": self.max_iter, **options}
        return fit(
            self.X,
            family,
            n_components,
            start=start,
            sample_weight=self.sample_weight,
            random_state=seed,
            engine=choose_engine(self.engine, work).name,
            n_threads=self.n_threads,
            accelerate=self.accelerate,
            stopping=self.stopping,
            strict=self.strict,
            **options,
        )

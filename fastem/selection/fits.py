"""The fits of a search: one data set, one set of options, many families and starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastem.acceleration import Acceleration
from fastem.criteria import Totals
from fastem.data.arrays import sample_rows
from fastem.em import Callback, EMResult, Stopping
from fastem.engines import Engine, choose_engine, pass_work
from fastem.estimators import GaussianMixture
from fastem.families import Gaussian, GaussianParams, Params
from fastem.fitting import FitResult, fit
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Passes, Runner
from fastem.restarts import RESTARTS, best_run
from fastem.runs import Loop, Runs
from fastem.selection.workers import Workers
from fastem.stats import Moments, Stats


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

    @classmethod
    def like(
        cls,
        template: GaussianMixture,
        X: np.ndarray,
        sample_weight: np.ndarray | None,
        workers: Workers,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> Fits:
        """Fits with the options of an estimator, to be run by workers."""
        return cls(
            X=X,
            sample_weight=sample_weight,
            init_params=template.init_params,
            tol=template.tol,
            max_iter=template.max_iter,
            engine=template.engine,
            n_threads=workers.n_threads,
            accelerate=template.accelerate,  # type: ignore[arg-type]
            stopping=template.stopping,  # type: ignore[arg-type]
            callbacks=(*([callbacks] if callable(callbacks) else callbacks or ()), *workers.watch),
        )

    @cached_property
    def rows(self) -> ArrayRows:
        return _RememberingRows(self.X, self.sample_weight)

    @property
    def weight(self) -> float:
        return float(len(self.X) if self.sample_weight is None else self.sample_weight.sum())

    @property
    def n_samples(self) -> int:
        """Rows that count: those of positive weight."""
        return len(self.X) if self.sample_weight is None else int(np.count_nonzero(self.sample_weight))

    def fresh(self, family: Gaussian, n_components: int, seed: int) -> GaussianParams:
        """Parameters that ``init_params`` starts from."""
        found = fit(
            self.rows,
            family,
            n_components,
            start=self.init_params,
            random_state=seed,
            max_iter=0,
            engine=self._engine(family, n_components).name,
            n_threads=self.n_threads,
            strict=self.strict,
        )
        return found.params  # type: ignore[return-value]

    def run(self, family: Gaussian, start: GaussianParams, callbacks: Sequence[Callback] = ()) -> FitResult:
        """The fit from a start.

        Raises
        ------
        DegenerateComponentError
            If a component collapses and could not be held up, or at all where ``strict``.
        """
        runs = self._runs(family, len(start.weights), (*self.callbacks, *callbacks))
        _, found = best_run(runs.finals(self.rows, {0: start}))
        return FitResult.of(runs, 0, found, self.n_samples, (found.lower_bound,), ("given",))

    def best_first(
        self, family: Gaussian, starts: Sequence[Stats], max_iter: int
    ) -> Iterator[EMResult[GaussianParams]]:
        """Where starts, which are moments, are after a few iterations, best first; of equals one."""
        return self._runs(family, len(starts[0].origin)).best_first(self.rows, starts, max_iter)

    def totals(self, family: Gaussian, params: Params, entropy: bool = False) -> Totals:
        """Log-likelihood of all rows, and the entropy of their responsibilities where it is asked for."""
        mixture = Mixture(family, params)
        return mixture.totals(self.X, self.sample_weight, entropy=entropy, engine=self.engine, n_threads=self.n_threads)

    def heat(self, n_parameters: int, rng: np.random.RandomState) -> Fits:
        """The same fits to a random sample of the rows, large enough for a model of so many parameters."""
        n_rows = RESTARTS.n_rows(n_parameters)
        if len(self.X) < 2 * n_rows:
            return self
        X, weight = sample_rows(self.X, self.sample_weight, n_rows, rng)
        return replace(self, X=X, sample_weight=weight)

    def passes(self, family: Gaussian, rows: np.ndarray | None = None) -> Passes:
        """The two steps of EM over all rows or some."""
        some = self.rows
        if rows is not None:
            some = ArrayRows(self.X[rows], None if self.sample_weight is None else self.sample_weight[rows])
        return Passes(family, some, Runner(choose_engine(self.engine, 0.0), self.n_threads))

    def _engine(self, family: Gaussian, n_components: int) -> Engine:
        """The engine of a whole fit, also where a part of it runs."""
        return choose_engine(self.engine, pass_work(self.X.shape, n_components, family.moments) * self.max_iter)

    def _runs(self, family: Gaussian, n_components: int, callbacks: Sequence[Callback] = ()) -> Runs:
        loop = Loop(self.tol, self.max_iter, self.stopping, self.accelerate, -np.inf, callbacks, "raise", self.strict)
        runner = Runner(self._engine(family, n_components), self.n_threads)
        return Runs(self.rows.scaled(family, n_components, runner), n_components, runner, loop)


class _RememberingRows(ArrayRows):
    """Rows whose moments as a whole are computed once for all fits."""

    def __init__(self, X: np.ndarray, sample_weight: np.ndarray | None) -> None:
        super().__init__(X, sample_weight)
        self._known: dict[Moments, Stats] = {}

    def moments(self, kind: Moments, runner: Runner) -> Stats:
        if kind not in self._known:
            self._known[kind] = super().moments(kind, runner)
        return self._known[kind]

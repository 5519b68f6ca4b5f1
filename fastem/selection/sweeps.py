"""The fits of a search: up and down the numbers of components, from starts of each model and from its neighbours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, islice
from typing import Any

import numpy as np

from fastem.em import EMResult
from fastem.engines import choose_engine
from fastem.families import Gaussian, GaussianParams
from fastem.families.base import DegenerateComponentError
from fastem.fitting import FitResult
from fastem.mixture import Mixture
from fastem.progress import FitProgress, GridProgress
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components, Cuts, merges
from fastem.selection.partitions import Partitions
from fastem.selection.spurious import fault_of_fit, found_by_chance
from fastem.selection.workers import Workers

# Splits and merges of a neighbour that are tried.
_SPLITS, _MERGES = 4, 2
# Iterations that starts are tried for, and how many of them are kept at least.
_HEAT, _AT_LEAST = 20, 8
# Starts in reserve that run one after another where the run before led and is spurious.
_RESERVES = 3
# One sweep up and one down; further ones start from neighbours that have improved.
_SWEEPS = 2
# Rows of a race and of the tree are drawn with a seed of their own, the same for all models.
_SAMPLE_SEED = 0


@dataclass(frozen=True, eq=False)
class Run:
    """A fit from a start."""

    start: GaussianParams
    result: FitResult
    fits: Fits

    @property
    def lower_bound(self) -> float:
        return self.result.run.lower_bound

    @cached_property
    def fault(self) -> str:
        """Why it is spurious; empty where it is not."""
        family: Any = self.result.family
        fault = fault_of_fit(family, self.result, self.fits.n_samples)
        return fault or found_by_chance(self.fits, family, self.result.run)

    @cached_property
    def components(self) -> Components:
        return Components.of(self.result.family, self.result.params)  # type: ignore[arg-type]


@dataclass(eq=False)
class Model:
    """A number of components and a structure, and the runs so far."""

    n_components: int
    family: Gaussian
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    #: Runs that others have run in place of.
    n_judged: int = 0
    #: The neighbour's run that starts were made of last, by the step to it or its covariance type.
    started_from: dict[int | str, Run] = field(default_factory=dict)

    @property
    def best(self) -> Run | None:
        """The run of the highest likelihood, of those that are not spurious if there is one."""
        order = sorted(self.runs, key=lambda run: -run.lower_bound)
        return next((run for run in order if not run.fault), order[0] if order else None)

    @property
    def is_found(self) -> bool:
        """Whether there is a solution that is not spurious."""
        return self.best is not None and not self.best.fault

    @property
    def is_misled(self) -> bool:
        """Whether of the runs that were not judged the best is spurious."""
        best = self.best
        return best is not None and any(run.lower_bound > best.lower_bound for run in self.runs[self.n_judged :])


#: Models by number of components and covariance type.
Models = Mapping[tuple[int, str], Model]
Starts = list[GaussianParams]


class Sweeps:
    """Fits all models.

    Parameters
    ----------
    fits : Fits
    models : mapping of (int, str) to Model
        They gain runs.
    workers : Workers
    seeds : sequence of int
        A start by ``init_params`` for each, and as many runs in full.
    progress : FitProgress or GridProgress
    """

    def __init__(
        self, fits: Fits, models: Models, workers: Workers, seeds: Sequence[int], progress: FitProgress | GridProgress
    ) -> None:
        self.fits = fits
        self.models = models
        self.workers = workers
        self.seeds = seeds
        self.n_running = len(seeds)
        self.progress = progress
        largest = max(m.family.n_parameters(m.n_components, fits.X.shape[1]) for m in models.values())
        rng = np.random.RandomState(_SAMPLE_SEED)
        # Where the rows are many, starts race on a sample of them.
        self.heat = fits.heat(largest, rng)
        most = max(k for k, _ in models)
        self.partitions = Partitions(fits.rows, most, choose_engine(fits.engine, 0.0), rng) if most > 1 else None

    def run(self, warm_starts: bool) -> None:
        numbers = sorted({k for k, _ in self.models})
        for sweep in range(_SWEEPS if warm_starts and len(numbers) > 1 else 1):
            step = 1 if sweep % 2 == 0 else -1
            if not sum(self._fit(k, sweep, warm_starts) for k in numbers[::step]):
                break

    def _fit(self, n_components: int, sweep: int, warm_starts: bool) -> int:
        """Fit the models of as many components, which do not depend on each other, and say from how many starts."""
        models = [model for (k, _), model in self.models.items() if k == n_components]
        fresh, partitions = (self._fresh(models), self._partitions(models)) if sweep == 0 else ([], [])

        def find(model: Model) -> tuple[Starts, Iterator[GaussianParams]]:
            began = time.perf_counter()
            if sweep == 0:
                found = self._best(model, fresh + (self._split(model) if warm_starts else []))
                # Partitions race with each other: they may be far from their ends, and behind others that are there.
                first = [*islice(self._best(model, partitions), 1), *islice(found, self.n_running)]
            else:
                near = self._split(model) if sweep % 2 == 0 else self._merged(model)
                found = self._best(model, near + self._other_structures(model))
                first = list(islice(found, 1))
            model.seconds += time.perf_counter() - began
            return first, found

        found = [starts or ([], iter(())) for starts in self.workers.map(find, models)]
        first = [(model, start) for model, (starts, _) in zip(models, found, strict=True) for start in starts]
        self._run_all(first)
        # What is in reserve runs where all that a model has is spurious, and some of it where that which led is.
        self._run_all([(m, s) for m, (_, starts) in zip(models, found, strict=True) if not m.is_found for s in starts])
        for _ in range(_RESERVES):
            jobs = [
                (m, s) for m, (_, starts) in zip(models, found, strict=True) if m.is_misled for s in islice(starts, 1)
            ]
            for model in models:
                model.n_judged = len(model.runs)
            self._run_all(jobs)
        for _ in models:
            self.progress.step_done(n_components, float(sweep < 2))  # the bar knows of one sweep up and one down
        return len(first)

    def _run_all(self, jobs: Sequence[tuple[Model, GaussianParams]]) -> None:
        def run(job: tuple[Model, GaussianParams]) -> tuple[Run | str, float]:
            began = time.perf_counter()
            return self._outcome(*job), time.perf_counter() - began

        if jobs:
            self.progress.expect_runs(len(jobs))
            self.progress.on_phase("iterations")
        # Runs are added here, in order, whichever thread ended first.
        for (model, _), done in zip(jobs, self.workers.map(run, jobs), strict=True):
            if done is None:
                continue
            outcome, seconds = done
            model.seconds += seconds
            if isinstance(outcome, str):
                model.failures.append(outcome)
            elif not (outcome.result.run.interrupted and self.workers.interrupted.is_set()):
                model.runs.append(outcome)

    def _outcome(self, model: Model, start: GaussianParams) -> Run | str:
        """The fit from a start, or what went wrong."""
        watch = self.progress.following(model.n_components, model.family.covariance_type)
        try:
            return Run(start, self.fits.run(model.family, start, watch), self.fits)
        except ValueError as error:
            return str(error)

    # Where to start.

    def _partitions(self, models: Sequence[Model]) -> list[Components]:
        """Those of the trees, where there are that many clusters and they have covariances."""
        n_components, family = models[0].n_components, _general(models)
        if self.partitions is None or n_components == 1:
            return []
        with suppress(ValueError):
            return [Components.of(family, params) for params in self.partitions.starts(family, n_components)]
        return []

    def _fresh(self, models: Sequence[Model]) -> list[Components]:
        """Starts by ``init_params`` for models of as many components; of a single component all are the same."""
        n_components, family = models[0].n_components, _general(models)
        starts = []
        for seed in self.seeds if n_components > 1 else self.seeds[:1]:
            try:
                starts.append(Components.of(family, self.fits.fresh(family, n_components, seed)))
            except ValueError as error:
                for model in models:
                    model.failures.append(str(error))
        return starts

    def _split(self, model: Model) -> list[Components]:
        """Starts from a component less, one of them split; those that have most to gain."""
        below = self._neighbour(model, -1)
        if below is None or model.n_components > self.fits.n_samples:
            return []
        cuts = Cuts.of(below.components)
        order = np.arange(cuts.n_cuts)
        if cuts.n_cuts > _SPLITS:
            X, weight = self.heat.X, self.heat.sample_weight
            mixture = Mixture(model.family, below.result.params)
            found = mixture.posterior(X, "responsibilities", engine=self.fits.engine, n_threads=self.fits.n_threads)
            masses = found.responsibilities if weight is None else weight[:, None] * found.responsibilities
            order = np.argsort(-cuts.room(X, masses), kind="stable")[:_SPLITS]
        return [cuts.split(int(number)) for number in order]

    def _merged(self, model: Model) -> list[Components]:
        """Starts from a component more, two of them merged. A single component has nothing to gain."""
        above = self._neighbour(model, 1) if model.n_components > 1 else None
        return [] if above is None else merges(above.components, _MERGES)

    def _other_structures(self, model: Model) -> list[Components]:
        """The solutions of structures that differ in one letter of their names."""
        starts: list[Components] = []
        if model.n_components == 1:
            return starts
        for (k, kind), other in self.models.items():
            if k == model.n_components and is_near(model.family.structure.name, other.family.structure.name):
                best = other.best
                if best is not None and not best.fault and model.started_from.get(kind) is not best:
                    model.started_from[kind] = best
                    starts.append(best.components)
        return starts

    def _neighbour(self, model: Model, step: int) -> Run | None:
        """The solution of a component more or less, unless the model has started from it before."""
        key = (model.n_components + step, model.family.covariance_type)
        best = self.models[key].best if key in self.models else None
        if best is None or best.fault or model.started_from.get(step) is best:
            return None
        model.started_from[step] = best
        return best

    def _best(self, model: Model, starts: Sequence[Components]) -> Iterator[GaussianParams]:
        """The starts that are best after a few iterations, best first, but before them those that are not spurious.

        Of these as many are looked for as go on. What is not asked for is not made.
        """
        if len(starts) <= 1:
            for start in starts:
                with suppress(DegenerateComponentError):
                    yield start.as_params(model.family, self.fits.weight)
            return
        moments = [start.as_stats(model.family, self.fits.weight) for start in starts]
        found = islice(self.heat.best_first(model.family, moments, _HEAT), max(_AT_LEAST, self.n_running))
        spurious, n_sound = [], 0
        for run in found:
            if found_by_chance(self.heat, model.family, run):
                spurious.append(run.params)
                continue
            if self._is_known(model, run):
                return
            yield run.params
            n_sound += 1
            if n_sound == self.n_running:
                break
        yield from chain(spurious, (run.params for run in found))

    def _is_known(self, model: Model, run: EMResult[GaussianParams]) -> bool:
        """Whether a run of a heat is over, on all rows and where the model has a solution as good."""
        best = model.best
        is_over = run.converged and self.heat is self.fits
        return is_over and best is not None and not best.fault and run.lower_bound <= best.lower_bound + self.fits.tol


def _general(models: Sequence[Model]) -> Gaussian:
    """The family of the structure that all others are a part of: of it starts for all are found once."""
    has_matrices = any(model.family.storage.is_matrix for model in models)
    return replace(models[0].family, covariance_type="full" if has_matrices else "diag")


@cache
def is_near(structure: str, other: str) -> bool:
    """Whether the names of two covariance structures differ in one letter."""
    return sum(a != b for a, b in zip(structure, other, strict=True)) == 1

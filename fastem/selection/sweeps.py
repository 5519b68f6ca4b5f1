"""The fits of a search: up and down the numbers of components, from starts of each model and from its neighbours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastem.families import Gaussian, GaussianParams
from fastem.families.base import DegenerateComponentError
from fastem.fitting import FitResult
from fastem.progress import GridProgress
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components, merges, splits
from fastem.selection.spurious import fault_of_fit
from fastem.selection.workers import Workers

# Splits of a neighbour that are run in full; merges that are tried for a few iterations, and that are run in full. More
# of them (6, 10, 3, and 4 sweeps) find higher maxima, but some of these look spurious, and no rule here sees it: on Old
# Faithful three full covariances have a BIC below that of the published best.
_SPLITS, _MERGES_TRIED, _MERGES = 2, 3, 1
# One sweep up and one down; further ones start from neighbours that have improved.
_SWEEPS = 2
# Rows of a race are drawn with a seed of their own, the same for all models.
_HEAT_SEED = 0


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit starts: the parameters, and the seed with which ``init_params`` finds them again, if it does."""

    params: GaussianParams
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """A fit from a start, and why it is spurious."""

    start: Start
    result: FitResult
    fault: str


@dataclass(eq=False)
class Model:
    """A number of components and a structure, and the runs so far."""

    n_components: int
    family: Gaussian
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    #: The neighbour's run that starts were made of last, by the step to the neighbour.
    started_from: dict[int, Run] = field(default_factory=dict)

    @property
    def best(self) -> Run | None:
        """The run of the highest likelihood, of those that are not spurious if there is one."""
        return max(self.runs, key=lambda run: (not run.fault, run.result.run.lower_bound), default=None)


#: Models by number of components and covariance type.
Models = Mapping[tuple[int, str], Model]


class Sweeps:
    """Fits all models.

    Parameters
    ----------
    fits : Fits
    models : mapping of (int, str) to Model
        They gain runs.
    workers : Workers
    seeds : sequence of int
        A start by ``init_params`` for each.
    progress : GridProgress
    """

    def __init__(
        self, fits: Fits, models: Models, workers: Workers, seeds: Sequence[int], progress: GridProgress
    ) -> None:
        self.fits = fits
        self.models = models
        self.workers = workers
        self.seeds = seeds
        self.progress = progress
        largest = max(m.family.n_parameters(m.n_components, fits.X.shape[1]) for m in models.values())
        # Where the rows are many, starts race on a sample of them.
        self.heat = fits.heat(largest, np.random.RandomState(_HEAT_SEED))

    def run(self, warm_starts: bool) -> None:
        numbers = sorted({k for k, _ in self.models})
        for sweep in range(_SWEEPS if warm_starts and len(numbers) > 1 else 1):
            step = 1 if sweep % 2 == 0 else -1
            if not sum(self._fit(k, sweep, warm_starts) for k in numbers[::step]):
                break

    def _fit(self, n_components: int, sweep: int, warm_starts: bool) -> int:
        """Fit the models of as many components, which do not depend on each other, and say from how many starts."""
        models = [model for (k, _), model in self.models.items() if k == n_components]

        def find(model: Model) -> list[Start]:
            began = time.perf_counter()
            starts = self._fresh(model) if sweep == 0 else []
            if warm_starts:
                starts += self._split(model) if sweep % 2 == 0 else self._merged(model)
            model.seconds += time.perf_counter() - began
            return starts

        found = [starts or [] for starts in self.workers.map(find, models)]
        jobs = [(model, start) for model, starts in zip(models, found, strict=True) for start in starts]
        # The bar knows of one sweep up and one down.
        shares = {id(m): (sweep < 2) / max(1, len(starts)) for m, starts in zip(models, found, strict=True)}

        def run(job: tuple[Model, Start]) -> tuple[Run | str, float]:
            model, start = job
            began = time.perf_counter()
            outcome = self._outcome(model, start)
            self.progress.step_done(model.n_components, shares[id(model)])
            return outcome, time.perf_counter() - began

        for model, starts in zip(models, found, strict=True):
            if not starts:
                self.progress.step_done(model.n_components, shares[id(model)])
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
        return len(jobs)

    def _outcome(self, model: Model, start: Start) -> Run | str:
        """The fit from a start, or what went wrong."""
        watch = self.progress.following(model.n_components, model.family.covariance_type)
        try:
            result = self.fits.run(model.family, start.params, watch)
        except ValueError as error:
            return str(error)
        return Run(start, result, fault_of_fit(model.family, result, self.fits.n_samples))

    # Where to start.

    def _fresh(self, model: Model) -> list[Start]:
        """Starts by ``init_params``; where they race, the best third."""
        # All starts of a single component are the same.
        seeds = self.seeds[:1] if model.n_components == 1 else self.seeds
        starts = []
        for seed in seeds:
            try:
                starts.append(Start(self.fits.fresh(model.family, model.n_components, seed), seed))
            except ValueError as error:
                model.failures.append(str(error))
        if self.heat is self.fits or len(starts) <= 1:
            return starts
        return self._best(model, [start.params for start in starts], max(1, len(starts) // 3)) or starts

    def _split(self, model: Model) -> list[Start]:
        """Starts from a component less, one of them split."""
        below = self._neighbour(model, -1)
        if below is None or model.n_components > self.fits.n_samples:
            return []
        return self._near(model, splits(below), _SPLITS)

    def _merged(self, model: Model) -> list[Start]:
        """Starts from a component more, two of them merged. A single component has nothing to gain."""
        above = self._neighbour(model, 1)
        if above is None or model.n_components == 1:
            return []
        return self._near(model, merges(above, _MERGES_TRIED), _MERGES)

    def _neighbour(self, model: Model, step: int) -> Components | None:
        """The solution of a component more or less, unless the model has started from it before."""
        key = (model.n_components + step, model.family.covariance_type)
        best = self.models[key].best if key in self.models else None
        if best is None or best.fault or model.started_from.get(step) is best:
            return None
        model.started_from[step] = best
        return Components.of(model.family, best.result.params)  # type: ignore[arg-type]

    def _near(self, model: Model, candidates: Sequence[Components], most: int) -> list[Start]:
        params = []
        for candidate in candidates:
            try:
                params.append(candidate.as_params(model.family, self.fits.weight))
            except DegenerateComponentError:
                continue
        return self._best(model, params, most)

    def _best(self, model: Model, params: Sequence[GaussianParams], most: int) -> list[Start]:
        return [Start(found) for found in self.heat.shortlist(model.family, params, most)]

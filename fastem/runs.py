"""Runs of the EM loop from the starts of one fit, with what held their components up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np

from fastem import em
from fastem.acceleration import Acceleration, accelerated, missing_methods
from fastem.degeneracy import Diagnosis, Guard, told
from fastem.em import Callback, EMResult, Occasional, OnInterrupt, Stopping
from fastem.engines import pass_work
from fastem.engines.threads import resolve_threads
from fastem.families import Family, Params
from fastem.families.base import DegenerateComponentError, attempt
from fastem.passes import ArrayRows, Passes, Rows, Runner
from fastem.restarts import Outcome, alike, ranked, run_starts
from fastem.stats import Stats, Stretch

# Work of one pass, in multiply-adds, below which restarts run side by side instead of one after another on all threads.
_SIDE_BY_SIDE_WORK = 5e7
# A heat stops early only where nothing happens any more: slow starts may be the better ones.
_HEAT_TOL = 1e-5


@dataclass(frozen=True)
class Loop:
    """Options of the loop, as in :func:`fastem.fit`."""

    tol: float
    max_iter: int
    stopping: Stopping
    accelerate: Acceleration | None
    previous: float
    callbacks: Sequence[Callback]
    on_interrupt: OnInterrupt
    strict: bool


@dataclass
class Runs:
    """Runs from numbered starts.

    Attributes
    ----------
    guards : dict of int to Guard
        Of the last run from each start.
    passes : dict of int to Passes
        The same.
    """

    family: Family[Any]
    n_components: int
    runner: Runner
    loop: Loop
    guards: dict[int, Guard] = field(default_factory=dict)
    passes: dict[int, Passes] = field(default_factory=dict)

    def degenerate(self, index: int, params: Params) -> np.ndarray:
        """Of which components the covariance collapsed, or was held up, in what the last run from a start led to."""
        return self.family.collapsed_components(params) | self.guards[index].has_held_up(params)

    def worth(self, index: int, run: EMResult[Any]) -> float:
        """What runs are compared by: the mean log-likelihood, which that of a degenerate component is left out of.

        The likelihood of a component on an outlier, or on equal rows, has no bound but ``reg_covar``. The run counts
        with the mean covariance of the other components in its place; -inf where there are none.
        """
        degenerate = self.degenerate(index, run.params)
        if not degenerate.any():
            return run.lower_bound
        ordinary = self.family.with_common_covariance(run.params, degenerate)
        if ordinary is None:
            return -np.inf
        stats = self.passes[index].accumulate(ordinary)
        return stats.log_likelihood / stats.weight

    def diagnose(self, index: int, params: Params, n_rows: int) -> tuple[Diagnosis, ...]:
        """What is wrong with what the last run from a start, over so many rows, led to; nothing where it made no step.

        Raises
        ------
        DegenerateComponentError
            If the loop is strict, and there is something.
        """
        if self.loop.max_iter == 0:
            return ()
        diagnoses = self.guards[index].diagnose(params, n_rows)
        if self.loop.strict and diagnoses:
            raise DegenerateComponentError(told(diagnoses), diagnoses[0].component)
        return diagnoses

    def finals(self, rows: Rows, starts: Mapping[int, Any]) -> dict[int, Outcome]:
        """Run in full."""
        runner = self.runner
        side_by_side = 1
        work = pass_work(rows.shape, self.n_components, self.family.moments)
        if len(starts) > 1 and work < _SIDE_BY_SIDE_WORK and not self.loop.callbacks:
            side_by_side = min(resolve_threads(runner.n_threads, np.inf), len(starts))
            runner = runner if side_by_side == 1 else Runner(runner.engine, 1)
        return self._run(Passes(self.family, rows, runner), starts, self.loop, side_by_side)

    def heat(self, rows: ArrayRows, starts: Mapping[int, Any], max_iter: int) -> dict[int, Outcome]:
        """Run plain EM for a few iterations: over before threads of its own or acceleration have paid."""
        sound = {i: params for i, params in starts.items() if isinstance(params, Params)}
        loop, passes, ahead = self._short(rows, sound, max_iter)
        return self._run(passes, starts, loop, 1, ahead)

    def settle(self, rows: ArrayRows, starts: Mapping[int, Any]) -> dict[int, Outcome]:
        """Run to the end on a sample, accelerated where the family can be, and without the loop's callbacks."""
        accelerate: Acceleration | None = None if missing_methods(self.family) else "auto"
        loop = replace(self.loop, tol=_HEAT_TOL, stopping="change", callbacks=(), accelerate=accelerate)
        return self._run(Passes(self.family, rows, self.runner), starts, loop, 1)

    def best_first(self, rows: ArrayRows, starts: Sequence[Stats], max_iter: int) -> Iterator[EMResult[Any]]:
        """Run plain EM for a few iterations from moments; the runs, best first, and of those alike the first.

        Where the iterations are one call, a run is brought to its end when its turn comes: most are not looked at.
        """
        loop, passes, ahead = self._short(rows, dict(enumerate(starts)), max_iter)
        if ahead is None:
            made = {i: attempt(partial(self.family.update, stats)) for i, stats in enumerate(starts)}
            found = self._run(passes, made, loop, 1)
            yield from (found[i] for i in ranked(found, self.worth))  # type: ignore[misc]
            return
        stretches = {i: stretch for i, stretch in ahead.items() if len(stretch.lower_bounds)}
        reached = {i: float(stretch.lower_bounds[-1]) for i, stretch in stretches.items()}
        # Those that count for less than they reached.
        behind: list[tuple[float, float, int, EMResult[Any]]] = []
        for i in alike(reached):
            while behind and -behind[0][0] >= reached[i]:
                yield heappop(behind)[-1]
            # The first point is not asked for, but for its weights.
            start = Params(stretches[i].weights[0])
            run = self._run(passes, {i: start}, loop, 1, {i: stretches[i]})[i]
            if isinstance(run, EMResult):
                heappush(behind, (-min(self.worth(i, run), run.lower_bound), -run.lower_bound, i, run))
        while behind:
            yield heappop(behind)[-1]

    def _short(
        self, rows: ArrayRows, starts: Mapping[int, Any], max_iter: int
    ) -> tuple[Loop, Passes, dict[int, Stretch] | None]:
        """The loop of a few iterations and its passes; and the iterations of all starts, where they are one call."""
        tol = min(self.loop.tol, _HEAT_TOL)
        loop = replace(self.loop, tol=tol, max_iter=max_iter, callbacks=(), accelerate=None)
        passes = Passes(self.family, rows, self.runner)
        ahead = None
        if starts and loop.stopping == "change":
            ahead = passes.run_ahead([*starts.values()], loop.previous, loop.tol, max_iter)
        return loop, passes, None if ahead is None else dict(zip(starts, ahead, strict=True))

    def trial(self, rows: Rows, params: Params, max_iter: int) -> EMResult[Any]:
        """Plain EM for a few iterations, in which a collapse is an error."""
        accumulate = Passes(self.family, rows, self.runner).accumulate
        return em.run(accumulate, self.family.update, params, tol=_HEAT_TOL, max_iter=max_iter)

    def _run(
        self,
        passes: Passes,
        starts: Mapping[int, Any],
        loop: Loop,
        side_by_side: int,
        ahead: dict[int, Stretch] | None = None,
    ) -> dict[int, Outcome]:
        """Run the loop from each start; ``ahead`` has steps that were made already, and is used up."""
        known = {} if ahead is None else ahead
        is_plain = loop.accelerate is None and loop.stopping == "change"
        in_stretches = is_plain and all(isinstance(callback, Occasional) for callback in loop.callbacks)

        def run_one(index: int, on_interrupt: OnInterrupt, stop: Sequence[Callback]) -> EMResult[Any]:
            guard = Guard(self.family, loop.strict)
            self.guards[index], self.passes[index] = guard, passes
            if loop.accelerate is None:
                steps, e_step = None, passes.of_one_run()
            else:
                rounded = passes.rounds(self.n_components)
                options = (loop.tol, loop.stopping, loop.previous, rounded)
                steps = guarded = accelerated(loop.accelerate, self.family, *options)
                e_step = _quietly(passes.of_one_run(lambda: guarded.rounded))

            def run_ahead(params: Any, previous: float, tol: float, most: int) -> Stretch | None:
                stretch = known.pop(index, None)
                if stretch is None:
                    made = passes.run_ahead([params], previous, tol, most)
                    if made is None:
                        return None
                    stretch = made[0]
                guard.passed(len(stretch.lower_bounds) - 1)
                return stretch

            return em.run(
                e_step,
                guard.update,
                starts[index],
                tol=loop.tol,
                max_iter=loop.max_iter,
                previous=loop.previous,
                start=index,
                callbacks=(*loop.callbacks, *stop),
                on_interrupt=on_interrupt,
                stopping=loop.stopping,
                steps=steps,
                run_ahead=run_ahead if in_stretches else None,
            )

        return run_starts(run_one, starts, side_by_side, loop.on_interrupt)


def _quietly(accumulate: Callable[[Params], Stats]) -> Callable[[Params], Stats]:
    """Without NumPy's warnings: an extrapolated point that is too far off overflows, and is rejected."""

    def quiet(params: Params) -> Stats:
        with np.errstate(over="ignore", invalid="ignore"):
            return accumulate(params)

    return quiet

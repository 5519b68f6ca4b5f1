"""Several starts of one fit: side by side or in turn, and the best of them. A start that fails costs only itself.

Starts race where the rows are many, and starts of different methods always: they run a few iterations on a sample of
the rows, in one heat or several, and only the best, at least one, go on from there with all rows. Where these are very
many, they settle on a larger sample before.

References
----------
Biernacki, Celeux & Govaert (2003), Choosing starting values for the EM algorithm for getting the highest likelihood in
multivariate Gaussian mixture models: short runs of EM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastem.em import Callback, EMResult, OnInterrupt
from fastem.families.base import DegenerateComponentError, attempt

#: Runs the loop from a start: its number, what Ctrl-C does, and further callbacks.
RunOne = Callable[[int, OnInterrupt, Sequence[Callback]], EMResult[Any]]

#: How the run from a start ended.
Outcome = EMResult[Any] | DegenerateComponentError

#: What a run is compared by, of its number and how it ended: a mean log-likelihood, or -inf if that says nothing.
Worth = Callable[[int, EMResult[Any]], float]

# Mean log-likelihoods that are so near to each other are on the way to the same optimum.
_SAME = 1e-6


def run_starts(
    run_one: RunOne, starts: Mapping[int, Any], side_by_side: int, on_interrupt: OnInterrupt
) -> dict[int, Outcome]:
    """Outcome of each start by its number, those that collapsed included. The results do not depend on the threads."""

    def outcome(index: int, on_interrupt: OnInterrupt, stop: Sequence[Callback] = ()) -> Outcome:
        if isinstance(starts[index], DegenerateComponentError):
            return starts[index]
        return attempt(lambda: run_one(index, on_interrupt, stop))

    if side_by_side == 1:
        found = {}
        for index in starts:
            found[index] = outcome(index, on_interrupt)
            if getattr(found[index], "interrupted", False):
                break
        return found
    interrupted: list[bool] = []
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = {i: pool.submit(outcome, i, "raise", [lambda _: bool(interrupted)]) for i in starts}
        try:
            return {i: future.result() for i, future in futures.items()}
        except KeyboardInterrupt:
            interrupted.append(True)
            if on_interrupt == "raise":
                raise
            return {i: future.result() for i, future in futures.items()}


@dataclass(frozen=True)
class Heat:
    """A part of a race: how many iterations, and the share of the starts that goes on (at least one)."""

    max_iter: int
    share: float


@dataclass(frozen=True)
class Race:
    """How starts race.

    Attributes
    ----------
    rows, rows_a_parameter : int
        Rows of the sample: so many, or so many for each free parameter, whichever is more.
    heats : tuple of Heat
    """

    rows: int
    rows_a_parameter: int
    heats: tuple[Heat, ...]

    def n_rows(self, n_parameters: int) -> int:
        """Rows of the sample on which the starts of a model of so many parameters race."""
        return max(self.rows, self.rows_a_parameter * n_parameters)


#: Starts by one method: differences of the mean log-likelihood of a hundredth are seen.
RESTARTS = Race(20_000, 5, (Heat(10, 1 / 3),))
#: Starts by different methods, which are found on the sample too. It shows which of them are in the wrong place.
PANELS = Race(2_000, 3, (Heat(3, 1 / 3), Heat(10, 1 / 8)))

# Rows on which the winner settles: so many, or so many a parameter, but not more values than memory has room for, and
# only where all rows are so many times as many. Of 3, 10 and 20 a parameter some samples lead to another optimum.
_SETTLING_ROWS, _SETTLING_ROWS_A_PARAMETER = 20_000, 50
_SETTLING_VALUES = 2**21
_SETTLING_PAYS = 20


def settling_rows(n_samples: float, n_features: int, n_parameters: int) -> int | None:
    """Rows of the sample on which what wins a panel's race goes on to its end, before it goes on with all rows.

    None where it goes on with all rows at once.

    Parameters
    ----------
    n_samples : float
        Of all rows; infinity where that is not known yet.

    References
    ----------
    Meek, Thiesson & Heckerman (2002), The learning-curve sampling method applied to model-based clustering.
    """
    n_rows = max(_SETTLING_ROWS, _SETTLING_ROWS_A_PARAMETER * n_parameters)
    pays = n_rows * n_features <= _SETTLING_VALUES and n_samples >= _SETTLING_PAYS * n_rows
    return n_rows if pays else None


def race(
    starts: Mapping[int, Any],
    heats: Sequence[Heat],
    run_heat: Callable[[Mapping[int, Any], int], dict[int, Outcome]],
    run_finals: Callable[[Mapping[int, Any]], dict[int, Outcome]],
    worth: Worth = lambda number, run: run.lower_bound,
) -> tuple[dict[int, Outcome], dict[int, Outcome]]:
    """Outcome of each start, and of those that ran in full.

    Of starts that are at the same likelihood after a heat, one goes on.

    Parameters
    ----------
    starts : mapping of int to Params or DegenerateComponentError
    heats : sequence of Heat
        Each starts where the one before ended.
    run_heat : callable
        Runs starts for so many iterations on a sample.
    run_finals : callable
        Runs starts in full. It gets those that the last heat left, and the others if all of these collapse.
    worth : callable
        What runs are compared by.
    """
    outcomes: dict[int, Outcome] = {}
    going_on = dict(starts)
    n_left = len(starts)
    for heat in heats:
        found = run_heat({i: going_on[i] for i in list(going_on)[:n_left]}, heat.max_iter)
        outcomes.update(found)
        sound = {i: run for i, run in outcomes.items() if isinstance(run, EMResult)}
        if any(run.interrupted for run in found.values() if isinstance(run, EMResult)):
            return outcomes, {i: run for i, run in outcomes.items() if i in found}
        ranks = ranked(found, worth)
        n_left = max(1, min(int(len(starts) * heat.share), len(ranks)))
        # What has left the race stands behind, in the order in which it did. What collapses on a sample may hold on
        # all rows: such a start comes last, and from its beginning.
        behind = [i for i in going_on if i not in ranks and i in sound]
        order = [*ranks, *behind, *(i for i in starts if i not in sound)]
        going_on = {i: sound[i].params if i in sound else starts[i] for i in order}
        if n_left == 1:
            break
    order = list(going_on)
    finals: dict[int, Outcome] = {}
    for group in (order[:n_left], order[n_left:]):
        finals = {**finals, **run_finals({i: going_on[i] for i in group})}
        if any(isinstance(run, EMResult) for run in finals.values()):
            break
    outcomes = {**outcomes, **finals}
    return {i: outcomes[i] for i in starts if i in outcomes}, finals


def ranked(found: Mapping[int, Outcome], worth: Worth) -> list[int]:
    """Numbers of the runs, best first; of those at the same likelihood the first."""
    worths = {i: (worth(i, run), run.lower_bound) for i, run in found.items() if isinstance(run, EMResult)}
    # Where no likelihood counts, that which is there decides.
    counts = {i: value for i, (value, _) in worths.items() if np.isfinite(value)}
    return alike(counts) + alike({i: value for i, (_, value) in worths.items() if i not in counts})


def alike(reached: Mapping[int, float]) -> list[int]:
    """Numbers of mean log-likelihoods, largest first; of those that are alike the first."""
    ranks: list[int] = []
    leader = np.inf
    for i in sorted(reached, key=lambda i: -reached[i]):
        if not ranks or not leader - reached[i] <= _SAME:
            ranks.append(i)
            leader = reached[i]
        else:
            ranks[-1] = min(ranks[-1], i)
    return ranks


def best_run(
    outcomes: Mapping[int, Outcome], worth: Worth = lambda number, run: run.lower_bound
) -> tuple[int, EMResult[Any]]:
    """Number and outcome of the run that is worth most, marked where Ctrl-C cut the search short.

    Raises
    ------
    DegenerateComponentError
        If a component collapsed from every start.
    """
    runs = {i: outcome for i, outcome in outcomes.items() if isinstance(outcome, EMResult)}
    if not runs:
        raise next(outcome for outcome in outcomes.values() if isinstance(outcome, DegenerateComponentError))
    best = max(runs, key=lambda i: (worth(i, runs[i]), runs[i].lower_bound)) if len(runs) > 1 else next(iter(runs))
    if any(run.interrupted for run in runs.values()):
        return best, replace(runs[best], converged=False, interrupted=True)
    return best, runs[best]

"""Several starts of one fit: side by side or in turn, and the best of them. A start that fails costs only itself.

Where the rows are many, the starts race: each runs a few iterations on a random sample of the rows, and only the best
third, at least one, goes on from there with all rows.

References
----------
Biernacki, Celeux & Govaert (2003), Choosing starting values for the EM algorithm for getting the highest likelihood in
multivariate Gaussian mixture models: short runs of EM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from fastem.em import Callback, EMResult, OnInterrupt
from fastem.families.base import DegenerateComponentError

T = TypeVar("T")

#: Runs the loop from a start: its number, what Ctrl-C does, and further callbacks.
RunOne = Callable[[int, OnInterrupt, Sequence[Callback]], EMResult[Any]]

#: How the run from a start ended.
Outcome = EMResult[Any] | DegenerateComponentError

RACE_ITERATIONS = 10
# Rows of a race: differences of the mean log-likelihood of a hundredth are seen, and no model fits the sample by heart.
_RACE_ROWS = 20_000
_RACE_ROWS_A_PARAMETER = 5


def attempt(make: Callable[[], T]) -> T | DegenerateComponentError:
    """What ``make`` returns, or the collapse that it ended in."""
    try:
        return make()
    except DegenerateComponentError as error:
        return error


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


def race_rows(n_parameters: int) -> int:
    """Rows of the sample on which the starts of a model of so many parameters race."""
    return max(_RACE_ROWS, _RACE_ROWS_A_PARAMETER * n_parameters)


def race(
    starts: Mapping[int, Any],
    run_heats: Callable[[Mapping[int, Any]], dict[int, Outcome]],
    run_finals: Callable[[Mapping[int, Any]], dict[int, Outcome]],
) -> tuple[dict[int, Outcome], dict[int, Outcome]]:
    """Outcome of each start, and of those that ran in full.

    Parameters
    ----------
    starts : mapping of int to Params or DegenerateComponentError
    run_heats : callable
        Runs starts for a few iterations on a sample.
    run_finals : callable
        Runs starts in full. It gets the best third, and the others if all of these collapse.
    """
    outcomes = run_heats(starts)
    sound = {i: run for i, run in outcomes.items() if isinstance(run, EMResult)}
    if any(run.interrupted for run in sound.values()):
        return outcomes, outcomes
    ranks = sorted(sound, key=lambda i: sound[i].lower_bound, reverse=True)
    n_best = max(1, len(starts) // 3)
    # What collapses on a sample may hold on all rows: such a start comes last, and from its beginning.
    going_on = {
        i: sound[i].params if i in sound else starts[i] for i in (*ranks, *(i for i in starts if i not in sound))
    }
    order = list(going_on)
    finals: dict[int, Outcome] = {}
    for group in (order[:n_best], order[n_best:]):
        finals = {**finals, **run_finals({i: going_on[i] for i in group})}
        if any(isinstance(run, EMResult) for run in finals.values()):
            break
    return {**outcomes, **finals}, finals


def best_run(outcomes: Sequence[Outcome]) -> EMResult[Any]:
    """The outcome of the highest likelihood, marked where Ctrl-C cut the search short.

    Raises
    ------
    DegenerateComponentError
        If a component collapsed from every start.
    """
    runs = [outcome for outcome in outcomes if isinstance(outcome, EMResult)]
    if not runs:
        raise next(outcome for outcome in outcomes if isinstance(outcome, DegenerateComponentError))
    best = max(runs, key=lambda run: run.lower_bound)
    if any(run.interrupted for run in runs):
        return replace(best, converged=False, interrupted=True)
    return best

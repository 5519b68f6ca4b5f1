"""Several starts of one fit: side by side or in turn, and the best of them. A start that fails costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from fastem.em import Callback, EMResult, OnInterrupt
from fastem.families.base import DegenerateComponentError

T = TypeVar("T")

#: Runs the loop from a start: its number, what Ctrl-C does, and further callbacks.
RunOne = Callable[[int, OnInterrupt, Sequence[Callback]], EMResult[Any]]


def attempt(make: Callable[[], T]) -> T | DegenerateComponentError:
    """What ``make`` returns, or the collapse that it ended in."""
    try:
        return make()
    except DegenerateComponentError as error:
        return error


def run_starts(
    run_one: RunOne, starts: Sequence[Any], side_by_side: int, on_interrupt: OnInterrupt
) -> list[EMResult[Any] | DegenerateComponentError]:
    """Outcome of each start, in order, those that collapsed included. The results do not depend on the threads."""

    def outcome(
        index: int, on_interrupt: OnInterrupt, stop: Sequence[Callback] = ()
    ) -> EMResult[Any] | DegenerateComponentError:
        if isinstance(starts[index], DegenerateComponentError):
            return starts[index]
        return attempt(lambda: run_one(index, on_interrupt, stop))

    if side_by_side == 1:
        found = []
        for index in range(len(starts)):
            found.append(outcome(index, on_interrupt))
            if getattr(found[-1], "interrupted", False):
                break
        return found
    interrupted: list[bool] = []
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = [pool.submit(outcome, i, "raise", [lambda _: bool(interrupted)]) for i in range(len(starts))]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            interrupted.append(True)
            if on_interrupt == "raise":
                raise
            return [future.result() for future in futures]


def best_run(outcomes: Sequence[EMResult[Any] | DegenerateComponentError]) -> EMResult[Any]:
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

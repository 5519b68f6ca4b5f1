"""Interleaved timing: everyone has a turn in each round, so that what the machine does meanwhile hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

# Threads of a matrix library spin for some 10 ms after their last task, on cores that others are measured on.
PAUSE = 0.1


@dataclass(frozen=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        if any(math.isnan(value) for value in values):
            return cls(math.nan, math.nan, math.nan)
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 3) -> str:
        return f"{self.median:.{digits}g} [{self.min:.{digits}g}, {self.max:.{digits}g}]"


@dataclass(frozen=True)
class Turn:
    """Seconds of the clock and of the processor."""

    wall: float
    cpu: float

    def __sub__(self, other: Turn) -> Turn:
        return Turn(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, divisor: float) -> Turn:
        return Turn(self.wall / divisor, self.cpu / divisor)


def clock(function: Callable[[], Any]) -> tuple[Turn, Any]:
    """What a call took, after a pause for the threads of the call before, and what it returned."""
    time.sleep(PAUSE)
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    return Turn(time.perf_counter() - wall, time.process_time() - cpu), value


@dataclass(frozen=True)
class Times:
    """Turns of one contender, and how many times faster it was than the base of the same round."""

    turns: list[Turn]
    faster: list[float]

    @property
    def wall(self) -> Spread:
        return Spread.of([turn.wall for turn in self.turns])

    @property
    def cpu(self) -> Spread:
        return Spread.of([turn.cpu for turn in self.turns])

    @property
    def speedup(self) -> Spread:
        return Spread.of(self.faster)

    def as_json(self) -> dict[str, Any]:
        return {
            "wall": [turn.wall for turn in self.turns],
            "cpu": [turn.cpu for turn in self.turns],
            "faster": [None if math.isnan(ratio) else ratio for ratio in self.faster],
            "median_wall": self.wall.median,
            "median_faster": None if math.isnan(self.speedup.median) else self.speedup.median,
        }


@dataclass(frozen=True)
class Rounds:
    """Times by contender, and what those who failed failed with."""

    times: dict[str, Times]
    failures: dict[str, str]


def interleave(
    turns: Mapping[str, Callable[[], Turn]], repeats: int, base: str, budget: float = math.inf, must: Sequence[str] = ()
) -> Rounds:
    """Rounds A B C D, A B C D ...; the ratios are those within a round.

    Who is not among ``must`` drops out of further rounds when a turn more would take it over ``budget`` seconds in all,
    and out of the comparison when its turn fails.
    """
    rounds: list[dict[str, Turn]] = []
    failures: dict[str, str] = {}
    spent = dict.fromkeys(turns, 0.0)
    for number in range(repeats):
        rounds.append({})
        for name, turn in turns.items():
            if name in failures or (name not in must and spent[name] * (number + 1) > budget * number > 0):
                continue
            began = time.perf_counter()
            try:
                rounds[-1][name] = turn()
            except Exception as error:
                if name in must:
                    raise
                failures[name] = failure(error)
            spent[name] += time.perf_counter() - began
    return Rounds({name: _times(name, rounds, base) for name in turns if name not in failures}, failures)


def failure(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _times(name: str, rounds: list[dict[str, Turn]], base: str) -> Times:
    mine = [r for r in rounds if name in r]
    return Times([r[name] for r in mine], [_ratio(r[base].wall, r[name].wall) for r in mine])


def _ratio(base: float, other: float) -> float:
    # The difference of two short fits can come out as nothing: no ratio then.
    return base / other if base > 0 and other > 0 else float("nan")

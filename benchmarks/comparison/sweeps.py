"""Time against the number of rows, features and components."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from comparison import iterations
from comparison.contenders import takers
from problems import Shape, make_soft_problem

#: Shapes along each axis. Responsibilities are soft on all of them: no one has less to do where D is large.
SWEEPS = {
    "N": [Shape(n, 8, 8) for n in (1_000, 10_000, 100_000, 1_000_000)],
    "D": [Shape(50_000, d, 16) for d in (2, 4, 8, 16, 32, 64, 128)],
    "K": [Shape(100_000, 8, k) for k in (2, 4, 8, 16, 32, 64, 128)],
}

# Multiply-adds, roughly, of all iterations that a figure is the mean of.
_WORK = 2e9
_MOST_ITERATIONS = 100
# Share of the budget for a peer and shape: there are many shapes, and a curve bears more noise than a table.
_BUDGET = 0.25


def measure(settings: Any, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """After each size the axis and its results so far by size and contender, printed on the way."""
    for axis, shapes in SWEEPS.items():
        found: dict[str, Any] = {}
        for full_shape in shapes:
            shape = full_shape.scaled(settings.scale)
            size = {"N": shape.n_samples, "D": shape.n_features, "K": shape.n_components}[axis]
            print(f"\nAgainst {axis}: {shape.name} {settings.dtype}, soft responsibilities")
            X, start = make_soft_problem(shape, settings.dtype)
            contenders = takers(names, shape.structure, settings.dtype)
            own = {"iterations": _iterations(shape, settings.iterations), "budget": settings.budget * _BUDGET}
            changed = argparse.Namespace(**{**vars(settings), **own})
            found[str(size)] = iterations.measure(X, start, shape, changed, contenders)
            yield axis, found


def _iterations(shape: Shape, least: int) -> int:
    """More iterations of a small problem: one alone is too short to be measured."""
    work = shape.n_samples * shape.n_components * shape.n_features * (shape.n_features + 8)
    return max(least, min(round(_WORK / work), _MOST_ITERATIONS))

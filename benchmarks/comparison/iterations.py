"""What an EM iteration takes, and the likelihood that it reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from comparison.contenders import BASE, CONTENDERS, REFERENCE, unfitted
from comparison.timing import Times, Turn, clock, interleave
from problems import Shape, Start

HOW = """\
Seconds of an EM iteration = (a fit of 1 + m iterations - a fit of 1 iteration) / m, the two fits one after the other,
with tol=0 and the same weights, means and precisions to start from. Validation, start-up and the E-step that
scikit-learn adds after its last iteration are in both fits and so in none of the figures. Each round gives everyone a
turn; "times faster" is scikit-learn's turn over the contender's in the same round. Figures are medians [least, most].
PASS or MISS: the median against the target. DIFFERS: another likelihood than the reference's (fastem numpy, in
float64 whatever the rows are). NOISE: too short to tell."""

# Rows of the fit that compiles, loads and warms everything: several panels, so that the parallel drivers are among it.
_WARM_UP_ROWS = 8192
# Relative difference of the mean log-likelihood that is still rounding.
_AGREES = {"float64": 1e-8, "float32": 1e-4}


def measure(X: np.ndarray, start: Start, shape: Shape, settings: Any) -> dict[str, Any]:
    """Results by contender, printed on the way."""
    print(_header())
    fitted: dict[str, Any] = {}

    def fit(name: str, rows: np.ndarray, max_iter: int) -> None:
        model = unfitted(
            name, shape.n_components, shape.structure, start.as_options(), settings.threads, max_iter=max_iter
        )
        fitted[name] = model.fit(rows)

    def turn(name: str) -> Turn:
        short, _ = clock(partial(fit, name, X, 1))
        long, _ = clock(partial(fit, name, X, 1 + settings.iterations))
        return (long - short) / settings.iterations

    for name in CONTENDERS:
        fit(name, X[:_WARM_UP_ROWS], 1)
    turns: dict[str, Callable[[], Turn]] = {name: partial(turn, name) for name in CONTENDERS}
    times = interleave(turns, settings.repeats, BASE)
    reached = {name: float(fitted[name].lower_bound_) for name in CONTENDERS}
    results = {
        name: {**times[name].as_json(), "log_likelihood": reached[name], "mark": _mark(name, shape, times, reached, X)}
        for name in CONTENDERS
    }
    for name in CONTENDERS:
        print(_line(name, times[name], reached[name], shape, results[name]["mark"]), flush=True)
    return results


def _mark(name: str, shape: Shape, times: dict[str, Times], reached: dict[str, float], X: np.ndarray) -> str:
    if abs(reached[name] - reached[REFERENCE]) > _AGREES[X.dtype.name] * abs(reached[REFERENCE]):
        return "DIFFERS"
    if shape.target is None or name in (BASE, REFERENCE):
        return ""
    if math.isnan(times[name].speedup.median):
        return "NOISE"
    return "PASS" if times[name].speedup.median >= shape.target else "MISS"


def _header() -> str:
    return (
        f"  {'':<14} {'seconds an iteration':<29} {'CPU s':>7}  {'times faster than scikit-learn':<30} "
        f"{'target':>6} {'':<7}  mean log-likelihood"
    )


def _line(name: str, times: Times, reached: float, shape: Shape, mark: str) -> str:
    faster = "1" if name == BASE else times.speedup.text()
    target = f"{shape.target:g}" if mark in ("PASS", "MISS", "NOISE") else ""
    return (
        f"  {name:<14} {times.wall.text():<29} {times.cpu.median:>7.3g}  {faster:<30} {target:>6} {mark:<7}  "
        f"{reached:.10g}"
    )

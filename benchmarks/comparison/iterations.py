"""What an EM iteration takes, and the likelihood that it reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from comparison.contenders import BASE, CONTENDERS, ESTIMATORS, REFERENCE
from comparison.judge import log_likelihood
from comparison.timing import Times, Turn, failure, interleave
from peers.base import Fit, Outcome
from problems import Shape, Start

HOW = """\
Seconds of an EM iteration = (a fit of 1 + m iterations - a fit of 1 iteration) / m, the two fits one after the other,
without a tolerance and with the same weights, means and precisions to start from. Validation, start-up and the E-step
that some add after the last iteration are in both fits and so in none of the figures. Each round gives everyone a turn;
"times faster" is scikit-learn's turn over the contender's in the same round. Figures are medians [least, most] over the
rounds; a slow peer has fewer of them (--budget). The log-likelihood is that of the parameters reached, by the reference
engine (fastem numpy, in float64) for all. PASS or MISS: the median against the target. DIFFERS: another likelihood than
the reference's. NOISE: too short to tell. own start: takes no start, and reaches another likelihood."""

# Rows of the fit that compiles, loads and warms everything: several panels, so that the parallel drivers are among it.
_WARM_UP_ROWS = 8192
# Relative difference of the mean log-likelihood that is still rounding; with a peer also its regularisation.
_AGREES = {"float64": 1e-8, "float32": 1e-4}
_AGREES_WITH_PEER = {"float64": 1e-5, "float32": 1e-4}


def measure(X: np.ndarray, start: Start, shape: Shape, settings: Any, names: list[str]) -> dict[str, Any]:
    """Results by contender, printed on the way."""
    print(_header())
    reached: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    turns: dict[str, Callable[[], Turn]] = {}
    with ExitStack() as stack:

        def open_problem(name: str, rows: np.ndarray) -> Any:
            return CONTENDERS[name].problem(rows, start, shape.structure, settings.threads)

        def turn(name: str, fit: Fit) -> Turn:
            short = fit(1)
            reached[name] = fit(1 + settings.iterations)
            return (reached[name].turn - short.turn) / settings.iterations

        for name in names:
            try:
                if not CONTENDERS[name].own_process:
                    with open_problem(name, X[:_WARM_UP_ROWS]) as fit:
                        fit(1)
                turns[name] = partial(turn, name, stack.enter_context(open_problem(name, X)))
            except Exception as error:
                if name in ESTIMATORS:
                    raise
                failures[name] = failure(error)
        # The reference is there for its likelihood: it may take ten times as long as scikit-learn.
        measured = [name for name in ESTIMATORS if name != REFERENCE]
        rounds = interleave(turns, settings.repeats, BASE, settings.budget, must=measured)
    failures.update(rounds.failures)
    likelihoods = {name: log_likelihood(X, reached[name], shape.structure) for name in rounds.times}
    results: dict[str, Any] = {}
    for name in names:
        if name in failures:
            results[name] = {"failure": failures[name]}
            print(f"  {name:<14} {failures[name]}", flush=True)
            continue
        mark = _mark(name, shape, rounds.times[name], likelihoods, X)
        results[name] = {**rounds.times[name].as_json(), "log_likelihood": likelihoods[name], "mark": mark}
        print(_line(name, rounds.times[name], likelihoods[name], shape, mark), flush=True)
    return results


def _mark(name: str, shape: Shape, times: Times, likelihoods: dict[str, float], X: np.ndarray) -> str:
    if CONTENDERS[name].own_start:
        return "own start"
    agrees = (_AGREES if name in ESTIMATORS else _AGREES_WITH_PEER)[X.dtype.name]
    expected = likelihoods.get(REFERENCE, likelihoods[BASE])
    if not abs(likelihoods[name] - expected) <= agrees * abs(expected):
        return "DIFFERS"
    if math.isnan(times.speedup.median):
        return "NOISE"
    if shape.target is None or name not in ("fastem numba", "fastem cython"):
        return ""
    return "PASS" if times.speedup.median >= shape.target else "MISS"


def _header() -> str:
    return (
        f"  {'':<14} {'seconds an iteration':<29} {'CPU s':>7}  {'times faster than scikit-learn':<30} "
        f"{'target':>6} {'':<9}  mean log-likelihood"
    )


def _line(name: str, times: Times, likelihood: float, shape: Shape, mark: str) -> str:
    faster = "1" if name == BASE else times.speedup.text()
    target = f"{shape.target:g}" if mark in ("PASS", "MISS") else ""
    return (
        f"  {name:<14} {times.wall.text():<29} {times.cpu.median:>7.3g}  {faster:<30} {target:>6} {mark:<9}  "
        f"{likelihood:.10g}"
    )

"""predict, predict_proba and score_samples of one and the same model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from comparison.contenders import BASE, ESTIMATORS
from comparison.timing import Turn, clock, interleave

METHODS = ("predict", "predict_proba", "score_samples")
HOW = """\
Seconds of a call with scikit-learn's fitted parameters, which every contender takes over. The last column is the
largest difference from scikit-learn's answer; for predict the share of rows that get another label."""

_WARM_UP_ROWS = 8192


def measure(X: np.ndarray, sklearn_model: Any, settings: Any, names: list[str]) -> dict[str, Any]:
    """Results by method and contender, printed on the way."""
    print(_header())
    estimators = {name: peer for name, peer in ESTIMATORS.items() if name in names}
    models = {name: peer.with_parameters_of(sklearn_model, settings.threads) for name, peer in estimators.items()}
    results: dict[str, Any] = {}
    for method in METHODS:
        answers: dict[str, np.ndarray] = {}
        turns: dict[str, Callable[[], Turn]] = {}
        for name, model in models.items():
            call = getattr(model, method)
            call(X[:_WARM_UP_ROWS])
            turns[name] = partial(_turn, call, X, answers, name)
        times = interleave(turns, settings.repeats, BASE, must=list(models)).times
        results[method] = {}
        for name in models:
            difference = _difference(answers[name], answers[BASE])
            results[method][name] = {**times[name].as_json(), "difference": difference}
            faster = "1" if name == BASE else times[name].speedup.text()
            print(
                f"  {method:<14} {name:<14} {times[name].wall.text():<29} {times[name].cpu.median:>7.3g}  "
                f"{faster:<30} {difference:.1e}",
                flush=True,
            )
    return results


def _header() -> str:
    return f"  {'':<14} {'':<14} {'seconds':<29} {'CPU s':>7}  {'times faster than scikit-learn':<30} difference"


def _turn(call: Callable[[np.ndarray], np.ndarray], X: np.ndarray, answers: dict[str, np.ndarray], name: str) -> Turn:
    # The answer of the round before is given back first: it is nobody's time, and nobody's memory.
    answers.pop(name, None)
    turn, answers[name] = clock(partial(call, X))
    return turn


def _difference(answer: np.ndarray, expected: np.ndarray) -> float:
    if answer.dtype.kind == "i":
        return float(np.mean(answer != expected))
    return float(np.max(np.abs(answer - expected)))

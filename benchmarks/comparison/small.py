"""Small problems, where what surrounds the kernels decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from comparison.contenders import BASE, ESTIMATORS
from comparison.timing import Turn, interleave
from peers.estimators import Fastem
from problems import Shape, make_rows

HOW = """\
Microseconds of a call, warm, all options at their defaults: GaussianMixture(3, random_state=0).fit of 1000 rows of 2
features, and predict of one row. Each figure is the mean of as many calls as fill a fifth of a second."""

_SHAPE = Shape(1000, 2, 3, "full")
_CONTENDERS = {BASE: ESTIMATORS[BASE], "fastem": Fastem("auto")}
_SECONDS = 0.2


def measure(settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each problem and its seconds by contender, printed on the way."""
    print(f"\nSmall problems, {settings.dtype}\n{HOW}")
    X = make_rows(_SHAPE, settings.dtype)
    models = {
        name: peer.unfitted(_SHAPE.n_components, settings.threads, random_state=0).fit(X)
        for name, peer in _CONTENDERS.items()
    }
    problems = {
        "fit of 1000 x 2 x 3": {name: partial(model.fit, X) for name, model in models.items()},
        "predict of one row": {name: partial(model.predict, X[:1]) for name, model in models.items()},
    }
    for problem, calls in problems.items():
        turns = {name: partial(_turn, call) for name, call in calls.items()}
        times = interleave(turns, settings.repeats, BASE, must=list(calls)).times
        for name in calls:
            wall = times[name].wall
            micros = " ".join(f"{1e6 * value:.4g}" for value in (wall.median, wall.min, wall.max))
            faster = "" if name == BASE else f"{times[name].speedup.text()} times faster"
            print(f"  {problem:<20} {name:<14} {micros:<24} us (median, least, most)  {faster}", flush=True)
        yield problem, {name: times[name].as_json() for name in calls}


def _turn(call: Callable[[], np.ndarray]) -> Turn:
    call()
    calls = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < _SECONDS:
        call()
        calls += 1
    return Turn(time.perf_counter() - wall, time.process_time() - cpu) / calls

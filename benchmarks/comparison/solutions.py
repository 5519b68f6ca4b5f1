"""The way to a solution: found start, tight tolerance, until converged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from comparison.contenders import BASE, ESTIMATORS
from comparison.timing import Spread, Turn, clock, interleave
from peers.estimators import Fastem
from problems import Shape, make_rows

SHAPES = (Shape(1_000_000, 8, 8, "full"), Shape(200_000, 32, 32, "full"))
#: Each as its users call it, all else at its defaults; and fastem with what it offers to slow fits.
CONTENDERS = {
    BASE: (ESTIMATORS[BASE], {}),
    "fastem": (Fastem("auto"), {}),
    "fastem accelerated": (Fastem("auto"), {"accelerate": "auto"}),
}
HOW = """\
Seconds of GaussianMixture(K, tol=1e-6, max_iter={max_iter}, random_state=seed).fit(X), the search for a start included,
all else at its defaults, and with accelerate="auto"; another seed each round. The log-likelihood is the mean of a row
where the fit ends."""

_TOL = 1e-6
_WARM_UP_ROWS = 8192


def measure(settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each shape's name and results by contender, printed on the way."""
    print(f"\nTime to solution, {settings.dtype}\n{HOW.format(max_iter=settings.max_iter)}")
    for shape in SHAPES:
        scaled = shape.scaled(settings.scale)
        yield scaled.name, _measure(scaled, settings)


def _measure(shape: Shape, settings: Any) -> dict[str, Any]:
    print(shape.name)
    X = make_rows(shape, settings.dtype)
    fitted: dict[str, list[Any]] = {name: [] for name in CONTENDERS}

    def fit(name: str, rows: np.ndarray, max_iter: int) -> Turn:
        peer, own = CONTENDERS[name]
        options = {"tol": _TOL, "max_iter": max_iter, "random_state": len(fitted[name]), **own}
        model = peer.unfitted(shape.n_components, settings.threads, **options)
        turn, _ = clock(partial(model.fit, rows))
        fitted[name].append(model)
        return turn

    for name in CONTENDERS:
        fit(name, X[:_WARM_UP_ROWS], 1)
        fitted[name].clear()
    turns = {name: partial(fit, name, X, settings.max_iter) for name in CONTENDERS}
    times = interleave(turns, settings.solution_repeats, BASE, must=list(CONTENDERS)).times
    results: dict[str, Any] = {}
    for name, models in fitted.items():
        reached = [float(model.score(X)) for model in models]
        results[name] = {
            **times[name].as_json(),
            "log_likelihood": reached,
            "n_iter": [int(model.n_iter_) for model in models],
            "converged": [bool(model.converged_) for model in models],
        }
        iterations = ", ".join(str(n) + ("" if done else "+") for n, done in _ends(results[name]))
        print(
            f"  {name:<18} {times[name].wall.text():<28} s, {iterations} iterations (+ not converged), log-likelihood "
            f"{Spread.of(reached).text(8)}; {times[name].speedup.text()} times faster",
            flush=True,
        )
    return results


def _ends(result: dict[str, Any]) -> list[tuple[int, bool]]:
    return list(zip(result["n_iter"], result["converged"], strict=True))

"""fastem's pass against the limit of this machine, whose ceilings are measured between the passes.

    python benchmarks/limit.py [--shapes 8x8 diag] [--parts skipping] [--dtype float32] [--json limit.json]

README.md beside this file says how to read the table.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

PARTS = ("shapes", "skipping")
HOW = """\
The limit of a pass: N K D^2 multiply-adds (full) or 4 N K D (diag) at the rate of a large matrix product, plus N K
exponentials, or the time to read the rows once where that is longer; all on {threads} threads. A pass is the E-step
(engine.accumulate) and the M-step (family.update), from parameters after {iterations} iterations of the reference.
In a round the ceilings are measured before and after each pass, and its limit is that of their mean; "times the limit"
is the median of the rounds' ratios [least, most]. PASS or MISS: the median against the target, for float64. WRONG: in
some pass the responsibilities did not add up to the number of rows."""

# Iterations before the pass that is measured: the parameters are no longer the start's, and still soft.
_ITERATIONS = 2
# More than any cache holds, for the bandwidth that is printed; a pass is held against that of its own rows.
_READ_BYTES = 2**28
# Relative difference between the sum of all responsibilities and the number of rows.
_ROUNDING = 1e-4
# Times the limit that a pass may take in float64, by structure and number of features.
_TARGETS = {
    "full": {8: 3.0, 16: 2.2, 32: 2.2, 64: 1.8, 128: 1.5},
    "diag": dict.fromkeys((8, 16, 32, 64, 128), 2.0),
}


def main() -> None:
    settings = _arguments()
    from comparison import machine

    machine.set_threads(settings.threads)
    _measure(settings)


def _arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", metavar="NAME", help="those whose names contain one of these, as 8x8")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="shapes against the limit, skipping")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--engines", nargs="+", choices=("numba", "cython", "numpy"), default=("numba", "cython"))
    parser.add_argument("--threads", type=int, default=cores, help="for BLAS, Numba and fastem alike; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the number of rows: 0.01 for a smoke run")
    parser.add_argument("--repeats", type=int, default=7, help="rounds; figures are medians over them")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write figures there as they are measured")
    return parser.parse_args()


def _measure(settings: argparse.Namespace) -> None:
    # Only now: these read the number of threads when they are imported.
    from comparison import figures, machine, skipping

    found: dict[str, Any] = {
        "program": "limit",
        "settings": machine.plain(settings),
        "machine": machine.describe(),
    }
    print(machine.report(found["machine"]))
    if "shapes" in settings.parts:
        figures.collect(found, "ceilings", _measure_ceilings(settings), settings.json)
        figures.collect(found, "shapes", _measure_shapes(settings), settings.json)
    if "skipping" in settings.parts:
        found["skipping"] = skipping.measure(settings)
    found["load_at_end"] = machine.load()
    figures.write(found, settings.json)
    if settings.json:
        print(f"\nAll figures are in {settings.json}.")


def _measure_ceilings(settings: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    import numpy as np
    from comparison.ceilings import Gauge

    values = np.ones(_READ_BYTES // 8)
    for dtype in ("float64", "float32"):
        gauge = Gauge(dtype, settings.threads)
        ceilings: dict[str, Any] = {"multiply_adds": gauge.multiply_adds(), "exponentials": gauge.exponentials()}
        ceilings["read"] = gauge.read(values)
        print(_ceilings_line(dtype, ceilings))
        yield dtype, ceilings


def _measure_shapes(settings: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    from comparison.ceilings import Gauge
    from problems import chosen_shapes

    print("\n" + HOW.format(threads=settings.threads, iterations=_ITERATIONS))
    gauge = Gauge(settings.dtype, settings.threads)
    for full_shape in chosen_shapes(settings.shapes):
        shape = full_shape.scaled(settings.scale)
        yield shape.name, _measure_shape(shape, gauge, settings)


def _ceilings_line(dtype: str, ceilings: dict[str, Any]) -> str:
    rates = ", ".join(f"{name} {rate / 1e9:.3g}" for name, rate in ceilings["exponentials"].items())
    name = "DGEMM" if dtype == "float64" else "SGEMM"
    return (
        f"{name}: {2 * ceilings['multiply_adds'] / 1e9:.4g} GFLOP/s; exponentials, 1e9/s: {rates}; reading memory: "
        f"{ceilings['read'] / 1e9:.3g} GB/s"
    )


def _measure_shape(shape: Any, gauge: Any, settings: argparse.Namespace) -> dict[str, Any]:
    from comparison.ceilings import seconds_of
    from problems import make_soft_problem, overlap

    from fastem import Gaussian, available_engines, get_engine

    X, start = make_soft_problem(shape, settings.dtype)
    family = Gaussian(shape.structure)
    params = family.from_precisions(*(a.astype("float64") for a in (start.weights, start.means, start.precisions)))
    engines = {name: get_engine(name) for name in settings.engines if name in available_engines()}
    reference = get_engine("numpy")
    for _ in range(_ITERATIONS):
        params = family.update(reference.accumulate(family, X, params))
    largest, vanishing = overlap(reference.evaluate(family, X[:20_000], params, ("responsibilities",)).responsibilities)
    print(
        f"\n{shape.name} {settings.dtype}; a row's largest responsibility is {largest:.2f} on average, and "
        f"{vanishing:.1%} of all vanish"
    )

    wrong: set[str] = set()

    def pass_of(name: str, engine: Any) -> Callable[[], None]:
        def one_pass() -> None:
            stats = engine.accumulate(family, X, params, n_threads=settings.threads)
            family.update(stats)
            # A pass that loses rows is a fast one.
            if abs(stats.mass.sum() / len(X) - 1) > _ROUNDING:
                wrong.add(name)

        return one_pass

    passes = {name: pass_of(name, engine) for name, engine in engines.items()}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in passes}
    for one_pass in passes.values():
        one_pass()
    before = gauge.measure(X)
    for _ in range(settings.repeats):
        for name, one_pass in passes.items():
            seconds = seconds_of(one_pass)
            after = gauge.measure(X)
            ceilings = before.mean(after)
            rounds[name].append({"seconds": seconds, "limit": _limit(shape, X.nbytes, ceilings), **asdict(ceilings)})
            before = after
    target = _TARGETS[shape.structure].get(shape.n_features) if settings.dtype == "float64" else None
    for name, measured in rounds.items():
        print(_line(name, measured, target) + (" WRONG: mass is lost" if name in wrong else ""), flush=True)
    return {
        "target": target,
        "largest_responsibility": largest,
        "vanishing": vanishing,
        "wrong": sorted(wrong),
        "engines": rounds,
    }


def _limit(shape: Any, n_bytes: int, ceilings: Any) -> float:
    """Seconds that no pass of this shape can beat."""
    pairs = shape.n_samples * shape.n_components
    products = pairs * (shape.n_features**2 if shape.structure == "full" else 4 * shape.n_features)
    return max(products / ceilings.multiply_adds + pairs / ceilings.exponentials, n_bytes / ceilings.read)


def _line(name: str, rounds: list[dict[str, Any]], target: float | None) -> str:
    from comparison.timing import Spread

    seconds = Spread.of([r["seconds"] for r in rounds])
    limit = Spread.of([r["limit"] for r in rounds])
    ratio = Spread.of([r["seconds"] / r["limit"] for r in rounds])
    verdict = "" if target is None else f"{'PASS' if ratio.median <= target else 'MISS'} {target:.1f}"
    return (
        f"  {name:<8} {seconds.text():<28} s; limit {limit.text():<28} s; times the limit {ratio.text():<20} {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())

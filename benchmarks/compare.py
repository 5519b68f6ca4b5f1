"""fastem against its peers on this machine: same rows, same start, same iterations.

    python benchmarks/compare.py [--shapes 8x8 diag] [--dtype float32] [--scale 0.1] [--json results.json]

README.md beside this file says how to read the tables.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECTIONS = ("iterations", "posteriors", "small", "solution", "memory", "cold-start", "sweep")
PEERS = ("oneDAL", "OpenCV", "Armadillo", "JAX", "pomegranate", "mclust", "Spark")


def main() -> None:
    settings = _arguments()
    from comparison import machine

    if settings.malloc_keep:
        machine.restart_with_malloc_keeping()
    machine.set_threads(settings.threads)
    warnings.simplefilter("ignore")
    _compare(settings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", metavar="NAME", help="those whose names contain one of these, as 8x8")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--iterations", type=_positive, default=3, help="EM iterations that a figure is the mean of")
    parser.add_argument("--repeats", type=_positive, default=5, help="rounds; figures are medians over them")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the number of rows: 0.01 for a smoke run")
    parser.add_argument("--threads", type=_positive, default=2, help="for BLAS, OpenMP, Numba and fastem alike")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="beside scikit-learn; by default all that can be had")
    parser.add_argument(
        "--budget", type=float, default=60, help="seconds for a peer and shape, after which it sits out further rounds"
    )
    parser.add_argument("--max-iter", type=_positive, default=300, help="iterations at most, on the way to a solution")
    parser.add_argument("--solution-repeats", type=_positive, default=1, help="rounds of the way to a solution")
    parser.add_argument("--malloc-keep", action="store_true", help="let glibc keep freed memory: scikit-learn's best")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write figures there as they are measured")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but got {number}")
    return number


def _compare(settings: argparse.Namespace) -> None:
    # Only now: these read the number of threads when they are imported.
    from comparison import cold_starts, contenders, figures, machine, memory, small, solutions, sweeps

    versions, missing = contenders.find(settings.peers)
    found: dict[str, Any] = {
        "program": "compare",
        "settings": machine.plain(settings),
        "machine": machine.describe(),
        "contenders": versions,
        "missing": missing,
    }
    print(machine.report(found["machine"]))
    print("Contenders: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    for name, reason in missing.items():
        print(f"Missing: {name}: {reason}")
    if settings.scale != 1:
        print(f"Rows times {settings.scale:g}: the targets are for the full shapes.")
    names = list(versions)
    sections = {
        "shapes": lambda: _compare_shapes(settings, names),
        "small": lambda: small.measure(settings),
        "solution": lambda: solutions.measure(settings),
        "memory": lambda: memory.measure(settings, names),
        "cold-start": lambda: cold_starts.measure(settings),
        "sweep": lambda: sweeps.measure(settings, names),
    }
    wanted = {"shapes" if section in ("iterations", "posteriors") else section for section in settings.sections}
    for section, measure in sections.items():
        if section in wanted:
            figures.collect(found, section.replace("-", "_"), measure(), settings.json)
    found["load_at_end"] = machine.load()
    figures.write(found, settings.json)
    if settings.json:
        print(f"\nAll figures are in {settings.json}.")


def _compare_shapes(settings: argparse.Namespace, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each shape's name and figures, printed on the way."""
    from comparison import iterations, posteriors
    from comparison.contenders import BASE, ESTIMATORS, takers
    from problems import chosen_shapes, make_rows, make_start, overlap

    wanted = chosen_shapes(settings.shapes)
    parts = {"iterations": iterations, "posteriors": posteriors}
    print()
    for section, part in parts.items():
        if section in settings.sections:
            print(part.HOW)
    for full_shape in wanted:
        shape = full_shape.scaled(settings.scale)
        X = make_rows(shape, settings.dtype)
        start = make_start(X, shape.n_components, shape.structure)
        options = {"covariance_type": shape.structure, "tol": 0.0, "max_iter": 1, **start.as_options()}
        model = ESTIMATORS[BASE].unfitted(shape.n_components, settings.threads, **options).fit(X)
        largest, vanishing = overlap(model.predict_proba(X[:20_000]))
        print(
            f"\n{shape.name} {settings.dtype}; after one iteration a row's largest responsibility is {largest:.2f} on "
            f"average, and {vanishing:.0%} of all are below 2e-22"
        )
        result = {"target": shape.target, "largest_responsibility": largest, "vanishing": vanishing}
        if "iterations" in settings.sections:
            contenders = takers(names, shape.structure, settings.dtype)
            result["iterations"] = iterations.measure(X, start, shape, settings, contenders)
        if "posteriors" in settings.sections:
            result["posteriors"] = posteriors.measure(X, model, settings, names)
        yield shape.name, result


if __name__ == "__main__":
    sys.exit(main())

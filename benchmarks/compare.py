"""fastem against scikit-learn on this machine: same rows, same start, same iterations.

    python benchmarks/compare.py [--shapes 8x8 diag] [--dtype float32] [--scale 0.1] [--json results.json]

README.md beside this file says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

SECTIONS = ("iterations", "posteriors", "memory", "cold-start")


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
    parser.add_argument("--malloc-keep", action="store_true", help="let glibc keep freed memory: scikit-learn's best")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but got {number}")
    return number


def _compare(settings: argparse.Namespace) -> None:
    # Only now: these read the number of threads when they are imported.
    from comparison import cold_starts, machine, memory

    found: dict[str, Any] = {"settings": _plain(settings), "machine": machine.describe()}
    print(machine.report(found["machine"]))
    if settings.scale != 1:
        print(f"Rows times {settings.scale:g}: the targets are for the full shapes.")
    if "iterations" in settings.sections or "posteriors" in settings.sections:
        found["shapes"] = _compare_shapes(settings)
    if "memory" in settings.sections:
        found["memory"] = memory.measure(settings)
    if "cold-start" in settings.sections:
        found["cold_start"] = cold_starts.measure(settings)
    found["load_at_end"] = machine.load()
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"\nAll figures are in {settings.json}.")


def _compare_shapes(settings: argparse.Namespace) -> dict[str, Any]:
    from comparison import iterations, posteriors
    from comparison.contenders import BASE, unfitted
    from problems import SHAPES, make_rows, make_start, overlap

    wanted = [s for s in SHAPES if not settings.shapes or any(part in s.name for part in settings.shapes)]
    if not wanted:
        raise SystemExit(f"--shapes {' '.join(settings.shapes)} is in none of {', '.join(s.name for s in SHAPES)}")
    parts = {"iterations": iterations, "posteriors": posteriors}
    print()
    for section, part in parts.items():
        if section in settings.sections:
            print(part.HOW)
    found: dict[str, Any] = {}
    for full_shape in wanted:
        shape = full_shape.scaled(settings.scale)
        X = make_rows(shape, settings.dtype)
        start = make_start(X, shape.n_components, shape.structure)
        options = (shape.n_components, shape.structure, start.as_options(), settings.threads)
        model = unfitted(BASE, *options, max_iter=1).fit(X)
        largest, vanishing = overlap(model.predict_proba(X[:20_000]))
        print(
            f"\n{shape.name} {settings.dtype}; after one iteration a row's largest responsibility is {largest:.2f} on "
            f"average, and {vanishing:.0%} of all are below 2e-22"
        )
        result = {"target": shape.target, "largest_responsibility": largest, "vanishing": vanishing}
        if "iterations" in settings.sections:
            result["iterations"] = iterations.measure(X, start, shape, settings)
        if "posteriors" in settings.sections:
            result["posteriors"] = posteriors.measure(X, model, settings)
        found[shape.name] = result
    return found


def _plain(settings: argparse.Namespace) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(settings).items()}


if __name__ == "__main__":
    sys.exit(main())

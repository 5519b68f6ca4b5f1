"""fastem.search beside mclust's mclustBIC: the time of a whole search, and the BIC of each model.

    python benchmarks/search.py [--data iris faithful] [--types full tied] [--components 9] [--repeats 3]

README.md beside this file says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {"iris": range(4), "faithful": range(2), "acidity": range(1)}
# mclust's names of what has another name here; the others have mclust's own.
MCLUST_NAMES = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}
# Differences of BIC that are rounding or the stop of either loop.
_SAME = 0.05


def main() -> None:
    from fastem.selection.searching import ALL_TYPES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=COLUMNS, default=["iris", "faithful"])
    parser.add_argument("--types", nargs="+", choices=ALL_TYPES, default=list(ALL_TYPES))
    parser.add_argument("--components", type=int, default=9, help="the largest number; all from 1 are fitted")
    parser.add_argument("--repeats", type=int, default=3, help="searches; the time is their median")
    parser.add_argument("--threads", type=int, help="of fastem; all by default")
    settings = parser.parse_args()
    for name in settings.data:
        compare(name, settings)


def compare(name: str, settings: argparse.Namespace) -> None:
    """Print the times and the table of one data set."""
    import fastem

    X = np.loadtxt(ROOT / f"tests/data/{name}.csv", delimiter=",", skiprows=1, usecols=COLUMNS[name], ndmin=2)
    numbers = range(1, settings.components + 1)
    fastem.search(X, [1], settings.types)  # imports are not timed
    seconds: dict[bool, list[float]] = {True: [], False: []}
    tables: dict[bool, Any] = {}
    for warm in [True, False] * settings.repeats:
        began = time.perf_counter()
        tables[warm] = fastem.search(
            X, numbers, settings.types, warm_starts=warm, random_state=0, n_threads=settings.threads
        )
        seconds[warm].append(time.perf_counter() - began)
    print(
        f"{name}: {X.shape[0]} rows x {X.shape[1]}, 1 to {settings.components} components, {len(settings.types)} types"
    )
    print(f"  fastem.search            {statistics.median(seconds[True]):8.2f} s")
    print(f"  without neighbours       {statistics.median(seconds[False]):8.2f} s")
    shipped = converged = None
    if shutil.which("Rscript") is None:
        print("  mclust: no R (Debian: apt-get install r-base-core r-cran-mclust)")
    else:
        shipped, converged = mclust(X, numbers, settings.types)
        print(f"  mclust                   {shipped['seconds']:8.2f} s")
        print(f"  mclust, tol 1e-8         {converged['seconds']:8.2f} s")
    print(f"\n{tables[True]}\n")
    for title, found in (("mclust", shipped), ("mclust, tol 1e-8", converged)):
        if found is not None:
            _print_differences(title, tables[True], found["bic"], X)
    print()


def mclust(X: np.ndarray, numbers: range, types: list[str]) -> list[dict[str, Any]]:
    """Seconds, and BIC by (number, type) in scikit-learn's sign: as shipped, and with a small tolerance."""
    runs = _mclust_lines("mclust_bic.R", X, ",".join(map(str, numbers)), ",".join(_mclust_names(X, types)))
    keys = [(k, kind) for kind in types for k in numbers]
    return [{**run, "bic": dict(zip(keys, run["bic"], strict=True))} for run in runs]


def _mclust_names(X: np.ndarray, types: list[str]) -> list[str]:
    """mclust has two models of one feature: variances that are equal, or vary."""
    names = [MCLUST_NAMES.get(kind, kind) for kind in types]
    return names if X.shape[1] > 1 else ["E" if name.startswith("E") else "V" for name in names]


def _mclust_lines(script: str, X: np.ndarray, *arguments: str) -> list[dict[str, Any]]:
    """What a script in R writes of the rows, which are its first argument."""
    with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as folder:
        rows = Path(folder) / "rows.csv"
        np.savetxt(rows, X, delimiter=",", fmt="%.17g")
        command = ["Rscript", "--vanilla", str(Path(__file__).parent / "peers" / script), str(rows), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"mclust ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def verdicts(X: np.ndarray, keys: list[tuple[int, str]]) -> list[str]:
    """What the search says of the maxima that mclust's EM ends at."""
    from fastem.engines import choose_engine
    from fastem.estimators import GaussianMixture
    from fastem.families import Gaussian
    from fastem.passes import ArrayRows, Runner
    from fastem.selection.fits import Fits
    from fastem.selection.neighbours import Components
    from fastem.selection.spurious import fault_of_fit, found_by_chance
    from fastem.selection.workers import Workers

    names = _mclust_names(X, [kind for _, kind in keys])
    models = ",".join(f"{name}:{k}" for (k, _), name in zip(keys, names, strict=True))
    fits = Fits.like(GaussianMixture(tol=1e-8, max_iter=10_000), X, None, Workers(1, 0.0, "raise"))
    found = []
    for (k, kind), their in zip(keys, _mclust_lines("mclust_parameters.R", X, models), strict=True):
        family = ArrayRows(X).scaled(Gaussian(kind), k, Runner(choose_engine("auto", 0.0)))
        n_features = X.shape[1]
        means = np.reshape(their["means"], (k, n_features))
        covariances = np.reshape(their["covariances"], (k, n_features, n_features))
        components = Components(np.array(their["weights"]), means, covariances)
        result = fits.run(family, components.as_params(family, len(X)))
        fault = fault_of_fit(family, result, len(X)) or found_by_chance(fits, family, result.run)
        found.append(f"set aside: {fault}" if fault else "not found by our starts")
    return found


def _print_differences(title: str, table: Any, theirs: dict[tuple[int, str], float | None], X: np.ndarray) -> None:
    """How many models have the lower BIC here and there, and those to our disadvantage with what we say of them."""
    ours = {(r.n_components, r.covariance_type): r for r in table}
    both = {key: ours[key].bic - bic for key, bic in theirs.items() if bic is not None and ours[key].eligible}
    lower, higher = sum(d < -_SAME for d in both.values()), sum(d > _SAME for d in both.values())
    print(
        f"BIC against {title}: lower in {lower} models, the same in {len(both) - lower - higher}, higher in {higher}; "
        f"only here {sum(theirs[key] is None and r.eligible for key, r in ours.items())}, "
        f"only there {sum(theirs[key] is not None and not r.eligible for key, r in ours.items())}"
    )
    worse = [key for key, difference in sorted(both.items(), key=lambda item: -item[1]) if difference > _SAME]
    for (k, kind), verdict in zip(worse, verdicts(X, worse) if worse else [], strict=True):
        print(f"  {kind:>10} {k}: {ours[k, kind].bic:10.3f} here, {theirs[k, kind]:10.3f} there, {verdict}")


if __name__ == "__main__":
    main()

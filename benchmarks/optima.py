"""How often a fit finds the best optimum: fastem's default start, scikit-learn's, ten of scikit-learn's, and mclust.

    python benchmarks/optima.py                              # thirty mixtures of known truth, some minutes
    python benchmarks/optima.py --quick                      # six small ones, two seeds

The best optimum is the best of all runs and of EM from the truth. Every run is polished by the same EM before it is
judged, so that only the start and the way count, and not where a tolerance stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from problems import KNOWN, Known, Start

# A mean log-likelihood so near to the best is the same optimum.
_SAME = 1e-4
_MCLUST = """
arguments <- commandArgs(trailingOnly = TRUE); suppressMessages(library(mclust))
N <- as.integer(arguments[2]); D <- as.integer(arguments[3]); K <- as.integer(arguments[4])
rows <- matrix(readBin(file.path(arguments[1], "rows"), "double", N * D), N, D, byrow = TRUE)
set.seed(as.integer(arguments[5]))
initialization <- if (N > 2000) list(subset = sample(N, 2000)) else NULL
took <- system.time(fit <- Mclust(rows, K, "VVV", initialization = initialization, verbose = FALSE))
p <- fit$parameters
write <- function(values, name) writeBin(as.double(values), file.path(arguments[1], name))
write(p$pro, "weights"); write(p$mean, "means"); write(p$variance$sigma, "covariances")
cat(took[["elapsed"]])
"""

#: Weights, means, covariances and the seconds of a fit with a seed; None where it failed.
Found = tuple[np.ndarray, np.ndarray, np.ndarray, float]
Contender = Callable[[np.ndarray, int, int], Found]


def _estimator(make: Callable[..., Any], **options: Any) -> Contender:
    def fit(X: np.ndarray, n_components: int, seed: int) -> Found:
        began = time.perf_counter()
        model = make(n_components, random_state=seed, **options).fit(X)
        return model.weights_, model.means_, model.covariances_, time.perf_counter() - began

    return fit


def _mclust(X: np.ndarray, n_components: int, seed: int) -> Found:
    with tempfile.TemporaryDirectory(prefix="fastem-optima-") as name:
        folder = Path(name)
        X.tofile(folder / "rows")
        sizes = [str(size) for size in (*X.shape, n_components, seed)]
        command = ["Rscript", "--vanilla", "-e", _MCLUST, name, *sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        weights, means, covariances = (np.fromfile(folder / part) for part in ("weights", "means", "covariances"))
    n_features = X.shape[1]
    shape = (n_components, n_features, n_features)
    return weights, means.reshape(shape[:2]), covariances.reshape(shape), float(done.stdout.split()[-1])


def contenders() -> dict[str, Contender]:
    from sklearn.mixture import GaussianMixture

    import fastem

    found: dict[str, Contender] = {
        "fastem": _estimator(fastem.GaussianMixture),
        "scikit-learn": _estimator(GaussianMixture),
        "scikit-learn n_init=10": _estimator(GaussianMixture, n_init=10),
    }
    if shutil.which("Rscript"):
        asked = ["Rscript", "--vanilla", "-e", "library(mclust)"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            found["mclust"] = _mclust
    return found


def _polished(X: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> float:
    """Where EM from these parameters ends."""
    import fastem

    family = fastem.Gaussian()
    try:
        start = family.make_params(weights, means, covariances)
        options = {"tol": 1e-7, "max_iter": 500, "accelerate": "anderson", "stopping": "aitken"}
        return fastem.fit(X, family, len(weights), start=start, **options).run.lower_bound
    except fastem.DegenerateComponentError:
        return -np.inf


def measure(problem: Known, seeds: int, who: dict[str, Contender]) -> dict[str, Any]:
    """Share of runs that find the best optimum, and median seconds, by contender."""
    X, truth = problem.draw()
    best = _polished(X, *_plain(truth))
    reached: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for name, fit in who.items():
        for seed in range(seeds):
            try:
                *params, took = fit(X, problem.n_components, seed)
            except (ValueError, subprocess.CalledProcessError):  # a fit that fails has found nothing
                reached.setdefault(name, []).append(-np.inf)
                continue
            reached.setdefault(name, []).append(_polished(X, *params))
            seconds.setdefault(name, []).append(took)
    best = max(best, *(max(bounds) for bounds in reached.values()))
    return {
        name: {
            "found": float(np.mean(np.array(bounds) > best - _SAME)),
            "seconds": float(np.median(seconds[name])) if name in seconds else None,
        }
        for name, bounds in reached.items()
    }


def _plain(start: Start) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return start.weights, start.means, np.linalg.inv(start.precisions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six small mixtures, two seeds")
    parser.add_argument("--seeds", type=int, help="runs of each contender (default: 10)")
    parser.add_argument("--most-rows", type=int, default=100_000, help="leave out larger mixtures")
    parser.add_argument("--only", nargs="+", help="contenders whose names contain one of these")
    parser.add_argument("--json", type=Path, help="write all figures")
    settings = parser.parse_args()
    warnings.simplefilter("ignore")  # fits that do not converge are judged like the others
    problems = [problem for problem in KNOWN if problem.n_samples <= settings.most_rows]
    problems = problems[:6] if settings.quick else problems
    seeds = settings.seeds or (2 if settings.quick else 10)
    who = {
        name: fit
        for name, fit in contenders().items()
        if settings.only is None or any(part in name for part in settings.only)
    }
    print("Share of runs that find the best optimum, and median seconds of a run")
    print(f"{'rows x features x components':<36}" + "".join(f"{name:>24}" for name in who))
    results = {}
    for problem in problems:
        found = results[problem.name] = measure(problem, seeds, who)
        print(f"{problem.name:<36}" + "".join(f"{_cell(found[name]):>24}" for name in who), flush=True)
    shares = {name: float(np.mean([found[name]["found"] for found in results.values()])) for name in who}
    print(f"{'all':<36}" + "".join(f"{share:>15.1%}{'':9}" for share in shares.values()))
    if settings.json:
        settings.json.write_text(
            json.dumps({"program": "optima", "seeds": seeds, "problems": results}, indent=1) + "\n"
        )


def _cell(result: dict[str, Any]) -> str:
    took = "" if result["seconds"] is None else f"{result['seconds']:.3f} s"
    return f"{result['found']:.0%} {took:>9}"


if __name__ == "__main__":
    main()

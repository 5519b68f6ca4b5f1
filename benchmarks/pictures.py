"""What goes wrong in a mixture fit, measured: the tables and the pictures of docs/what-goes-wrong.md.

    python benchmarks/pictures.py                            # all sections, some minutes
    python benchmarks/pictures.py --sections units offset    # some
    python benchmarks/pictures.py --seeds 2 --output /tmp/page.md

Each section's table stands between two comments of the page, which are all that the program changes of the text.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from optima import contenders
from problems import Known
from sklearn import __version__ as their_version
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture as Theirs

import fastem
from fastem import GaussianMixture

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "what-goes-wrong.md"
THEM = f"scikit-learn {their_version}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seeds", type=int, default=20, help="data sets or runs, where a section counts")
    parser.add_argument("--output", type=Path, default=PAGE, help="a page with the sections' comments")
    settings = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = settings.output.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name in settings.sections:
        written = SECTIONS[name](folder, settings.seeds)
        print(f"\n{name}\n\n{written}", flush=True)
        page = settings.output.read_text(encoding="utf-8")
        put = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=written: f"{m[1]}{t}\n{m[2]}", page, flags=re.S
        )
        settings.output.write_text(put, encoding="utf-8")


def _table(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _parameters(model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return model.weights_, model.means_, model.covariances_


def versions(folder: Path, seeds: int) -> str:
    found = {THEM: "", "fastem": fastem.__version__, "NumPy": np.__version__}
    if "mclust" in contenders():
        asked = ["Rscript", "--vanilla", "-e", "cat(as.character(packageVersion('mclust')))"]
        found["mclust"] = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return f"Measured with {', '.join(f'{name} {version}'.strip() for name, version in found.items())}."


# Two long clusters side by side.


def parallel_clusters(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two long clusters side by side, and which row is of which."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 500)
    return rng.normal(size=(1000, 2)) * [10, 0.5] + np.array([[0, 0], [0, 4]])[labels], labels


def parallel(folder: Path, seeds: int) -> str:
    from reporting.drawings import partitions

    panels = {}
    rows = []
    for name, fit in contenders().items():
        right, scores = 0, []
        for seed in range(seeds):
            X, labels = parallel_clusters(seed)
            weights, means, covariances, _ = fit(X, 2, seed)
            model = GaussianMixture.from_parameters(weights, means, covariances)
            found = model.predict(X)
            right += adjusted_rand_score(labels, found) > 0.95
            scores.append(model.score(X))
            if seed == 0 and name in ("fastem", "scikit-learn"):
                title = THEM if name == "scikit-learn" else name
                panels[f"{title}: {scores[0]:.2f} nats a row"] = (found, (weights, means, covariances))
        rows.append([name, f"{right} of {seeds}", f"{np.mean(scores):.2f}", ""])
    chosen: dict[str, list[int]] = {"scikit-learn": [], "fastem": []}
    for seed in range(seeds):
        X, _ = parallel_clusters(seed)
        criteria = [Theirs(k, random_state=seed).fit(X).bic(X) for k in range(1, 7)]
        chosen["scikit-learn"].append(1 + int(np.argmin(criteria)))
        table = fastem.search(X, range(1, 7), ["full"], random_state=seed)
        chosen["fastem"].append(table.best.n_components)
    for row in rows:
        if row[0] in chosen:
            counts = np.bincount(chosen[row[0]], minlength=7)
            row[-1] = ", ".join(f"K = {k}: {n}" for k, n in enumerate(counts) if n)
    X, _ = parallel_clusters(0)
    partitions(X, dict(sorted(panels.items(), reverse=True)), folder / "parallel.png")
    return _table(["", "the right partition", "mean log-likelihood of a row", "K by BIC, of 1 to 6"], rows)


# Units.


def units(folder: Path, seeds: int) -> str:
    from reporting.drawings import curves

    faithful = np.loadtxt(ROOT / "examples/data/old_faithful.csv", delimiter=",", skiprows=1)
    iris = np.loadtxt(ROOT / "tests/data/iris.csv", delimiter=",", skiprows=1, usecols=range(4))
    scales = [10.0**-e for e in range(7)]
    lost: dict[str, list[float]] = {}
    for data, X, n_components in (("Old Faithful", faithful, 2), ("iris", iris, 3)):
        for name, make, reg_covar in (("scikit-learn", Theirs, 1e-6), ("fastem", GaussianMixture, "auto")):
            scores = []
            for scale in scales:
                model = make(n_components, reg_covar=reg_covar, random_state=0).fit(X * scale)
                scores.append(model.score(X * scale) + X.shape[1] * np.log(scale))
            lost[f"{name}, {data}"] = [round(scores[0] - score, 6) + 0.0 for score in scores]
    curves(scales, lost, ("the rows are multiplied by", "nats a row lost"), folder / "units.png")
    head = ["nats a row lost at", *(f"{scale:g}" for scale in scales[1:])]
    return _table(head, [[name, *(f"{loss:.2f}" for loss in losses[1:])] for name, losses in lost.items()])


# Components that collapse.


def _clusters(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.normal(size=(120, 2)), rng.normal(8, 1, size=(120, 2))])


def degenerate_problems() -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Rows, the cluster of each, and the number of components to fit."""
    rng = np.random.default_rng(0)
    clusters = _clusters(rng)
    labels = np.repeat([0, 1], 120)
    repeated = np.concatenate([clusters, np.repeat([[30.0, -30.0]], 40, axis=0)])
    near, far, apart = clusters.copy(), clusters.copy(), labels.copy()
    near[0], far[0], apart[0] = 1e3 * clusters.std(axis=0), 1e6 * clusters.std(axis=0), 2
    return {
        "a row that comes 40 times": (repeated, np.append(labels, [2] * 40), 3),
        "5 components, 3 distinct rows": (np.repeat(rng.normal(size=(3, 2)), 20, axis=0), np.repeat([0, 1, 2], 20), 5),
        "a constant feature": (clusters * [1, 0] + [0, 7], labels, 2),
        "collinear features": (clusters[:, :1] * [1, 2] + [0, 1], labels, 2),
        "an outlier at 1e3 deviations": (near, apart, 3),
        "an outlier at 1e6 deviations": (far, apart, 3),
    }


def collapse(folder: Path, seeds: int) -> str:
    from reporting.drawings import curves

    _draw_unbounded(folder, curves)
    fits = {
        THEM: lambda K, X: Theirs(K, random_state=0).fit(X),
        "scikit-learn, rows times 1e6": lambda K, X: Theirs(K, random_state=0).fit(X * 1e6),
        "scikit-learn, `reg_covar=0`": lambda K, X: Theirs(K, random_state=0, reg_covar=0).fit(X),
        "fastem": lambda K, X: GaussianMixture(K, random_state=0).fit(X),
        "fastem, `reg_covar=0`": lambda K, X: GaussianMixture(K, random_state=0, reg_covar=0).fit(X),
    }
    rows = []
    for title, (X, labels, n_components) in degenerate_problems().items():
        cells = [
            _outcome(fit, n_components, X * 1e6 if "times" in name else X, X, labels) for name, fit in fits.items()
        ]
        rows.append([title, *cells])
    return _table(["", *fits], rows)


def _outcome(fit: Callable[..., Any], n_components: int, rows: np.ndarray, X: np.ndarray, labels: np.ndarray) -> str:
    """What a user sees: an exception, or the agreement of the partition with the truth, and what is said."""
    try:
        model = fit(n_components, X)
    except ValueError as error:
        return type(error).__name__
    finite = all(np.isfinite(part).all() for part in (*_parameters(model), model.precisions_))
    told = sorted({diagnosis.kind for diagnosis in getattr(model, "diagnostics_", [])})
    agreement = adjusted_rand_score(labels, model.predict(rows))
    parts = [f"{agreement:.2f}" if finite else "not finite", *told]
    return ", ".join(parts)


def _draw_unbounded(folder: Path, curves: Callable[..., None]) -> None:
    """The likelihood against the width of a component on a few rows of 200 that are standard normal."""
    x = np.random.default_rng(0).normal(size=200)
    widths = np.logspace(-8, 0, 161)
    found = {}
    for name, few in (("5 equal rows", np.zeros(5)), ("1 row", np.zeros(1)), ("2 rows 1e-4 apart", [-5e-5, 5e-5])):
        rows = np.append(x, few)
        weight = len(few) / len(rows)
        wide = np.log1p(-weight) - rows**2 / 2
        found[name] = [
            float((np.logaddexp(wide, np.log(weight / s) - (rows / s) ** 2 / 2) - np.log(2 * np.pi) / 2).mean())
            for s in widths
        ]
    labels = ("standard deviation of the component", "mean log-likelihood")
    marks = {"scikit-learn's floor": 1e-3}
    curves(widths, found, labels, folder / "collapse.png", points=False, marks=marks)


# Rows far from the origin.


def offset(folder: Path, seeds: int) -> str:
    from reporting.drawings import curves

    base = np.random.default_rng(0).normal(size=(10_000, 2)) * [1, 2]
    offsets = [10.0**e for e in range(2, 9)]
    kinds = ("full", "tied", "diag", "spherical")
    errors: dict[str, list[float]] = {}
    for name, make in (("scikit-learn", Theirs), ("fastem", GaussianMixture)):
        for kind in kinds:
            errors[f"{name}, {kind}"] = [_variance_error(make, kind, base + off) for off in offsets]
    shown = {
        name: errors[name] for name in ("scikit-learn, diag", "fastem, diag", "scikit-learn, tied", "fastem, tied")
    }
    curves(
        offsets, shown, ("distance from the origin, in deviations", "error of a variance"),
        folder / "offset.png", log_y=True,
    )  # fmt: skip
    cells = ([name, *("ValueError" if np.isnan(e) else f"{e:.0e}" for e in found)] for name, found in errors.items())
    return _table(["error of a variance at", *(f"{off:.0e}" for off in offsets)], cells)


def _variance_error(make: Any, kind: str, X: np.ndarray) -> float:
    """Of a single component, whose covariance is known in closed form; NaN where the fit fails."""
    d = X - X.mean(axis=0)
    d -= d.mean(axis=0)  # what rounding left of the mean
    covariance = d.T @ d / len(X)
    variances = covariance.diagonal()
    expected = {"full": covariance, "tied": covariance, "diag": variances, "spherical": variances.mean()}[kind]
    try:
        model = make(1, covariance_type=kind, reg_covar=0).fit(X)
    except ValueError:
        return np.nan
    return float(np.abs(model.covariances_ - expected).max())


# Maxima that say nothing.


def spurious(folder: Path, seeds: int) -> str:
    from reporting.drawings import partitions

    panels: dict[str, Any] = {}
    makers = {
        THEM: lambda k, seed: Theirs(k, random_state=seed),
        "the best of 100 starts": lambda k, seed: Theirs(
            k, n_init=100, init_params="random_from_data", random_state=seed
        ),
        "fastem": lambda k, seed: GaussianMixture(k, random_state=seed),
    }
    counts = dict.fromkeys(makers, 0)
    scores: dict[str, list[float]] = {name: [] for name in makers}
    ones = dict.fromkeys([*makers, "fastem.search"], 0)
    marked = 0
    for seed in range(seeds):
        X = np.random.default_rng(seed).normal(size=(60, 2))
        for name, make in makers.items():
            models = [make(k, seed).fit(X) for k in range(1, 6)]
            ones[name] += int(np.argmin([model.bic(X) for model in models])) == 0
            counts[name] += models[2].weights_.min() * len(X) < 2.5
            scores[name].append(models[2].score(X))
            if seed == 0 and name != THEM:
                panels[f"{name}: {scores[name][0]:.2f} nats a row"] = (models[2].predict(X), _parameters(models[2]))
        table = fastem.search(X, range(1, 6), ["full"], random_state=seed)
        ones["fastem.search"] += table.best.n_components == 1
        marked += sum(record.spurious for record in table)
    partitions(np.random.default_rng(0).normal(size=(60, 2)), panels, folder / "spurious.png")
    rows = [
        [name, f"{counts[name]} of {seeds}", f"{np.mean(scores[name]):.2f}", f"{ones[name]} of {seeds}"]
        for name in makers
    ]
    rows.append(["`fastem.search`", f"marks {marked} of {5 * seeds} models", "", f"{ones['fastem.search']} of {seeds}"])
    head = [
        "3 components",
        "a component on one or two rows",
        "mean log-likelihood of a row",
        "BIC finds K = 1 of 1 to 5",
    ]
    return _table(head, rows)


# Starts.


def starts(folder: Path, seeds: int) -> str:
    from reporting.drawings import strips

    problem = Known(5_000, 2, 10, 2.0, 20, 3, 4)
    X, truth = problem.draw()
    K = problem.n_components
    tight = {"tol": 1e-6, "max_iter": 1000}
    fits = {
        "scikit-learn": lambda s: Theirs(K, random_state=s, **tight),
        "k-means++": lambda s: Theirs(K, init_params="k-means++", random_state=s, **tight),
        "random_from_data": lambda s: Theirs(K, init_params="random_from_data", random_state=s, **tight),
        "fastem": lambda s: GaussianMixture(K, random_state=s, **tight),
    }
    models = {name: [make(seed).fit(X) for seed in range(seeds)] for name, make in fits.items()}
    reached = {name: np.array([model.score(X) for model in found]) for name, found in models.items()}
    from_truth = Theirs(K, **truth.as_options(), **tight).fit(X).score(X)
    best = max(from_truth, *(scores.max() for scores in reached.values()))
    one = models["fastem"][0]
    race: dict[str, list[float]] = {}
    for method, bound in zip(one.init_methods_, one.init_lower_bounds_, strict=True):
        race.setdefault(f"fastem, {method}", []).append(best - bound)
    ends = {name: best - scores for name, scores in reached.items()}
    panels = {f"where {seeds} fits end": ends, "what each start of one fit reached in the race": race}
    strips(panels, "nats a row below the best optimum", folder / "starts.png")
    rows = [
        [name, f"{(ends[name] < 1e-4).sum()} of {seeds}", f"{np.median(ends[name]):.3f}", f"{ends[name].max():.3f}"]
        for name in fits
    ]
    return _table(["start", "found the best optimum", "median nats a row below it", "at worst"], rows)


SECTIONS: dict[str, Callable[[Path, int], str]] = {
    "versions": versions,
    "parallel": parallel,
    "units": units,
    "collapse": collapse,
    "offset": offset,
    "spurious": spurious,
    "starts": starts,
}


if __name__ == "__main__":
    main()

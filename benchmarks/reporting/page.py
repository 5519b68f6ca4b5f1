"""The page: what was measured, section by section; a section that no run has is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comparison.timing import Spread
from reporting import plots

Run = dict[str, Any]
_ANOTHER_ANSWER = ("DIFFERS", "own start")


def page(runs: list[Run], folder: Path) -> str:
    """Markdown of all runs; plots are drawn into ``folder``, which lies beside the page and has its name."""
    runs = _merged(runs)
    compared = [run for run in runs if run["program"] == "compare"]
    parts = [
        "# Benchmarks",
        "Written by `python benchmarks/report.py` from the figures of `compare.py` and `limit.py`; "
        "[how they are measured](../benchmarks/README.md). Figures are medians [least, most].",
        *_machines(runs),
        *_section(compared, "shapes", "An EM iteration", _iterations, folder),
        *_limits([run for run in runs if run["program"] == "limit"], folder),
        *_section([run for run in runs if run["program"] == "limit"], "skipping", "Skipping", _skipping, folder),
        *_section(compared, "sweep", "Time against N, D and K", _sweep, folder),
        *_section(compared, "solution", "Time to solution", _solution, folder),
        *_section(compared, "memory", "Memory beyond the rows", _memory, folder),
        *_section(compared, "shapes", "Posteriors", _posteriors, folder),
        *_section(compared, "small", "Small problems", _small, folder),
        *_section(compared, "cold_start", "Cold start", _cold_start, folder),
    ]
    return "\n\n".join(parts) + "\n"


def _merged(runs: list[Run]) -> list[Run]:
    """One run of those that share float type, settings and machine, with the shapes and sections of all of them."""
    found: dict[Any, Run] = {}
    for run in runs:
        # Which matrix libraries are loaded depends on who takes part.
        machine = {key: value for key, value in run["machine"].items() if key not in ("load", "blas")}
        measured = {key: part for key, part in run.items() if part}
        key = (run["program"], _title(run), run["settings"]["threads"], repr(machine))
        found[key] = _joined(found.get(key, {}), measured)
    return list(found.values())


def _joined(one: Any, other: Any) -> Any:
    """Both, as deep as they have names; what has one name is the later one's."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {**one, **{key: _joined(one[key], part) if key in one else part for key, part in other.items()}}


def _section(runs: list[Run], key: str, title: str, write: Any, folder: Path) -> list[str]:
    parts = [part for number, run in enumerate(runs) if key in run for part in write(run, folder, number)]
    return [f"## {title}", *parts] if parts else []


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(run: Run) -> str:
    keeps = ", malloc keeps freed memory" if run["machine"]["malloc_keeps"] else ""
    scale = run["settings"]["scale"]
    return f"{run['settings']['dtype']}{keeps}" + ("" if scale == 1 else f", rows times {scale:g}: a smoke run")


def _spread(values: list[float | None], unit: float = 1.0, digits: int = 3) -> str:
    numbers = [value / unit for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return ""
    spread = Spread.of(numbers)
    median, least, most = (_number(value, digits) for value in (spread.median, spread.min, spread.max))
    return f"{median} [{least}, {most}]"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _picture(name: str, text: str, folder: Path) -> str:
    return f"![{text}]({folder.name}/{name})"


def _machines(runs: list[Run]) -> list[str]:
    """Processor, versions, who took part and who is missing."""
    described: dict[str, None] = {}
    contenders: dict[str, str] = {}
    missing: dict[str, str] = {}
    for run in runs:
        machine = run["machine"]
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        described[
            f"- {machine['cpu']}, {machine['cores']} cores, {run['settings']['threads']} threads for everyone; "
            f"{machine['system']}; Python {machine['python']}, {versions}; fastem's kernels compiled ahead of time: "
            f"{machine['compiled_level']}"
        ] = None
        contenders.update(run.get("contenders", {}))
        missing.update(run.get("missing", {}))
    parts = ["\n".join(described)]
    if contenders:
        parts.append("Compared: " + ", ".join(f"{name} {version}" for name, version in contenders.items()) + ".")
    absent = {name: reason for name, reason in missing.items() if name not in contenders}
    if absent:
        parts.append("Missing here: " + "; ".join(f"{name} ({reason})" for name, reason in absent.items()) + ".")
    return parts


def _iterations(run: Run, folder: Path, number: int) -> list[str]:
    shapes = {name: shape["iterations"] for name, shape in run["shapes"].items() if "iterations" in shape}
    if not shapes:
        return []
    medians = {name: plots.medians(results) for name, results in shapes.items()}
    names = list(dict.fromkeys(name for results in shapes.values() for name in results))
    rows = []
    for shape, seconds in medians.items():
        agreeing = [s for name, s in seconds.items() if shapes[shape][name]["mark"] not in _ANOTHER_ANSWER]
        least = min(agreeing, default=math.nan)
        rows.append([shape, *(_cell(seconds.get(name), least, shapes[shape].get(name)) for name in names)])
    picture = f"iterations-{number}.png"
    plots.iterations(medians, folder / picture)
    parts = [
        f"### {_title(run)}",
        "Seconds an iteration from the same start; the least is bold, (in brackets) ended with another likelihood:",
        _table(["", *names], rows),
        _picture(picture, "Seconds an iteration by shape and contender", folder),
    ]
    for shape, results in shapes.items():
        softness = run["shapes"][shape]
        parts.append(
            f"**{shape}**, {run['settings']['dtype']}; mean largest responsibility "
            f"{softness['largest_responsibility']:.2f}, {softness['vanishing']:.0%} below 2e-22"
        )
        parts.append(_details(results))
    return parts


def _cell(seconds: float | None, least: float, result: dict[str, Any] | None) -> str:
    if seconds is None or result is None:
        return ""
    if result["mark"] in _ANOTHER_ANSWER:
        return f"({_number(seconds)})"
    return f"**{_number(seconds)}**" if seconds == least else _number(seconds)


def _details(results: dict[str, Any]) -> str:
    head = ["", "seconds an iteration", "CPU s", "times faster than scikit-learn", "mean log-likelihood", "", "rounds"]
    rows = []
    for name, result in results.items():
        if "failure" in result:
            rows.append([name, result["failure"].replace("|", "/"), "", "", "", "failed", ""])
            continue
        cpu = Spread.of(result["cpu"]).median
        faster = "1" if name == "scikit-learn" else _spread(result["faster"])
        likelihood = f"{result['log_likelihood']:.10g}"
        rounds = str(len(result["wall"]))
        rows.append([name, _spread(result["wall"]), _number(cpu), faster, likelihood, result["mark"], rounds])
    return _table(head, rows)


def _limits(runs: list[Run], folder: Path) -> list[str]:
    parts = []
    for number, run in enumerate(runs):
        rows = []
        for shape, result in run.get("shapes", {}).items():
            for engine, rounds in result["engines"].items():
                ratios = [r["seconds"] / r["limit"] for r in rounds]
                target = result["target"]
                verdict = "" if target is None else "PASS" if Spread.of(ratios).median <= target else "MISS"
                if engine in result["wrong"]:
                    verdict = "WRONG"
                cells = [_spread([r[key] for r in rounds]) for key in ("seconds", "limit")]
                aim = "" if target is None else f"{target:g}"
                soft = f"{result['largest_responsibility']:.2f}, {result['vanishing']:.1%}"
                rows.append([shape, engine, *cells, _spread(ratios), aim, verdict, soft])
        if not rows:
            continue
        picture = f"limit-{number}.png"
        plots.fractions(run["shapes"], folder / picture)
        ceilings = "; ".join(_ceilings(dtype, found) for dtype, found in run["ceilings"].items())
        head = ["", "engine", "seconds a pass", "limit, s", "times the limit", "target", "", "largest r, vanishing"]
        parts += [
            f"### {_title(run)}",
            f"Ceilings at the start: {ceilings}.",
            _table(head, rows),
            _picture(picture, "Fraction of the machine's limit by shape and engine", folder),
        ]
    how = (
        "The limit of a pass is N K D^2 multiply-adds (full) or 4 N K D (diag) at the rate of a large matrix product, "
        "plus N K exponentials, or the time to read the rows once where that is longer. Ceilings and passes alternate; "
        "ratios are those within a round. Responsibilities are soft: every component counts for every row."
    )
    return ["## Against the machine's limit", how, *parts] if parts else []


def _skipping(run: Run, folder: Path, number: int) -> list[str]:
    found = run["skipping"]
    rows = [
        [engine, kind, _spread(seconds), _spread(result["ratios"][kind]) if kind in result["ratios"] else ""]
        for engine, result in found["engines"].items()
        for kind, seconds in result["seconds"].items()
    ]
    differences = max(result["difference"] for result in found["engines"].values())
    return [
        f"### {_title(run)}",
        f"A pass of {found['shape']}. Skipping: centres 8 standard deviations apart, components ruled out by bounds, "
        "rows grouped by component, as in a fit that has settled. No bounds: the same rows, every density evaluated. "
        "Dense: rows of the same shape on which every component counts for every row; the target is "
        f"{found['target']:g} times as long. The log-likelihoods with and without bounds differ by {differences:.1e} "
        "of them.",
        _table(["", "pass", "seconds", "times as long as skipping"], rows),
    ]


def _ceilings(dtype: str, found: dict[str, Any]) -> str:
    rates = ", ".join(f"{rate / 1e9:.2g}e9 ({name})" for name, rate in found["exponentials"].items())
    products, read = 2 * found["multiply_adds"] / 1e9, found["read"] / 1e9
    return f"{dtype} {products:.0f} GFLOP/s, exponentials a second {rates}, reading memory {read:.0f} GB/s"


def _sweep(run: Run, folder: Path, number: int) -> list[str]:
    picture = f"sweep-{number}.png"
    plots.sweeps(run["sweep"], folder / picture)
    parts = [
        f"### {_title(run)}",
        "Seconds an iteration, full covariances, soft responsibilities; against N: 8 features, 8 components; against "
        "D: 50,000 rows, 16 components; against K: 100,000 rows, 8 features.",
        _picture(picture, "Seconds an iteration against N, D and K", folder),
    ]
    for axis, sizes in run["sweep"].items():
        names = list(dict.fromkeys(name for results in sizes.values() for name in results))
        found = {size: plots.medians(results) for size, results in sizes.items()}
        rows = [[size, *(_number(s[n]) if n in s else "" for n in names)] for size, s in found.items()]
        parts.append(_table([axis, *names], rows))
    return parts


def _solution(run: Run, folder: Path, number: int) -> list[str]:
    rows = []
    for shape, results in run["solution"].items():
        for name, result in results.items():
            ends = zip(result["n_iter"], result["converged"], strict=True)
            iterations = ", ".join(f"{n}" if converged else f"{n}, not converged" for n, converged in ends)
            likelihood = _spread(result["log_likelihood"], digits=9)
            faster = "1" if name == "scikit-learn" else _spread(result["faster"])
            rows.append([shape, name, _spread(result["wall"]), iterations, likelihood, faster])
    picture = f"solution-{number}.png"
    plots.solutions(run["solution"], folder / picture)
    return [
        f"### {_title(run)}",
        f"`GaussianMixture(K, tol=1e-6, max_iter={run['settings']['max_iter']})`, all else at its defaults, the search "
        "for a start included.",
        _table(["", "", "seconds", "iterations", "mean log-likelihood reached", "times faster"], rows),
        _picture(picture, "Seconds to a solution", folder),
    ]


def _memory(run: Run, folder: Path, number: int) -> list[str]:
    shapes = {name: found for name, found in run["memory"].items() if found["rises"]}
    if not shapes:
        return []
    rows = [
        [f"{shape}, rows of {found['rows'] / 1e6:.0f} MB", name, _spread(rises, 1e6)]
        for shape, found in shapes.items()
        for name, rises in found["rises"].items()
    ]
    picture = f"memory-{number}.png"
    plots.memory({shape: found["rises"] for shape, found in shapes.items()}, folder / picture)
    return [
        f"### {_title(run)}",
        _table(["", "", "MB above the loaded rows"], rows),
        _picture(picture, "Memory of a fit beyond the rows", folder),
    ]


def _posteriors(run: Run, folder: Path, number: int) -> list[str]:
    rows = [
        [shape, method, name, _spread(r["wall"]), "1" if name == "scikit-learn" else _spread(r["faster"]),
         f"{r['difference']:.1e}"]
        for shape, found in run["shapes"].items()
        for method, results in found.get("posteriors", {}).items()
        for name, r in results.items()
    ]  # fmt: skip
    head = ["", "", "", "seconds", "times faster than scikit-learn", "largest difference"]
    return [f"### {_title(run)}", _table(head, rows)] if rows else []


def _small(run: Run, folder: Path, number: int) -> list[str]:
    rows = [
        [problem, name, _spread(r["wall"], 1e-6), "1" if name == "scikit-learn" else _spread(r["faster"])]
        for problem, results in run["small"].items()
        for name, r in results.items()
    ]
    return [f"### {_title(run)}", _table(["", "", "microseconds", "times faster"], rows)]


def _cold_start(run: Run, folder: Path, number: int) -> list[str]:
    rows = [[program, _spread(seconds)] for program, seconds in run["cold_start"].items()]
    return [
        "Whole processes, Numba's cache empty; the fit is of iris with 3 components.",
        _table(["", "seconds"], rows),
    ]

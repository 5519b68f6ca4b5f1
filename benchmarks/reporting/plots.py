"""The page's plots. One colour and marker a contender in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from comparison.timing import Spread

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_STYLES = {
    "fastem": ("#c00000", "o"),
    "fastem accelerated": ("#ff7f0e", "o"),
    "fastem numba": ("#c00000", "o"),
    "fastem cython": ("#ff7f0e", "o"),
    "fastem numpy": ("#e8b98a", "o"),
    "scikit-learn": ("#1f77b4", "s"),
    "oneDAL": ("#2ca02c", "D"),
    "OpenCV": ("#9467bd", "v"),
    "Armadillo": ("#8c564b", "^"),
    "JAX": ("#17becf", "P"),
    "pomegranate": ("#e377c2", "X"),
    "mclust": ("#7f7f7f", "<"),
    "Spark": ("#bcbd22", ">"),
}
_LIMIT = {"numba": _STYLES["fastem numba"][0], "cython": _STYLES["fastem cython"][0]}
_DPI = 110


def medians(results: dict[str, Any]) -> dict[str, float]:
    """Median seconds by contender, without those that failed or were too short to measure."""
    found = {name: Spread.of(r["wall"]).median for name, r in results.items() if r.get("wall")}
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def _style(name: str) -> tuple[str, str]:
    return _STYLES.get(name, ("black", "o"))


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def _legend(figure: Any, axes: Any) -> None:
    """One legend for all axes, to the right of them."""
    handles: dict[str, Any] = {}
    for ax in np.atleast_1d(axes).ravel():
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    order = [name for name in _STYLES if name in handles] or list(handles)
    figure.legend([handles[name] for name in order], order, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def iterations(shapes: dict[str, dict[str, float]], file: Path) -> None:
    figure, ax = plt.subplots(figsize=(8, 0.45 * len(shapes) + 1.2), layout="constrained")
    for name in dict.fromkeys(name for seconds in shapes.values() for name in seconds):
        colour, marker = _style(name)
        points = [(seconds[name], row) for row, seconds in enumerate(shapes.values()) if name in seconds]
        front = 3 if name.startswith("fastem") else 2
        ax.plot(*zip(*points, strict=True), marker, color=colour, label=name, markersize=7, zorder=front)
    ax.set_yticks(range(len(shapes)), list(shapes))
    ax.set_ylim(len(shapes) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlabel("seconds an iteration")
    ax.grid(alpha=0.3)
    _legend(figure, ax)
    _save(figure, file)


def sweeps(axes_found: dict[str, Any], file: Path) -> None:
    figure, axes = plt.subplots(
        1, len(axes_found), figsize=(4 * len(axes_found), 4), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (axis, sizes) in zip(axes[0], axes_found.items(), strict=True):
        found = {int(size): medians(results) for size, results in sizes.items()}
        for name in dict.fromkeys(name for seconds in found.values() for name in seconds):
            colour, marker = _style(name)
            points = sorted((size, seconds[name]) for size, seconds in found.items() if name in seconds)
            width = 2.2 if name in ("fastem numba", "fastem cython") else 1.2
            ax.plot(*zip(*points, strict=True), color=colour, marker=marker, label=name, markersize=5, linewidth=width)
        ax.set_xscale("log", base=10 if axis == "N" else 2)
        ax.set_yscale("log")
        ax.set_xlabel(axis)
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("seconds an iteration")
    _legend(figure, axes)
    _save(figure, file)


def _bars(groups: dict[str, dict[str, float]], label: str, file: Path) -> None:
    """Horizontal bars with their values, one group under the other."""
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(7, sum(0.3 * len(bars) + 0.8 for bars in groups.values())),
        sharex=True,
        squeeze=False,
        layout="constrained",
        height_ratios=[len(bars) + 1 for bars in groups.values()],
    )
    for ax, (group, values) in zip(axes[:, 0], groups.items(), strict=True):
        bars = dict(sorted(values.items(), key=lambda bar: bar[1]))
        drawn = ax.barh(list(bars), list(bars.values()), color=[_style(name)[0] for name in bars])
        ax.bar_label(drawn, [f"{value:.3g}" for value in bars.values()], padding=3)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.margins(x=0.15)
        ax.set_title(group, loc="left", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel(label)
    _save(figure, file)


def memory(shapes: dict[str, dict[str, list[int]]], file: Path) -> None:
    # A rise of nothing has no place on a logarithmic axis.
    groups = {
        shape: {name: max(Spread.of(rise).median / 1e6, 0.01) for name, rise in rises.items()}
        for shape, rises in shapes.items()
    }
    _bars(groups, "MB above the loaded rows", file)


def solutions(shapes: dict[str, Any], file: Path) -> None:
    _bars({shape: medians(results) for shape, results in shapes.items()}, "seconds to the solution", file)


def fractions(shapes: dict[str, Any], file: Path) -> None:
    """Share of the limit's speed that each pass reaches, with the range of its rounds and the target."""
    figure, ax = plt.subplots(figsize=(8, 0.5 * len(shapes) + 1.2), layout="constrained")
    engines = list(dict.fromkeys(engine for result in shapes.values() for engine in result["engines"]))
    height = 0.8 / len(engines)
    for number, engine in enumerate(engines):
        rows, values, errors = [], [], []
        for row, result in enumerate(shapes.values()):
            if engine not in result["engines"]:
                continue
            spread = Spread.of([r["limit"] / r["seconds"] for r in result["engines"][engine]])
            rows.append(row + (number - (len(engines) - 1) / 2) * height)
            values.append(spread.median)
            errors.append((spread.median - spread.min, spread.max - spread.median))
        colour = _LIMIT.get(engine, "#7f7f7f")
        ax.barh(rows, values, height, color=colour, label=engine, xerr=np.transpose(errors), ecolor="#444444")
    for row, result in enumerate(shapes.values()):
        if result["target"]:
            label = "target" if row == 0 or "target" not in ax.get_legend_handles_labels()[1] else None
            ax.vlines(1 / result["target"], row - 0.45, row + 0.45, color="black", linestyle="--", label=label)
    ax.set_yticks(range(len(shapes)), list(shapes))
    ax.invert_yaxis()
    ax.axvline(1.0, color="black")
    ax.set_xlim(0, min(1.5, max(1.05, ax.get_xlim()[1])))
    ax.set_xlabel("fraction of the limit's speed")
    _legend(figure, ax)
    _save(figure, file)

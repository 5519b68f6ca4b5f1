"""The pictures of docs/what-goes-wrong.md. Markers and line styles differ, so that they can be read without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Ellipse

_STYLES = [("#1f77b4", "s", "--"), ("#c00000", "o", "-"), ("#444444", "^", ":"), ("#7f7f7f", "D", "-.")]
_DPI = 100
_SETTINGS = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}

#: Weights, means, covariances (K, D, D).
Parameters = tuple[np.ndarray, np.ndarray, np.ndarray]


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def partitions(X: np.ndarray, panels: dict[str, tuple[np.ndarray, Parameters]], file: Path, radii: float = 2.0) -> None:
    """Rows by their labels, one panel a fit, and an ellipse of ``radii`` deviations around each component."""
    with plt.rc_context(_SETTINGS):
        figure, axes = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 2.8), sharey=True, layout="constrained")
        for ax, (title, (labels, (_, means, covariances))) in zip(np.atleast_1d(axes), panels.items(), strict=True):
            for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
                _, marker, line = _STYLES[k % len(_STYLES)]
                shade = ("0.15", "0.65", "0.4")[k % 3]
                ax.plot(*X[labels == k].T, marker, color=shade, markersize=2.5, markeredgewidth=0, zorder=1)
                ax.add_patch(_ellipse(mean, covariance, radii, line))
                ax.plot(*mean, "x", color="#c00000", markersize=7, markeredgewidth=2, zorder=3)
            ax.set_title(title, loc="left", fontsize=9)
        _save(figure, file)


def _ellipse(mean: np.ndarray, covariance: np.ndarray, radii: float, line: str) -> Ellipse:
    variances, axes = np.linalg.eigh(covariance)
    width, height = 2 * radii * np.sqrt(variances[::-1])
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    style = {"fill": False, "edgecolor": "#c00000", "linewidth": 1.5, "linestyle": line, "zorder": 2}
    return Ellipse(tuple(mean), width, height, angle=angle, **style)


def curves(
    x: Sequence[float],
    lines: dict[str, Sequence[float]],
    labels: tuple[str, str],
    file: Path,
    log_y: bool = False,
    points: bool = True,
    marks: dict[str, float] | None = None,
) -> None:
    """Lines over a logarithmic axis; ``marks`` are vertical ones with a name. NaN is a gap."""
    with plt.rc_context(_SETTINGS):
        figure, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
        for (name, values), (colour, marker, style) in zip(lines.items(), _STYLES, strict=False):
            ax.plot(x, values, style, color=colour, marker=marker if points else None, markersize=5, label=name)
        for name, place in (marks or {}).items():
            ax.axvline(place, color="0.6", linewidth=0.8)
            ax.annotate(f" {name}", (place, 1.0), xycoords=("data", "axes fraction"), va="top", fontsize=8)
        ax.set_xscale("log")
        if log_y:
            ax.set_yscale("log")
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        ax.grid(alpha=0.25)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        _save(figure, file)


def strips(panels: dict[str, dict[str, Sequence[float]]], label: str, file: Path) -> None:
    """Distances as dots in a row for each name, one panel over the other."""
    with plt.rc_context(_SETTINGS):
        heights = [len(rows) for rows in panels.values()]
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(6.5, 0.32 * sum(heights) + 0.55 * len(panels) + 0.4), sharex=True,
            height_ratios=heights, layout="constrained",
        )  # fmt: skip
        for ax, (title, rows) in zip(np.atleast_1d(axes), panels.items(), strict=True):
            for row, (name, distances) in enumerate(rows.items()):
                colour, marker, _ = _STYLES[1] if name.startswith("fastem") else _STYLES[0]
                spread = row + np.linspace(-0.25, 0.25, len(distances)) if len(distances) > 1 else [row]
                ax.plot(distances, spread, marker, color=colour, fillstyle="none", markersize=4, linestyle="none")
            ax.set_yticks(range(len(rows)), list(rows))
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.grid(alpha=0.25)
            ax.set_title(title, loc="left", fontsize=9)
        np.atleast_1d(axes)[-1].set_xlabel(label)
        _save(figure, file)

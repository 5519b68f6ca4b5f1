"""How it is drawn: one look for all plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from fastem.mixture import Mixture
from fastem.plotting.marginals import (
    MAX_ROWS,
    axis_points,
    log_shares,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's colours, which colour-blind readers can tell apart, without the two that fade on white; and Tol's wine.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
DARK, MIDDLE, LIGHT = "#333333", "#8C8C8C", "#DCDCDC"
REACH = 3.5  # deviations from the mean where a curve ends, with 5e-4 of its mass outside


def prepared_axes(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure, in the look of all plots."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plotting needs matplotlib: pip install 'fastem[plot]'") from error
        ax = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MIDDLE)
    ax.tick_params(color=MIDDLE)
    return ax


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def line_style(index: int) -> dict[str, Any]:
    """Look of a component's line: where the colours start again, another dash."""
    return {"color": colour(index), "linestyle": ("-", "--", ":")[index // len(COLOURS) % 3], "linewidth": 1.5}


def height_in_points(ax: Axes) -> float:
    """Height of the axes in points of type."""
    return ax.get_window_extent().height * 72 / ax.figure.dpi


def write_beside(ax: Axes, text: str, point: Any, offset: Any, colour: str, **options: Any) -> None:
    """Text beside a point, ``offset`` in points of type, legible on whatever lies below it."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=ax.get_facecolor())]
    options = {"ha": "center", "va": "center", "weight": "bold", **options}
    ax.annotate(text, point, offset, textcoords="offset points", color=colour, path_effects=halo, **options)


def draw_iterations(ax: Axes, values: np.ndarray, index: int) -> None:
    # Marks show the single steps while there is room for them.
    marker = "o" if len(values) <= 30 else None
    ax.plot(np.arange(1, len(values) + 1), values, marker=marker, markersize=3.5, **line_style(index))
    ax.set_xlabel("iteration")
    ax.locator_params(axis="x", integer=True)
    ax.set_xlim(left=max(0.5, ax.get_xlim()[0]), auto=None)


def label_ends(ax: Axes, ends: Sequence[float] | np.ndarray, colours: dict[str, str]) -> None:
    """Write the names right of the axes, as near to the values ``ends`` as they go without touching."""
    from sklearn.isotonic import isotonic_regression

    low, high = ax.get_ylim()
    size = min(10.0, height_in_points(ax) / (1.2 * len(ends)))
    order = np.argsort(ends, kind="stable")
    steps = 1.2 * size / height_in_points(ax) * (high - low) * np.arange(len(ends))
    places = steps + isotonic_regression(np.asarray(ends)[order] - steps, y_min=low, y_max=high - steps[-1])
    for k, y in zip(order, places, strict=True):
        name, colour = list(colours.items())[k]
        ax.text(1.015, y, name, transform=ax.get_yaxis_transform(), color=colour, size=size, weight="bold", va="center")


def mark_best(ax: Axes, best: Any) -> None:
    """A ring around the best model and its name below, where no line can be."""
    x, y = best.n_components, best.value
    ax.plot([x], [y], marker="o", markersize=11, color=DARK, fillstyle="none", linestyle="none")
    (low, high), room = ax.get_ylim(), 30 / height_in_points(ax)
    ax.set_ylim(bottom=min(low, y - room * (high - y) / (1 - min(room, 0.5))))
    left, right = ax.get_xlim()
    side = (x - left) / (right - left)
    align = "left" if side < 0.2 else "right" if side > 0.8 else "center"
    text = ", ".join(filter(None, [best.covariance_type, f"{x} component{'s' * (x > 1)}"]))
    write_beside(ax, text, (x, y), (0, -9), DARK, ha=align, va="top", weight="normal")


def draw_density(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    params: Any = marginal.params
    means, deviations = params.means[:, 0], np.sqrt(params.covariances[:, 0, 0])
    low, high = np.min(means - REACH * deviations), np.max(means + REACH * deviations)
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        ax.hist(rows[:, 0], bins=n_bins(rows[:, 0]), density=True, color=LIGHT, label="data")
    draw_curves(ax, marginal, axis_points(low, high, means, deviations, 1000))


def n_bins(values: np.ndarray) -> int:
    """The larger of Rice's and of Freedman and Diaconis' numbers of bins, within reason."""
    width = 2 * np.subtract(*np.percentile(values, [75, 25])) / np.cbrt(len(values))
    return int(min(80, max(2 * np.cbrt(len(values)), np.ptp(values) / width if width > 0 else 0)))


def draw_probabilities(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    rates = marginal.params.origin[:, 0]
    low = max(0.0, np.floor(np.min(rates - REACH * np.sqrt(rates))))
    high = np.ceil(np.max(rates + REACH * np.sqrt(rates))) + 1
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        # A bar of several counts has their mean probability, which the curve meets.
        width = np.ceil((np.ptp(rows) + 1) / 80)
        edges = np.arange(rows.min(), rows.max() + width + 1, width) - 0.5
        ax.hist(rows[:, 0], bins=edges.tolist(), density=True, color=LIGHT, rwidth=0.85, label="data")
    # Of a wide range 2,000 counts show the curve.
    draw_curves(ax, marginal, np.unique(np.round(np.linspace(low, high, int(min(high - low + 1, 2000))))))
    ax.locator_params(axis="x", integer=True)


def draw_curves(ax: Axes, marginal: Mixture, points: np.ndarray) -> None:
    """The mixture over ``points`` (n_points,), and the shares of its components."""
    shares = np.exp(log_shares(marginal, points[:, None]))
    total = shares.sum(axis=1)
    # Probabilities of counts are at the counts only: dots, while they can be told apart.
    marker = "o" if marginal.family.name == "poisson" and len(points) <= 60 else None
    several = shares.shape[1] > 1
    for k, share in enumerate(shares.T if several else ()):
        peak = share.argmax()
        # Dashes of the mixture let a component show through where they coincide, and its number stands above both.
        top = total[peak] if total[peak] - share[peak] < 0.07 * total.max() else share[peak]
        label = "components" if k == 0 else None
        ax.plot(points, share, marker=marker, markersize=3.5, label=label, **line_style(k))
        ax.fill_between(points, share, color=colour(k), alpha=0.12, linewidth=0)
        write_beside(ax, str(k), (points[peak], top), (0, 8), colour(k))
    dashes = (0, (4, 2)) if several else "-"
    ax.plot(points, total, color=DARK, linestyle=dashes, linewidth=1.4, label="mixture")
    # Room for the legend above all that is drawn.
    ax.set_ylim(0, max(ax.get_ylim()[1], total.max()) * (1 + 36 / height_in_points(ax)))
    ax.legend(loc="upper center", ncols=3, frameon=False, fontsize="small", handlelength=1.8, columnspacing=1.2)


def draw_ellipses(
    ax: Axes,
    marginal: Mixture,
    rows: np.ndarray | None,
    labels: Any,
    n_std: Sequence[float],
    levels: Sequence[float],
) -> None:
    params: Any = marginal.params
    deviations = np.sqrt(np.diagonal(params.covariances, axis1=1, axis2=2))
    # A contour of 0.95 is at 2.4 deviations of a single component.
    reach = max([*n_std, 2.5 if len(levels) > 0 or rows is None else 0])
    corners = [params.means - reach * deviations, params.means + reach * deviations]
    if ax.has_data():
        corners.append(np.transpose([ax.get_xlim(), ax.get_ylim()]))
    if rows is not None:
        corners.append(rows)
        draw_rows(ax, rows, labels)
    low, high = np.vstack(corners).min(axis=0), np.vstack(corners).max(axis=0)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    if len(levels) > 0:
        draw_contours(ax, marginal, low, high, levels)
    for number in n_std:
        add_ellipses(ax, params, number)
    if len(params.means) > 1:
        number_ellipses(ax, marginal, max(n_std, default=1.0), high - low)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def draw_rows(ax: Axes, rows: np.ndarray, labels: np.ndarray) -> None:
    """Rows in the colours of their components, in one piece: no component covers another."""
    n, colours = len(rows), np.array(COLOURS)[labels % len(COLOURS)]
    alpha, size = float(np.clip(14 / np.sqrt(n), 0.12, 0.75)), float(np.clip(300 / np.sqrt(n), 5, 18))
    ax.scatter(rows[:, 0], rows[:, 1], s=size, c=colours, alpha=alpha, linewidths=0, rasterized=n > 2000)


def draw_contours(ax: Axes, marginal: Mixture, low: Any, high: Any, levels: Sequence[float]) -> None:
    """Contours of the regions of highest density that hold shares ``levels`` of the probability."""
    params: Any = marginal.params
    deviations = np.sqrt(np.diagonal(params.covariances, axis1=1, axis2=2))
    x, y = (axis_points(low[j], high[j], params.means[:, j], deviations[:, j], 150) for j in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    surface = marginal.posterior(grid, "log_likelihood").log_likelihood.reshape(len(y), len(x))
    # The share within a contour is that of random rows of higher density, whatever part of the plane is shown.
    drawn, _ = marginal.sample(MAX_ROWS, np.random.RandomState(0))
    heights = np.quantile(marginal.posterior(drawn, "log_likelihood").log_likelihood, 1 - np.asarray(levels))
    ax.contour(x, y, surface, levels=np.unique(heights), colors=MIDDLE, linewidths=0.8, linestyles="solid")


def add_ellipses(ax: Axes, params: Any, n_std: float) -> None:
    from matplotlib.patches import Ellipse

    variances, directions = np.linalg.eigh(params.covariances)
    for k, mean in enumerate(params.means):
        height, width = 2 * n_std * np.sqrt(variances[k])
        angle = np.degrees(np.arctan2(directions[k, 1, 1], directions[k, 0, 1]))
        ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, **line_style(k)))


def number_ellipses(ax: Axes, marginal: Mixture, n_std: float, span: np.ndarray) -> None:
    """Each component's number at its ellipse, where the other components are thinnest."""
    params: Any = marginal.params
    angles = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for k, mean in enumerate(params.means):
        edge = mean + n_std * (np.linalg.cholesky(params.covariances[k]) @ circle).T
        others = np.delete(log_shares(marginal, edge), k, axis=1)
        point = edge[np.argmin(logsumexp(others, axis=1))]
        outward = (point - mean) / span
        write_beside(ax, str(k), point, 9 * outward / np.linalg.norm(outward), colour(k))


def draw_rates(ax: Axes, marginal: Mixture, rows: np.ndarray | None, labels: Any) -> None:
    if rows is not None:
        cells, often = np.unique(np.column_stack([rows, labels]), axis=0, return_counts=True)
        order = np.argsort(-often, kind="stable")  # smaller discs on larger ones
        (x, y, label), often = cells[order].T, often[order]
        size = np.maximum(3.0, min(18.0, 150 / often.max()) * often)
        colours = np.array(COLOURS)[label.astype(int) % len(COLOURS)]
        ax.scatter(x, y, s=size, c=colours, alpha=0.45, linewidths=0)
    for k, rate in enumerate(marginal.params.origin):
        ax.plot(*rate, marker="D", markersize=8, color=colour(k), markeredgecolor="white", linestyle="none")
        write_beside(ax, str(k), rate, (9, 9), colour(k))
    ax.margins(0.06)

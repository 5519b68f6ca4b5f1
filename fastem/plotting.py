"""Plots of mixtures and of their fits.

Every function draws on the axes that it is given, or on those of a new figure, and returns them. Matplotlib is
imported by the first plot, and its settings are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from fastem.families import Gaussian, Poisson
from fastem.fitting import Mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["criterion", "history", "mixture", "weights"]

# The colours of Okabe & Ito (2008) that are readable on white, which colour-blind readers can tell apart, and Tol's wine.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
_DARK, _MIDDLE, _LIGHT = "#333333", "#8C8C8C", "#DCDCDC"
_MARKERS = "os^Dv"
_COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")

# More points than this look the same.
_MAX_ROWS = 20_000
# Deviations from the mean at which a curve ends, with 5e-4 of its mass outside, and at which a map of densities ends.
_CURVE_END, _MAP_END = 3.5, 3.0


def mixture(
    model: Any,
    X: Any = None,
    *,
    features: int | Sequence[int] = (0, 1),
    ax: Axes | None = None,
    labels: Any = None,
    levels: Sequence[float] = (0.25, 0.5, 0.75, 0.95),
    n_std: Sequence[float] = (1, 2),
    contours: bool = True,
) -> Axes:
    """Draw a fitted mixture, and rows of data in the colours of their components.

    Two features: the rows, an ellipse for each Gaussian component and number of deviations, and contours of the
    mixture's density; for counts the rows, in areas by how often they occur, and the rates. One feature: a histogram
    of the rows, the mixture's density (or probabilities of counts), and each component's share of it. For a model of
    more features it is the marginal distribution of the chosen ones, which is exact. The components carry their numbers.

    Parameters
    ----------
    model : GaussianMixture or PoissonMixture
        Fitted, or made from parameters.
    X : array-like of shape (n_samples, n_features), optional
        Rows to show, with all features of the model; of more than 20,000, a random 20,000.
    features : int or sequence of one or two ints
        Features to show, from 0. A model of one feature shows that one by default.
    ax : matplotlib Axes, optional
    labels : array-like of shape (n_samples,), optional
        Component of each row, from 0; by default the likeliest, ``model.predict(X)``.
    levels : sequence of float
        Shares of the mixture's probability, between 0 and 1: a contour encloses each, in the smallest region that does.
    n_std : sequence of float
        Standard deviations at which ellipses are drawn.
    contours : bool
        Whether contours are drawn, for Gaussian components in two features.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    NotFittedError
        (a ValueError) If the model is not fitted.
    ValueError
        If ``features``, ``levels``, ``n_std`` or ``labels`` are not as described, or ``X`` is not rows of the model's.
    TypeError
        If the model is of another kind.
    ImportError
        If matplotlib is not installed.
    """
    check_is_fitted(model)
    if getattr(model, "family_name", None) not in ("gaussian", "poisson"):
        raise TypeError(
            f"plot.mixture draws a GaussianMixture or a PoissonMixture of fastem, but got {type(model).__name__}; "
            "GaussianMixture.from_sklearn(model) converts scikit-learn's"
        )
    chosen = _chosen_features(features, model.n_features_in_)
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels must be shares of probability between 0 and 1, but got {tuple(levels)}")
    if not all(number > 0 for number in n_std):
        raise ValueError(f"n_std must be positive numbers of standard deviations, but got {tuple(n_std)}")
    marginal = _marginal(model, chosen)
    rows = None
    if X is not None:
        rows, labels = _some_rows(model, X, labels)
        rows = rows[:, chosen]
    ax = _axes(ax)
    counts = model.family_name == "poisson"
    if len(chosen) == 1:
        (_draw_probabilities if counts else _draw_density)(ax, marginal, rows)
        ax.set_ylabel("probability" if counts else "density")
    elif counts:
        _draw_rates(ax, marginal, rows, labels)
    else:
        _draw_ellipses(ax, marginal, rows, labels, n_std, levels if contours else ())
    names = getattr(model, "feature_names_in_", [f"feature {j}" for j in range(model.n_features_in_)])
    ax.set_xlabel(str(names[chosen[0]]))
    if len(chosen) == 2:
        ax.set_ylabel(str(names[chosen[1]]))
    return ax


def history(model: Any, ax: Axes | None = None) -> Axes:
    """Draw the mean log-likelihood of a row by iteration of the best start.

    Parameters
    ----------
    model : estimator
        Fitted to data.
    ax : matplotlib Axes, optional

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    NotFittedError
        (a ValueError) If the model is not fitted.
    ValueError
        If it has no history: it was made from parameters, or fitted with ``max_iter=0``.
    ImportError
        If matplotlib is not installed.
    """
    lower_bound = _history(model, "lower_bound")
    ax = _axes(ax)
    _draw_iterations(ax, lower_bound, _COLOURS[0])
    ax.set_ylabel("mean log-likelihood")
    ax.ticklabel_format(axis="y", useOffset=False)
    return ax


def weights(model: Any, ax: Axes | None = None) -> Axes:
    """Draw the weights of the components, each with its number, by iteration of the best start.

    Parameters
    ----------
    model : estimator
        Fitted to data.
    ax : matplotlib Axes, optional

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    NotFittedError
        (a ValueError) If the model is not fitted.
    ValueError
        If it has no history: it was made from parameters, or fitted with ``max_iter=0``.
    ImportError
        If matplotlib is not installed.
    """
    by_iteration = _history(model, "weights")
    ax = _axes(ax)
    for k, line in enumerate(by_iteration.T):
        _draw_iterations(ax, line, _colour(k))
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * by_iteration.max()))
    ax.set_ylabel("component weight")
    _label_ends(ax, by_iteration[-1], [str(k) for k in range(by_iteration.shape[1])])
    return ax


def criterion(table: Iterable[Any], ax: Axes | None = None, *, criterion: str | None = None) -> Axes:
    """Draw a selection criterion by number of components, a line for each covariance type, the best model marked.

    Parameters
    ----------
    table : SelectionTable, or iterable of records
        Each record has ``n_components``, ``covariance_type`` and ``value``, NaN where a fit failed; lower is better.
    ax : matplotlib Axes, optional
    criterion : str, optional
        Its name, for the axis; by default ``table.criterion``, or "bic" where the table has none.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If the table has no finite value.
    ImportError
        If matplotlib is not installed.
    """
    records = sorted(table, key=lambda record: record.n_components)
    finite = [record for record in records if np.isfinite(record.value)]
    if not finite:
        raise ValueError("the table has no finite value: every fit failed, or there was none")
    best = min(finite, key=lambda record: record.value)
    types = list(dict.fromkeys([*_COVARIANCE_TYPES, *(record.covariance_type for record in records)]))
    shown = [kind for kind in types if any(record.covariance_type == kind for record in finite)]
    ax = _axes(ax)
    ends = []
    for kind in shown:
        x, y = zip(*((r.n_components, r.value) for r in records if r.covariance_type == kind), strict=True)
        y = np.where(np.isfinite(y), y, np.nan)
        index = types.index(kind)
        ax.plot(x, y, color=_colour(index), marker=_MARKERS[index % len(_MARKERS)], markersize=4.5, linewidth=1.5)
        ends.append(y[np.isfinite(y)][-1])
    ax.margins(x=0.04, y=0.14)
    _integer_ticks(ax)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_xlabel("number of components")
    ax.set_ylabel(f"{(criterion or getattr(table, 'criterion', 'bic')).upper()} (lower is better)")
    _mark_best(ax, best, records[0].n_components, records[-1].n_components)
    _label_ends(ax, ends, shown, [_colour(types.index(kind)) for kind in shown])
    return ax


# What is drawn.


def _chosen_features(features: int | Sequence[int], n_features: int) -> list[int]:
    chosen = [int(j) for j in np.atleast_1d(features)]
    if n_features == 1 and chosen == [0, 1]:
        chosen = [0]
    if len(chosen) not in (1, 2) or len(set(chosen)) != len(chosen) or not all(0 <= j < n_features for j in chosen):
        raise ValueError(
            f"features must be one or two different numbers from 0 to {n_features - 1}, for the model has {n_features} "
            f"feature{'s' * (n_features > 1)}, but got {features!r}"
        )
    return chosen


def _some_rows(model: Any, X: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``X``, always the same where there are too many, and their components."""
    n_samples, n_components = _num_samples(X), len(model.weights_)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (n_samples,) or not np.isin(labels, np.arange(n_components)).all():
            raise ValueError(f"labels must be {n_samples} numbers of components from 0 to {n_components - 1}")
    if n_samples > _MAX_ROWS:
        picked = np.sort(np.random.default_rng(0).choice(n_samples, _MAX_ROWS, replace=False))
        X = _safe_indexing(X, picked)
        labels = None if labels is None else labels[picked]
    rows = validate_data(model, X, reset=False, dtype=np.float64)
    return rows, model.predict(X) if labels is None else labels.astype(int)


def _marginal(model: Any, features: list[int]) -> Mixture:
    """The mixture of the chosen features alone; Gaussian covariances become full."""
    weights = np.asarray(model.weights_, dtype=np.float64)
    if model.family_name == "poisson":
        counts = Poisson()
        return Mixture(counts, counts.make_params(weights, np.asarray(model.rates_, dtype=np.float64)[:, features]))
    family, means = Gaussian("full"), np.asarray(model.means_, dtype=np.float64)[:, features]
    return Mixture(family, family.make_params(weights, means, _covariances(model, features)))


def _covariances(model: Any, features: list[int]) -> np.ndarray:
    """Covariances (n_components, F, F) of the chosen features."""
    covariances, identity = np.asarray(model.covariances_, dtype=np.float64), np.eye(len(features))
    if model.covariance_type == "full":
        return covariances[:, features][:, :, features]
    if model.covariance_type == "tied":
        return np.tile(covariances[np.ix_(features, features)], (len(model.weights_), 1, 1))
    if model.covariance_type == "diag":
        return covariances[:, features, None] * identity
    return covariances[:, None, None] * identity


def _log_densities(mixture: Mixture, points: np.ndarray) -> np.ndarray:
    """``log w_k + log p(x | k)``, of shape (n_points, n_components)."""
    with np.errstate(divide="ignore"):
        return mixture.family.log_density(points, mixture.params) + np.log(mixture.params.weights)


def _axis_points(low: float, high: float, centres: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Points from ``low`` to ``high``, denser around the components, so that none slips between two points."""
    near = centres[:, None] + deviations[:, None] * np.linspace(-_CURVE_END, _CURVE_END, max(7, 300 // len(centres)))
    points = np.concatenate([np.linspace(low, high, 150), near.ravel()])
    return np.unique(points[(points >= low) & (points <= high)])


def _history(model: Any, name: str) -> np.ndarray:
    check_is_fitted(model)
    recorded = getattr(model, "history_", {}).get(name, ())
    if len(recorded) == 0:
        raise ValueError("the model has no history to draw: only a fit of at least one iteration leaves one")
    return np.asarray(recorded, dtype=np.float64)


# How it is drawn.


def _axes(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure, without a frame."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plotting needs matplotlib: pip install 'fastem[plot]'") from error
        ax = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_MIDDLE)
    ax.tick_params(color=_MIDDLE)
    return ax


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _integer_ticks(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _write(ax: Axes, text: str, point: Any, offset: Any, colour: str, **options: Any) -> None:
    """Text beside a point, ``offset`` in points of type, legible on whatever lies below it."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=ax.get_facecolor())]
    options = {"ha": "center", "va": "center", "weight": "bold", **options}
    ax.annotate(text, point, offset, textcoords="offset points", color=colour, path_effects=halo, **options)


def _draw_iterations(ax: Axes, values: np.ndarray, colour: str) -> None:
    iterations = np.arange(1, len(values) + 1)
    # Marks show the single steps while there is room for them.
    ax.plot(iterations, values, color=colour, linewidth=1.5, marker="o" if len(values) <= 30 else None, markersize=3.5)
    ax.set_xlabel("iteration")
    _integer_ticks(ax)


def _label_ends(ax: Axes, ends: Any, texts: list[str], colours: list[str] | None = None) -> None:
    """Write texts to the right of the axes, as near to the values ``ends`` as they go without touching."""
    from sklearn.isotonic import isotonic_regression

    low, high = ax.get_ylim()
    height = ax.get_window_extent().height * 72 / ax.get_figure(root=True).dpi
    size = min(10.0, height / (1.2 * len(texts)))
    gap = 1.2 * size / height * (high - low)
    order = np.argsort(ends, kind="stable")
    steps = gap * np.arange(len(texts))
    places = steps + isotonic_regression(np.asarray(ends)[order] - steps, y_min=low, y_max=high - steps[-1])
    for k, y in zip(order, places, strict=True):
        colour = _colour(k) if colours is None else colours[k]
        ax.text(1.015, y, texts[k], transform=ax.get_yaxis_transform(), color=colour, va="center", size=size, weight="bold")


def _mark_best(ax: Axes, best: Any, first: int, last: int) -> None:
    """A ring around the best model and its name below, where no line can be."""
    x, y = best.n_components, best.value
    ax.plot([x], [y], marker="o", markersize=11, color=_DARK, fillstyle="none", linestyle="none")
    side = (x - first) / max(1, last - first)
    plural = "s" * (x > 1)
    align = "left" if side < 0.15 else "right" if side > 0.85 else "center"
    text = ", ".join(filter(None, [best.covariance_type, f"{x} component{plural}"]))
    _write(ax, text, (x, y), (0, -10), _DARK, ha=align, va="top", weight="normal")


def _draw_density(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    means, deviations = marginal.params.means[:, 0], np.sqrt(marginal.params.covariances[:, 0, 0])
    low, high = np.min(means - _CURVE_END * deviations), np.max(means + _CURVE_END * deviations)
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        ax.hist(rows[:, 0], bins=_n_bins(rows[:, 0]), density=True, color=_LIGHT, label="data")
    _draw_curves(ax, marginal, _axis_points(low, high, means, deviations))


def _n_bins(values: np.ndarray) -> int:
    """Freedman and Diaconis' number of bins, within reason."""
    width = 2 * np.subtract(*np.percentile(values, [75, 25])) / len(values) ** (1 / 3)
    return int(np.clip(np.ptp(values) / width, 8, 80)) if width > 0 else 20


def _draw_probabilities(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    rates = marginal.params.rates[:, 0]
    low = max(0.0, np.floor(np.min(rates - _CURVE_END * np.sqrt(rates))))
    high = np.ceil(np.max(rates + _CURVE_END * np.sqrt(rates))) + 1
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        # Bars of several counts have their mean probability, which the curve meets.
        width = np.ceil((np.ptp(rows) + 1) / 80)
        edges = np.arange(rows.min(), rows.max() + width + 1, width) - 0.5
        ax.hist(rows[:, 0], bins=edges, density=True, color=_LIGHT, rwidth=0.85, label="data")
    # Of a wide range 2,000 counts show the curve.
    _draw_curves(ax, marginal, np.unique(np.round(np.linspace(low, high, int(min(high - low + 1, 2000))))))
    _integer_ticks(ax)


def _draw_curves(ax: Axes, marginal: Mixture, points: np.ndarray) -> None:
    """The mixture over ``points`` (n_points,), and the shares of its components."""
    from matplotlib.lines import Line2D

    shares = np.exp(_log_densities(marginal, points[:, None]))
    total = shares.sum(axis=1)
    # Probabilities of counts are at the counts only: dots, while they can be told apart.
    marker = "o" if marginal.family.name == "poisson" and len(points) <= 60 else None
    for k, share in enumerate(shares.T if shares.shape[1] > 1 else ()):
        ax.plot(points, share, color=_colour(k), linewidth=1.5, marker=marker, markersize=3)
        _write(ax, str(k), (points[share.argmax()], share.max()), (0, 8), _colour(k))
    ax.plot(points, total, color=_DARK, linewidth=1.8, marker=marker, markersize=3, label="mixture", zorder=1.9)
    # Room for the legend above all that is drawn.
    ax.set_ylim(0, max(ax.get_ylim()[1], total.max()) * 1.16)
    handles = ax.get_legend_handles_labels()[0]
    if shares.shape[1] > 1:
        handles.append(Line2D([], [], color=_colour(0), linewidth=1.5, label="components"))
    ax.legend(handles=handles, loc="upper center", ncols=3, frameon=False)


def _draw_ellipses(
    ax: Axes,
    marginal: Mixture,
    rows: np.ndarray | None,
    labels: Any,
    n_std: Sequence[float],
    levels: Sequence[float],
) -> None:
    means, covariances = marginal.params.means, marginal.params.covariances
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    reach = max(n_std, default=0.0) if rows is not None else _MAP_END
    corners = np.concatenate([means - reach * deviations, means + reach * deviations])
    if rows is not None:
        corners = np.concatenate([corners, rows])
        _scatter(ax, rows, labels)
    low, high = corners.min(axis=0), corners.max(axis=0)
    pad = 0.04 * (high - low)
    low, high = low - pad, high + pad
    if len(levels) > 0:
        _draw_contours(ax, marginal, low, high, levels)
    for number in n_std:
        _add_ellipses(ax, marginal, number)
    if len(means) > 1:
        _number_ellipses(ax, marginal, max(n_std, default=1.0), high - low)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def _scatter(ax: Axes, rows: np.ndarray, labels: np.ndarray) -> None:
    """Rows in the colours of their components, in one piece: no component covers another."""
    n = len(rows)
    colours = np.array(_COLOURS)[labels % len(_COLOURS)]
    alpha, size = np.clip(14 / np.sqrt(n), 0.12, 0.75), np.clip(300 / np.sqrt(n), 5, 18)
    ax.scatter(*rows.T, s=size, c=colours, alpha=alpha, linewidths=0, rasterized=n > 2000)


def _draw_contours(ax: Axes, marginal: Mixture, low: Any, high: Any, levels: Sequence[float]) -> None:
    """Contours of the regions of highest density that hold shares ``levels`` of the probability."""
    means, covariances = marginal.params.means, marginal.params.covariances
    x, y = (_axis_points(low[j], high[j], means[:, j], np.sqrt(covariances[:, j, j])) for j in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    surface = logsumexp(_log_densities(marginal, grid.reshape(-1, 2)), axis=1).reshape(len(y), len(x))
    # The share within a contour is that of random rows whose density is higher: it needs no fine grid.
    drawn, _ = marginal.sample(20_000, np.random.RandomState(0))
    heights = np.quantile(logsumexp(_log_densities(marginal, drawn), axis=1), 1 - np.asarray(levels))
    ax.contour(x, y, surface, levels=np.unique(heights), colors=_MIDDLE, linewidths=0.8, linestyles="solid")


def _add_ellipses(ax: Axes, marginal: Mixture, n_std: float) -> None:
    from matplotlib.patches import Ellipse

    variances, directions = np.linalg.eigh(marginal.params.covariances)
    for k, mean in enumerate(marginal.params.means):
        height, width = 2 * n_std * np.sqrt(variances[k])
        angle = np.degrees(np.arctan2(directions[k, 1, 1], directions[k, 0, 1]))
        ellipse = Ellipse(mean, width, height, angle=angle, facecolor="none", edgecolor=_colour(k), linewidth=1.5)
        ax.add_patch(ellipse)


def _number_ellipses(ax: Axes, marginal: Mixture, n_std: float, span: np.ndarray) -> None:
    """Each component's number at its ellipse, where the other components are thinnest."""
    angles = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for k, (mean, covariance) in enumerate(zip(marginal.params.means, marginal.params.covariances, strict=True)):
        edge = mean + n_std * (np.linalg.cholesky(covariance) @ circle).T
        others = np.delete(_log_densities(marginal, edge), k, axis=1)
        point = edge[np.argmin(logsumexp(others, axis=1))]
        outward = (point - mean) / span
        _write(ax, str(k), point, 9 * outward / np.linalg.norm(outward), _colour(k))


def _draw_rates(ax: Axes, marginal: Mixture, rows: np.ndarray | None, labels: Any) -> None:
    if rows is not None:
        cells, often = np.unique(np.column_stack([rows, labels]), axis=0, return_counts=True)
        order = np.argsort(-often, kind="stable")  # smaller discs on larger ones
        size = np.maximum(3.0, min(18.0, 150 / often.max()) * often)
        colours = np.array(_COLOURS)[cells[:, 2].astype(int) % len(_COLOURS)]
        ax.scatter(*cells[order, :2].T, s=size[order], c=colours[order], alpha=0.45, linewidths=0)
    for k, rate in enumerate(marginal.params.rates):
        ax.plot(*rate, marker="D", markersize=8, color=_colour(k), markeredgecolor="white", linestyle="none")
        _write(ax, str(k), rate, (9, 9), _colour(k))
    ax.margins(0.06)

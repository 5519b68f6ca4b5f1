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

# Okabe & Ito's colours, which colour-blind readers can tell apart, without the two that fade on white; and Tol's wine.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
_DARK, _MIDDLE, _LIGHT = "#333333", "#8C8C8C", "#DCDCDC"
_COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
_MAX_ROWS = 20_000  # more points than this look the same
_REACH = 3.5  # deviations from the mean where a curve ends, with 5e-4 of its mass outside


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

    In two features: the rows, an ellipse for each Gaussian component and number of deviations, and contours of the
    density; for counts the rows, larger where they occur more often, and the rates. In one feature: a histogram, the
    mixture's density (or probabilities of counts), and each component's share of it. Of a model of more features it
    shows the marginal distribution of the chosen ones, which is exact. Components carry their numbers.

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
    ValueError
        If the model is not fitted (NotFittedError), ``features``, ``levels``, ``n_std`` or ``labels`` are not as
        described, or ``X`` is not rows that the model takes.
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
        raise ValueError(f"levels must be shares of probability between 0 and 1, but got {levels!r}")
    if not all(number > 0 for number in n_std):
        raise ValueError(f"n_std must be positive numbers of standard deviations, but got {n_std!r}")
    marginal, rows = _marginal(model, chosen), None
    if X is not None:
        rows, labels = _some_rows(model, X, labels)
        rows = rows[:, chosen]
    ax = _axes(ax)
    counts = model.family_name == "poisson"
    names = getattr(model, "feature_names_in_", [f"feature {j}" for j in range(model.n_features_in_)])
    ax.set_xlabel(str(names[chosen[0]]))
    if len(chosen) == 1:
        ax.set_ylabel("probability" if counts else "density")
        (_draw_probabilities if counts else _draw_density)(ax, marginal, rows)
    else:
        ax.set_ylabel(str(names[chosen[1]]))
        if counts:
            _draw_rates(ax, marginal, rows, labels)
        else:
            _draw_ellipses(ax, marginal, rows, labels, n_std, levels if contours else ())
    return ax


def history(model: Any, ax: Axes | None = None) -> Axes:
    """Draw the mean log-likelihood of a row by iteration, in the start that was kept.

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
    ValueError
        If the model is not fitted (NotFittedError), or has no history: it was made from parameters, or fitted with
        ``max_iter=0``.
    ImportError
        If matplotlib is not installed.
    """
    lower_bound = _history(model, "lower_bound")
    ax = _axes(ax)
    _draw_iterations(ax, lower_bound, 0)
    ax.set_ylabel("mean log-likelihood")
    ax.ticklabel_format(axis="y", useOffset=False)
    return ax


def weights(model: Any, ax: Axes | None = None) -> Axes:
    """Draw the weights of the components by iteration, each with its number, in the start that was kept.

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
    ValueError, ImportError
        As in :func:`history`.
    """
    by_iteration = _history(model, "weights")
    ax = _axes(ax)
    for k, line in enumerate(by_iteration.T):
        _draw_iterations(ax, line, k)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * by_iteration.max()))
    ax.set_ylabel("component weight")
    _label_ends(ax, by_iteration[-1], {str(k): _colour(k) for k in range(by_iteration.shape[1])})
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
        If no value is finite.
    ImportError
        If matplotlib is not installed.
    """
    name = str(criterion or getattr(table, "criterion", "bic"))
    records = sorted(table, key=lambda record: record.n_components)
    finite = [record for record in records if np.isfinite(record.value)]
    if not finite:
        raise ValueError("the table has no finite value to draw: every fit failed, or there was none")
    types = list(dict.fromkeys([*_COVARIANCE_TYPES, *(record.covariance_type for record in records)]))
    ax = _axes(ax)
    ends, colours = [], {}
    for index, kind in enumerate(types):
        x, y = np.array([(r.n_components, r.value) for r in records if r.covariance_type == kind]).reshape(-1, 2).T
        y = np.where(np.isfinite(y), y, np.nan)
        if np.isfinite(y).any():
            ends.append(y[np.isfinite(y)][-1])
            colours[kind] = _colour(index)
            ax.plot(x, y, marker="os^Dv"[index % 5], markersize=4.5, **_line(index))
    ax.margins(x=0.04, y=0.06)
    ax.locator_params(axis="x", integer=True)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_xlabel("number of components")
    ax.set_ylabel(f"{name.upper()} (lower is better)")
    _mark_best(ax, min(finite, key=lambda record: record.value), finite)
    _label_ends(ax, ends, colours)
    return ax


# What is drawn.


def _chosen_features(features: int | Sequence[int], n_features: int) -> list[int]:
    chosen = np.ravel(features)
    if n_features == 1 and np.array_equal(chosen, [0, 1]):
        return [0]
    known = chosen.dtype.kind in "iu" and len(chosen) > 0 and chosen.min() >= 0 and chosen.max() < n_features
    if not known or len(chosen) > 2 or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"features must be one or two different numbers from 0 to {n_features - 1}, for the model has n_features = "
            f"{n_features}, but got {features!r}"
        )
    return chosen.tolist()


def _some_rows(model: Any, X: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``X``, always the same where there are too many, and their components."""
    n_samples, n_components = _num_samples(X), len(model.weights_)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (n_samples,) or not np.isin(labels, np.arange(n_components)).all():
            raise ValueError(f"labels must be {n_samples} numbers of components, from 0 to {n_components - 1}")
    if n_samples > _MAX_ROWS:
        picked = np.sort(np.random.default_rng(0).choice(n_samples, _MAX_ROWS, replace=False))
        X = _safe_indexing(X, picked)
        labels = None if labels is None else labels[picked]
    rows = validate_data(model, X, reset=False, dtype=np.float64)
    return rows, model.predict(X) if labels is None else labels.astype(int)


def _marginal(model: Any, features: list[int]) -> Mixture:
    """The mixture of the chosen features alone, its Gaussians with full covariances."""
    weights, means = (np.asarray(a, dtype=np.float64) for a in (model.weights_, model.means_))
    if model.family_name == "poisson":
        return Mixture(Poisson(), Poisson().make_params(weights, means[:, features]))
    covariances, identity = np.asarray(model.covariances_, dtype=np.float64), np.eye(len(features))
    if model.covariance_type in ("full", "tied"):
        covariances = np.broadcast_to(covariances, (len(means), means.shape[1], means.shape[1]))
        covariances = covariances[:, features][:, :, features]
    elif model.covariance_type == "diag":
        covariances = covariances[:, features, None] * identity
    else:
        covariances = covariances[:, None, None] * identity
    return Mixture(Gaussian("full"), Gaussian("full").make_params(weights, means[:, features], covariances))


def _log_shares(marginal: Mixture, points: np.ndarray) -> np.ndarray:
    """``log w_k + log p(x | k)``, of shape (n_points, n_components)."""
    with np.errstate(divide="ignore"):
        return marginal.family.log_density(points, marginal.params) + np.log(marginal.params.weights)


def _axis_points(low: float, high: float, centres: np.ndarray, deviations: np.ndarray, n: int) -> np.ndarray:
    """Some ``n`` to ``3 n`` points, denser around the components, so that a narrow one is not lost between two."""
    # At 6 deviations a line to the next even point is as good as at zero.
    near = centres[:, None] + deviations[:, None] * np.linspace(-6, 6, max(7, n // len(centres)))
    points = np.unique(np.concatenate([np.linspace(low, high, n), near.clip(low, high).ravel()]))
    return points[:: 1 + len(points) // (3 * n)]


def _history(model: Any, name: str) -> np.ndarray:
    check_is_fitted(model)
    recorded = getattr(model, "history_", {}).get(name, ())
    if len(recorded) == 0:
        raise ValueError("the model has no history to draw: only a fit of at least one iteration leaves one")
    return np.asarray(recorded, dtype=np.float64)


# How it is drawn.


def _axes(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure, in the look of all plots."""
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


def _line(index: int) -> dict[str, Any]:
    """Look of a component's line: where the colours start again, another dash."""
    return {"color": _colour(index), "linestyle": ("-", "--", ":")[index // len(_COLOURS) % 3], "linewidth": 1.5}


def _height(ax: Axes) -> float:
    """Height of the axes in points of type."""
    return ax.get_window_extent().height * 72 / ax.figure.dpi


def _write(ax: Axes, text: str, point: Any, offset: Any, colour: str, **options: Any) -> None:
    """Text beside a point, ``offset`` in points of type, legible on whatever lies below it."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=ax.get_facecolor())]
    options = {"ha": "center", "va": "center", "weight": "bold", **options}
    ax.annotate(text, point, offset, textcoords="offset points", color=colour, path_effects=halo, **options)


def _draw_iterations(ax: Axes, values: np.ndarray, index: int) -> None:
    # Marks show the single steps while there is room for them.
    marker = "o" if len(values) <= 30 else None
    ax.plot(np.arange(1, len(values) + 1), values, marker=marker, markersize=3.5, **_line(index))
    ax.set_xlim(left=max(0.5, ax.get_xlim()[0]), auto=None)
    ax.set_xlabel("iteration")
    ax.locator_params(axis="x", integer=True)


def _label_ends(ax: Axes, ends: Sequence[float] | np.ndarray, colours: dict[str, str]) -> None:
    """Write the names right of the axes, as near to the values ``ends`` as they go without touching."""
    from sklearn.isotonic import isotonic_regression

    low, high = ax.get_ylim()
    size = min(10.0, _height(ax) / (1.2 * len(ends)))
    order = np.argsort(ends, kind="stable")
    steps = 1.2 * size / _height(ax) * (high - low) * np.arange(len(ends))
    places = steps + isotonic_regression(np.asarray(ends)[order] - steps, y_min=low, y_max=high - steps[-1])
    for k, y in zip(order, places, strict=True):
        name, colour = list(colours.items())[k]
        ax.text(1.015, y, name, transform=ax.get_yaxis_transform(), color=colour, size=size, weight="bold", va="center")


def _mark_best(ax: Axes, best: Any, records: list[Any]) -> None:
    """A ring around the best model and its name below, where no line can be."""
    x, y = best.n_components, best.value
    ax.plot([x], [y], marker="o", markersize=11, color=_DARK, fillstyle="none", linestyle="none")
    (low, high), room = ax.get_ylim(), 30 / _height(ax)
    ax.set_ylim(bottom=min(low, y - room * (high - y) / (1 - min(room, 0.5))))
    side = (x - records[0].n_components) / max(1, records[-1].n_components - records[0].n_components)
    align = "left" if side < 0.2 else "right" if side > 0.8 else "center"
    text = ", ".join(filter(None, [best.covariance_type, f"{x} component{'s' * (x > 1)}"]))
    _write(ax, text, (x, y), (0, -9), _DARK, ha=align, va="top", weight="normal")


def _draw_density(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    params: Any = marginal.params
    means, deviations = params.means[:, 0], np.sqrt(params.covariances[:, 0, 0])
    low, high = np.min(means - _REACH * deviations), np.max(means + _REACH * deviations)
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        ax.hist(rows[:, 0], bins=_n_bins(rows[:, 0]), density=True, color=_LIGHT, label="data")
    _draw_curves(ax, marginal, _axis_points(low, high, means, deviations, 1000))


def _n_bins(values: np.ndarray) -> int:
    """The larger of Rice's and of Freedman and Diaconis' numbers of bins, within reason."""
    width = 2 * np.subtract(*np.percentile(values, [75, 25])) / np.cbrt(len(values))
    return int(min(80, max(2 * np.cbrt(len(values)), np.ptp(values) / width if width > 0 else 0)))


def _draw_probabilities(ax: Axes, marginal: Mixture, rows: np.ndarray | None) -> None:
    rates = marginal.params.origin[:, 0]
    low = max(0.0, np.floor(np.min(rates - _REACH * np.sqrt(rates))))
    high = np.ceil(np.max(rates + _REACH * np.sqrt(rates))) + 1
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        # A bar of several counts has their mean probability, which the curve meets.
        width = np.ceil((np.ptp(rows) + 1) / 80)
        edges = np.arange(rows.min(), rows.max() + width + 1, width) - 0.5
        ax.hist(rows[:, 0], bins=edges.tolist(), density=True, color=_LIGHT, rwidth=0.85, label="data")
    # Of a wide range 2,000 counts show the curve.
    _draw_curves(ax, marginal, np.unique(np.round(np.linspace(low, high, int(min(high - low + 1, 2000))))))
    ax.locator_params(axis="x", integer=True)


def _draw_curves(ax: Axes, marginal: Mixture, points: np.ndarray) -> None:
    """The mixture over ``points`` (n_points,), and the shares of its components."""
    shares = np.exp(_log_shares(marginal, points[:, None]))
    total = shares.sum(axis=1)
    # Probabilities of counts are at the counts only: dots, while they can be told apart.
    marker = "o" if marginal.family.name == "poisson" and len(points) <= 60 else None
    several = shares.shape[1] > 1
    for k, share in enumerate(shares.T if several else ()):
        peak = share.argmax()
        # Dashes of the mixture let a component show through where they coincide, and its number stands above both.
        top = total[peak] if total[peak] - share[peak] < 0.07 * total.max() else share[peak]
        label = "components" if k == 0 else None
        ax.plot(points, share, marker=marker, markersize=3.5, label=label, **_line(k))
        ax.fill_between(points, share, color=_colour(k), alpha=0.12, linewidth=0)
        _write(ax, str(k), (points[peak], top), (0, 8), _colour(k))
    dashes = (0, (4, 2)) if several else "-"
    ax.plot(points, total, color=_DARK, linestyle=dashes, linewidth=1.4, label="mixture")
    # Room for the legend above all that is drawn.
    ax.set_ylim(0, max(ax.get_ylim()[1], total.max()) * (1 + 36 / _height(ax)))
    ax.legend(loc="upper center", ncols=3, frameon=False, fontsize="small", handlelength=1.8, columnspacing=1.2)


def _draw_ellipses(
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
        _scatter(ax, rows, labels)
    low, high = np.vstack(corners).min(axis=0), np.vstack(corners).max(axis=0)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    if len(levels) > 0:
        _draw_contours(ax, marginal, low, high, levels)
    for number in n_std:
        _add_ellipses(ax, params, number)
    if len(params.means) > 1:
        _number_ellipses(ax, marginal, max(n_std, default=1.0), high - low)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def _scatter(ax: Axes, rows: np.ndarray, labels: np.ndarray) -> None:
    """Rows in the colours of their components, in one piece: no component covers another."""
    n, colours = len(rows), np.array(_COLOURS)[labels % len(_COLOURS)]
    alpha, size = float(np.clip(14 / np.sqrt(n), 0.12, 0.75)), float(np.clip(300 / np.sqrt(n), 5, 18))
    ax.scatter(rows[:, 0], rows[:, 1], s=size, c=colours, alpha=alpha, linewidths=0, rasterized=n > 2000)


def _draw_contours(ax: Axes, marginal: Mixture, low: Any, high: Any, levels: Sequence[float]) -> None:
    """Contours of the regions of highest density that hold shares ``levels`` of the probability."""
    params: Any = marginal.params
    deviations = np.sqrt(np.diagonal(params.covariances, axis1=1, axis2=2))
    x, y = (_axis_points(low[j], high[j], params.means[:, j], deviations[:, j], 150) for j in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    surface = logsumexp(_log_shares(marginal, grid), axis=1).reshape(len(y), len(x))
    # The share within a contour is that of random rows of higher density, whatever part of the plane is shown.
    drawn, _ = marginal.sample(_MAX_ROWS, np.random.RandomState(0))
    heights = np.quantile(logsumexp(_log_shares(marginal, drawn), axis=1), 1 - np.asarray(levels))
    ax.contour(x, y, surface, levels=np.unique(heights), colors=_MIDDLE, linewidths=0.8, linestyles="solid")


def _add_ellipses(ax: Axes, params: Any, n_std: float) -> None:
    from matplotlib.patches import Ellipse

    variances, directions = np.linalg.eigh(params.covariances)
    for k, mean in enumerate(params.means):
        height, width = 2 * n_std * np.sqrt(variances[k])
        angle = np.degrees(np.arctan2(directions[k, 1, 1], directions[k, 0, 1]))
        ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, **_line(k)))


def _number_ellipses(ax: Axes, marginal: Mixture, n_std: float, span: np.ndarray) -> None:
    """Each component's number at its ellipse, where the other components are thinnest."""
    params: Any = marginal.params
    angles = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for k, mean in enumerate(params.means):
        edge = mean + n_std * (np.linalg.cholesky(params.covariances[k]) @ circle).T
        others = np.delete(_log_shares(marginal, edge), k, axis=1)
        point = edge[np.argmin(logsumexp(others, axis=1))]
        outward = (point - mean) / span
        _write(ax, str(k), point, 9 * outward / np.linalg.norm(outward), _colour(k))


def _draw_rates(ax: Axes, marginal: Mixture, rows: np.ndarray | None, labels: Any) -> None:
    if rows is not None:
        cells, often = np.unique(np.column_stack([rows, labels]), axis=0, return_counts=True)
        order = np.argsort(-often, kind="stable")  # smaller discs on larger ones
        (x, y, label), often = cells[order].T, often[order]
        size = np.maximum(3.0, min(18.0, 150 / often.max()) * often)
        colours = np.array(_COLOURS)[label.astype(int) % len(_COLOURS)]
        ax.scatter(x, y, s=size, c=colours, alpha=0.45, linewidths=0)
    for k, rate in enumerate(marginal.params.origin):
        ax.plot(*rate, marker="D", markersize=8, color=_colour(k), markeredgecolor="white", linestyle="none")
        _write(ax, str(k), rate, (9, 9), _colour(k))
    ax.margins(0.06)

"""Plots of mixtures and of their fits.

Every function draws on the axes that it is given, or on those of a new figure, and returns them. Matplotlib is
imported by the first plot, and its settings are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastem.families.covariance_structures import COVARIANCE_TYPES
from fastem.plotting.drawing import (
    colour,
    draw_density,
    draw_ellipses,
    draw_iterations,
    draw_probabilities,
    draw_rates,
    label_ends,
    line_style,
    mark_best,
    prepared_axes,
)
from fastem.plotting.marginals import (
    chosen_features,
    marginal_mixture,
    recorded_history,
    some_rows,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["criterion", "history", "mixture", "weights"]


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
    chosen = chosen_features(features, model.n_features_in_)
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels must be shares of probability between 0 and 1, but got {levels!r}")
    if not all(number > 0 for number in n_std):
        raise ValueError(f"n_std must be positive numbers of standard deviations, but got {n_std!r}")
    marginal, rows = marginal_mixture(model, chosen), None
    if X is not None:
        rows, labels = some_rows(model, X, labels)
        rows = rows[:, chosen]
    ax = prepared_axes(ax)
    counts = model.family_name == "poisson"
    names = getattr(model, "feature_names_in_", [f"feature {j}" for j in range(model.n_features_in_)])
    ax.set_xlabel(str(names[chosen[0]]))
    if len(chosen) == 1:
        ax.set_ylabel("probability" if counts else "density")
        (draw_probabilities if counts else draw_density)(ax, marginal, rows)
    else:
        ax.set_ylabel(str(names[chosen[1]]))
        if counts:
            draw_rates(ax, marginal, rows, labels)
        else:
            draw_ellipses(ax, marginal, rows, labels, n_std, levels if contours else ())
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
    lower_bound = recorded_history(model, "lower_bound")
    ax = prepared_axes(ax)
    draw_iterations(ax, lower_bound, 0)
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
    by_iteration = recorded_history(model, "weights")
    ax = prepared_axes(ax)
    for k, line in enumerate(by_iteration.T):
        draw_iterations(ax, line, k)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * by_iteration.max()))
    ax.set_ylabel("component weight")
    label_ends(ax, by_iteration[-1], {str(k): colour(k) for k in range(by_iteration.shape[1])})
    return ax


def criterion(table: Iterable[Any], ax: Axes | None = None, *, criterion: str | None = None) -> Axes:
    """Draw a selection criterion by number of components, a line for each covariance type, the best model marked.

    Parameters
    ----------
    table : SearchTable, or iterable of records
        Each record has ``n_components``, ``covariance_type`` and ``value``, NaN where a fit failed; lower is better.
        A line has a gap where a record is ``spurious``.
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
    records = list(table)
    heights = {id(r): np.nan if getattr(r, "spurious", False) else r.value for r in records}
    finite = [record for record in records if np.isfinite(heights[id(record)])]
    if not finite:
        raise ValueError("the table has no finite value to draw: every fit failed, or there was none")
    # Of equals that of the lowest BIC, as in the table.
    best = min(finite, key=lambda record: (record.value, getattr(record, "bic", 0.0)))
    records.sort(key=lambda record: record.n_components)
    types = list(dict.fromkeys([*COVARIANCE_TYPES, *(record.covariance_type for record in records)]))
    ax = prepared_axes(ax)
    ends, colours = [], {}
    for index, kind in enumerate(types):
        of_kind = [record for record in records if record.covariance_type == kind]
        x = np.array([record.n_components for record in of_kind])
        y = np.array([heights[id(record)] for record in of_kind])
        y = np.where(np.isfinite(y), y, np.nan)
        if np.isfinite(y).any():
            ends.append(y[np.isfinite(y)][-1])
            colours[kind] = colour(index)
            ax.plot(x, y, marker="os^Dv"[index % 5], markersize=4.5, **line_style(index))
    ax.margins(x=0.04, y=0.06)
    ax.locator_params(axis="x", integer=True)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_xlabel("number of components")
    ax.set_ylabel(f"{name.upper()} (lower is better)")
    mark_best(ax, best)
    label_ends(ax, ends, colours)
    return ax

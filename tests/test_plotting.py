"""What the plots show, read back from the artists on the axes."""

from __future__ import annotations

import itertools
import sys
import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from sklearn.exceptions import NotFittedError

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.contour import ContourSet
from matplotlib.patches import Ellipse

from fastem import GaussianMixture, PoissonMixture, plot

TYPES = ("full", "tied", "diag", "spherical")
ROTATED = np.array([[2.0, 0.9, 0.1], [0.9, 1.0, -0.2], [0.1, -0.2, 0.5]])
COVARIANCES = {
    "full": np.stack([ROTATED, 0.3 * np.eye(3)]),
    "tied": ROTATED,
    "diag": np.array([[2.0, 0.5, 1.0], [0.1, 1.0, 3.0]]),
    "spherical": np.array([0.7, 1.5]),
}


@pytest.fixture(autouse=True)
def _leave_nothing_behind():
    """No plot changes matplotlib's settings, and figures are closed, for too many open ones warn."""
    before = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def ax():
    return plt.subplots()[1]


def gaussian(covariance_type="full"):
    """Two components of three features."""
    means = [[0.0, 1.0, 2.0], [5.0, -3.0, 1.0]]
    return GaussianMixture.from_parameters(
        [0.3, 0.7], means, COVARIANCES[covariance_type], covariance_type=covariance_type
    )


def one_feature(weights=(0.25, 0.75), means=(-2.0, 3.0), variances=(0.5, 2.0)):
    return GaussianMixture.from_parameters(weights, np.reshape(means, (-1, 1)), np.reshape(variances, (-1, 1, 1)))


def full_covariances(covariance_type):
    given = COVARIANCES[covariance_type]
    return {
        "full": lambda: given,
        "tied": lambda: np.stack([given, given]),
        "diag": lambda: np.stack([np.diag(variances) for variances in given]),
        "spherical": lambda: np.stack([variance * np.eye(3) for variance in given]),
    }[covariance_type]()


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def contour_sets(ax):
    return [artist for artist in ax.collections if isinstance(artist, ContourSet)]


def written(ax):
    return [text.get_text() for text in ax.texts]


def curve(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found.get_data()


def record(n_components, covariance_type, value):
    return SimpleNamespace(n_components=n_components, covariance_type=covariance_type, value=value)


# Two features.


@pytest.mark.parametrize("features", [(0, 1), (2, 0)])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_ellipses_are_the_eigenvectors_of_the_marginal_covariance(covariance_type, features, ax):
    model = gaussian(covariance_type)
    plot.mixture(model, features=features, n_std=(1, 2.5), ax=ax, contours=False)
    drawn = ellipses(ax)
    assert len(drawn) == 2 * 2
    pick = list(features)
    for ellipse, (n_std, k) in zip(drawn, [(1, 0), (1, 1), (2.5, 0), (2.5, 1)], strict=True):
        covariance = full_covariances(covariance_type)[k][np.ix_(pick, pick)]
        np.testing.assert_allclose(ellipse.center, model.means_[k, pick])
        # Half axes along the ellipse's own directions give the covariance back.
        angle = np.radians(ellipse.angle)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        half = np.array([ellipse.width, ellipse.height]) / (2 * n_std)
        np.testing.assert_allclose(turn @ np.diag(half**2) @ turn.T, covariance, atol=1e-12)
        np.testing.assert_allclose(np.sort(half**2), np.linalg.eigvalsh(covariance))


def test_ellipses_lie_within_the_axes():
    ax = plot.mixture(gaussian())
    low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
    for ellipse in ellipses(ax):
        corners = ellipse.get_path().transformed(ellipse.get_patch_transform()).vertices
        assert (corners > low).all()
        assert (corners < high).all()


def test_rows_have_the_colours_of_their_components(ax, faithful):
    model = GaussianMixture(2, random_state=0).fit(faithful)
    plot.mixture(model, faithful, ax=ax, contours=False)
    (points,) = ax.collections
    np.testing.assert_array_equal(points.get_offsets(), faithful)
    colours, labels = points.get_facecolors()[:, :3], model.predict(faithful)
    for k in (0, 1):
        (edge,) = {ellipse.get_edgecolor()[:3] for ellipse in ellipses(ax)[k::2]}
        np.testing.assert_array_equal(colours[labels == k], np.tile(edge, ((labels == k).sum(), 1)))
    assert written(ax) == ["0", "1"]


def test_given_labels_colour_the_rows(ax, faithful):
    model = GaussianMixture(2, random_state=0).fit(faithful)
    plot.mixture(model, faithful, ax=ax, labels=np.zeros(len(faithful), dtype=int), contours=False)
    assert len(np.unique(ax.collections[0].get_facecolors(), axis=0)) == 1


def test_many_rows_are_sampled_and_fainter(rng):
    model = gaussian()
    X = rng.normal(size=(30_000, 3))
    few, many = (plot.mixture(model, rows, features=(1, 2), contours=False) for rows in (X[:100], X))
    shown = many.collections[0].get_offsets()
    assert len(shown) == 20_000
    assert len(np.unique(shown, axis=0)) == 20_000
    assert np.isin(shown[:, 0], X[:, 1]).all()
    assert many.collections[0].get_alpha() < few.collections[0].get_alpha()


def test_contours_enclose_their_share_of_the_probability(ax):
    # The region of highest density of a standard normal in two features with share q: a disc, r^2 = -2 log(1 - q).
    model = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [np.eye(2)])
    plot.mixture(model, ax=ax, levels=(0.9, 0.5), n_std=())
    (contours,) = contour_sets(ax)
    radii = [np.linalg.norm(path.vertices, axis=1).mean() for path in contours.get_paths()]
    np.testing.assert_allclose(radii, np.sqrt(-2 * np.log([0.1, 0.5])), rtol=0.02)


def test_narrow_component_has_contours(ax):
    # Its width is a hundred-thousandth of the axes': an even grid would step over it.
    covariances = [np.eye(2), 1e-10 * np.eye(2)]
    model = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [3.0, 3.0]], covariances)
    plot.mixture(model, ax=ax, levels=(0.25,))
    (contours,) = contour_sets(ax)
    assert len(contours.get_paths()[0].vertices) > 4


@pytest.mark.parametrize("options", [{"contours": False}, {"levels": ()}])
def test_contours_can_be_left_out(ax, options):
    assert contour_sets(plot.mixture(gaussian(), ax=ax)) != []
    plt.cla()
    assert contour_sets(plot.mixture(gaussian(), ax=ax, **options)) == []


def test_second_mixture_on_the_same_axes_keeps_the_first_in_view(ax):
    plot.mixture(gaussian(), ax=ax)
    (low, high), right = ax.get_xlim(), gaussian().means_ + 100
    plot.mixture(GaussianMixture.from_parameters([0.3, 0.7], right, COVARIANCES["full"]), ax=ax)
    assert ax.get_xlim()[0] <= low
    assert ax.get_xlim()[1] >= high + 90


def test_float32_model(ax, faithful):
    X = faithful.astype(np.float32)
    plot.mixture(GaussianMixture(2, random_state=0).fit(X), X, ax=ax)
    assert len(ellipses(ax)) == 4


# One feature.


def test_curves_of_one_feature(ax):
    model = one_feature()
    plot.mixture(model, ax=ax)
    x, density = curve(ax, "mixture")
    assert trapezoid(density, x) == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(density, np.exp(model.score_samples(x[:, None])))
    components = ax.lines[:2]
    for weight, line in zip(model.weights_, components, strict=True):
        assert trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(weight, abs=1e-3)
    np.testing.assert_allclose(sum(line.get_ydata() for line in components), density)
    assert written(ax) == ["0", "1"]


def test_narrow_component_has_its_peak(ax):
    model = one_feature(means=(0.0, 50.0), variances=(1.0, 1e-8))
    x, density = curve(plot.mixture(model, ax=ax), "mixture")
    assert trapezoid(density, x) == pytest.approx(1, abs=5e-3)
    assert density.max() == pytest.approx(0.75 / np.sqrt(2 * np.pi * 1e-8), rel=1e-3)


def test_one_of_several_features_is_its_marginal(ax):
    plot.mixture(gaussian(), features=1, ax=ax)
    x, density = curve(ax, "mixture")
    marginal = one_feature((0.3, 0.7), (1.0, -3.0), (1.0, 0.3))
    np.testing.assert_allclose(density, np.exp(marginal.score_samples(x[:, None])))
    assert ax.get_xlabel() == "feature 1"


def test_histogram_is_a_density_below_the_legend(ax, faithful):
    X = faithful[:, :1]
    plot.mixture(GaussianMixture(2, random_state=0).fit(X), X, ax=ax)
    bars = ax.patches
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1)
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    drawn = max(*(bar.get_height() for bar in bars), curve(ax, "mixture")[1].max())
    assert ax.transData.transform([0, drawn])[1] < legend.y0


def test_histogram_of_outliers_or_equal_rows_has_few_bars(rng):
    model = one_feature()
    for X in (np.append(rng.normal(size=999), 1e9), np.full(50, 2.0)):
        assert len(plot.mixture(model, X[:, None]).patches) <= 80


# Counts.


def test_probabilities_of_counts(ax):
    model = PoissonMixture.from_parameters([0.4, 0.6], [[2.0], [11.0]])
    X = np.array([[0], [0], [3], [12]])
    plot.mixture(model, X, ax=ax)
    x, probability = curve(ax, "mixture")
    np.testing.assert_array_equal(x, np.arange(len(x)))
    np.testing.assert_allclose(probability, np.exp(model.score_samples(x[:, None])))
    assert probability.sum() == pytest.approx(1, abs=1e-3)
    centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches if bar.get_height() > 0]
    np.testing.assert_allclose(centres, [0, 3, 12])
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches if bar.get_height() > 0], [0.5, 0.25, 0.25])
    assert ax.get_ylabel() == "probability"


def test_large_counts_are_not_shown_one_by_one(ax, rng):
    model = PoissonMixture.from_parameters([0.5, 0.5], [[100.0], [50_000.0]])
    X = np.concatenate([rng.poisson(100.0, 50), rng.poisson(50_000.0, 50)])[:, None]
    plot.mixture(model, X, ax=ax)
    assert len(ax.patches) <= 82
    assert len(curve(ax, "mixture")[0]) <= 2000


def test_rates_of_two_counts(ax):
    model = PoissonMixture.from_parameters([0.4, 0.6], [[2.0, 5.0, 1.0], [11.0, 3.0, 1.0]])
    X = np.array([[2, 4, 0], [2, 4, 9], [2, 4, 1], [10, 3, 1]])
    plot.mixture(model, X, ax=ax, features=(1, 0))
    np.testing.assert_allclose([np.ravel(line.get_data()) for line in ax.lines], model.rates_[:, [1, 0]])
    (points,) = ax.collections
    # A disc for each cell, the larger where more rows are.
    np.testing.assert_array_equal(points.get_offsets(), [[4, 2], [3, 10]])
    sizes = points.get_sizes()
    assert sizes[0] == pytest.approx(3 * sizes[1])


# The course of a fit.


def test_history(ax, faithful):
    model = GaussianMixture(2, random_state=0).fit(faithful)
    assert plot.history(model, ax) is ax
    x, y = ax.lines[0].get_data()
    np.testing.assert_array_equal(x, np.arange(1, model.n_iter_ + 1))
    np.testing.assert_array_equal(y, model.lower_bounds_)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iteration", "mean log-likelihood")


def test_weights(ax, faithful):
    model = GaussianMixture(3, random_state=0).fit(faithful)
    assert plot.weights(model, ax) is ax
    drawn = np.transpose([line.get_ydata() for line in ax.lines])
    np.testing.assert_array_equal(drawn, model.history_["weights"])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()[0]) == ("iteration", "component weight", 0)
    assert ax.get_xlim()[0] >= 0.5
    assert sorted(written(ax)) == ["0", "1", "2"]


@pytest.mark.parametrize("n_components", [2, 8, 40])
def test_labels_of_equal_weights_do_not_touch(n_components):
    model = GaussianMixture.from_parameters(
        np.full(n_components, 1 / n_components), np.zeros((n_components, 1)), np.ones((n_components, 1, 1))
    )
    model.history_ = {"weights": model.weights_[None]}
    ax = plot.weights(model)
    ax.figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))


def test_model_without_history():
    model = gaussian()
    for draw in (plot.history, plot.weights):
        with pytest.raises(ValueError, match="no history"):
            draw(model)
    assert plt.get_fignums() == []


# Selection.


def test_criterion(ax):
    table = [
        record(3, "full", 80.0),
        record(1, "full", 120.0),
        record(2, "full", np.nan),
        record(1, "diag", 110.0),
        record(2, "diag", 70.0),
        record(3, "diag", 75.0),
        record(1, "tied", np.nan),
    ]
    assert plot.criterion(table, ax) is ax
    full, diag, ring = ax.lines
    np.testing.assert_array_equal(full.get_data(), [[1, 2, 3], [120, np.nan, 80]])
    np.testing.assert_array_equal(diag.get_data(), [[1, 2, 3], [110, 70, 75]])
    assert (ring.get_xdata().item(), ring.get_ydata().item()) == (2, 70)
    assert written(ax)[0] == "diag, 2 components"
    assert sorted(written(ax)[1:]) == ["diag", "full"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("number of components", "BIC (lower is better)")


class SelectionTable(list):
    criterion = "icl"


def test_criterion_is_named_by_the_table_or_the_caller():
    table = SelectionTable([record(1, "full", 5.0)])
    assert plot.criterion(table).get_ylabel() == "ICL (lower is better)"
    assert plot.criterion(table, criterion="aic").get_ylabel() == "AIC (lower is better)"
    ax = plot.criterion(iter(table))
    assert ax.get_ylabel() == "BIC (lower is better)"
    assert written(ax)[0] == "full, 1 component"


def test_name_of_the_best_lies_within_small_axes():
    fig, axes = plt.subplots(2, 3)
    for ax, best in zip(axes[0], (1, 4, 8), strict=True):
        plot.criterion([record(k, "full", 100.0 + abs(k - best)) for k in range(1, 9)], ax)
        fig.canvas.draw()
        assert ax.texts[0].get_window_extent().y0 > ax.get_window_extent().y0


@pytest.mark.parametrize("table", [[], [record(1, "full", np.nan), record(2, "full", np.inf)]])
def test_criterion_without_values(table):
    with pytest.raises(ValueError, match="no finite value"):
        plot.criterion(table)
    assert plt.get_fignums() == []


# All of them.


def test_axes_are_those_given_or_new_ones(ax):
    model = gaussian()
    assert plot.mixture(model, ax=ax) is ax
    assert plt.get_fignums() == [ax.figure.number]
    assert plot.mixture(model).figure is not ax.figure


def test_names_of_features(faithful):
    frame = pd.DataFrame(faithful, columns=["eruptions", "waiting"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plot.mixture(model, frame)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eruptions", "waiting")
    ax = plot.mixture(model, frame, features=[1, 0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("waiting", "eruptions")
    ax = plot.mixture(model, pd.concat([frame] * 100), features=1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("waiting", "density")


@pytest.mark.parametrize("draw", [plot.mixture, plot.history, plot.weights])
def test_unfitted_model(draw):
    with pytest.raises(NotFittedError):
        draw(GaussianMixture(2))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("features", [(0, 3), (-1, 0), (1, 1), (), (0, 1, 2), (0.0, 1.0), "ab", 3])
def test_wrong_features(features):
    with pytest.raises(ValueError, match="features must be one or two different numbers from 0 to 2"):
        plot.mixture(gaussian(), features=features)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"X": np.zeros((5, 2))}, "features"),
        ({"X": np.zeros(3)}, "2D"),
        ({"X": [[0.0, np.nan, 0.0]]}, "NaN"),
        ({"X": np.zeros((4, 3)), "labels": [0, 1]}, "labels must be 4 numbers"),
        ({"X": np.zeros((2, 3)), "labels": [0, 2]}, "from 0 to 1"),
        ({"levels": (0.5, 1.0)}, "levels must be shares"),
        ({"n_std": (1, -1)}, "n_std must be positive"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        plot.mixture(gaussian(), **options)
    assert plt.get_fignums() == []


def test_other_kinds_of_models():
    from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

    model = SklearnGaussianMixture().fit([[0.0], [1.0]])
    with pytest.raises(TypeError, match="from_sklearn"):
        plot.mixture(model)
    assert plot.mixture(GaussianMixture.from_sklearn(model)).get_ylabel() == "density"


def test_matplotlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fastem\[plot\]'"):
        plot.mixture(gaussian())

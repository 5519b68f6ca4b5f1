"""Spurious maxima: seen where they are known to be, and not where the components are real."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import fastem
from fastem import Gaussian
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components
from fastem.selection.spurious import fault_of_fit, found_by_chance

# By its path: the root on sys.path would hide the installed package from processes that are started later.
KNOWN = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks/problems.py"))["KNOWN"]
# Small ones of all kinds, up to 8 components and 4 features.
SMALL = [known for known in KNOWN if known.n_samples <= 1000]


def fits_of(X):
    return Fits(X, None, "kmeans", 1e-6, 2000, "auto", 1, None, "change")


def fault(X, covariance_type, start):
    fits, family = fits_of(X), Gaussian(covariance_type, reg_covar=1e-6)
    result = fits.run(family, start)
    return fault_of_fit(family, result, fits.n_samples) or found_by_chance(fits, family, result.run)


def test_eight_rows_of_old_faithful_are_no_component(faithful):
    """One shape for three components is a needle's, since eight rows happen to lie close to a line."""
    weights = np.array([8.0, 90.0, 174.0]) / 272
    means = np.array([[1.82, 46.0], [2.06, 55.2], [4.29, 79.98]])
    covariances = np.array(
        [[[0.0024, -0.0209], [-0.0209, 0.296]], [[0.085, 0.27], [0.27, 25.6]], [[0.157, 1.05], [1.05, 40.5]]]
    )
    family = Gaussian("VEV")
    said = fault(faithful, "VEV", Components(weights, means, covariances).as_params(family, 272))
    assert "much smaller than the others" in said
    # The two components that are real, of the same structure.
    assert fault(faithful, "VEV", Components(weights[1:] / weights[1:].sum(), means[1:], covariances[1:]).as_params(
        family, 272)) == ""  # fmt: skip


@pytest.mark.parametrize(
    ("data", "covariance_type", "n_components"),
    [("faithful", "tied", 3), ("faithful", "full", 2), ("iris", "VEV", 2), ("iris", "full", 3), ("acidity", "full", 2)],
)
def test_published_solutions_are_not(data, covariance_type, n_components, request):
    X = request.getfixturevalue(data)
    found = fastem.fit(X, Gaussian(covariance_type), n_components, tol=1e-6, max_iter=2000, random_state=0)
    assert fault(X, covariance_type, found.params) == ""


@pytest.mark.parametrize("known", SMALL, ids=lambda known: known.name)
def test_drawn_components_are_not(known):
    X, truth = known.draw(seed=1)
    assert fault(X, "full", Gaussian("full").from_precisions(truth.weights, truth.means, truth.precisions)) == ""


def test_close_rows_of_one_gaussian_are_no_component(rng):
    """A component put on the densest few rows of a sample from one Gaussian stays there, and is found out."""
    seen = []
    for _ in range(10):
        X = rng.normal(size=(200, 2))
        apart = ((X[:, None] - X) ** 2).sum(axis=2)
        centre = int(np.sort(apart, axis=1)[:, 7].argmin())
        near = np.argsort(apart[centre])[:8]
        start = Components(
            np.array([0.96, 0.04]),
            np.array([X.mean(axis=0), X[near].mean(axis=0)]),
            np.array([np.eye(2), np.cov(X[near].T)]),
        )
        family = Gaussian("full", reg_covar=1e-6)
        result = fits_of(X).run(family, start.as_params(family, 200))
        dets = np.linalg.det(result.params.covariances)
        if dets.min() < 0.1 * dets.max():
            seen.append(bool(fault_of_fit(family, result, 200) or found_by_chance(fits_of(X), family, result.run)))
    assert len(seen) >= 3
    assert all(seen)

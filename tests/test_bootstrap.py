"""Bootstraps: the likelihood ratio test on data of known components, and errors of parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import fastem
from fastem import GaussianMixture, bootstrap_lrt, bootstrap_parameters


@pytest.fixture
def two_groups(rng):
    return np.concatenate([rng.normal(size=(70, 1)), rng.normal(6, 1, size=(50, 1))])


def test_two_groups_are_two_components(two_groups):
    tests = bootstrap_lrt(two_groups, range(1, 6), "diag", n_bootstrap=39, random_state=0)
    assert tests.n_components == 2
    assert [test.n_components for test in tests] == [1, 2]
    assert tests.p_values[0] == 1 / 40
    assert tests.p_values[1] > 0.05
    lines = str(tests).splitlines()
    assert lines[3].split()[:4] == ["1", "vs", "2", f"{tests[0].statistic:.4f}"]
    assert lines[3].split()[4:] == ["0.0250*", "39"]
    assert lines[-1] == "* rejected at 0.05: 2 components"


def test_the_statistic_is_that_of_the_maxima(two_groups):
    one = multivariate_normal(two_groups.mean(), two_groups.var()).logpdf(two_groups[:, 0]).sum()
    two = GaussianMixture(2, tol=1e-10, max_iter=5000, n_init=5, random_state=0).fit(two_groups)
    test = bootstrap_lrt(two_groups, [1], n_bootstrap=1, random_state=0, tol=1e-9)[0]
    assert test.statistic == pytest.approx(2 * (two.score(two_groups) * 120 - one), abs=1e-4)


def test_p_values_of_one_group_are_spread(rng):
    """Of rows from the hypothesis itself: their rank among its samples is uniform."""
    p_values = [
        bootstrap_lrt(rng.normal(size=(60, 1)), [1], "spherical", n_bootstrap=19, n_init=1, random_state=i)[0].p_value
        for i in range(12)
    ]
    assert 0.25 < np.mean(p_values) < 0.75
    assert max(p_values) > 0.6


def test_the_same_test_for_any_number_of_threads(two_groups):
    one, two = (bootstrap_lrt(two_groups, [1], n_bootstrap=9, random_state=1, n_threads=n) for n in (1, 2))
    assert one[0].statistic == two[0].statistic
    assert np.array_equal(one[0].bootstrap, two[0].bootstrap)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": []}, "at least one number of components"),
        ({"n_bootstrap": 0}, "n_bootstrap must be at least 1"),
        ({"level": 1.5}, "level between 0 and 1"),
        ({"covariance_type": "round"}, "'covariance_type' parameter"),
        ({"on_interrupt": "stop"}, "'on_interrupt' parameter"),
    ],
)
def test_options_of_the_test_are_checked(two_groups, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_lrt(two_groups, **options)


# Parameters.


@pytest.mark.parametrize("method", ["rows", "weights"])
def test_errors_of_one_component_are_the_textbook_s(rng, method):
    X = rng.normal([3.0, -1.0], [2.0, 0.5], size=(400, 2))
    model = GaussianMixture(1, covariance_type="diag").fit(X)
    found = bootstrap_parameters(model, X, 400, method, random_state=0)
    errors = found.standard_errors()
    deviation = X.std(axis=0)
    assert found.n_failed == 0
    np.testing.assert_allclose(errors["means"][0], deviation / 20, rtol=0.12)
    np.testing.assert_allclose(np.diag(errors["covariances"][0]), deviation**2 * np.sqrt(2 / 400), rtol=0.2)
    assert errors["weights"][0] == pytest.approx(0, abs=1e-12)
    low, high = found.intervals(0.9)["means"]
    np.testing.assert_allclose((high - low)[0], 2 * 1.645 * deviation / 20, rtol=0.12)


def test_counts_are_copies_of_rows(faithful):
    """The first resample, fitted to rows that are copied as often as they were drawn."""
    model = GaussianMixture(2, tol=1e-9, max_iter=500, random_state=0).fit(faithful)
    found = bootstrap_parameters(model, faithful, 2, random_state=3, n_threads=1)
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max, size=2)[0]
    copies = faithful[np.random.RandomState(seed).randint(272, size=272)]
    refit = fastem.fit(copies, start=model._fitted_params(), n_components=2, tol=1e-9, max_iter=500).params
    np.testing.assert_allclose(found.weights[0], refit.weights, rtol=1e-7)
    np.testing.assert_allclose(found.means[0], refit.means, rtol=1e-7)
    np.testing.assert_allclose(found.covariances[0], refit.covariances, rtol=1e-6)


def test_components_keep_their_order(faithful):
    model = GaussianMixture(2, tol=1e-6, max_iter=500, random_state=0).fit(faithful)
    found = bootstrap_parameters(model, faithful, 30, "weights", random_state=0)
    assert np.abs(found.means - model.means_).max(axis=(0, 1))[1] < 5
    assert np.all(found.intervals()["weights"][0] < model.weights_)
    assert np.all(found.intervals()["weights"][1] > model.weights_)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "jackknife"}, "method one of"), ({"n_bootstrap": 1}, "n_bootstrap must be at least 2")],
)
def test_options_of_errors_are_checked(faithful, options, message):
    model = GaussianMixture(1).fit(faithful)
    with pytest.raises(ValueError, match=message):
        bootstrap_parameters(model, faithful, **options)
    with pytest.raises(ValueError, match="level must be between"):
        bootstrap_parameters(model, faithful, 3).intervals(95)

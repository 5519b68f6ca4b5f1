"""Maximum-likelihood fits with published answers, to the digits that are published.

Criteria of mclust are Fraley, Raftery & Scrucca's, from mclust 6 with the sign of ``-2 log L + df log n``; mclust
stops at a relative change of 1e-5, so that some of its values lie up to 0.3 above the optimum that it was climbing.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastem
from fastem import Gaussian

# To the bottom: a fit stops at 1e-12 of a mean log-likelihood, and nothing is added to a covariance.
EXACT = {"tol": 1e-12, "max_iter": 50_000}


def best_fit(X, family, n_components, start="kmeans", n_init=5, **options):
    return fastem.fit(X, family, n_components, start=start, n_init=n_init, random_state=0, **EXACT, **options)


def log_likelihood(result, X):
    return result.run.lower_bound * len(X)


def bic(result, log_likelihood, X):
    return -2 * log_likelihood + result.n_parameters * np.log(len(X))


def test_old_faithful_on_every_engine(faithful, engine):
    family = Gaussian("full", 0.0)
    options = {"start": "kmeans", "random_state": 0, "tol": 1e-10, "max_iter": 500}
    result = fastem.fit(faithful, family, 2, engine=engine, **options)
    assert result.engine == engine
    assert log_likelihood(result, faithful) == pytest.approx(-1130.263960, abs=1e-6)


def test_old_faithful_parameters(faithful):
    result = best_fit(faithful, Gaussian("full", 0.0), 2)
    assert result.run.converged
    ll = log_likelihood(result, faithful)
    assert ll == pytest.approx(-1130.263960, abs=5e-7)
    assert bic(result, ll, faithful) == pytest.approx(2322.1917, abs=5e-5)
    order = np.argsort(-result.params.weights)
    np.testing.assert_allclose(result.params.weights[order], [0.64412713, 0.35587287], atol=5e-9)
    np.testing.assert_allclose(result.params.means[order[0]], [4.289662, 79.968115], atol=5e-7)
    np.testing.assert_allclose(result.params.means[order[1]], [2.0363885, 54.4785164], atol=5e-7)


def test_old_faithful_tied(faithful):
    """The best of mclust's 14 models and 9 numbers of components, in its vignette."""
    result = best_fit(faithful, Gaussian("tied", 0.0), 3)
    ll = log_likelihood(result, faithful)
    assert ll == pytest.approx(-1126.3159, abs=5e-5)
    assert ll > -1126.326
    assert bic(result, ll, faithful) < 2314.316


# structure, K, start, mclust's BIC, and how far above the optimum it stopped
OLD_FAITHFUL_BIC = [
    ("spherical", 1, "kmeans", 4024.7215, 5e-5),
    ("spherical", 2, "kmeans", 3458.3050, 0.006),
    ("spherical", 3, "kmeans", 3336.5980, 0.07),
    ("diag", 1, "kmeans", 3055.8349, 5e-5),
    ("diag", 2, "kmeans", 2346.0649, 1e-4),
    ("diag", 3, "kmeans", 2342.3658, 0.25),
    ("tied", 1, "kmeans", 2607.6225, 5e-5),
    ("tied", 2, "kmeans", 2325.2199, 5e-5),
    ("tied", 3, "kmeans", 2314.3163, 0.021),
    ("full", 1, "kmeans", 2607.6225, 5e-5),
    ("full", 2, "kmeans", 2322.1920, 4e-4),
    ("full", 3, "random_from_data", 2349.6963, 0.26),
]


@pytest.mark.parametrize(("structure", "n_components", "start", "published", "above"), OLD_FAITHFUL_BIC)
def test_old_faithful_bic(faithful, structure, n_components, start, published, above):
    # A start from single rows needs a variance to begin with.
    family = Gaussian(structure, 0.0 if start == "kmeans" else 1e-8)
    n_init = 1 if n_components < 3 else {"kmeans": 6, "random_from_data": 25}[start]
    result = best_fit(faithful, family, n_components, start, n_init)
    reached = np.array([bic(result, ll * len(faithful), faithful) for ll in result.lower_bounds])
    assert ((reached <= published + 5e-5) & (reached >= published - above)).any(), reached


def test_old_faithful_diag_has_a_better_optimum(faithful):
    result = best_fit(faithful, Gaussian("diag", 0.0), 3, n_init=10)
    assert log_likelihood(result, faithful) == pytest.approx(-1127.0075, abs=5e-5)


def test_iris(iris):
    result = best_fit(iris, Gaussian("full", 0.0), 3, n_init=1)
    assert log_likelihood(result, iris) == pytest.approx(-180.185477131, abs=5e-10)
    # The likelihood is flat here: at its maximum to 1e-9, the published weights still move in the seventh digit.
    np.testing.assert_allclose(np.sort(result.params.weights), [0.29919332, 1 / 3, 0.36747335], atol=2e-7)


def test_iris_at_scikit_learns_tolerance(iris):
    model = fastem.GaussianMixture(3, init_params="kmeans", random_state=0, reg_covar=0.0).fit(iris)
    assert model.lower_bound_ * len(iris) == pytest.approx(-180.1967, abs=5e-2)
    assert -180.1855 - 0.05 < model.score(iris) * len(iris) < -180.18547


def test_acidity(acidity):
    result = best_fit(acidity, Gaussian("tied", 0.0), 2)
    ll = log_likelihood(result, acidity)
    assert ll == pytest.approx(-185.9493, abs=5e-5)
    assert bic(result, ll, acidity) == pytest.approx(392.0723, abs=1e-4)


EARTHQUAKES = [(1, 391.9189), (2, 360.3690), (3, 356.8489), (4, 356.7337)]


@pytest.mark.parametrize(("n_components", "published"), EARTHQUAKES)
def test_earthquakes(earthquakes, n_components, published):
    """Zucchini & MacDonald (2009), table 1.2."""
    result = best_fit(earthquakes, "poisson", n_components)
    assert -log_likelihood(result, earthquakes) == pytest.approx(published, abs=5.1e-5)


def test_earthquakes_parameters(earthquakes):
    params = best_fit(earthquakes, "poisson", 2).params
    order = np.argsort(params.rates[:, 0])
    np.testing.assert_allclose(params.rates[order, 0], [15.7771, 26.8399], atol=1e-4)
    np.testing.assert_allclose(params.weights[order], [0.6757, 0.3243], atol=5e-5)


def test_estimators_report_the_published_criteria(faithful, earthquakes):
    model = fastem.GaussianMixture(2, reg_covar=0.0, tol=1e-12, max_iter=10_000, random_state=0).fit(faithful)
    assert model.bic(faithful) == pytest.approx(2322.1917, abs=5e-5)
    assert model.aic(faithful) == pytest.approx(2 * 1130.263960 + 2 * 11, abs=1e-5)
    assert model.score(faithful) * 272 == pytest.approx(-1130.263960, abs=1e-6)
    model = fastem.PoissonMixture(2, tol=1e-12, max_iter=10_000, random_state=0).fit(earthquakes)
    assert model.score(earthquakes) * 107 == pytest.approx(-360.3690, abs=5e-5)
    assert model.aic(earthquakes) == pytest.approx(2 * 360.3690 + 2 * 3, abs=2e-4)


# data, structure, K, published log-likelihood: of the default start, whatever the seed
BY_DEFAULT = [
    ("faithful", "full", 2, -1130.263960),
    ("faithful", "tied", 3, -1126.3159),
    ("iris", "full", 3, -180.185477),
    ("acidity", "tied", 2, -185.9493),
]


@pytest.mark.parametrize(("data", "structure", "n_components", "published"), BY_DEFAULT)
def test_the_default_start_finds_the_published_optimum(data, structure, n_components, published, request):
    X = request.getfixturevalue(data)
    reached = [
        log_likelihood(fastem.fit(X, Gaussian(structure, 0.0), n_components, random_state=seed, **EXACT), X)
        for seed in range(20)
    ]
    np.testing.assert_allclose(reached, published, atol=1e-4)

"""Split-and-merge moves: the criteria against their formulas, and the optimum that plain EM misses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import fastem
from fastem.families import Gaussian
from fastem.split_merge import Move, merge_criterion, moves, split_criterion

CENTRES = np.array([[0.0, 0], [4, 0], [20, 0], [24, 0]])


@pytest.fixture(name="X")
def rows(rng):
    return np.concatenate([c + rng.normal(size=(200, 2)) for c in CENTRES])


@pytest.fixture(name="stuck")
def wrong_start():
    """Three components where two clusters are, and one where the other two are."""
    means = np.array([[-1.0, 0], [1, 0], [4, 0], [22, 0]])
    covariances = np.stack([np.eye(2), np.eye(2), np.eye(2), np.diag([5.0, 1])])
    return Gaussian().make_params(np.array([0.15, 0.1, 0.25, 0.5]), means, covariances)


def test_criteria_are_their_formulas(X, stuck):
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    found = fastem.fit(X, Gaussian(), 4, start=stuck, max_iter=0).posterior(X, "responsibilities", "log_likelihood")
    densities = [multivariate_normal(m, c).logpdf(X) for m, c in zip(stuck.means, stuck.covariances, strict=True)]
    r = np.exp(densities) * stuck.weights[:, None]
    r /= r.sum(axis=0)
    np.testing.assert_allclose(
        merge_criterion(found.responsibilities, weight), (r * weight) @ r.T, rtol=1e-9, atol=1e-9
    )
    expected = []
    for k in range(4):
        f = weight * r[k] / (weight @ r[k])
        there = found.responsibilities[:, k] > 0
        expected.append(np.sum(f[there] * (np.log(f[there]) - densities[k][there])))
    actual = split_criterion(found.responsibilities, found.log_likelihood, stuck.weights, weight)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_the_move_that_is_needed_comes_first(X, stuck):
    found = fastem.fit(X, Gaussian(), 4, start=stuck, max_iter=0).posterior(X, "responsibilities", "log_likelihood")
    every = list(moves(found.responsibilities, found.log_likelihood, stuck.weights, None))
    assert every[0] == Move((0, 1), 3)
    assert len(every) == len(set(every)) == 6 * 2


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_a_move_finds_the_clusters(X, stuck, structure):
    family = Gaussian(structure)
    start = fastem.fit(X, family, 4, start="kmeans", max_iter=0, random_state=0).params
    covariances = {
        "full": stuck.covariances,
        "tied": np.eye(2),
        "diag": np.array([[1.0, 1]] * 3 + [[5, 1]]),
        "spherical": np.ones(4),
    }[structure]
    start = family.make_params(stuck.weights, stuck.means, covariances)
    seen = []
    plain = fastem.fit(X, family, 4, start=start)
    moved = fastem.fit(X, family, 4, start=start, split_merge=3, callbacks=lambda i: seen.append(i.start))
    best = fastem.fit(X, family, 4, start=family.make_params(np.full(4, 0.25), CENTRES, covariances), tol=1e-6)
    assert plain.run.lower_bound < best.run.lower_bound - 0.05
    assert moved.run.lower_bound == pytest.approx(best.run.lower_bound, abs=2e-3)
    # Callbacks see iterations one by one; without one they are one call, which rounds in another order.
    assert moved.lower_bounds == pytest.approx(plain.lower_bounds, rel=1e-13)
    assert set(seen) == {0}


def test_the_optimum_is_left_alone(X):
    options = {"random_state": 0, "tol": 1e-8, "max_iter": 500}
    plain, tried = (fastem.fit(X, Gaussian(), 4, split_merge=n, **options) for n in (0, 2))
    assert tried.run.lower_bound >= plain.run.lower_bound
    assert tried.run.lower_bound == pytest.approx(plain.run.lower_bound, abs=1e-6)


def test_with_weights_and_few_components(X):
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    # Two components have no third to be split.
    for n_components in (1, 2):
        plain, tried = (
            fastem.fit(X, Gaussian(), n_components, split_merge=n, sample_weight=weight, random_state=0) for n in (0, 2)
        )
        np.testing.assert_array_equal(plain.params.means, tried.params.means)


def test_counts():
    rng = np.random.default_rng(0)
    rates = np.array([[2.0, 30], [6, 30], [40, 2], [40, 12]])
    X = np.concatenate([rng.poisson(rate, size=(200, 2)) for rate in rates]).astype(float)
    family = fastem.Poisson()
    start = family.make_params(np.full(4, 0.25), np.array([[2.0, 29], [3, 31], [6, 30], [40, 6]]))
    plain, moved = (fastem.fit(X, family, 4, start=start, split_merge=n) for n in (0, 3))
    best = fastem.fit(X, family, 4, start=family.make_params(np.full(4, 0.25), rates))
    assert plain.run.lower_bound < best.run.lower_bound - 0.05
    assert moved.run.lower_bound == pytest.approx(best.run.lower_bound, abs=2e-3)


def test_rounds_are_a_number(X):
    with pytest.raises(ValueError, match="split_merge must be an integer of at least 0, but got -1"):
        fastem.fit(X, "gaussian", 2, split_merge=-1)

"""Splits and merges keep the moments of a mixture, in every structure, and go where they should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastem import Gaussian
from fastem.families.covariance_structures import COVARIANCE_TYPES
from fastem.selection.neighbours import Components, Cuts, merges


@pytest.fixture
def mixture(rng):
    factors = rng.normal(size=(3, 2, 2))
    return Components(np.array([0.5, 0.3, 0.2]), rng.normal(size=(3, 2)) * 5, factors @ factors.swapaxes(1, 2))


def splits(mixture):
    cuts = Cuts.of(mixture)
    return [cuts.split(number) for number in range(cuts.n_cuts)]


def moments(mixture):
    """Weight, mean and covariance of the whole, by the law of total variance."""
    mean = mixture.weights @ mixture.means
    second = sum(
        w * (S + np.outer(m, m)) for w, m, S in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    )
    return mixture.weights.sum(), mean, second - np.outer(mean, mean)


def assert_same_moments(one, other):
    for a, b in zip(moments(one), moments(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_splits_keep_the_moments_and_are_mixtures(mixture):
    found = splits(mixture)
    assert len(found) == 6  # two axes of each component
    for split in found:
        assert split.weights.shape == (4,)
        assert_same_moments(split, mixture)
        assert (np.linalg.eigvalsh(split.covariances) > 0).all()
    assert len(splits(Components(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))))) == 1


def test_a_half_is_that_of_a_gaussian_cut_through_its_mean(rng):
    half = np.abs(rng.normal(size=1_000_000))
    split = splits(Components(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))))[0]
    assert sorted(split.means[:, 0]) == pytest.approx([-half.mean(), half.mean()], abs=3e-3)
    assert split.covariances[:, 0, 0] == pytest.approx([half.var()] * 2, abs=3e-3)


def test_splits_do_not_depend_on_units(mixture):
    units = np.array([1e4, 1e-3])
    scaled = Components(mixture.weights, mixture.means * units, mixture.covariances * np.outer(units, units))
    for one, other in zip(splits(mixture), splits(scaled), strict=True):
        # The halves of a cut have no order.
        np.testing.assert_allclose(np.sort(one.means * units, axis=0), np.sort(other.means, axis=0), rtol=1e-9)


def of_labels(X, labels):
    groups = [X[labels == k] for k in np.unique(labels)]
    return Components(
        np.array([len(group) / len(X) for group in groups]),
        np.array([group.mean(axis=0) for group in groups]),
        np.array([np.cov(group.T, bias=True) for group in groups]),
    )


def test_the_component_that_is_two_has_most_room(rng):
    X = rng.normal(size=(400, 2)) + np.repeat([[0, 0], [0, 0], [10, -2], [10, 2]], 100, axis=0)
    labels = np.repeat([0, 1], 200)
    mixture = of_labels(X, labels)
    room = Cuts.of(mixture).room(X, np.eye(2)[labels])
    assert len(room) == len(splits(mixture))
    halves = splits(mixture)[room.argmax()].means[1:]
    assert sorted(halves[:, 1]) == pytest.approx([-1.8, 1.8], abs=0.4)


def test_room_is_the_moment_index(rng):
    X = rng.exponential(size=(500, 2)) * [3, 1]
    room = Cuts.of(of_labels(X, np.zeros(500))).room(X * 1.0, np.ones((500, 1)))
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    axes = np.linalg.eigh(np.cov(scaled.T, bias=True))[1][:, ::-1]
    along = scaled @ axes
    expected = 500 * (stats.skew(along) ** 2 + stats.kurtosis(along) ** 2 / 4) / 12
    np.testing.assert_allclose(room, expected, rtol=1e-9)


def test_merges_keep_the_moments_and_take_the_nearest_first(mixture):
    found = merges(mixture, 10)
    assert len(found) == 3
    for merged in found:
        assert merged.weights.shape == (2,)
        assert_same_moments(merged, mixture)
    near = Components(
        np.array([0.25, 0.25, 0.5]), np.array([[0.0, 0.0], [0.5, 0.0], [40.0, 0.0]]), np.repeat(np.eye(2)[None], 3, 0)
    )
    (first,) = merges(near, 1)
    np.testing.assert_allclose(np.sort(first.means[:, 0]), [0.25, 40.0])


def test_the_cost_of_a_merge_is_runnalls(mixture):
    """Pairs in the order of his bound, computed pair by pair."""
    costs = {}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        w = mixture.weights[[i, j]]
        pair = Components(w / w.sum(), mixture.means[[i, j]], mixture.covariances[[i, j]])
        logs = np.log(np.linalg.det(mixture.covariances[[i, j]]))
        costs[i, j] = w.sum() * np.log(np.linalg.det(moments(pair)[2])) - w @ logs
    expected = [({0, 1, 2} - set(pair)).pop() for pair in sorted(costs, key=costs.get)]
    left_alone = [
        int(np.flatnonzero((mixture.means[:, None] == merged.means).all(axis=2).any(axis=1))[0])
        for merged in merges(mixture, 3)
    ]
    assert left_alone == expected


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_params_of_any_structure_have_the_weights_and_means(mixture, kind):
    family = Gaussian(kind, reg_covar=0.0)
    params = mixture.as_params(family, 100.0)
    family.check_params(params)
    np.testing.assert_allclose(params.weights, mixture.weights, rtol=1e-12)
    np.testing.assert_allclose(params.means, mixture.means, rtol=1e-12)
    # The structure's own projection of the covariances.
    pooled = np.tensordot(mixture.weights, mixture.covariances, axes=1)
    diagonals = np.diagonal(mixture.covariances, axis1=1, axis2=2)
    expected = {
        "full": mixture.covariances,
        "tied": np.repeat(pooled[None], 3, axis=0),
        "diag": diagonals[:, :, None] * np.eye(2),
        "spherical": diagonals.mean(axis=1)[:, None, None] * np.eye(2),
    }
    found = family.full_covariances(params)
    if kind in expected:
        np.testing.assert_allclose(found, expected[kind], rtol=1e-10, atol=1e-12)
    # A second M-step of what came out changes nothing.
    again = Components.of(family, params).as_params(family, 100.0)
    np.testing.assert_allclose(family.full_covariances(again), found, rtol=1e-6)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_full_covariances_are_those_of_the_density(mixture, kind, rng):
    family = Gaussian(kind)
    params = mixture.as_params(family, 100.0)
    X = rng.normal(size=(20, 2)) * 4
    full = Gaussian("full")
    same = full.make_params(params.weights, params.means, family.full_covariances(params).copy())
    np.testing.assert_allclose(full.log_density(X, same), family.log_density(X, params), rtol=1e-9)

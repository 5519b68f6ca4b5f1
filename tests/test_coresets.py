"""Coresets: totals, formulas, and what a fit on one is worth; and the samples that they are made with."""

from __future__ import annotations

import numpy as np
import pytest

import fastem
from fastem import coreset, get_engine
from fastem.coresets import _Sensitivities
from fastem.init.kmeans import seed_rows
from fastem.sampling import Draws, Reservoir


def with_far_cluster(rng, n=60_000, share=0.001):
    """Two clusters, and a small one far from both."""
    X = rng.normal(size=(n, 3)) + np.where(rng.random((n, 1)) < 0.4, 0.0, 4.0)
    far = rng.random(n) < share
    X[far] = rng.normal([60.0, -40.0, 50.0], 0.5, size=(far.sum(), 3))
    return X


def score_of_fit(X, rows, weights):
    found = fastem.fit(rows, n_components=3, sample_weight=weights, n_init=5, random_state=0, max_iter=300, tol=1e-6)
    return found.posterior(X, "log_likelihood").log_likelihood.mean()


def test_a_fit_on_a_coreset_is_nearly_that_of_all_rows(rng):
    X = with_far_cluster(rng)
    full = score_of_fit(X, X, None)
    rows, weights = coreset(X, 1000, n_components=3, random_state=0)
    on_coreset = score_of_fit(X, rows, weights)
    on_uniform = np.mean([score_of_fit(X, X[rng.integers(len(X), size=1000)], None) for _ in range(3)])
    assert on_coreset > full - 0.03
    assert on_coreset > on_uniform + 0.02


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("as_blocks", [False, True])
def test_size_and_total(dtype, weighted, as_blocks, rng):
    X = with_far_cluster(rng, 9000, 0.01).astype(dtype)
    weight = rng.uniform(0, 2, 9000) if weighted else None
    if as_blocks:
        given = [(X[i : i + 1000], None if weight is None else weight[i : i + 1000]) for i in range(0, 9000, 1000)]
        rows, weights = coreset(given, 500, random_state=1)
    else:
        rows, weights = coreset(X, 500, sample_weight=weight, random_state=1)
    assert (rows.shape, rows.dtype, weights.shape, weights.dtype) == ((500, 3), dtype, (500,), np.float64)
    assert weights.sum() == pytest.approx(9000 if weight is None else weight.sum())
    assert (weights > 0).all()
    known = {row.tobytes() for row in X}
    assert all(row.tobytes() in known for row in rows)
    assert (rows[:, 0] > 30).any()


def test_sums_over_the_coreset_are_those_over_all_rows(rng):
    X = with_far_cluster(rng, 20_000, 0.01)
    f = np.cos(X[:, 0]) + (X[:, 1] < -20)
    found = []
    for seed in range(30):
        rows, weights = coreset(X, 400, random_state=seed)
        found.append(weights @ (np.cos(rows[:, 0]) + (rows[:, 1] < -20)))
    error = np.std(found) / np.sqrt(30)
    assert abs(np.mean(found) - f.sum()) < 4 * error
    assert error < 0.02 * len(X)


def test_few_rows_are_all_kept(rng):
    X = rng.normal(size=(50, 2))
    weight = rng.uniform(1, 2, 50)
    rows, weights = coreset(X, 50, sample_weight=weight, random_state=0)
    assert np.array_equal(rows, X)
    assert np.array_equal(weights, weight)
    same, _ = coreset(np.ones((100, 2)), 10, random_state=0)
    assert (same == 1).all()


def test_sensitivities_are_the_paper_s(rng):
    """Algorithm 2 of Lucic et al. (2018), with alpha = 16 (log k + 2), spelled out row by row."""
    X = rng.normal(size=(200, 2)) * [1.0, 50.0] + np.repeat([[0.0], [9.0]], 100, axis=0)
    k = 4
    state = np.random.RandomState(3)
    found = _Sensitivities.of_sample(X, np.ones(200), k, state, get_engine("numpy"), None).of_rows(X)
    Z = X / X.std(axis=0)
    B = Z[seed_rows(Z - Z.mean(axis=0), k, np.random.RandomState(3))]
    squares = ((Z[:, None] - B) ** 2).sum(axis=2)
    nearest, d2 = squares.argmin(axis=1), squares.min(axis=1)
    alpha, c = 16 * (np.log(k) + 2), d2.mean()
    expected = []
    for i in range(200):
        mine = nearest == nearest[i]
        expected.append(alpha * d2[i] / c + 2 * alpha * d2[mine].sum() / (mine.sum() * c) + 4 * 200 / mine.sum())
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (np.eye(3), {"size": 0}, "size must be an integer"),
        (np.eye(3), {"size": 2, "n_components": 1.5}, "n_components must be an integer"),
        (iter([np.eye(3)]), {"size": 2}, "reads blocks twice"),
        ([np.eye(3)], {"size": 2, "sample_weight": [1, 1, 1]}, "come with them"),
        ([], {"size": 2}, "no rows"),
        ([np.eye(3), np.eye(2)], {"size": 2}, "2 features"),
        (np.full((5, 2), np.nan), {"size": 2}, "NaN"),
    ],
)
def test_errors_say_what_is_wrong(rows, options, message):
    with pytest.raises(ValueError, match=message):
        coreset(rows, **options, random_state=0)


def test_reservoir_is_uniform():
    counts = np.zeros(60)
    state = np.random.RandomState(0)
    for _ in range(4000):
        reservoir = Reservoir(6, state)
        for start, stop in ((0, 4), (4, 20), (20, 21), (21, 30), (30, 31), (31, 60)):
            X = np.arange(start, stop, dtype=float)[:, None]
            kept = reservoir.offer(X)
            assert set(X[kept, 0]) <= set(reservoir.rows[:, 0])
        assert len(set(reservoir.rows[:, 0])) == 6
        counts[reservoir.rows[:, 0].astype(int)] += 1
    # Each count is binomial, (4000, 0.1): a deviation of 19.
    assert np.abs(counts - 400).max() < 5 * 19


def test_draws_are_in_proportion_to_masses():
    masses = np.array([0.0, 1.0, 2.0, 3.0, 0.5, 3.5])
    draws = Draws(20_000, np.random.RandomState(0))
    for part in (slice(0, 1), slice(1, 3), slice(3, 6)):
        draws.offer(np.arange(6.0)[part, None], masses[part], masses[part] + 1)
    counts = np.bincount(draws.rows[:, 0].astype(int), minlength=6)
    assert draws.total == pytest.approx(10)
    assert np.abs(counts - 2000 * masses).max() < 5 * 70
    np.testing.assert_array_equal(draws.weight, masses[draws.rows[:, 0].astype(int)] + 1)

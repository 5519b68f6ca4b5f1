"""k-means for starting values: scikit-learn's clusters, on every engine."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus

import fastem
from fastem.init.kmeans import SHARPNESS, Centres, Clusters, kmeans, lloyd, seed_rows
from fastem.init.starts import start_params

ENGINES = [e for e in fastem.available_engines() if e != "python"]


def blobs(rng, n_samples, n_features, n_clusters, scale):
    centres = rng.normal(scale=scale, size=(n_clusters, n_features))
    return centres[rng.integers(n_clusters, size=n_samples)] + rng.normal(size=(n_samples, n_features))


def inertia(X, centres, weight=None):
    squares = np.stack([((X - c) ** 2).sum(axis=1) for c in centres], axis=1).min(axis=1)
    return float(np.average(squares, weights=weight))


def labels_of(X, centres, engine):
    return engine.evaluate(Clusters(), X, centres, ("labels",)).labels


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("shape", "scale"), [((700, 2, 3), 1.0), ((2000, 5, 8), 1.5), ((500, 12, 4), 0.3)])
def test_clusters_are_those_of_scikit_learn(rng, engine, weighted, shape, scale):
    X = blobs(rng, *shape, scale) + 50
    weight = rng.uniform(0.1, 3.0, size=len(X)) if weighted else None
    engine = fastem.get_engine(engine)
    theirs = KMeans(shape[2], n_init=1, random_state=5).fit(X, sample_weight=weight)
    ours = kmeans(X, shape[2], np.random.RandomState(5), engine, weight)
    np.testing.assert_allclose(ours.means, theirs.cluster_centers_, rtol=1e-9)
    np.testing.assert_array_equal(labels_of(X, ours, engine), theirs.labels_)


def test_seeds_are_those_of_scikit_learn(rng):
    X = blobs(rng, 400, 3, 6, 2.0)
    for seed in range(5):
        _, theirs = kmeans_plusplus(X, 6, random_state=seed)
        np.testing.assert_array_equal(seed_rows(X, 6, np.random.RandomState(seed)), theirs)


@pytest.mark.parametrize("engine", ENGINES)
def test_statistics_of_clusters(rng, engine):
    """Responsibilities are 0 or 1: masses are counts, moments those of the clusters' rows."""
    X = blobs(rng, 900, 3, 4, 3.0)
    engine = fastem.get_engine(engine)
    centres = kmeans(X, 4, np.random.RandomState(0), engine)
    labels = labels_of(X, centres, engine)
    stats = engine.accumulate(Clusters("full"), X, centres)
    np.testing.assert_array_equal(stats.mass, np.bincount(labels, minlength=4))
    for k in range(4):
        d = X[labels == k] - centres.means[k]
        np.testing.assert_allclose(stats.second[k], d.T @ d, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_between_two_centres_goes_to_the_first(engine):
    X = np.array([[-1.0], [0.0], [1.0]])
    centres = Centres(np.full(2, 0.5), np.array([[1.0], [-1.0]]), SHARPNESS)
    assert fastem.get_engine(engine).accumulate(Clusters(), X, centres).mass.tolist() == [2, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_cluster_starts_again_from_the_farthest_row(engine):
    X = np.concatenate([np.linspace(0, 1, 20), np.linspace(9, 10, 20), [30.0]])[:, None]
    centres = Centres(np.full(3, 1 / 3), np.array([[0.5], [9.5], [1000.0]]), SHARPNESS / X.var())
    found = lloyd(X, centres, fastem.get_engine(engine))
    np.testing.assert_allclose(np.sort(found.means[:, 0]), [0.5, 9.5, 30.0])


@pytest.mark.parametrize("rows", [np.zeros((30, 2)), np.repeat([[0.0, 1.0], [5.0, 2.0]], 15, axis=0)])
def test_fewer_distinct_rows_than_clusters(rows):
    found = kmeans(rows, 4, np.random.RandomState(0), fastem.get_engine("numpy"))
    assert np.isfinite(found.means).all()
    assert {tuple(row) for row in rows} <= {tuple(mean) for mean in found.means}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("separation", [0.5, 3.0])
def test_many_rows_cluster_as_well_from_a_sample(rng, dtype, separation):
    X = blobs(rng, 120_000, 4, 6, separation).astype(dtype)
    engine = fastem.get_engine("cython" if "cython" in ENGINES else "numpy")
    theirs = KMeans(6, n_init=5, random_state=0).fit(X[::4])
    best = min(
        inertia(X, start_params(fastem.Gaussian(), X, 6, "kmeans", np.random.RandomState(seed), engine).means)
        for seed in range(5)
    )
    assert best < 1.01 * inertia(X, theirs.cluster_centers_)


def test_the_same_bits_for_any_number_of_threads(rng):
    X = blobs(rng, 60_000, 6, 5, 2.0)
    for engine in map(fastem.get_engine, ENGINES):
        runs = [
            start_params(fastem.Gaussian(), X, 5, "kmeans", np.random.RandomState(1), engine, n_threads=n)
            for n in (1, 2, 5)
        ]
        for run in runs[1:]:
            np.testing.assert_array_equal(run.means, runs[0].means)
            np.testing.assert_array_equal(run.covariances, runs[0].covariances)


def test_weight_is_repetition(rng):
    X = blobs(rng, 300, 2, 3, 6.0)
    counts = rng.integers(1, 4, size=300)
    engine = fastem.get_engine("numpy")
    weighted = kmeans(X, 3, np.random.RandomState(0), engine, counts.astype(float))
    repeated = kmeans(np.repeat(X, counts, axis=0), 3, np.random.RandomState(0), engine)
    order = [np.lexsort(found.means.T) for found in (weighted, repeated)]
    np.testing.assert_allclose(weighted.means[order[0]], repeated.means[order[1]], rtol=1e-9)

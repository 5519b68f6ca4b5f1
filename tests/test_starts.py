"""Starting values by ``"auto"``: the tree of merges, whitened coordinates, and what a fit finds from there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

import fastem
from fastem.data.coordinates import unit_within, whitened
from fastem.families import Gaussian
from fastem.init import START_METHODS, candidates, find_starts, merge_tree
from fastem.init.candidates import METHODS, adaptive_labels
from fastem.init.tree import cut, ward_merges


def parallel_clusters(seed):
    """Two long clusters side by side, and which row is of which."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 500)
    return rng.normal(size=(1000, 2)) * [10, 0.5] + np.array([[0, 0], [0, 4]])[labels], labels


@pytest.mark.parametrize("seed", range(20))
def test_two_parallel_elongated_clusters(seed):
    X, labels = parallel_clusters(seed)
    model = fastem.GaussianMixture(2, random_state=seed).fit(X)
    assert adjusted_rand_score(labels, model.predict(X)) > 0.95


# Whitened coordinates.


def test_whitened_rows_have_unit_covariance(rng):
    X = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) * [1e-150, 1, 1e6, 1e150] + [0, 5, 1e6, 0]
    weight = rng.uniform(0.1, 2, size=200)
    np.testing.assert_allclose(np.cov(whitened(X, weight).T, aweights=weight, ddof=0), np.eye(4), atol=1e-7)


def test_whitened_rows_leave_out_constant_and_collinear_features(rng):
    X = rng.normal(size=(50, 2))
    more = np.column_stack([X, np.full(50, 1e9), X @ [1.0, 2.0]])
    Z = whitened(more)
    assert Z.shape == (50, 2)
    distances = np.linalg.norm(Z[:, None] - Z, axis=2)
    # Mahalanobis distances, computed from the two features that say it all.
    apart = X[:, None] - X
    expected = np.sqrt(np.einsum("abi,ij,abj->ab", apart, np.linalg.inv(np.cov(X.T, ddof=0)), apart))
    np.testing.assert_allclose(distances, expected, atol=1e-9)
    assert np.array_equal(whitened(np.ones((3, 2))), np.zeros((3, 1)))


def test_the_metric_within_clusters(rng):
    within = np.array([[4.0, 1.0], [1.0, 0.5]])
    rows = rng.multivariate_normal([0, 0], within, size=100_000)
    np.testing.assert_allclose(np.cov(unit_within(rows, within).T), np.eye(2), atol=0.02)


# The tree.


def test_ward_cuts_are_scipys(rng):
    rows = rng.normal(size=(60, 3))
    for n_clusters in (1, 2, 5, 20, 60):
        expected = fcluster(linkage(rows, "ward"), n_clusters, "maxclust")
        assert adjusted_rand_score(expected, cut(ward_merges(rows), n_clusters)) == 1


def likelihood_cost(rows, labels, within, mass, proportions):
    """The criterion by its formula, a cluster at a time."""
    cost = 0.0
    for label in np.unique(labels):
        own = rows[labels == label]
        scatter = (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
        cost += len(own) * np.log(np.linalg.det((scatter + mass * within) / (len(own) + mass)))
        cost -= 2 * proportions * len(own) * np.log(len(own))
    return cost


@pytest.mark.parametrize("free", [False, True])
def test_each_merge_is_the_cheapest(rng, free):
    centres = np.array([[0, 0], [6, 0], [0, 6]])
    rows = centres[rng.integers(3, size=60)] + rng.normal(size=(60, 2)) * [1.0, 0.2]
    tree = merge_tree(rows, n_cells=12, free_proportions=free)
    assert tree.n_cells == 12
    within = tree.within + 1e-8 * np.eye(2)
    for n_clusters in range(12, 1, -1):
        labels, after = tree.partition(n_clusters), tree.partition(n_clusters - 1)
        costs = []
        for i in range(n_clusters):
            for j in range(i):
                costs.append(likelihood_cost(rows, np.where(labels == i, j, labels), within, 3, free))
        assert likelihood_cost(rows, after, within, 3, free) == pytest.approx(min(costs), rel=1e-9)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "criteria"),
    [(500, 2, [True, False, True]), (3000, 2, [True, True]), (3000, 8, [True])],
)
def test_trees_of_a_panel_and_their_criteria(rng, monkeypatch, n_rows, n_features, criteria):
    asked = []

    def noted(rows, weight, n_cells, free_proportions):
        asked.append(free_proportions)
        return merge_tree(rows, weight, n_cells, free_proportions)

    monkeypatch.setattr(candidates, "merge_tree", noted)
    rows = rng.normal(size=(n_rows, n_features))
    find_starts(Gaussian(), rows, None, 5, "auto", 1, np.random.RandomState(0), fastem.get_engine("numpy"))
    assert asked == criteria


def test_a_partition_for_every_number_of_clusters(rng):
    rows = rng.normal(size=(50, 2))
    tree = merge_tree(rows)
    coarser = tree.partition(1)
    for n_clusters in range(2, 51):
        labels = tree.partition(n_clusters)
        assert np.array_equal(np.unique(labels), np.arange(n_clusters))
        # Each of its clusters lies in one of the clusters before.
        assert len(np.unique(np.stack([labels, coarser]), axis=1).T) == n_clusters
        coarser = labels
    with pytest.raises(ValueError, match="1 to 50 clusters, but 51"):
        tree.partition(51)


def test_a_tree_of_equal_rows():
    rows = np.repeat([[0.0, 0.0], [1.0, 2.0]], 10, axis=0)
    labels = merge_tree(rows).partition(2)
    assert adjusted_rand_score(np.repeat([0, 1], 10), labels) == 1


def test_weights_of_a_tree_are_copies_of_rows(rng):
    rows = rng.normal(size=(40, 2)) + 5 * rng.integers(2, size=(40, 1))
    counts = rng.integers(1, 4, size=40)
    # All in their own cells, so that equal rows are one in both.
    for n_clusters in (2, 3, 5):
        weighted = merge_tree(rows, counts.astype(float), n_cells=40)
        assert adjusted_rand_score(
            weighted.partition(n_clusters), merge_tree(rows, 2.0 * counts, n_cells=40).partition(n_clusters)
        ) == pytest.approx(1)
    assert weighted.within == pytest.approx(np.zeros((2, 2)))


def test_adaptive_seeds_find_a_small_cluster_that_is_far(rng):
    rows = np.concatenate([rng.normal(size=(200, 2)), [20, 20] + 0.1 * rng.normal(size=(10, 2))])
    found = 0
    for seed in range(10):
        labels = adaptive_labels(rows, 2, np.random.RandomState(seed), np.ones(210))
        found += adjusted_rand_score(np.repeat([0, 1], [200, 10]), labels) == 1
    # By chance alone it would be every twentieth time.
    assert found >= 5


# What a fit makes of them.


@pytest.fixture(name="X")
def rows_of_four(rng):
    centres = np.array([[0, 0, 0], [5, 0, 0], [0, 5, 0], [3, 3, 6]])
    mixing = rng.normal(size=(4, 3, 3)) / 2 + np.eye(3)
    return np.concatenate([c + rng.normal(size=(150, 3)) @ m for c, m in zip(centres, mixing, strict=True)])


@pytest.mark.parametrize("seed", range(5))
def test_the_units_and_the_rotation_of_features_change_nothing(X, seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    scales = 10.0 ** rng.uniform(-6, 6, size=3)
    for mapping, factor in ((np.diag(scales), scales), (rotation, np.ones(3)), (1e3 * rotation, np.full(3, 1e3))):
        options = {"random_state": seed, "tol": 1e-7, "max_iter": 1000}
        found = fastem.fit(X, Gaussian("full", 0.0), 4, **options)
        mapped = fastem.fit(X @ mapping, Gaussian("full", 0.0), 4, **options)
        assert mapped.start_methods == found.start_methods
        assert mapped.run.lower_bound + np.log(factor).sum() == pytest.approx(found.run.lower_bound, abs=1e-5)
        labels = (found.posterior(X, "labels").labels, mapped.posterior(X @ mapping, "labels").labels)
        assert adjusted_rand_score(*labels) > 0.999


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_every_start_is_reported(X, structure):
    result = fastem.fit(X, Gaussian(structure), 4, random_state=0)
    assert set(result.start_methods) == set(METHODS) - {"random_from_data"}
    assert len(result.lower_bounds) == len(result.start_methods)
    assert result.run.lower_bound == max(result.lower_bounds)
    model = fastem.GaussianMixture(4, covariance_type=structure, random_state=0).fit(X)
    assert model.init_methods_ == list(result.start_methods)
    assert model.init_lower_bounds_ == list(result.lower_bounds)
    twice = fastem.fit(X, Gaussian(structure), 4, random_state=0, n_init=2)
    # The second panel tries random rows too.
    assert set(twice.start_methods) == set(METHODS)
    assert len(twice.start_methods) == 2 * len(result.start_methods) + 1
    assert twice.run.lower_bound > result.run.lower_bound - 1e-3


def test_the_same_bits_for_any_number_of_threads(X):
    X = np.tile(X, (20, 1)) + np.random.default_rng(0).normal(scale=0.01, size=(12_000, 3))
    weight = np.random.default_rng(1).uniform(0.5, 2, size=len(X))
    one, two = (
        fastem.fit(X, Gaussian(), 4, random_state=5, n_threads=n, sample_weight=weight, split_merge=1) for n in (1, 2)
    )
    assert one.lower_bounds == two.lower_bounds
    np.testing.assert_array_equal(one.params.means, two.params.means)


def test_a_weight_is_as_good_as_copies_of_the_row(X):
    weight = np.random.default_rng(0).integers(0, 3, size=len(X))
    options = {"random_state": 0, "tol": 1e-9, "max_iter": 1000}
    weighted = fastem.fit(X, Gaussian(), 4, sample_weight=weight, **options)
    repeated = fastem.fit(np.repeat(X, weight, axis=0), Gaussian(), 4, **options)
    assert weighted.run.lower_bound == pytest.approx(repeated.run.lower_bound, abs=1e-6)


def test_where_there_is_nothing_to_search_it_is_kmeans(X):
    assert fastem.fit(X, "gaussian", 1).start_methods == ("kmeans",)
    counts = np.random.default_rng(0).poisson(4, size=(100, 2))
    found, kmeans = (fastem.fit(counts, "poisson", 2, start=start, random_state=0) for start in ("auto", "kmeans"))
    assert found.start_methods == ("kmeans",)
    assert found.run.lower_bound == kmeans.run.lower_bound


def test_given_values_replace_those_of_every_start(X):
    means = np.array([[0.0, 0, 0], [5, 0, 0], [0, 5, 0], [3, 3, 6]])
    model = fastem.GaussianMixture(4, means_init=means, random_state=0, max_iter=0).fit(X)
    np.testing.assert_array_equal(model.means_, means)
    assert fastem.fit(X, Gaussian(), 4, start=model._fitted_params()).start_methods == ("given",)


def test_too_few_rows_of_positive_weight(X):
    weight = np.zeros(len(X))
    weight[:3] = 1
    with pytest.raises(ValueError, match="4 components need at least as many rows of positive weight, but there are 3"):
        fastem.fit(X, Gaussian(), 4, sample_weight=weight)


def test_equal_rows_are_a_collapse_that_is_named():
    with pytest.raises(fastem.DegenerateComponentError, match="not positive definite"):
        fastem.fit(np.ones((50, 2)), Gaussian("full", 0.0), 2, random_state=0, strict=True)
    assert fastem.fit(np.ones((50, 2)), Gaussian("full", 1e-6), 2, random_state=0).run.converged


def test_an_unknown_method_is_named(X):
    with pytest.raises(ValueError, match="start must be one of"):
        fastem.fit(X, Gaussian(), 2, start="best")
    with pytest.raises(ValueError, match="start must be one of"):
        find_starts(Gaussian(), X, None, 2, "best", 1, np.random.RandomState(0), fastem.get_engine("numpy"))
    assert START_METHODS[0] == "auto"

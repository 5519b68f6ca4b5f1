"""Components that are ruled out, and rows grouped by component: cheaper, and the same numbers."""

import numpy as np
import pytest
from reference import assert_close

import fastem
import fastem.families.covariance_storage
from fastem import Gaussian, passes
from fastem.families import scratch_shape
from fastem.families.screening import find_screening
from fastem.kernels import gaussian, shortlist

K, D = 24, 10
FAMILY = Gaussian("full", reg_covar=0.0)


def separated(rng, n_samples, spread=12.0, dtype=np.float64):
    """Rows and parameters of clusters of different shapes, most of them far apart, some of them neighbours."""
    factors = np.eye(D) + 0.1 * rng.standard_normal((K, D, D))
    means = spread * rng.standard_normal((K, D)) + 100.0
    means[1::4] = means[::4] + 1.0
    labels = rng.integers(K, size=n_samples)
    X = means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.standard_normal((n_samples, D)))
    weights = rng.uniform(0.5, 1.5, size=K)
    params = FAMILY.make_params(weights / weights.sum(), means, factors @ np.swapaxes(factors, 1, 2))
    return X.astype(dtype), params


def test_bounds_hold(rng):
    X, params = separated(rng, 500)
    factors = params.precisions_cholesky * np.sqrt(0.5)
    screening = find_screening(np.log(params.weights), params.weights, params.means, params.covariances, factors)
    y = (X - screening.centre) @ screening.factor
    for k in range(K):
        form = (((X - params.means[k]) @ factors[k]) ** 2).sum(axis=1)
        distance = ((y - screening.means[k]) ** 2).sum(axis=1)
        assert (screening.lower[k] * distance <= form * (1 + 1e-9)).all()
        assert (form <= screening.upper[k] * distance * (1 + 1e-9)).all()
        # Bounds far from the form would hold too, and be of no use.
        assert (screening.lower[k] * distance > form / 8).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_bit_depends_on_it(kernel_engine, dtype, weighted, rng, monkeypatch):
    n_samples = 70 if kernel_engine == "python" else 5000
    X, params = separated(rng, n_samples, dtype=dtype)
    weight = rng.uniform(size=n_samples) * (rng.uniform(size=n_samples) > 0.2) if weighted else None
    assert FAMILY.pack(params, np.dtype(dtype)).common.size > 0
    runner = fastem.get_engine(kernel_engine)
    order = runner.group_rows(FAMILY, X, params)
    # Blocks of few components, of all of them, and of few again: the list is of use, then not, and then again.
    third = n_samples // 3
    by_component = np.argsort(runner.evaluate(FAMILY, X, params, ("labels",)).labels, kind="stable")
    mixed = np.concatenate([X[by_component[:third]], X[third : 2 * third], X[by_component[2 * third :]]])

    def run():
        stats = runner.accumulate(FAMILY, X, params, sample_weight=weight)
        grouped = runner.accumulate(FAMILY, X, params, sample_weight=weight, order=order)
        found = runner.evaluate(FAMILY, X, params, ("labels", "log_likelihood", "responsibilities"))
        both = runner.accumulate(FAMILY, mixed, params, sample_weight=weight)
        sums = stats.S, stats.log_likelihood, grouped.S, grouped.log_likelihood, both.S, both.log_likelihood
        return *sums, found.labels, found.log_likelihood, found.responsibilities

    screened = run()
    monkeypatch.setattr(fastem.families.covariance_storage, "find_screening", lambda *arguments: None)
    assert FAMILY.pack(params, np.dtype(dtype)).common.size == 0
    for one, other in zip(screened, run(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (screened[-1] == 0).mean() > 0.5


@pytest.mark.parametrize("of", ["one", "several"])
def test_a_block_lists_its_components(of, rng):
    X, params = separated(rng, 3000)
    labels = fastem.get_engine("numpy").evaluate(FAMILY, X, params, ("labels",)).labels
    block = 32
    rows = X[labels == 0] if of == "one" else X[np.argsort(labels, kind="stable")[:1000:32]]
    XT = np.ascontiguousarray(rows[:block].T)
    packed = FAMILY.pack(params, np.dtype(np.float64))
    scratch = np.empty(scratch_shape(D, block))
    every, those = np.empty((K, block)), np.empty((K + (K + 1) // block + 1, block))
    gaussian.full_log_density(XT, block, packed.theta[:, : -4 - D].copy(), np.empty((1, 0)), scratch, every)
    shortlist.list_all(those, K)
    shortlist.note_active(those, K, 0)
    gaussian.full_log_density(XT, block, packed.theta, packed.common, scratch, those)
    kept = [shortlist.listed(those, K, index) for index in range(shortlist.n_listed(those, K))]
    counts = every >= every.max(axis=0) - 50
    assert set(np.flatnonzero(counts.any(axis=1))) <= set(kept)
    assert len(kept) <= counts.any(axis=1).sum() + 2 < K
    shortlist.spread(those, K, block)
    np.testing.assert_array_equal(those[:K][counts], every[counts])


def test_a_list_longer_than_a_block():
    log_p = np.zeros((100 + 100 // 32 + 1, 32))
    shortlist.list_all(log_p, 100)
    assert [shortlist.listed(log_p, 100, index) for index in range(shortlist.n_listed(log_p, 100))] == [*range(100)]
    for index, k in enumerate(range(40, 100)):
        shortlist.write_entry(log_p, 100, index, k)
        log_p[index] = k
    shortlist.set_listed(log_p, 60)
    shortlist.spread(log_p, 100, 32)
    assert (log_p[40:100] == np.arange(40, 100)[:, None]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_still_seen(kernel_engine, value, rng):
    X, params = separated(rng, 40)
    for feature in (0, D - 1):
        odd = X.copy()
        odd[17, feature] = value
        assert not np.isfinite(fastem.get_engine(kernel_engine).accumulate(FAMILY, odd, params).log_likelihood)


def test_only_where_it_pays(rng):
    _, apart = separated(rng, 10)
    _, close = separated(rng, 10, spread=1.0)
    assert FAMILY.separates(apart)
    assert not FAMILY.separates(close)
    few = FAMILY.make_params(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [99.0, 99.0]]), np.stack([np.eye(2)] * 2))
    assert not FAMILY.separates(few)


def test_parameters_of_any_kind(rng):
    """A component without weight, one that is a needle, and one beyond any data."""
    _, params = separated(rng, 10)
    weights, means, covariances = (a.copy() for a in (params.weights, params.means, params.covariances))
    covariances[0] = np.diag(np.geomspace(1e-12, 1e6, D))
    weights[2] = 0.0
    means[3] = 1e12
    odd = FAMILY.make_params(weights / weights.sum(), means, covariances)
    X = np.concatenate([means + 0.1, params.means])
    expected = fastem.get_engine("numpy").evaluate(FAMILY, X, odd, ("labels", "responsibilities"))
    found = fastem.get_engine("python").evaluate(FAMILY, X, odd, ("labels", "responsibilities"))
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.responsibilities, expected.responsibilities, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_grouped_rows(kernel_engine, weighted, rng):
    n_samples = 150 if kernel_engine == "python" else 9000
    X, params = separated(rng, n_samples)
    weight = rng.uniform(size=n_samples) if weighted else None
    runner = fastem.get_engine(kernel_engine)
    order = runner.group_rows(FAMILY, X, params)
    plain = runner.accumulate(FAMILY, X, params, sample_weight=weight)
    grouped = runner.accumulate(FAMILY, X, params, sample_weight=weight, order=order)
    assert_close(grouped.S, plain.S, 1e-12, "S")
    assert grouped.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-12)
    threads = runner.accumulate(FAMILY, X, params, sample_weight=weight, order=order, n_threads=3)
    np.testing.assert_array_equal(threads.S, grouped.S)


def test_order_over_panels_without_compilers(rng):
    # Rows that are fetched ahead at a panel's end are told by an order that counts from another panel.
    X, params = separated(rng, 2600)
    runner = fastem.get_engine("python")
    order = runner.group_rows(FAMILY, X, params)
    assert np.abs(order).max() > 2000
    grouped = runner.accumulate(FAMILY, X, params, order=order)
    assert_close(grouped.S, runner.accumulate(FAMILY, X, params).S, 1e-12, "S")


def test_order_is_by_component(compiled_engine, rng, monkeypatch):
    from fastem.engines import kernel_engine

    X, params = separated(rng, 9000)
    runner = fastem.get_engine(compiled_engine)
    order = runner.group_rows(FAMILY, X, params)
    labels = fastem.get_engine("numpy").evaluate(FAMILY, X, params, ("labels",)).labels
    rows = kernel_engine.cut_rows(len(X), K, D, "full", X.dtype, runner.is_wide).panel_rows
    assert rows < len(X) / 4
    panels = np.arange(len(X)) // rows * rows
    assert sorted(panels + order) == list(range(len(X)))
    assert (np.diff(labels[panels + order]) >= 0).all()
    # No more than so many rows are grouped with each other.
    monkeypatch.setattr(kernel_engine, "_GROUPED_ROWS", 2 * rows)
    order = runner.group_rows(FAMILY, X, params)
    for first in range(0, len(X), 2 * rows):
        group = slice(first, first + 2 * rows)
        assert sorted(panels[group] + order[group]) == list(range(first, min(first + 2 * rows, len(X))))
        assert (np.diff(labels[panels[group] + order[group]]) >= 0).all()


def test_the_numpy_engine_needs_no_order(rng):
    X, params = separated(rng, 20)
    assert fastem.get_engine("numpy").group_rows(FAMILY, X, params) is None


def test_a_fit_groups_its_rows(compiled_engine, rng, monkeypatch):
    X, params = separated(rng, 6000)
    options = {"start": params, "sample_weight": rng.uniform(size=len(X)), "tol": 0.0, "max_iter": 9}
    options["engine"] = compiled_engine
    plain = fastem.fit(X, FAMILY, K, **options)
    monkeypatch.setattr(passes, "_GROUPED_ROWS", range(1000, 10_000))
    runner = type(fastem.get_engine(compiled_engine))
    calls = []
    group_rows = runner.group_rows

    def counted(self, *arguments, **keywords):
        calls.append(1)
        return group_rows(self, *arguments, **keywords)

    monkeypatch.setattr(runner, "group_rows", counted)
    grouped = fastem.fit(X, FAMILY, K, **options)
    assert len(calls) == 2  # in the passes 4 and 8
    np.testing.assert_allclose(grouped.run.history.lower_bound, plain.run.history.lower_bound, rtol=1e-12)
    np.testing.assert_allclose(grouped.params.covariances, plain.params.covariances, rtol=1e-9, atol=1e-9)
    serial = fastem.fit(X, FAMILY, K, n_threads=1, **options)
    np.testing.assert_array_equal(serial.params.covariances, grouped.params.covariances)

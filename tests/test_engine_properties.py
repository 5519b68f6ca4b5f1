"""The kernels against the NumPy engine, for shapes, types, layouts and weights that Hypothesis chooses."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from families import CASES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import TOLERANCE, assert_close

import fastem
from fastem import compiled

WANTED = ("labels", "log_likelihood", "responsibilities")


@st.composite
def problems(draw, most_rows, most_features):
    """A case, rows in some layout, parameters and weights."""
    case = draw(st.sampled_from(CASES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_samples = draw(st.integers(1, most_rows))
    n_features = draw(st.integers(1, most_features))
    n_components = draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    steps = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    order = draw(st.sampled_from("CF"))
    table = np.zeros((n_samples * steps[0], n_features * steps[1]), dtype=dtype, order=order)
    X = table[:: steps[0], :: steps[1]]
    X[...] = case.rows(rng, n_samples, n_features)
    if draw(st.booleans()):
        X = X[::-1]
    weight = draw(st.sampled_from([None, "some", "with zeros", "huge"]))
    if weight is not None:
        kind, weight = weight, rng.uniform(0.1, 3.0, size=n_samples)
        weight *= {"some": 1.0, "with zeros": rng.uniform(size=n_samples) < 0.5, "huge": 1e12}[kind]
    return case, X, case.params(rng, n_components, n_features), weight


def check(engine, problem):
    case, X, params, weight = problem
    kernel, reference = fastem.get_engine(engine), fastem.get_engine("numpy")
    tolerance = TOLERANCE[X.dtype.name]
    actual, expected = (e.accumulate(case.family, X, params, sample_weight=weight) for e in (kernel, reference))
    assert actual.weight == expected.weight
    assert_close(actual.log_likelihood, expected.log_likelihood, tolerance, "log_likelihood")
    assert_close(actual.S, expected.S, tolerance, "S")
    if actual.moments == "full":
        np.testing.assert_array_equal(actual.second, actual.second.transpose(0, 2, 1))
    actual, expected = (e.evaluate(case.family, X, params, WANTED) for e in (kernel, reference))
    assert_close(actual.log_likelihood, expected.log_likelihood, tolerance, "log p(x)")
    assert_close(actual.responsibilities, expected.responsibilities, tolerance, "responsibilities")
    chosen = expected.responsibilities[np.arange(len(X)), actual.labels]
    assert (chosen >= expected.responsibilities.max(axis=1) - tolerance).all()


@pytest.mark.parametrize("compiled", ["numba", "cython"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(most_rows=700, most_features=20))
def test_compiled_kernels(compiled, problem):
    if compiled not in fastem.available_engines():
        pytest.skip(f"the {compiled} engine does not run here")
    check(compiled, problem)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(most_rows=90, most_features=7))
def test_uncompiled_kernels(problem):
    check("python", problem)


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.integers(1, 10**7),
    n_components=st.integers(1, 300),
    n_features=st.integers(1, 300),
    moments=st.sampled_from(["first", "diag", "full"]),
    n_threads=st.integers(1, 64),
    dtype=st.sampled_from([np.float32, np.float64]),
    is_wide=st.booleans(),
)
def test_groups_of_panels_cover_the_rows_once(n_samples, n_components, n_features, moments, n_threads, dtype, is_wide):
    from fastem.engines.kernel_engine import cut_rows

    cut = cut_rows(n_samples, n_components, n_features, moments, dtype, is_wide)
    groups = list(cut.groups(n_components * n_features, n_threads))
    assert [first for first, _ in groups] == np.cumsum([0, *(count for _, count in groups)])[:-1].tolist()
    assert sum(count for _, count in groups) == cut.n_panels
    assert (cut.n_panels - 1) * cut.panel_rows < n_samples <= cut.n_panels * cut.panel_rows
    # Whole blocks, and blocks of whole pairs of the widest vectors: 16 values.
    assert cut.panel_rows % cut.block == 0
    assert cut.block % 32 == 0


@pytest.mark.parametrize(("is_wide", "few"), [(False, 4), (True, 32)])
def test_blocks_are_smaller_where_scatter_matrices_need_copies_of_them(is_wide, few):
    from fastem.engines.kernel_engine import block_rows

    for dtype in (np.float32, np.float64):
        most = block_rows(few, "full", dtype, is_wide)
        assert block_rows(few + 1, "full", dtype, is_wide) < most
        assert block_rows(few + 1, "diag", dtype, is_wide) == most


def test_engines_know_the_registers_of_their_kernels():
    if compiled.level is None or platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("levels are those of x86-64")
    is_wide = fastem.get_engine("cython").is_wide
    assert is_wide == (compiled.level == "v4")
    # Numba's are for this very processor, the compiled level may be a lower one.
    if "numba" in fastem.available_engines():
        assert fastem.get_engine("numba").is_wide >= is_wide

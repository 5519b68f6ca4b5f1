"""Data far from the origin: unit variance at 1e6 loses no digits that the input still has.

With raw moments, ``E[x^2] - E[x]^2``, four digits of the variance would be left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from families import CASES
from reference import assert_close

import fastem
from fastem.init import start_params

LOCATION_FAMILIES = [case for case in CASES if hasattr(case.params(np.random.default_rng(0), 2, 2), "covariances")]
pytestmark = pytest.mark.parametrize("case", LOCATION_FAMILIES, ids=str)

# Features beyond a tile of the kernels, which may sum them in another way.
N, D, K, OFFSET = 150, 6, 3, 1e6


def assert_same_shape(there, here):
    scale = np.abs(here.covariances).max()
    assert np.abs(there.covariances - here.covariances).max() < 1e-8 * scale
    assert np.abs(there.means - OFFSET - here.means).max() < 1e-8
    assert_close(there.weights, here.weights, 1e-8)


def test_fit(case, engine, rng):
    X = case.rows(rng, N, D) + OFFSET
    start = case.params(rng, K, D)
    for weight in (None, rng.uniform(0.2, 3.0, size=N)):
        options = {"sample_weight": weight, "engine": engine, "tol": 0.0, "max_iter": 10}
        there = fastem.fit(X, case.family, K, start=replace(start, means=start.means + OFFSET), **options)
        here = fastem.fit(X - OFFSET, case.family, K, start=start, **options)
        assert_same_shape(there.params, here.params)
        assert_close(there.run.lower_bound, here.run.lower_bound, 1e-8)


@pytest.mark.parametrize("method", ["kmeans", "random"])
def test_start(case, engine, method, rng):
    X = case.rows(rng, N, D) + OFFSET
    runner = fastem.get_engine(engine)
    there, here = (
        start_params(case.family, rows, K, method, np.random.RandomState(0), runner) for rows in (X, X - OFFSET)
    )
    assert_same_shape(there, here)


def test_start_far_from_the_data(case, engine, rng):
    """Means that are given far away must not cost the digits of the next covariances."""
    X = case.rows(rng, N, D) + OFFSET
    start = case.params(rng, 1, D)
    fits = [
        fastem.fit(X, case.family, 1, start=replace(start, means=means), engine=engine, tol=0.0, max_iter=3)
        for means in (start.means + OFFSET, np.zeros((1, D)))
    ]
    assert_same_shape(fits[1].params, replace(fits[0].params, means=fits[0].params.means - OFFSET))


def test_float32_rows(case, compiled_engine, rng):
    """Variances of 1 at 1000 in single precision, where raw moments would leave one digit."""
    X = (case.rows(rng, 2000, D) + 1000).astype(np.float32)
    start = case.params(rng, K, D)
    start = replace(start, means=start.means + 1000)
    single, double = (
        fastem.fit(rows, case.family, K, start=start, engine=compiled_engine, tol=0.0, max_iter=5)
        for rows in (X, X.astype(np.float64))
    )
    assert_close(single.params.covariances, double.params.covariances, 1e-3)
    assert_close(single.params.means - 1000, double.params.means - 1000, 1e-3)


def test_as_far_as_the_digits_go(case, compiled_engine, rng):
    """Unit variance at 1e8, where the rows themselves have eight digits left, and raw moments none."""
    X = case.rows(rng, N, D) + 1e8
    centre = np.full(D, 1e8)
    fits = [
        fastem.fit(rows, case.family, 2, start="kmeans", random_state=0, engine=compiled_engine, tol=0.0, max_iter=5)
        for rows in (X, X - centre)
    ]
    there, here = (result.params for result in fits)
    # Every row is the same number in both, so that only the passes differ.
    assert_close(there.means - centre, here.means, 1e-6)
    assert_close(there.covariances, here.covariances, 1e-6)

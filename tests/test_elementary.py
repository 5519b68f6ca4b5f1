"""The exponential and the logarithm of the kernels against 40 digits: uncompiled, and compiled by Numba."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from fastem.kernels import elementary, vectors

ULPS = 2.0


def uncompiled(function, x):
    found = np.empty_like(x)
    with np.errstate(all="ignore"):
        for start in range(0, len(x), vectors.LANES):
            found[start : start + vectors.LANES] = function(x[start : start + vectors.LANES])
    return found


def compiled_by_numba(function, x):
    numba = pytest.importorskip("numba")
    from fastem.engines import numba_drivers
    from fastem.kernels.vectors import lanes, load, store

    @numba.njit(**numba_drivers.OPTIONS)
    def apply(x, found):
        for v in range(x.shape[1] // lanes(x)):
            store(found, 0, v * lanes(x), function(load(x, 0, v * lanes(x))))

    found = np.empty((1, len(x)), dtype=x.dtype)
    apply(x[None].copy(), found)
    return found[0]


@pytest.fixture(params=[uncompiled, compiled_by_numba], ids=lambda f: f.__name__)
def run(request):
    return request.param


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


def padded(values, dtype):
    """Whole vectors of any width."""
    values = np.asarray(values, dtype=dtype)
    return np.resize(values, -(-len(values) // 16) * 16)


def worst_error(function, x, found):
    """Largest error in units of the last place of the true value."""
    with mpmath.workdps(40):
        true = [function(mpmath.mpf(float(value))) for value in x]
        ulp = np.spacing(np.abs(np.array([float(t) for t in true])).astype(found.dtype)).astype(np.float64)
        errors = [abs(float(mpmath.mpf(float(f)) - t)) for f, t in zip(found, true, strict=True)]
    return float(np.max(np.array(errors) / ulp))


def test_exponential(run, dtype, rng):
    edges = np.log(2) * np.arange(0, 73) * 0.5
    x = padded(
        [
            *(-rng.uniform(0, 50, size=2000)),
            *(-rng.uniform(0, 1, size=500)),
            *(-np.exp(rng.uniform(-40, 0, size=200))),
            *-edges,
            *-np.nextafter(edges, 0),
            *-np.nextafter(edges, 100),
            *[0.0, -0.0, -50.0, -np.finfo(dtype).tiny, -np.finfo(dtype).smallest_subnormal],
        ],
        dtype,
    )
    assert worst_error(mpmath.exp, x, run(elementary.exp_nonpositive, x)) < ULPS


def test_exponential_of_zero_is_one(run, dtype):
    """A row of one component alone must have a responsibility of exactly 1."""
    np.testing.assert_array_equal(run(elementary.exp_nonpositive, padded([0.0, -0.0], dtype)), 1.0)


def test_exponential_below_its_domain_is_exactly_zero(run, dtype):
    below = np.nextafter(dtype(-50), dtype(-100))
    x = padded([below, -50.1, -51, -100, -745, -746, -1e4, -1e30, np.finfo(dtype).min, -np.inf], dtype)
    found = run(elementary.exp_nonpositive, x)
    np.testing.assert_array_equal(found, 0.0)
    assert not np.signbit(found).any()


def not_a_number(dtype):
    """NaN as arithmetic makes it, of both signs."""
    return padded([np.nan, -np.nan], dtype)


def test_exponential_keeps_not_a_number(run, dtype):
    assert np.isnan(run(elementary.exp_nonpositive, not_a_number(dtype))).all()


def test_logarithm(run, dtype, rng):
    info = np.finfo(dtype)
    powers = 2.0 ** np.arange(info.minexp, info.maxexp)
    values = [
        np.exp(rng.uniform(np.log(info.tiny) + 1, np.log(info.max) - 1, size=1500)),
        rng.uniform(1, 20, size=1500),
        rng.uniform(0.5, 1.5, size=1000),
        1 + rng.uniform(-1, 1, size=300) * np.exp(rng.uniform(-30, 0, size=300)),
        powers,
        np.sqrt(2) * powers[:-1],
        [info.tiny, info.max, np.nextafter(dtype(1), dtype(0)), np.nextafter(dtype(1), dtype(2))],
    ]
    x = np.concatenate(values).astype(dtype)
    x = padded(x[x != 1], dtype)
    assert worst_error(mpmath.log, x, run(elementary.log_positive, x)) < ULPS


def test_logarithm_of_one_is_zero(run, dtype):
    np.testing.assert_array_equal(run(elementary.log_positive, padded([1.0], dtype)), 0.0)


def test_logarithm_shows_what_is_not_finite(run, dtype):
    """An overflow must not come back as a number that looks like a log-likelihood."""
    assert not np.isfinite(run(elementary.log_positive, padded([np.inf], dtype))).any()
    assert np.isnan(run(elementary.log_positive, not_a_number(dtype))).all()


def test_primitives_agree_with_numba(dtype, rng):
    """The NumPy spelling of the vector type and the LLVM one, value by value."""
    for function in (elementary.exp_nonpositive, elementary.log_positive):
        x = padded(rng.uniform(1, 40, size=4000) * (-1 if function is elementary.exp_nonpositive else 1), dtype)
        np.testing.assert_allclose(
            compiled_by_numba(function, x), uncompiled(function, x), rtol=4 * np.finfo(dtype).eps
        )


@pytest.mark.parametrize("column", [-1, vectors.LANES + 1, 100])
def test_uncompiled_vectors_know_their_bounds(column):
    block = np.zeros((2, 2 * vectors.LANES))
    with pytest.raises(IndexError, match="outside of shape"):
        vectors.load(block, 0, column)
    with pytest.raises(IndexError, match="outside of shape"):
        vectors.store(block, 0, column, np.zeros(vectors.LANES))
    with pytest.raises(IndexError):
        vectors.load(block, -1, 0)

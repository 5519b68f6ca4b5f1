"""``fastem.fit``: options and their errors, several starts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from families import CASES

import fastem
from fastem import DegenerateComponentError, Gaussian

K, D = 3, 2


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(200, D)) + np.repeat([[0.0], [4.0]], 100, axis=0)


def same_params(one, other):
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


# Without scikit-learn.

NO_SKLEARN = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sklearn":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np, fastem
X = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[0.0], [5.0]], 150, axis=0)
start = fastem.Gaussian().make_params(np.ones(2) / 2, np.array([[0.0, 0], [5, 5]]), np.stack([np.eye(2)] * 2))
fits = [fastem.fit(X, "gaussian", 2, start=start), fastem.fit(X, fastem.Gaussian("tied"), 2, start="random_from_data")]
fits += [fastem.fit(abs(X).round(), "poisson", 2, start="random", random_state=0), fastem.fit(X)]
print(all(np.isfinite(f.run.lower_bound) for f in fits), "sklearn" in sys.modules)
labels = fits[0].posterior(X, "labels").labels
print(np.mean(labels == np.repeat([0, 1], 150)) > 0.99, fits[0].sample(5, np.random.default_rng(0))[0].shape)
"""


def test_runs_without_scikit_learn(tmp_path):
    done = subprocess.run([sys.executable, "-c", NO_SKLEARN], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.split("\n")[:2] == ["True False", "True (5, 2)"], done.stderr


# Starts.


def test_best_of_several_starts(case, rng):
    X = case.rows(rng, 150, D)
    starts = [case.params(rng, K, D) for _ in range(4)]
    result = fastem.fit(X, case.family, K, start=starts, max_iter=30)
    alone = [fastem.fit(X, case.family, K, start=start, max_iter=30) for start in starts]
    best = int(np.argmax([fit.run.lower_bound for fit in alone]))
    np.testing.assert_allclose(result.lower_bounds, [fit.run.lower_bound for fit in alone], rtol=1e-12)
    assert result.run.lower_bound == max(result.lower_bounds)
    np.testing.assert_allclose(result.params.weights, alone[best].params.weights, rtol=1e-9)


def test_a_start_that_collapses_costs_only_itself(X):
    X = np.concatenate([X, np.repeat([[50.0, 50.0]], 9, axis=0)])
    good, bad = (
        Gaussian().make_params(np.array([0.9, 0.1]), np.array([[2.0, 2.0], mean]), np.stack([np.eye(2)] * 2))
        for mean in ([0.0, 0.0], [50.0, 50.0])
    )
    family = Gaussian(reg_covar=0.0)
    with pytest.raises(DegenerateComponentError):
        fastem.fit(X, family, 2, start=bad, strict=True)
    for n_threads in (1, 2):
        result = fastem.fit(X, family, 2, start=[bad, good], n_threads=n_threads, max_iter=3, strict=True)
        assert result.lower_bounds[0] == -np.inf
        assert result.run.lower_bound == result.lower_bounds[1] > -np.inf
        # It is held up otherwise, and wins here: equal rows far out are better off by themselves, at any covariance.
        held_up = fastem.fit(X, family, 2, start=[bad, good], n_threads=n_threads, max_iter=3)
        assert held_up.run.lower_bound == held_up.lower_bounds[0] > held_up.lower_bounds[1]


@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)])
def test_the_seed_decides(X, seed):
    options = {"n_components": 3, "start": "random", "max_iter": 5}
    one, two = (fastem.fit(X, random_state=0, **options) for _ in range(2))
    assert same_params(one.params, two.params)
    assert same_params(one.params, fastem.fit(X, random_state=seed, **options).params)
    assert not same_params(one.params, fastem.fit(X, random_state=1, **options).params)


def test_the_global_seed_is_used_without_one(X):
    np.random.seed(0)  # noqa: NPY002
    one = fastem.fit(X, n_components=3, start="random", max_iter=5)
    assert same_params(one.params, fastem.fit(X, n_components=3, start="random", random_state=0, max_iter=5).params)


# Errors say what was given, what is required and what to try.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bad_value_is_found(rng, value, dtype):
    X = rng.normal(size=(300_000, 4)).astype(dtype)
    X[271_828, 2] = value
    what = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=rf"{what} .*row 271828, feature 2"):
        fastem.fit(X, start="random")


def test_large_numbers_are_not_taken_for_bad_ones():
    X = np.full((50, 2), 1e308) * np.linspace(-1, 1, 50)[:, None]
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="too large") as caught:
        fastem.fit(X, start="random")
    assert "contains" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "uniform"}, r"family must be one of .*poisson.*'uniform'"),
        ({"n_components": 0}, "n_components.*at least 1.*0"),
        ({"n_components": 2.0}, "n_components.*integer.*2.0"),
        ({"n_components": 201}, "n_components = 201, n_samples = 200.*fewer components"),
        ({"tol": -1.0}, "tol.*at least 0.*-1"),
        ({"tol": np.nan}, "tol"),
        ({"max_iter": -1}, "max_iter.*at least 0"),
        ({"n_init": 0}, "n_init.*at least 1"),
        ({"start": "middle"}, "start.*kmeans.*'middle'"),
        ({"start": []}, "start"),
        ({"engine": "fast"}, "engine.*numba.*'fast'"),
        ({"n_threads": 0}, "n_threads.*positive.*0"),
        ({"on_interrupt": "ignore"}, "on_interrupt.*keep.*'ignore'"),
        ({"sample_weight": -np.ones(200)}, "sample_weight.*non-negative"),
        ({"sample_weight": np.zeros(200)}, "sample_weight.*zero"),
        ({"sample_weight": np.full(200, np.nan)}, "sample_weight.*finite"),
        ({"sample_weight": np.ones(199)}, r"sample_weight.*\(200,\).*\(199,\)"),
        ({"family": "poisson"}, "Negative.*row.*counts"),
    ],
)
def test_bad_options(X, options, message):
    with pytest.raises(ValueError, match=message):
        fastem.fit(X, **{"start": "random", **options})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.arange(5.0), r"2D.*\(5,\).*reshape"),
        (np.zeros((2, 2, 2)), "2D"),
        (np.zeros((0, 2)), "empty"),
        (np.zeros((3, 0)), "empty"),
        (np.array([["a"]]), "numbers"),
        (np.ones((3, 2)) * 1j, "numbers"),
        (np.array([[{}]], dtype=object), "numbers"),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        fastem.fit(rows)


def test_bad_settings_of_a_family():
    with pytest.raises(ValueError, match=r"covariance_type.*full.*'round'"):
        Gaussian("round")
    with pytest.raises(ValueError, match=r"reg_covar.*-1"):
        Gaussian(reg_covar=-1.0)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_collapse_says_what_to_do(structure):
    X = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    # Said by the M-step that fails, or at the end where a start has left a component without rows.
    with pytest.raises(DegenerateComponentError, match=r"(?s)fewer components.*reg_covar"):
        fastem.fit(X, Gaussian(structure, reg_covar=0.0), 2, random_state=0, strict=True)


def test_collapse_names_the_component():
    with pytest.raises(DegenerateComponentError, match="component 1"):
        family = Gaussian(reg_covar=0.0)
        family.make_params(np.ones(2) / 2, np.zeros((2, 2)), np.stack([np.eye(2), np.zeros((2, 2))]))


MISFITS = {
    "components": "family.make_params(np.ones(3) / 3, np.zeros((3, 3)), np.stack([np.eye(3)] * 3))",
    "fewer features": "family.make_params(np.ones(2) / 2, np.zeros((2, 2)), np.stack([np.eye(2)] * 2))",
    "more features": "family.make_params(np.ones(2) / 2, np.zeros((2, 40)), np.stack([np.eye(40)] * 2))",
    "another structure": "fastem.Gaussian('diag').make_params(np.ones(2) / 2, np.zeros((2, 3)), np.ones((2, 3)))",
    "another family": "fastem.Poisson().make_params(np.ones(2) / 2, np.ones((2, 3)))",
    "no parameters": "{'means': np.zeros((2, 3))}",
}


def test_starts_that_do_not_fit(tmp_path):
    """In a process of its own: a kernel that believes the parameters' shape writes outside of its arrays."""
    starts = ", ".join(f"{name!r}: {start}" for name, start in MISFITS.items())
    code = f"""
import numpy as np, fastem
X = np.random.default_rng(0).normal(size=(300, 3))
family = fastem.Gaussian("full")
for name, start in {{{starts}}}.items():
    for engine in fastem.available_engines():
        try:
            fastem.fit(X, family, 2, start=start, engine=engine, max_iter=2)
        except (ValueError, TypeError) as error:
            print(name, engine, error, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    refused = [line.split("|") for line in done.stdout.splitlines()]
    expected = {(name, engine) for name in MISFITS for engine in fastem.available_engines()}
    assert {(name, engine) for name, engine, message in refused if "start" in message} == expected, done.stdout

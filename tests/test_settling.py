"""A start that settles on a sample before it goes on with all rows, where they are many."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from families import CASES

import fastem
from fastem import fitting, restarts
from fastem.families import Family
from fastem.passes import ArrayRows
from fastem.runs import Runs

K = 3
OPTIONS = {"n_components": K, "random_state": 0, "tol": 1e-6, "max_iter": 500}


@pytest.fixture(name="X")
def rows(rng):
    """Overlapping clusters, in which EM takes its time."""
    clusters = rng.integers(K, size=80_000)
    deviations, centres = np.array([1.0, 0.6, 1.5]), np.array([[0, 0], [2.5, 0], [0.5, 2.5]])
    return rng.normal(size=(80_000, 2)) * deviations[clusters, None] + centres[clusters]


@pytest.fixture(name="few_settle", autouse=True)
def settle_on_few_rows(monkeypatch):
    monkeypatch.setattr(restarts, "_SETTLING_ROWS", 4000)


def at_once(X, monkeypatch, **options):
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "settling_rows", lambda *args: None)
        return fastem.fit(X, **{**OPTIONS, **options})


@pytest.mark.parametrize("accelerate", [None, "auto"])
def test_what_has_settled_takes_fewer_passes_to_the_same_optimum(X, accelerate, monkeypatch):
    settled = fastem.fit(X, **OPTIONS, accelerate=accelerate)
    direct = at_once(X, monkeypatch, accelerate=accelerate)
    assert settled.run.converged
    assert settled.run.n_iter < 0.9 * direct.run.n_iter
    assert settled.run.lower_bound > direct.run.lower_bound - 1e-4


def test_rows_of_the_sample():
    # So many a parameter, and at least so many.
    assert restarts.settling_rows(np.inf, 8, 359) == 50 * 359
    assert restarts.settling_rows(np.inf, 2, 17) == 4000
    # Not where they are a large part of all rows, or would fill the memory.
    assert restarts.settling_rows(20 * 50 * 359, 8, 359) is not None
    assert restarts.settling_rows(20 * 50 * 359 - 1, 8, 359) is None
    assert restarts.settling_rows(np.inf, 32, 17_951) is None


def test_few_rows_and_other_starts_do_not_settle(X, monkeypatch):
    monkeypatch.setattr(Runs, "settle", lambda *args: pytest.fail("it settled"))
    fastem.fit(X[:79_999], **{**OPTIONS, "max_iter": 1})
    fastem.fit(X, **{**OPTIONS, "max_iter": 1}, start="kmeans")


def test_the_same_bits_for_any_number_of_threads(X):
    weight = np.random.default_rng(0).integers(0, 3, size=len(X)).astype(float)
    runs = [fastem.fit(X, **OPTIONS, sample_weight=weight, engine="cython", n_threads=n) for n in (1, 2, 3)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.run.history.lower_bound, runs[0].run.history.lower_bound)
        np.testing.assert_array_equal(run.params.means, runs[0].params.means)


def test_callbacks_see_the_passes_over_all_rows(X):
    seen = []
    result = fastem.fit(X, **OPTIONS, callbacks=seen.append)
    assert [entry.iteration for entry in seen] == list(range(1, result.run.n_iter + 1))


def test_it_takes_no_more_passes_than_the_fit_may(X, monkeypatch):
    made = []
    settle = Runs.settle

    def counted(self, rows, starts):
        outcomes = settle(self, rows, starts)
        made.extend(outcome.n_iter for outcome in outcomes.values())
        return outcomes

    monkeypatch.setattr(Runs, "settle", counted)
    fastem.fit(X, **{**OPTIONS, "max_iter": 2})
    assert made == [2]


def test_a_start_that_collapses_on_the_sample_goes_on_as_it_was(X, monkeypatch):
    """One row takes the place of half of the sample: a component collapses there, and not in the fit."""
    direct = at_once(X, monkeypatch)
    settle, seen = Runs.settle, []

    def with_repeated_row(self, rows, starts):
        repeated = rows.X.copy()
        repeated[::2] = repeated[0]
        outcomes = settle(self, ArrayRows(repeated), starts)
        seen.extend(self.degenerate(i, run.params).any() for i, run in outcomes.items())
        return outcomes

    monkeypatch.setattr(Runs, "settle", with_repeated_row)
    result = fastem.fit(X, **OPTIONS)
    assert seen == [True]
    assert result.diagnostics == ()
    assert result.run.history.lower_bound[0] == pytest.approx(direct.run.history.lower_bound[0], abs=0.05)
    assert result.run.lower_bound == pytest.approx(direct.run.lower_bound, abs=1e-4)


def test_an_interrupt_ends_the_fit(X, monkeypatch):
    settle, began = Runs.settle, []

    def interrupted(self, rows, starts):
        def stop(*args, **kwargs):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(ArrayRows, "accumulate", stop)
            return settle(self, rows, starts)

    class Told:
        on_phase = staticmethod(began.append)

        def __call__(self, iteration):
            pytest.fail("a pass over all rows")

    monkeypatch.setattr(Runs, "settle", interrupted)
    result = fastem.fit(X, **OPTIONS, on_interrupt="keep", callbacks=Told())
    assert result.run.interrupted
    assert not result.run.converged
    assert began == ["rows", "starts"]


def test_files_keep_the_rows_that_it_needs_in_the_first_pass(X, monkeypatch):
    passes = []

    def blocks():
        passes.append(len(passes))
        return iter(np.array_split(X, 7))

    result = fastem.fit(blocks, **OPTIONS)
    direct = at_once(X, monkeypatch)
    # One to look at the columns and one that counts; the others are those of EM.
    assert len(passes) - result.run.n_iter <= 3
    assert result.run.n_iter < 0.9 * direct.run.n_iter
    assert result.run.lower_bound > direct.run.lower_bound - 1e-4


@pytest.mark.parametrize("case", [case for case in CASES if case.family.name == "gaussian"], ids=str)
def test_a_family_that_cannot_be_accelerated_settles_too(case, X, monkeypatch):
    class Plain(type(case.family)):
        to_vector = Family.to_vector

    family = Plain(**{field.name: getattr(case.family, field.name) for field in fields(case.family)})
    result = fastem.fit(X, family, **{**OPTIONS, "max_iter": 20})
    assert np.isfinite(result.run.lower_bound)

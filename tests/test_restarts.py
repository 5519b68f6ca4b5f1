"""Restarts: all in full where rows are few, raced on a sample where they are many."""

from __future__ import annotations

import numpy as np
import pytest

import fastem
from fastem import fitting, restarts
from fastem.em import EMResult, History
from fastem.families.base import DegenerateComponentError


@pytest.fixture(name="X")
def rows(rng):
    centres = rng.normal(scale=2.5, size=(5, 2))
    return centres[rng.integers(5, size=60_000)] + rng.normal(size=(60_000, 2))


OPTIONS = {"n_components": 5, "start": "random_from_data", "n_init": 6, "tol": 1e-4, "max_iter": 60}


def test_the_best_third_goes_on(X):
    seen = []
    result = fastem.fit(X, **OPTIONS, random_state=3, callbacks=lambda i: seen.append(i.start))
    assert len(result.lower_bounds) == 6
    assert len(set(seen)) == 2
    assert result.run.lower_bound == max(result.lower_bounds[i] for i in set(seen))
    # What ended in the race stands with what it reached on the sample.
    assert np.isfinite(result.lower_bounds).all()
    assert min(result.lower_bounds) < result.run.lower_bound


def test_the_race_finds_what_all_in_full_find(X, monkeypatch):
    raced = fastem.fit(X, **OPTIONS, random_state=3)
    monkeypatch.setattr(fitting, "RESTARTS", restarts.Race(len(X), 5, restarts.RESTARTS.heats))
    full = fastem.fit(X, **OPTIONS, random_state=3)
    assert raced.run.lower_bound > full.run.lower_bound - 0.01
    assert len({round(bound, 3) for bound in full.lower_bounds}) > 1


def test_the_same_for_a_seed_and_any_threads(X):
    weight = np.random.default_rng(0).integers(0, 3, size=len(X)).astype(float)
    runs = [
        fastem.fit(X, **OPTIONS, random_state=3, sample_weight=weight, n_threads=n, engine="cython") for n in (1, 2, 3)
    ]
    for run in runs[1:]:
        assert run.lower_bounds == runs[0].lower_bounds
        np.testing.assert_array_equal(run.params.means, runs[0].params.means)


def test_given_starts_and_few_rows_run_in_full(X):
    found = fastem.fit(X, **{**OPTIONS, "n_init": 1, "max_iter": 1}, random_state=0).params
    seen = set()
    fastem.fit(X, n_components=5, start=[found] * 3, max_iter=2, callbacks=lambda i: seen.add(i.start))
    assert seen == {0, 1, 2}
    seen.clear()
    fastem.fit(X[:5000], **OPTIONS, random_state=0, callbacks=lambda i: seen.add(i.start))
    assert len(seen) == 6


ONE_HEAT = (restarts.Heat(10, 1 / 3),)


def run_of(bound, interrupted=False):
    return EMResult(
        bound, bound, History(np.array([bound]), np.ones((1, 1)), np.zeros(1), np.zeros(1)), False, interrupted
    )


def test_where_the_best_collapse_the_others_go_on():
    collapse = DegenerateComponentError("collapsed")
    heats = {0: run_of(-3.0), 1: run_of(-1.0), 2: collapse, 3: run_of(-2.0)}
    groups = []

    def finals(starts):
        groups.append(dict(starts))
        return {i: collapse if i == 1 else run_of(-5.0) for i in starts}

    outcomes, finished = restarts.race(dict.fromkeys(range(4), "start"), ONE_HEAT, lambda _, n: heats, finals)
    # A start that collapsed on the sample begins again.
    assert groups == [{1: -1.0}, {3: -2.0, 0: -3.0, 2: "start"}]
    assert list(outcomes) == [0, 1, 2, 3]
    assert outcomes[1] is collapse
    assert restarts.best_run(finished)[1].lower_bound == -5.0


def test_an_interrupted_race_ends_the_fit():
    heats = {0: run_of(-3.0), 1: run_of(-1.0, interrupted=True)}
    starts = dict.fromkeys(range(3), 0)
    outcomes, finished = restarts.race(starts, ONE_HEAT, lambda _, n: heats, lambda _: pytest.fail("no finals"))
    assert outcomes == finished == heats
    assert restarts.best_run(finished)[1].interrupted


def test_heats_halve_the_field_and_one_of_equals_goes_on():
    seen = []
    bounds = {0: -4.0, 1: -1.0, 2: -1.0 - 1e-9, 3: -3.0, 4: -2.0, 5: -9.0, 6: -8.0, 7: -7.0}

    def heat(starts, iterations):
        seen.append((sorted(starts), iterations))
        return {i: run_of(bounds[i]) for i in starts}

    heats = (restarts.Heat(5, 1 / 2), restarts.Heat(10, 1 / 4))
    starts = dict.fromkeys(range(8), "start")
    outcomes, finals = restarts.race(starts, heats, heat, lambda starts: {i: run_of(0.0) for i in starts})
    # Start 2 is where start 1 is, so that four others go on.
    assert seen == [(list(range(8)), 5), ([0, 1, 3, 4], 10)]
    assert sorted(finals) == [1, 4]
    assert [outcomes[i].lower_bound for i in range(8)] == [-4, 0, -1 - 1e-9, -3, 0, -9, -8, -7]

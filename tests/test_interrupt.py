"""Callbacks and Ctrl-C: what they see, and what is left after they end a fit."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from families import CASES

import fastem

K, D = 3, 2


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(200, D)) + np.repeat([[0.0], [4.0]], 100, axis=0)


def same_params(one, other):
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


# Callbacks.


def test_callbacks_see_every_iteration(case, engine, rng):
    seen = []
    result = fastem.fit(
        case.rows(rng, 150, D), case.family, K, start=case.params(rng, K, D), tol=0.0, max_iter=6, engine=engine,
        callbacks=[seen.append],
    )  # fmt: skip
    assert [entry.iteration for entry in seen] == [1, 2, 3, 4, 5, 6]
    assert {entry.start for entry in seen} == {0}
    np.testing.assert_array_equal([entry.lower_bound for entry in seen], result.run.history.lower_bound)
    np.testing.assert_array_equal([entry.weights for entry in seen], result.run.history.weights)
    np.testing.assert_array_equal([entry.change for entry in seen][1:], np.diff(result.run.history.lower_bound))
    assert seen[0].change == np.inf
    assert same_params(seen[-1].params, result.params)
    np.testing.assert_array_equal(seen[3].params.weights, seen[4].weights)
    assert not result.run.converged
    assert not result.run.interrupted


def test_callbacks_stop_the_fit(case, rng):
    told = []
    result = fastem.fit(
        case.rows(rng, 150, D), case.family, K, start=case.params(rng, K, D), tol=0.0, max_iter=50,
        callbacks=[lambda entry: entry.iteration == 4, told.append],
    )  # fmt: skip
    assert result.run.n_iter == 4
    assert len(told) == 4  # also the one after the callback that stopped
    assert result.run.interrupted
    assert not result.run.converged


def test_callbacks_know_the_start(X):
    seen = []
    options = {"n_components": 2, "start": "random", "n_init": 3, "random_state": 0, "max_iter": 2, "tol": 0.0}
    fastem.fit(X, **options, callbacks=[seen.append])
    assert [(entry.start, entry.iteration) for entry in seen] == [(s, i) for s in range(3) for i in (1, 2)]


def test_an_error_in_a_callback_comes_through(X):
    def fail(entry):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fastem.fit(X, n_components=2, start="random", callbacks=[fail])


# Ctrl-C.


def press(entry):
    if entry.iteration == 3:
        signal.raise_signal(signal.SIGINT)


def raise_interrupt(entry):
    if entry.iteration == 3:
        raise KeyboardInterrupt


@pytest.mark.parametrize("interrupt", [press, raise_interrupt])
@pytest.mark.parametrize("n_init", [1, 3])
def test_interrupt(X, engine, interrupt, n_init):
    options = {"n_components": 2, "start": "random", "random_state": 0, "tol": 0.0, "engine": engine, "n_init": n_init}
    options["max_iter"] = 20
    with pytest.raises(KeyboardInterrupt):
        fastem.fit(X, **options, callbacks=[interrupt])
    kept = fastem.fit(X, **options, callbacks=[interrupt], on_interrupt="keep")
    assert kept.run.interrupted
    assert not kept.run.converged
    assert (kept.run.n_iter, len(kept.lower_bounds)) == (3, 1)
    # The process and the engine go on, and what was kept is what three iterations give.
    # Without callbacks they may be one call, which rounds in another order.
    three = fastem.fit(X, **{**options, "max_iter": 3, "n_init": 1}).params
    for name, value in vars(kept.params).items():
        np.testing.assert_allclose(value, getattr(three, name), rtol=1e-12)
    assert fastem.fit(X, **options).run.n_iter == 20


@pytest.mark.parametrize("on_interrupt", ["raise", "keep"])
def test_interrupt_within_a_pass(X, on_interrupt, monkeypatch):
    """Parameters of the last full iteration, where the signal comes between panels."""
    from fastem.engines.numpy_engine import NumpyEngine

    calls = []
    accumulate = NumpyEngine.accumulate

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return accumulate(self, *args, **kwargs)

    options = {"n_components": 2, "start": "random", "random_state": 0, "tol": 0.0, "engine": "numpy"}
    two = fastem.fit(X, **options, max_iter=2)
    monkeypatch.setattr(NumpyEngine, "accumulate", interrupted)
    if on_interrupt == "raise":
        with pytest.raises(KeyboardInterrupt):
            fastem.fit(X, **options, max_iter=9)
    else:
        kept = fastem.fit(X, **options, max_iter=9, on_interrupt="keep")
        assert same_params(kept.params, two.params)
        assert kept.run.interrupted


def test_interrupted_estimator_is_fitted_and_silent(X):
    model = fastem.GaussianMixture(2, callbacks=raise_interrupt, on_interrupt="keep", tol=0.0, random_state=0).fit(X)
    assert (model.n_iter_, model.converged_) == (3, False)
    assert set(model.predict(X)) == {0, 1}

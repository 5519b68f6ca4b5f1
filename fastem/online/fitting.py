"""``fastem.fit_online``: a mixture from one pass over rows, or a few, a mini-batch at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np

from fastem import em
from fastem.data.blocks import Block
from fastem.data.sources import Source, open_source
from fastem.em import Callback, EMResult, OnInterrupt
from fastem.engines import Engine, choose_engine, pass_work
from fastem.families import Family, Params, as_family
from fastem.fitting import FitResult
from fastem.online.blocks import Blocks, batch_rows, gather, gathering_rows
from fastem.online.learning import block_step, find_start, scaled_to_rows
from fastem.online.memory import StepSize
from fastem.online.monitor import HeldOut, Monitor
from fastem.online.sources import BlockStep, Incremental, Stepwise, averaged_steps
from fastem.sampling import as_random_state

Method = Literal["stepwise", "averaged", "incremental"]
METHODS: tuple[str, ...] = get_args(Method)
_INCREMENTAL_PASSES = 100
# Mini-batches of an array: more of them cost more than they gain.
_MOST_BATCHES = 64


@dataclass(frozen=True)
class OnlineResult(FitResult):
    """A mixture that online EM fitted, and how it came about.

    ``run`` is the loop: an iteration is a mini-batch, with "incremental" a pass. Its ``lower_bound`` is the mean
    log-likelihood of the rows, each under the parameters of its time and weighted as its statistics are.

    Attributes
    ----------
    n_samples : int
        Rows read, in all passes.
    held_out : HeldOut or None
    """

    n_samples: int = 0
    held_out: HeldOut | None = None


def fit_online(
    rows: Any,
    family: str | Family[Any] = "gaussian",
    n_components: int = 1,
    *,
    method: Method = "stepwise",
    step_size: StepSize | None = None,
    start: str | Params = "kmeans",
    n_init: int = 1,
    sample_weight: Any = None,
    batch_size: int | None = None,
    interleave: bool = True,
    n_passes: int | None = None,
    tol: float = 1e-3,
    monitor: int = 0,
    random_state: Any = None,
    engine: str = "auto",
    n_threads: int | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    on_interrupt: OnInterrupt = "raise",
) -> OnlineResult:
    """Fit a mixture a mini-batch at a time: in one pass over the rows, where batch EM needs tens.

    Parameters
    ----------
    rows : array-like of shape (n_samples, n_features), iterable, or what :func:`fastem.open_source` takes or returns
        An array (float32 or float64 in any memory order, read where it lies), or blocks of rows as they come, each an
        array or a pair ``(X, sample_weight)``; or files, frames and other tables. Blocks are cut to mini-batches where
        they are larger.
    family : {"gaussian", "poisson"} or Family
    n_components : int
    method : {"stepwise", "averaged", "incremental"}
        - "stepwise": each mini-batch enters the statistics of the rows before with the share that ``step_size`` says.
        - "averaged": the same, and the result comes from the average of the steps, which varies less where
          mini-batches are small.
        - "incremental": each block keeps its statistics, and replaces them in the next pass. Exact: it converges to
          what batch EM converges to, in fewer passes.
    step_size : StepSize, optional
        For "stepwise" and "averaged"; by default ``StepSize()``. ``StepSize(half_life=100_000)`` follows a stream that
        drifts; with "stepwise", for an average would hold on to the past.
    start : {"kmeans", "k-means++", "random", "random_from_data"} or Params
        How the start is found: from a sample of an array, from the first mini-batches of a stream, with ten iterations
        of batch EM on these rows. Or parameters to start from.
    n_init : int
        Number of starts on these rows; the best goes on.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of an array's rows.
    batch_size : int, optional
        Rows of a mini-batch; by default 32,768, or two for each free parameter where these are more (up to 50,000), or
        a 64th of a large array.
        The mini-batches of an array or of a large block are equal, of so many rows or some more.
    interleave : bool
        A mini-batch of an array has rows from all over it (every m-th run), so that it represents all of them where
        they are sorted; one of 16,384 rows and more is read where it lies, a smaller one is a copy. Without, it is rows
        in a row. Streams are taken as they come.
    n_passes : int, optional
        Passes over the rows: by default 1, at most 100 with "incremental". More than one needs an array, a list of
        blocks, or an object that gives the same blocks each time it is iterated.
    tol : float
        With "incremental", stop when a pass changes the mean log-likelihood by less.
    monitor : int
        Rows of a uniform sample of the stream that are kept from learning, and whose mean log-likelihood is recorded
        now and then: ``result.held_out``. For a single pass.
    random_state : int, RandomState or None
    engine, n_threads
        As in :func:`fastem.fit`. The result does not depend on the threads.
    callbacks : callable or sequence of callable
        Each is called with an :class:`~fastem.em.Iteration` after each mini-batch, with "incremental" after each pass;
        a true return value stops the fit.
    on_interrupt : {"raise", "keep"}
        Whether Ctrl-C raises, or ends the fit with the parameters that it has.

    Returns
    -------
    OnlineResult

    Raises
    ------
    ValueError
        If rows or an option are not as described; the message says what was given and what is required.
    DegenerateComponentError
        If a component collapses.

    References
    ----------
    Cappé & Moulines (2009), On-line expectation-maximization algorithm for latent data models. Nguyen, Forbes &
    McLachlan (2020), Mini-batch learning of exponential family finite mixture models. Neal & Hinton (1998), A view of
    the EM algorithm that justifies incremental, sparse, and other variants.
    """
    family = as_family(family)
    numbers = {"n_components": (n_components, 1), "monitor": (monitor, 0), "batch_size": (batch_size or 1, 1)}
    passes = _checked_passes(method, n_passes, numbers)
    rng = as_random_state(random_state)
    callbacks = [callbacks] if callable(callbacks) else list(callbacks)

    source = _source(rows, sample_weight, passes)
    n_parameters = family.n_parameters(n_components, source.n_features)
    known = 0 if source.array is None else len(source.array) // _MOST_BATCHES
    n_rows = batch_size or max(batch_rows(n_parameters), known)
    blocks = Blocks(source, family, n_rows, interleave)
    work = 0.0 if blocks.whole is None else passes * pass_work(blocks.whole.X.shape, n_components, family.moments)
    runner = choose_engine(engine, work)
    e_step = block_step(family, runner, n_threads)
    stream = iter(blocks if method != "incremental" else Blocks(source, family, n_rows, interleave))
    with blocks.naming_rows():
        first = gather(stream, gathering_rows(n_parameters), source.reuses_memory)
        whole = blocks.whole or first
        params = find_start(whole, family, n_components, start, rng, runner, n_threads, n_init=n_init)
    watch = None
    if monitor:
        watch = Monitor(monitor, rng, _log_likelihood(family, runner, n_threads))
        callbacks = [*callbacks, watch]
    if method == "incremental":
        weight = first.own_weight
        least = float(len(first)) if weight is None else float(weight.sum())
        e_steps: Any = Incremental(e_step, blocks, family.update, least)
    else:
        again = chain.from_iterable(repeat(blocks, passes - 1))
        read = chain([first], stream, again)
        e_steps = Stepwise(_holding_out(e_step, watch), read, step_size or StepSize())
    with blocks.naming_rows():
        run: EMResult[Any] = em.run(
            e_steps,
            family.update,
            params,
            tol=tol if method == "incremental" else 0.0,
            max_iter=passes if method == "incremental" else sys.maxsize,
            callbacks=callbacks,
            on_interrupt=on_interrupt,
            steps=averaged_steps() if method == "averaged" else None,
        )
    held_out = None if watch is None else watch.ended()
    return OnlineResult(
        scaled_to_rows(family, e_steps.stats),
        run.params,
        run,
        (run.lower_bound,),
        runner.name,
        n_samples=blocks.n_read,
        held_out=held_out,
    )


def _checked_passes(method: Any, n_passes: Any, numbers: dict[str, tuple[Any, int]]) -> int:
    """Passes over the rows; ValueError where an option is not as described."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, but got {method!r}")
    passes = n_passes if n_passes is not None else _INCREMENTAL_PASSES if method == "incremental" else 1
    for name, (value, least) in {**numbers, "n_passes": (passes, 1)}.items():
        if not isinstance(value, Integral) or int(value) < least:
            raise ValueError(f"{name} must be an integer of at least {least}, but got {value!r}")
    if numbers["monitor"][0] and passes > 1:
        raise ValueError(
            f"a monitor holds rows back from a single pass, but there are {passes}; use n_passes=1, or evaluate other "
            "rows in a callback"
        )
    return int(passes)


def _source(rows: Any, sample_weight: Any, passes: int) -> Source:
    """The rows as a source; ValueError where it cannot be read so many times."""
    source = open_source(rows, sample_weight=sample_weight, cache="auto" if passes > 1 else None)
    if passes > 1 and not source.again:
        raise ValueError(
            f"{passes} passes need rows that can be read again: give an array, a list of blocks, or an object whose "
            f"__iter__ begins anew, but not a {type(rows).__name__}; or n_passes=1"
        )
    return source


def _log_likelihood(
    family: Family[Any], engine: Engine, n_threads: int | None
) -> Callable[[np.ndarray, Params], np.ndarray]:
    def log_likelihood(X: np.ndarray, params: Params) -> np.ndarray:
        return engine.evaluate(family, X, params, ("log_likelihood",), n_threads=n_threads).log_likelihood

    return log_likelihood


def _holding_out(e_step: BlockStep, monitor: Monitor | None) -> BlockStep:
    if monitor is None:
        return e_step

    def without_held_out(block: Block, params: Params) -> Any:
        return e_step(monitor.hold_out(block), params)

    return without_held_out

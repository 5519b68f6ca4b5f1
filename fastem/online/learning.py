"""Online EM by hand: rows are given a block at a time, and what was learned of them is a value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastem import em
from fastem.data.arrays import sample_rows
from fastem.data.blocks import Block, joined
from fastem.em import Callback, EMResult, OnInterrupt
from fastem.engines import Engine
from fastem.families import Family, Params
from fastem.fitting import FitResult, fit
from fastem.online.blocks import batch_rows, gathering_rows
from fastem.online.memory import Memory, StepSize
from fastem.online.sources import BlockStep, Stepwise
from fastem.passes import ArrayRows, Passes, Runner
from fastem.stats import Stats

# Rows that a start is found from, where there are more, or two for each free parameter: the steps that follow see all.
_START_ROWS = 10_000
# EM iterations on the rows that a start is found from: the steps that follow begin near an optimum.
_START_ITERATIONS = 10


def block_step(family: Family[Any], engine: Engine, n_threads: int | None) -> BlockStep:
    """The E-step of one block."""

    def e_step(block: Block, params: Params) -> Stats:
        if block.runs is not None and family.shared_moments is None:
            return engine.accumulate(
                family, block.X, params, sample_weight=block.weight, n_threads=n_threads, runs=block.runs
            )
        block = block.gathered()
        return Passes(family, ArrayRows(block.X, block.weight), Runner(engine, n_threads)).accumulate(params)

    return e_step


def scaled_to_rows(family: Family[Any], stats: Stats | None) -> Family[Any]:
    """The family with settings that are relative to the rows so far in numbers."""
    return family if stats is None else family.scaled_to(lambda _: stats.together(), len(stats.mass))


def find_start(
    block: Block,
    family: Family[Any],
    n_components: int,
    start: str | Params,
    rng: np.random.RandomState,
    engine: Engine,
    n_threads: int | None,
    *,
    n_init: int = 1,
    amend: Callable[[Any], Any] | None = None,
) -> Params:
    """Parameters after a few iterations of EM on the rows, or on a sample where they are many; given ones as they are.

    Raises
    ------
    ValueError
        If the start or the number of components is not as :func:`fastem.fit` takes it.
    """
    n_rows = max(_START_ROWS, gathering_rows(family.n_parameters(n_components, block.X.shape[1])))
    X, weight = sample_rows(block.X, block.weight, n_rows, rng)
    return fit(
        X,
        family,
        n_components,
        start=start,
        amend=amend,
        sample_weight=weight,
        max_iter=0 if isinstance(start, Params) else _START_ITERATIONS,
        n_init=n_init,
        random_state=rng,
        engine=engine.name,
        n_threads=n_threads,
    ).params


@dataclass(frozen=True, eq=False)
class Learned:
    """What online EM knows after some rows; a value that is never changed in place, and pickles.

    Attributes
    ----------
    params : Params or None
        None until there were enough rows for a start.
    memory : Memory or None
        The same.
    waiting : tuple of Block
        Rows that wait for a start; fewer than two for each free parameter, and never more than 50,000.
    n_samples : int
        Rows so far, those that wait included.
    """

    params: Params | None = None
    memory: Memory | None = None
    waiting: tuple[Block, ...] = ()
    n_samples: int = 0


class Learner:
    """Stepwise EM that takes rows a block at a time.

    Parameters
    ----------
    family : Family
    n_components : int
    find_start : callable
        A block of the first rows to parameters.
    engine : Engine
    n_threads : int or None
    """

    def __init__(
        self,
        family: Family[Any],
        n_components: int,
        find_start: Callable[[Block], Params],
        engine: Engine,
        n_threads: int | None = None,
    ) -> None:
        self.family = family
        self.n_components = n_components
        self.find_start = find_start
        self.engine = engine
        self.e_step = block_step(family, engine, n_threads)

    def learn(
        self,
        block: Block,
        before: Learned,
        step: StepSize,
        *,
        callbacks: Sequence[Callback] = (),
        on_interrupt: OnInterrupt = "raise",
    ) -> tuple[Learned, FitResult | None]:
        """What is known after the block, and the loop over its mini-batches; None where rows still wait for a start."""
        n_parameters = self.family.n_parameters(self.n_components, block.X.shape[1])
        n_samples = before.n_samples + len(block)
        params, memory = before.params, before.memory
        if memory is None:
            blocks = [*before.waiting, block]
            if sum(map(len, blocks)) < gathering_rows(n_parameters):
                kept = Block(block.X.copy(), None if block.weight is None else block.weight.copy())
                return Learned(params, None, (*before.waiting, kept), n_samples), None
            block = joined(blocks)
        if params is None:
            params = self.find_start(block)
        else:
            self._check(params, block)
        source = Stepwise(self.e_step, block.cut(batch_rows(n_parameters)), step, memory)
        run: EMResult[Any] = em.run(
            source,
            self.family.update,
            params,
            tol=0.0,
            max_iter=sys.maxsize,
            callbacks=callbacks,
            on_interrupt=on_interrupt,
        )
        result = FitResult(
            scaled_to_rows(self.family, source.stats), run.params, run, (run.lower_bound,), self.engine.name
        )
        return Learned(run.params, source.memory, (), n_samples), result

    def _check(self, params: Params, block: Block) -> None:
        """Raise ValueError where what was learned before is another model."""
        shape = (self.n_components, block.X.shape[1])
        try:
            self.family.check_params(params)
            if params.origin.shape != shape:
                raise ValueError(f"its (n_components, n_features) are {params.origin.shape}, and now {shape}")
        except ValueError as error:
            raise ValueError(f"the model cannot go on learning, for it was changed: {error}. Call fit") from error

"""E-steps that read a part of the rows at a time: where the EM loop gets its statistics from in online EM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from fastem.data.blocks import Block
from fastem.em import EndOfRowsError, Step, Steps
from fastem.families import Params
from fastem.online.memory import Memory, StepSize
from fastem.stats import Stats

#: Statistics of a block under parameters.
BlockStep = Callable[[Block, Any], Stats]

# Weights of the averages grow with the number of the step to this power: the beginning, far from where the parameters
# go, is soon forgotten.
_AVERAGE_POWER = 1


class Stepwise:
    """Stepwise EM: each E-step reads the next mini-batch and lets it enter the statistics of the rows before.

    The log-likelihood of these statistics is that of each row under the parameters of its time, which had not seen it.

    Parameters
    ----------
    e_step : callable
        Statistics of a block.
    blocks : iterator of Block
    step : StepSize
    memory : Memory, optional
        To go on from.

    Attributes
    ----------
    stats : Stats or None
        What the last E-step returned.

    References
    ----------
    Cappé & Moulines (2009), On-line expectation-maximization algorithm for latent data models, equations 11 and 12.
    """

    def __init__(
        self, e_step: BlockStep, blocks: Iterator[Block], step: StepSize, memory: Memory | None = None
    ) -> None:
        self.memory = memory
        self.stats = None if memory is None else memory.stats
        self._e_step = e_step
        self._blocks = blocks
        self._step = step

    def __call__(self, params: Params) -> Stats:
        block = next(self._blocks, None)
        if block is None:
            raise EndOfRowsError
        batch = self._e_step(block, params)
        self.memory = Memory.of_first(batch) if self.memory is None else self.memory.joined(batch, self._step)
        self.stats = self.memory.stats
        return self.stats


class Incremental:
    """Incremental EM: an E-step is a pass over all blocks with an M-step after each, and keeps the statistics of each.

    A block's statistics take the place of those that it had in the pass before. From the second pass on, no M-step and
    no block's E-step lowers the free energy, ``sum of the blocks' log-likelihoods at their parameters + Q(params) - sum
    of the blocks' Q at their parameters``. With one block it is EM.

    Parameters
    ----------
    e_step : callable
        Statistics of a block.
    blocks : iterable of Block
        The same ones each time.
    update : callable
        M-step.
    least : float
        Weight of rows before which the first pass makes no M-step.

    Attributes
    ----------
    stats : Stats or None
        What the last E-step returned.

    References
    ----------
    Neal & Hinton (1998), A view of the EM algorithm that justifies incremental, sparse, and other variants.
    """

    def __init__(
        self, e_step: BlockStep, blocks: Iterable[Block], update: Callable[[Stats], Any], least: float = 0.0
    ) -> None:
        self.kept: list[Stats] = []
        self.stats: Stats | None = None
        self._least = least
        self._e_step = e_step
        self._blocks = blocks
        self._update = update

    def __call__(self, params: Params) -> Stats:
        kept: list[Stats] = []
        total = None if not self.kept else _sum_about(self.kept, params.origin)
        for number, block in enumerate(self._blocks):
            if number > 0 and total is not None and total.weight >= self._least:
                params = self._update(total)
            new = self._e_step(block, params)
            kept.append(new)
            total = new if total is None else total.recenter(new.origin) + new
            if self.kept:
                self._check(number, new)
                total = total - self.kept[number].recenter(new.origin)
        self._check(len(kept), None)
        self.kept = kept
        # Summed again: the rounding of sums and differences does not grow from pass to pass.
        self.stats = _sum_about(kept, kept[-1].origin)
        return self.stats

    def _check(self, number: int, block: Stats | None) -> None:
        known = self.kept[number].weight if number < len(self.kept) else None
        if self.kept and known != (None if block is None else block.weight):
            raise ValueError(
                f"block {number} (from 0) is not what it was in the pass before; incremental EM needs the same blocks "
                "in the same order each time"
            )


def _sum_about(parts: list[Stats], origin: np.ndarray) -> Stats:
    return reduce(add, (part.recenter(origin) for part in parts))


def averaged_steps() -> Steps:
    """Plain EM steps, whose result is the M-step of the steps' averaged statistics.

    The statistics per unit weight are the parameters in their mean-value coordinates: weights, weights times means,
    weights times second moments. An average of them is that of parameters of the family, whatever the family.

    References
    ----------
    Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging. Nguyen, Forbes & McLachlan (2020),
    Mini-batch learning of exponential family finite mixture models, section 2.3. Shamir & Zhang (2013), Stochastic
    gradient descent for non-smooth optimization, for weights that grow with the step.
    """
    average: Stats | None = None
    count = 0
    lower_bound = -np.inf

    def advance(point: Any, stats: Stats, update: Callable[[Stats], Any]) -> Step[Any]:
        nonlocal average, count, lower_bound
        count += 1
        share = (1 + _AVERAGE_POWER) / (count + _AVERAGE_POWER)
        new = stats * (1 / stats.weight)
        average = new if average is None else new * share + average.recenter(new.origin) * (1 - share)
        reached = stats.log_likelihood / stats.weight
        gain, lower_bound = reached - lower_bound, reached
        return Step(update(average * stats.weight), point.weights, reached, gain, update(stats))

    return advance

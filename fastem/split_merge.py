"""Moves out of a local optimum: two components that share their rows become one, and one that fits badly becomes two.

References
----------
Ueda, Nakano, Ghahramani & Hinton (2000), SMEM algorithm for mixture models: both criteria, the partial EM of the three
components, and the acceptance by the likelihood. Components are split here by model-based clustering of their rows, and
the moves are tried on a sample before one of them runs on all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from fastem.data.coordinates import whitened
from fastem.em import EMResult
from fastem.engines import Engine
from fastem.families import Family, Params
from fastem.families.base import DegenerateComponentError
from fastem.init import merge_tree, params_of

# Moves that are tried in a round: the optimum was among the first five in the paper's experiments.
_MOVES = 5
_PARTIAL_ITERATIONS = 10
_TRIAL_ITERATIONS = 15
# Rows that a component is split by, and the least that it is split with for each feature.
_SPLIT_ROWS = 500
_LEAST_ROWS = 2


@dataclass(frozen=True)
class Move:
    """Components ``merged`` become the first of them; ``split`` becomes itself and the second."""

    merged: tuple[int, int]
    split: int

    @property
    def components(self) -> list[int]:
        return [*self.merged, self.split]


@dataclass(frozen=True)
class Mover:
    """Tries moves on a sample of the rows.

    Attributes
    ----------
    family : Family
    rows : ndarray of shape (n_rows, n_features), float64
    sample_weight : ndarray of shape (n_rows,), or None
    engine : Engine
    n_threads : int or None
    run : callable
        Runs EM on rows and their weights, from parameters, for so many iterations.
    """

    family: Family[Any]
    rows: np.ndarray
    sample_weight: np.ndarray | None
    engine: Engine
    n_threads: int | None
    run: Callable[[np.ndarray, np.ndarray | None, Params, int], EMResult[Any]]

    def improve(self, run: EMResult[Any], run_full: Callable[[Params], EMResult[Any]], rounds: int) -> EMResult[Any]:
        """The run of the highest likelihood after at most so many rounds; the first without a gain is the last.

        Parameters
        ----------
        run : EMResult
            Where EM ended.
        run_full : callable
            Runs EM on all rows.
        """
        for _ in range(rounds):
            if run.interrupted:
                break
            start = self.best_move(run.params)
            if start is None:
                break
            try:
                found = run_full(start)
            except DegenerateComponentError:
                break
            if not found.lower_bound > run.lower_bound:
                break
            run = found
        return run

    def best_move(self, params: Params) -> Params | None:
        """Parameters after the move that gains most on the sample; None where none gains."""
        responsibilities, log_likelihood = self._posterior(params)
        best, bound = None, self._trial(params).lower_bound
        for move in islice(moves(responsibilities, log_likelihood, params.weights, self.sample_weight), _MOVES):
            try:
                found = self._trial(self._moved(responsibilities, move))
            except DegenerateComponentError:
                continue
            if found.lower_bound > bound:
                best, bound = found.params, found.lower_bound
        return best

    def _posterior(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        found = self.engine.evaluate(
            self.family, self.rows, params, ("responsibilities", "log_likelihood"), n_threads=self.n_threads
        )
        return found.responsibilities, found.log_likelihood

    def _trial(self, params: Params) -> EMResult[Any]:
        return self.run(self.rows, self.sample_weight, params, _TRIAL_ITERATIONS)

    def _moved(self, responsibilities: np.ndarray, move: Move) -> Params:
        """Parameters after the move and an EM of its three components alone, the others' responsibilities kept."""
        old = responsibilities[:, move.components]
        halves = self._halves(old[:, 2])
        three = np.stack([old[:, 0] + old[:, 1], old[:, 2] * halves, old[:, 2] * ~halves], axis=1)
        mass = old.sum(axis=1)
        weight = mass if self.sample_weight is None else mass * self.sample_weight
        own = mass > 0
        shares = three[own] / mass[own, None]
        part = replace(self, rows=self.rows[own], sample_weight=weight[own])
        begun = params_of(self.family, part.rows, shares, self.engine, part.sample_weight, self.n_threads)
        ended = self.run(part.rows, part.sample_weight, begun, _PARTIAL_ITERATIONS).params
        moved = responsibilities.copy()
        moved[np.ix_(own, [move.merged[0], move.split, move.merged[1]])] = part._posterior(ended)[0] * mass[own, None]
        return params_of(self.family, self.rows, moved, self.engine, self.sample_weight, self.n_threads)

    def _halves(self, responsibilities: np.ndarray) -> np.ndarray:
        """Which rows go to the first half of the component with these responsibilities."""
        own = np.flatnonzero(responsibilities > 0.5)
        if len(own) < _LEAST_ROWS * (self.rows.shape[1] + 1):
            raise DegenerateComponentError("a component has too few rows to be split")
        own = own[:: max(1, len(own) // _SPLIT_ROWS)]
        weight = None if self.sample_weight is None else self.sample_weight[own]
        labels = merge_tree(whitened(self.rows[own], weight), weight).partition(2)
        shares = np.eye(2)[labels]
        two = params_of(self.family, self.rows[own], shares, self.engine, weight, self.n_threads)
        return self.engine.evaluate(self.family, self.rows, two, ("labels",), n_threads=self.n_threads).labels == 0


def moves(
    responsibilities: np.ndarray, log_likelihood: np.ndarray, weights: np.ndarray, sample_weight: np.ndarray | None
) -> Iterator[Move]:
    """Moves, most promising first: by the rank of the merged pair plus that of the split component.

    Parameters
    ----------
    responsibilities : ndarray of shape (n_rows, n_components)
    log_likelihood : ndarray of shape (n_rows,)
    weights : ndarray of shape (n_components,)
    """
    splits = np.argsort(-split_criterion(responsibilities, log_likelihood, weights, sample_weight), kind="stable")
    overlap = merge_criterion(responsibilities, sample_weight)
    first, second = np.triu_indices(len(weights), 1)
    pairs = np.argsort(-overlap[first, second], kind="stable")
    for total in range(len(pairs) + len(splits) - 1):
        for rank in range(max(0, total - len(splits) + 1), min(total + 1, len(pairs))):
            i, j, k = int(first[pairs[rank]]), int(second[pairs[rank]]), int(splits[total - rank])
            if k not in (i, j):
                yield Move((i, j), k)


def merge_criterion(responsibilities: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Overlap of each pair's responsibilities (n_components, n_components): section 3.2.1, equation 3.2."""
    weighted = responsibilities if sample_weight is None else responsibilities * sample_weight[:, None]
    return weighted.T @ responsibilities


def split_criterion(
    responsibilities: np.ndarray,
    log_likelihood: np.ndarray,
    weights: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Kullback divergence of each component's rows from its density (n_components,): the local one of section 3.2.2.

    The rows count by their responsibility; densities come back from the posterior by Bayes' rule.
    """
    counted = responsibilities if sample_weight is None else responsibilities * sample_weight[:, None]
    share = counted / np.maximum(counted.sum(axis=0), np.finfo(float).tiny)
    there = responsibilities > 0
    with np.errstate(divide="ignore"):
        log_density = np.log(np.where(there, responsibilities, 1)) + log_likelihood[:, None] - np.log(weights)
        logs = np.log(np.where(share > 0, share, 1))
    return np.sum(np.where(share > 0, share * (logs - log_density), 0), axis=0)

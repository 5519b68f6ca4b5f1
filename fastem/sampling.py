"""Samples of fixed size from rows that come in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np


def as_random_state(seed: Any) -> np.random.RandomState:
    """As scikit-learn reads ``random_state``: None is NumPy's global generator."""
    if seed is None:
        return np.random.mtrand._rand
    if isinstance(seed, np.random.RandomState):
        return seed
    if isinstance(seed, Integral):
        return np.random.RandomState(int(seed))
    raise ValueError(f"random_state must be an integer, a numpy.random.RandomState or None, but got {seed!r}")


# A new generator takes as long as a small fit; a used one is seeded anew in a tenth of that.
_used_generators: list[np.random.RandomState] = []


@contextmanager
def borrowed_random_state(seed: Any) -> Iterator[np.random.RandomState]:
    """As :func:`as_random_state`; what an integer seeds is used again afterwards."""
    if not isinstance(seed, Integral):
        yield as_random_state(seed)
        return
    try:
        rng = _used_generators.pop()
        rng.seed(int(seed))
    except IndexError:
        rng = as_random_state(seed)
    yield rng
    _used_generators.append(rng)


# Rows seen, in sizes of a reservoir, from which on so few are taken that the others are not looked at.
_SKIPPING = 4


class Sample:
    """``size`` rows and their weights, in slots that rows of later blocks take over."""

    def __init__(self, size: int, rng: np.random.RandomState) -> None:
        self.size = size
        self.rng = rng
        self._rows: np.ndarray | None = None
        self._weight = np.zeros(size)
        self._filled = 0

    @property
    def rows(self) -> np.ndarray:
        """Shape (up to size, n_features)."""
        return np.empty((0, 0)) if self._rows is None else self._rows[: self._filled]

    @property
    def weight(self) -> np.ndarray:
        return self._weight[: self._filled]

    def _put(self, slots: np.ndarray, X: np.ndarray, weight: np.ndarray | float) -> None:
        """Rows into slots, all of which are different."""
        if self._rows is None:
            self._rows = np.empty((self.size, X.shape[1]), X.dtype)
        self._rows[slots] = X
        self._weight[slots] = weight
        if len(slots):
            self._filled = max(self._filled, int(slots.max()) + 1)


class Reservoir(Sample):
    """A uniform sample without replacement of all rows offered so far.

    References
    ----------
    Vitter (1985), Random sampling with a reservoir, algorithm R (by A. Waterman).
    """

    def __init__(self, size: int, rng: np.random.RandomState) -> None:
        super().__init__(size, rng)
        self.n_seen = 0

    def offer(self, X: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """Numbers of the rows of ``X`` that are in the sample now."""
        before, self.n_seen = self.n_seen, self.n_seen + len(X)
        if before < _SKIPPING * self.size:
            numbers = np.arange(before, self.n_seen)
            drawn = (self.rng.random_sample(len(X)) * (numbers + 1)).astype(np.intp)
            slots = np.where(numbers < self.size, numbers, drawn)
            taken = np.flatnonzero(slots < self.size)
            slots = slots[taken]
        else:
            taken = self._taken(before, len(X))
            slots = self.rng.randint(self.size, size=len(taken))
        # Of several rows for a slot the last one stays.
        slots, last = np.unique(slots[::-1], return_index=True)
        rows = taken[::-1][last]
        self._put(slots, X[rows], 1.0 if weight is None else weight[rows])
        return rows

    def _taken(self, before: int, n: int) -> np.ndarray:
        """Which of ``n`` rows are taken, row ``i`` with chance ``size / (i + 1)``, without a look at each."""
        # Candidates by the first row's chance, at geometric distances; each stays with the share that its own is of it.
        most = self.size / (before + 1)
        found: list[np.ndarray] = []
        last = -1
        while last < n:
            gaps = self.rng.geometric(most, size=int(n * most + 6 * np.sqrt(n * most)) + 10)
            found.append(last + gaps.cumsum())
            last = int(found[-1][-1])
        candidates = np.concatenate(found)
        candidates = candidates[candidates < n]
        stay = self.rng.random_sample(len(candidates)) * (before + 1 + candidates) < before + 1
        return candidates[stay]


class Draws(Sample):
    """Independent draws, with replacement, of all rows offered so far, with chances in proportion to given masses.

    ``weight`` is what a draw was given as its weight, ``total`` the sum of all masses.

    References
    ----------
    Chao (1982), A general purpose unequal probability sampling plan, each slot a reservoir of one.
    """

    def __init__(self, size: int, rng: np.random.RandomState) -> None:
        super().__init__(size, rng)
        self.total = 0.0

    def offer(self, X: np.ndarray, masses: np.ndarray, weight: np.ndarray) -> None:
        summed = masses.cumsum()
        mass = float(summed[-1])
        if not mass > 0:
            return
        self.total += mass
        slots = np.flatnonzero(self.rng.random_sample(self.size) * self.total < mass)
        found = summed.searchsorted(self.rng.random_sample(len(slots)) * mass, side="right")
        rows = np.minimum(found, len(X) - 1)
        self._put(slots, X[rows], weight[rows])

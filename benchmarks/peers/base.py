"""What every peer offers: its version, and fits of a given number of iterations from a given start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import numpy as np
from comparison.timing import Turn
from problems import Start


class MissingPeerError(Exception):
    """The peer cannot run here; the message says why, or what to install."""


@dataclass(frozen=True)
class Outcome:
    """What a fit took and where it ended.

    Covariances are (K, D, D) or, diagonal, (K, D). ``rise`` is the memory in bytes that the fit took above the loaded
    rows, where the peer runs in a process of its own.
    """

    turn: Turn
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    rise: int | None = None


#: Fits that many iterations.
Fit = Callable[[int], Outcome]


class Peer(ABC):
    """A library that fits Gaussian mixtures. Its modules are imported when it runs, and not before."""

    name: ClassVar[str]
    structures: ClassVar[tuple[str, ...]] = ("full", "diag")
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")
    #: Whether it takes no start, and finds one of its own.
    own_start: ClassVar[bool] = False
    #: Whether it runs in a process of its own, which measures its memory itself.
    own_process: ClassVar[bool] = False

    @abstractmethod
    def version(self) -> str:
        """Its version.

        Raises
        ------
        MissingPeerError
            If it cannot run here.
        """

    @abstractmethod
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> AbstractContextManager[Fit]:
        """Rows and start in the form that the peer takes, ready to be fitted; that is not timed."""


def package_version(distribution: str, install: str | None = None) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        raise MissingPeerError(f"not installed (pip install {install or distribution})") from None


def covariances_of(start: Start, structure: str) -> np.ndarray:
    """The start's covariances, (K, D, D) or (K, D), in its float type."""
    return np.linalg.inv(start.precisions) if structure == "full" else 1 / start.precisions

"""Components that stop being distributions: kept alive while a fit runs, and told of when it ends.

A component collapses where it has come to stand on too few distinct rows, or where features are constant or collinear
within it: its covariance is singular, and the likelihood has no bound. It is empty where no row is left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastem.families.base import Family, Params, update_or_hold_up
from fastem.stats import Stats

# A component with a smaller share of the rows than that of half a row is empty.
_EMPTY_ROWS = 0.5

Kind = Literal["held up", "collapsed", "empty"]
_WHAT_TO_TRY = (
    "Try fewer components, another start (random_state, n_init, init_params), a larger reg_covar, a covariance_prior, "
    "or data without constant, collinear or repeated parts; strict=True makes it an error."
)


class DegenerateComponentWarning(UserWarning):
    """A fit ended with a component that is hardly a distribution."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a component.

    Attributes
    ----------
    component : int or None
        None where it is all of them.
    kind : {"held up", "collapsed", "empty"}
        Its covariance became singular, and was regularised more than asked for; it ended with a variance that is
        ``reg_covar`` alone; or no row is left to it.
    iteration : int
        Where it was seen first.
    message : str
    """

    component: int | None
    kind: Kind
    iteration: int
    message: str

    def __str__(self) -> str:
        whose = "all components" if self.component is None else f"component {self.component}"
        return f"{whose}, iteration {self.iteration}: {self.message}"


class Guard:
    """The M-step of one run, which goes on where a component collapses, and remembers it.

    Parameters
    ----------
    family : Family
    strict : bool
        Whether a collapse is an error.
    """

    def __init__(self, family: Family[Any], strict: bool) -> None:
        self.family = family
        self.strict = strict
        self.collapses: dict[int | None, int] = {}
        self._held_up: Any = None
        self._iteration = 0

    def update(self, stats: Stats) -> Any:
        self._iteration += 1
        if self.strict:
            return self.family.update(stats)
        params, collapse = update_or_hold_up(self.family, stats)
        if collapse is not None:
            self.collapses.setdefault(collapse.component, self._iteration)
            self._held_up = params
        return params

    def passed(self, n_updates: int) -> None:
        """Count updates that were made elsewhere, without a collapse."""
        self._iteration += n_updates

    def has_held_up(self, params: Params) -> np.ndarray:
        """Of which components the last M-step, if it led to these parameters, held the covariance up."""
        if params is not self._held_up:
            return np.zeros(len(params.weights), dtype=bool)
        return np.array([k in self.collapses or None in self.collapses for k in range(len(params.weights))])

    def diagnose(self, params: Params, n_rows: int) -> tuple[Diagnosis, ...]:
        """What is wrong with the components that the run ended with.

        Parameters
        ----------
        n_rows : int
            Rows that the run was over.
        """
        found = [
            Diagnosis(
                component, "held up", iteration, "its covariance became singular, and was given a larger reg_covar"
            )
            for component, iteration in self.collapses.items()
        ]
        empty = params.weights * n_rows < _EMPTY_ROWS
        for k in np.flatnonzero(self.family.collapsed_components(params) & ~empty):
            if int(k) not in self.collapses and None not in self.collapses:
                message = (
                    f"it collapsed onto too few distinct rows (its share is {params.weights[k] * n_rows:.3g} rows): a "
                    "variance is reg_covar alone, and the likelihood says nothing"
                )
                found.append(Diagnosis(int(k), "collapsed", self._iteration, message))
        for k in np.flatnonzero(empty):
            message = f"no row is left to it: its share is {params.weights[k] * n_rows:.2g} rows"
            found.append(Diagnosis(int(k), "empty", self._iteration, message))
        return tuple(found)


def told(diagnoses: tuple[Diagnosis, ...]) -> str:
    """All diagnoses as one message that says what to try."""
    several = "s" if len(diagnoses) > 1 else ""
    return f"degenerate component{several}: {'; '.join(map(str, diagnoses))}. {_WHAT_TO_TRY}"

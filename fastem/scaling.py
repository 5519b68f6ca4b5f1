"""Features of mean 0 and variance 1: a fit in these units, whose result is in those of the data.

No row is touched. Statistics of scaled rows are those of the rows, moved and scaled by exact algebra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastem.em import Callback, EMResult, Iteration
from fastem.families import Family, Params
from fastem.passes import ArrayRows, Rows, Runner
from fastem.stats import Moments, Stats, variances_of


@dataclass(frozen=True, eq=False)
class Scaling:
    """``z = (x - centre) / scale``, for the parameters of a family.

    Attributes
    ----------
    family : Family
    centre, scale : ndarray of shape (n_features,)
    """

    family: Family[Any]
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, family: Family[Any], moments: Stats) -> Scaling:
        """To mean 0 and variance 1 over all rows; a constant feature stays as it is."""
        mean = moments.first[0] / moments.mass[0]
        variances = variances_of(moments)
        varies = variances > 0
        centre = np.where(varies, moments.origin[0] + mean, 0.0)
        return cls(family, centre, np.sqrt(np.where(varies, variances, 1.0)))

    @property
    def log_volume(self) -> float:
        """What a row's log-likelihood is larger by in the units of ``z``."""
        return float(np.log(self.scale).sum())

    def to_data(self, params: Params) -> Params:
        """Parameters in the units of ``x``."""
        return self.family.rescaled(params, self.centre, self.scale)

    def from_data(self, params: Params) -> Params:
        """Parameters in the units of ``z``."""
        return self.family.rescaled(params, -self.centre / self.scale, 1 / self.scale)

    def amending(self, amend: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """The same with values in the units of ``x``."""
        return None if amend is None else lambda found: self.from_data(amend(self.to_data(found)))

    def told(self, callback: Callback) -> Callback:
        """A callback that sees the units of ``x``."""

        def tell(iteration: Iteration) -> object:
            reached = iteration.lower_bound - self.log_volume
            return callback(replace(iteration, params=self.to_data(iteration.params), lower_bound=reached))

        return tell

    def run_to_data(self, run: EMResult[Any]) -> EMResult[Any]:
        """What a loop came to, in the units of ``x``."""
        history = replace(run.history, lower_bound=run.history.lower_bound - self.log_volume)
        params = self.to_data(run.params)
        return replace(run, params=params, lower_bound=run.lower_bound - self.log_volume, history=history)


class ScaledRows(Rows):
    """Other rows in the units of ``z``."""

    def __init__(self, rows: Rows, scaling: Scaling) -> None:
        self.rows = rows
        self.scaling = scaling
        self.n_samples, self.n_features = rows.shape

    @property
    def n_weighted(self) -> int:
        return self.rows.n_weighted

    def check(self, family: Family[Any]) -> None:
        self.rows.check(family)

    def accumulate(self, family: Family[Any], params: Params, runner: Runner, order: np.ndarray | None = None) -> Stats:
        return self._scaled(self.rows.accumulate(family, self.scaling.to_data(params), runner, order))

    def rounds(self, family: Family[Any], n_components: int, runner: Runner) -> bool:
        return self.rows.rounds(family, n_components, runner)

    def order(self, family: Family[Any], params: Params, runner: Runner) -> np.ndarray | None:
        return self.rows.order(family, self.scaling.to_data(params), runner)

    def moments(self, kind: Moments, runner: Runner) -> Stats:
        return self._scaled(self.rows.moments(kind, runner))

    def sample(self, most: int, rng: np.random.RandomState) -> ArrayRows:
        sample = self.rows.sample(most, rng)
        X = (sample.X - self.scaling.centre) / self.scaling.scale
        return ArrayRows(X.astype(sample.X.dtype), sample.sample_weight)

    def _scaled(self, stats: Stats) -> Stats:
        scale = self.scaling.scale
        S = stats.S.copy()
        scaled = replace(
            stats,
            log_likelihood=stats.log_likelihood + stats.weight * self.scaling.log_volume,
            origin=(stats.origin - self.scaling.centre) / scale,
            S=S,
        )
        scaled.first[...] /= scale
        if stats.moments == "diag":
            scaled.second[...] /= scale**2
        elif stats.moments == "full":
            scaled.second[...] /= np.outer(scale, scale)
        return scaled

"""A mixture: a family and its parameters, and what can be computed of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastem.criteria import Totals, entropy_of
from fastem.data.arrays import as_rows
from fastem.engines import Posterior, choose_engine, pass_work
from fastem.families import Family, Params


@dataclass(frozen=True)
class Mixture:
    """A mixture: a family and its parameters. What it computes, it computes on the engine it is given.

    Attributes
    ----------
    family : Family
    params : Params
    """

    family: Family[Any]
    params: Params

    def posterior(self, X: np.ndarray, *wanted: str, engine: str = "auto", n_threads: int | None = None) -> Posterior:
        """``labels``, ``log_likelihood`` and ``responsibilities`` of rows, those that are named."""
        X = as_rows(X, n_features=self.params.origin.shape[1])
        return self.evaluate(X, *wanted, engine=engine, n_threads=n_threads)

    def evaluate(self, X: np.ndarray, *wanted: str, engine: str = "auto", n_threads: int | None = None) -> Posterior:
        """The same of rows that were checked, as those of a source are: once more took a third of the labels' time."""
        runner = choose_engine(engine, pass_work(X.shape, len(self.params.weights), self.family.moments))
        return runner.evaluate(self.family, X, self.params, wanted, n_threads=n_threads)

    def totals(
        self,
        X: np.ndarray,
        sample_weight: np.ndarray | None = None,
        *,
        entropy: bool = False,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> Totals:
        """Weight, log-likelihood and, where asked for, entropy of the responsibilities of rows."""
        wanted = ("log_likelihood", "responsibilities") if entropy else ("log_likelihood",)
        total = Totals(0.0, 0.0, 0.0)
        # A slice at a time where responsibilities of all rows would outweigh the data.
        step = max(1, 2**20 // len(self.params.weights)) if entropy else max(1, len(X))
        for start in range(0, len(X), step):
            weight = None if sample_weight is None else sample_weight[start : start + step]
            found = self.posterior(X[start : start + step], *wanted, engine=engine, n_threads=n_threads)
            log_likelihood = found.log_likelihood.astype(np.float64)
            total = total + Totals(
                float(len(log_likelihood) if weight is None else weight.sum()),
                float(log_likelihood.sum() if weight is None else weight @ log_likelihood),
                entropy_of(found.responsibilities, weight) if entropy else 0.0,
            )
        return total

    def sample(self, n_samples: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n_samples, n_features) drawn from the mixture, component by component, and their components."""
        # Weights rounded to single precision may add up to more than 1.
        counts = rng.multinomial(n_samples, self.params.weights / self.params.weights.sum())
        rows = [self.family.sample(self.params, k, int(count), rng) for k, count in enumerate(counts)]
        return np.vstack(rows), np.repeat(np.arange(len(counts)), counts)

    @property
    def n_parameters(self) -> int:
        return self.family.n_parameters(*self.params.origin.shape)

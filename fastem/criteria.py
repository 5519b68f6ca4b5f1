"""Formulas of model selection, of log-likelihood, entropy and number of parameters. Lower is better in all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Values whose logarithms are taken at a time: they stay in the nearest caches. All at once took four times as long.
_PIECE_VALUES = 2**15


@dataclass(frozen=True)
class Totals:
    """Sums over rows that criteria are made of; totals add."""

    weight: float
    log_likelihood: float
    entropy: float

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            self.entropy + other.entropy,
        )


def of_totals(totals: Totals, n_parameters: int) -> dict[str, float]:
    """The log-likelihood and the criteria that need nothing else, by name."""
    reached, weight = totals.log_likelihood, totals.weight
    return {
        "log_likelihood": reached,
        "bic": bic(reached, n_parameters, weight),
        "aic": aic(reached, n_parameters),
        "icl": icl(reached, n_parameters, weight, totals.entropy),
    }


def bic(log_likelihood: float, n_parameters: int, weight: float) -> float:
    """Bayesian information criterion, ``-2 log L + df log n`` (Schwarz 1978)."""
    return -2 * log_likelihood + n_parameters * float(np.log(weight))


def aic(log_likelihood: float, n_parameters: int) -> float:
    """Akaike's information criterion, ``-2 log L + 2 df`` (Akaike 1974)."""
    return -2 * log_likelihood + 2 * n_parameters


def icl(log_likelihood: float, n_parameters: int, weight: float, entropy: float) -> float:
    """Integrated completed likelihood: BIC plus twice the entropy (Biernacki, Celeux & Govaert 2000)."""
    return bic(log_likelihood, n_parameters, weight) + 2 * entropy


def nec(log_likelihood: float, log_likelihood_of_one: float, n_components: int, entropy: float) -> float:
    """Normalised entropy criterion, ``E(K) / (L(K) - L(1))``.

    One component has 1 by convention: several are chosen only where the entropy is less than what they gain. Infinite
    where they gain nothing.

    References
    ----------
    Celeux & Soromenho (1996), An entropy criterion for assessing the number of clusters in a mixture model, eq. 5.
    Biernacki, Celeux & Govaert (1999), An improvement of the NEC criterion for assessing the number of clusters in a
    mixture model, for one component.
    """
    if n_components == 1:
        return 1.0
    gain = log_likelihood - log_likelihood_of_one
    return entropy / gain if gain > 0 else np.inf


def entropy_of(responsibilities: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """``-sum w r log r`` of rows' responsibilities (n_samples, n_components)."""
    step = max(1, _PIECE_VALUES // responsibilities.shape[1])
    total = 0.0
    for start in range(0, len(responsibilities), step):
        r = responsibilities[start : start + step]
        # What is 0 stays 0.
        terms = np.maximum(r, np.finfo(r.dtype).tiny)
        np.log(terms, out=terms)
        terms *= r
        if sample_weight is None:
            total -= float(terms.sum(dtype=np.float64))
        else:
            total -= float(terms.sum(axis=1, dtype=np.float64) @ sample_weight[start : start + step])
    return total

"""What the first pass over a source finds out."""

from __future__ import annotations

from dataclasses import dataclass

from fastem.passes import ArrayRows


@dataclass(frozen=True)
class Survey:
    """What the first pass found out.

    Attributes
    ----------
    n_samples : int
        Rows, without those that were dropped.
    n_dropped : int
    n_weighted : int
        Rows of positive weight.
    weight : float
        Their total weight.
    sample : ArrayRows
        Uniform sample of the rows of positive weight.
    """

    n_samples: int
    n_dropped: int
    n_weighted: int
    weight: float
    sample: ArrayRows

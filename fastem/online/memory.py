"""What online EM keeps of the rows it has seen: statistics of fixed size, and how the next mini-batch enters them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real

from fastem.stats import Stats


@dataclass(frozen=True)
class StepSize:
    """How much a mini-batch counts against all rows before it.

    The ``t``-th mini-batch gets the share ``g_t = (t + t0)^-alpha`` of the statistics, and the past ``1 - g_t``. With
    ``alpha=1`` and ``t0=0`` all rows count alike; a smaller ``alpha`` forgets sooner what was computed with the poor
    parameters of the beginning, and averages over fewer rows.

    Parameters
    ----------
    alpha : float, default=0.6
        In (0.5, 1].
    t0 : float, default=0
        At least 0.
    half_life : float, optional
        For streams that drift, in place of the schedule: rows that came so many rows ago count half.

    References
    ----------
    Cappé & Moulines (2009), On-line expectation-maximization algorithm for latent data models, section 3. Liang & Klein
    (2009), Online EM for unsupervised models, for mini-batches.
    """

    alpha: float = 0.6
    t0: float = 0.0
    half_life: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, Real) or not 0.5 < self.alpha <= 1:
            raise ValueError(f"alpha must be a number above 0.5 and up to 1, but got {self.alpha!r}")
        if not isinstance(self.t0, Real) or not 0 <= self.t0 < float("inf"):
            raise ValueError(f"t0 must be a number of at least 0, but got {self.t0!r}")
        if self.half_life is not None and not (isinstance(self.half_life, Real) and self.half_life > 0):
            raise ValueError(f"half_life must be a positive number of rows or None, but got {self.half_life!r}")

    def factors(self, past: float, weight: float, unit: float) -> tuple[float, float]:
        """What the statistics of the past and those of a mini-batch are multiplied by before they are added.

        Parameters
        ----------
        past : float
            Weight of the statistics of the past.
        weight : float
            That of the mini-batch.
        unit : float
            Weight of a full mini-batch, which is one step of time. A lighter one is a part of a step: the share of a
            stream's last few rows is as small as they are.
        """
        if self.half_life is not None:
            return 0.5 ** (weight / self.half_life), 1.0
        t = 1 + past / unit
        share = 1 - (1 - (t + self.t0) ** -self.alpha) ** (weight / unit)
        total = past + weight
        return (1 - share) * total / past, share * total / weight


@dataclass(frozen=True, eq=False)
class Memory:
    """The statistics of all rows so far, as they count; a value that is never changed in place, and pickles.

    Attributes
    ----------
    stats : Stats
        Their weight is that of all rows so far; where rows are forgotten, that of the rows as they still count.
    unit : float
        Weight of the first mini-batch, which sets the unit of time.
    """

    stats: Stats
    unit: float

    @classmethod
    def of_first(cls, batch: Stats) -> Memory:
        return cls(batch, batch.weight)

    def joined(self, batch: Stats, step: StepSize) -> Memory:
        """With a mini-batch's statistics, about the means that these are about."""
        if batch.weight == 0:
            return self
        past, new = step.factors(self.stats.weight, batch.weight, self.unit)
        # The mini-batch comes first: moments of all rows stay about a point near the newest ones.
        return replace(self, stats=batch * new + self.stats.recenter(batch.origin) * past)

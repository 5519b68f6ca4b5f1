"""Labels, probabilities and log-likelihoods of a source's rows, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

from fastem.data.sources import Source
from fastem.engines import Posterior
from fastem.mixture import Mixture
from fastem.streaming.rows import OnBlock


def posteriors(
    mixture: Mixture,
    source: Source,
    wanted: tuple[str, ...],
    engine: str = "auto",
    n_threads: int | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[Posterior]:
    """What was asked of each block's rows, in memory of a block."""
    n_features = mixture.params.origin.shape[1]
    if source.n_features != n_features:
        raise ValueError(f"X has {source.n_features} features, but the model was made for {n_features}")
    n_rows = 0
    for block in source.blocks():
        yield mixture.posterior(block.X, *wanted, engine=engine, n_threads=n_threads)
        n_rows += len(block)
        if on_block is not None:
            on_block(n_rows, source.n_samples)

"""Labels, probabilities and log-likelihoods of a source's rows, a block at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from fastem.data.sources import OnBlock, Source, told
from fastem.data.writing import table_writer
from fastem.engines import Posterior
from fastem.mixture import Mixture


def posteriors(
    mixture: Mixture,
    source: Source,
    wanted: tuple[str, ...],
    engine: str = "auto",
    n_threads: int | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[Posterior]:
    """What was asked of each block's rows, in memory of a block."""
    _check_features(mixture, source)
    for block in told(source.blocks(), source.n_samples, on_block):
        yield mixture.evaluate(block.X, *wanted, engine=engine, n_threads=n_threads)


def write_posteriors(
    path: str | os.PathLike[str],
    mixture: Mixture,
    source: Source,
    proba: bool = False,
    log_likelihood: bool = False,
    engine: str = "auto",
    n_threads: int | None = None,
    on_block: OnBlock | None = None,
) -> None:
    """Write a table of each row's label and, if asked for, probabilities and log-likelihood."""
    _check_features(mixture, source)
    wanted = ["labels", *(["responsibilities"] if proba else []), *(["log_likelihood"] if log_likelihood else [])]
    names = ["label", *(f"p{k}" for k in range(len(mixture.params.weights)) if proba)]
    with table_writer(path, [*names, *(["log_likelihood"] if log_likelihood else [])]) as write:
        for found in posteriors(mixture, source, tuple(wanted), engine, n_threads, on_block):
            columns = [found.labels.astype(np.int32), *(found.responsibilities.T if proba else ())]
            write([*columns, found.log_likelihood] if log_likelihood else columns)


def _check_features(mixture: Mixture, source: Source) -> None:
    n_features = mixture.params.origin.shape[1]
    if source.n_features != n_features:
        raise ValueError(f"X has {source.n_features} features, but the model was made for {n_features}")

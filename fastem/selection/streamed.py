"""A search over data that stay where they are: every model by itself, for its neighbours' rows are not at hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastem import criteria
from fastem.criteria import Totals
from fastem.data.kinds import is_source
from fastem.em import Callback, OnInterrupt
from fastem.estimators import GaussianMixture
from fastem.families.base import DegenerateComponentError, attempt
from fastem.progress import FitProgress, title_of
from fastem.selection.records import SearchRecord, SearchTable

if TYPE_CHECKING:
    from fastem.data.sources import Source

#: Criteria that a pass over the rows gives.
STREAMED_CRITERIA = ("bic", "aic", "icl")

# Share of the memory up to which rows are kept there.
_MEMORY_SHARE = 0.25
# Of a machine that does not say how much it has.
_LEAST_MEMORY = 2**33


def is_large(source: Source) -> bool:
    """Whether the rows would take so much memory that fits had better read them again in every pass; or may do."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        memory = _LEAST_MEMORY
    # Of blocks that nobody has counted the size is 0.
    return source.size == 0 or source.size > memory * _MEMORY_SHARE


def search_streamed(
    data: Any,
    n_components: Iterable[int],
    covariance_types: Sequence[str],
    criterion: str,
    *,
    sample_weight: Any = None,
    fit_options: dict[str, Any] | None = None,
    callbacks: Callback | Sequence[Callback] | None = None,
    on_interrupt: OnInterrupt = "raise",
    shown: bool = False,
    **settings: Any,
) -> SearchTable:
    """Fit each model to rows that are not in memory, and choose by a criterion.

    Parameters
    ----------
    data : Source or Dask collection
    n_components, covariance_types, sample_weight, callbacks, on_interrupt
        As in :func:`fastem.search`.
    criterion : {"bic", "aic", "icl"}
    fit_options : dict, optional
        For :meth:`fastem.GaussianMixture.fit`.
    shown : bool
        Whether to show the progress.
    **settings
        For :class:`fastem.GaussianMixture`.

    Raises
    ------
    ValueError
        If the criterion is another one.
    """
    if criterion not in STREAMED_CRITERIA:
        raise ValueError(
            f"of data that is read block by block the criterion is one of {', '.join(STREAMED_CRITERIA)}, but got "
            f"{criterion!r}, which needs the rows in memory"
        )
    given = [callbacks] if callable(callbacks) else list(callbacks or ())
    records: list[SearchRecord] = []
    try:
        for count in sorted(n_components):
            for covariance_type in covariance_types:
                model = GaussianMixture(count, covariance_type=covariance_type, **settings)
                with FitProgress(title_of(count, covariance_type), model.max_iter, model.tol, shown) as progress:
                    model.callbacks = [*given, progress]
                    records.append(_record(model, data, sample_weight, criterion, fit_options or {}, progress))
    except KeyboardInterrupt:
        if on_interrupt == "raise" or not records:
            raise
        return SearchTable(tuple(records), criterion, interrupted=True)
    return SearchTable(tuple(records), criterion)


def _record(
    model: GaussianMixture,
    data: Any,
    sample_weight: Any,
    criterion: str,
    fit_options: dict[str, Any],
    progress: FitProgress,
) -> SearchRecord:
    began = time.perf_counter()
    outcome = attempt(lambda: model.fit(data, sample_weight=sample_weight, **fit_options))
    seconds = time.perf_counter() - began
    facts: dict[str, Any] = dict.fromkeys(("bic", "aic", "icl", "nec", "cv", "log_likelihood"), np.nan)
    failed = isinstance(outcome, DegenerateComponentError)
    n_parameters = model._family().n_parameters(model.n_components, model.n_features_in_)
    if not failed:
        progress.on_phase("criteria")
        facts |= criteria.of_totals(_totals(model, data, sample_weight, progress), n_parameters)
        model.callbacks = None
    return SearchRecord(
        n_components=model.n_components,
        covariance_type=model.covariance_type,
        n_parameters=n_parameters,
        value=facts[criterion],
        converged=not failed and bool(model.converged_),
        spurious=not failed and bool(model.diagnostics_),
        n_starts=model.n_init,
        starts_agreeing=int(not failed),
        seconds=seconds,
        message=str(outcome) if failed else "; ".join(map(str, model.diagnostics_)),
        model=None if failed else model,
        **facts,
    )


def _totals(model: GaussianMixture, data: Any, sample_weight: Any, progress: FitProgress) -> Totals:
    if not is_source(data):
        return model._totals(data, sample_weight, entropy=True)
    from fastem.streaming import StreamedCollection

    return StreamedCollection(data).totals(model._mixture, None, model.engine, model.n_threads, True, progress.on_block)

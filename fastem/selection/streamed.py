"""A search over data that is read block by block: every model by itself, for its neighbours' rows are not at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fastem import criteria
from fastem.data.sources import Source
from fastem.estimators import GaussianMixture
from fastem.families.base import DegenerateComponentError, attempt
from fastem.selection.records import SearchRecord, SearchTable

#: Criteria that a pass over the rows gives.
STREAMED_CRITERIA = ("bic", "aic", "icl")

#: Of a number of components and a covariance type: a context, which is the callback of the fit.
Following = Callable[[int, str], AbstractContextManager[Any]]


def search_streamed(
    source: Source,
    n_components: Iterable[int],
    covariance_types: Sequence[str],
    criterion: str,
    following: Following,
    fit_options: dict[str, Any],
    **settings: Any,
) -> SearchTable:
    """Fit each model to the rows of a source, and choose by a criterion.

    Parameters
    ----------
    source : Source
    n_components, covariance_types
        As in :func:`fastem.search`.
    criterion : {"bic", "aic", "icl"}
    following : callable
        Makes what follows the fit of a model.
    fit_options : dict
        For :meth:`fastem.GaussianMixture.fit`.
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
            f"{criterion!r}"
        )
    records = []
    for count in sorted(n_components):
        for covariance_type in covariance_types:
            with following(count, covariance_type) as callback:
                model = GaussianMixture(count, covariance_type=covariance_type, callbacks=[callback], **settings)
                records.append(_record(model, source, criterion, fit_options))
    return SearchTable(tuple(records), criterion)


def _record(model: GaussianMixture, source: Source, criterion: str, fit_options: dict[str, Any]) -> SearchRecord:
    began = time.perf_counter()
    outcome = attempt(lambda: model.fit(source, **fit_options))
    seconds = time.perf_counter() - began
    facts: dict[str, Any] = dict.fromkeys(("bic", "aic", "icl", "nec", "cv", "log_likelihood"), np.nan)
    failed = isinstance(outcome, DegenerateComponentError)
    n_parameters = model._family().n_parameters(model.n_components, source.n_features)
    if not failed:
        facts |= criteria.of_totals(model._totals(source, None, entropy=True), n_parameters)
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

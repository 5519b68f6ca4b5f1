"""Number of components and covariance type by an information criterion: the plain grid."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from fastem.data.arrays import as_rows, as_weights
from fastem.estimators import GaussianMixture
from fastem.families import Gaussian
from fastem.families.base import DegenerateComponentError
from fastem.families.gaussian import COVARIANCE_TYPES

CRITERIA = ("bic", "aic", "icl")


@dataclass(frozen=True)
class SelectionRecord:
    """One model of a grid.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    value : float
        The criterion, lower is better; NaN where the fit failed.
    log_likelihood : float
        Of all rows; NaN where the fit failed.
    n_parameters : int
    converged : bool
    seconds : float
        Time of the fit, all starts together.
    message : str
        Why the fit failed; empty if it did not.
    model : GaussianMixture or None
        The fitted model.
    """

    n_components: int
    covariance_type: str
    value: float
    log_likelihood: float
    n_parameters: int
    converged: bool
    seconds: float
    message: str
    model: GaussianMixture | None

    @property
    def failed(self) -> bool:
        return self.model is None


@dataclass(frozen=True)
class SelectionTable(Sequence[SelectionRecord]):
    """The models of a grid in the order of their fits; as text, a table of the criterion.

    Attributes
    ----------
    records : tuple of SelectionRecord
    criterion : {"bic", "aic", "icl"}
    """

    records: tuple[SelectionRecord, ...]
    criterion: str

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> SelectionRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SelectionRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> SelectionRecord | tuple[SelectionRecord, ...]:
        return self.records[index]

    @property
    def best(self) -> SelectionRecord:
        """The model of the lowest value.

        Raises
        ------
        ValueError
            If no fit succeeded; the message is the first one's.
        """
        fitted = [record for record in self.records if not record.failed]
        if not fitted:
            raise ValueError(f"no model could be fitted: {self.records[0].message}")
        return min(fitted, key=lambda record: record.value)

    def __str__(self) -> str:
        """Rows by number of components, columns by covariance type; marked are the best and what went wrong."""
        types = list(dict.fromkeys(record.covariance_type for record in self.records))
        marks = {(r.n_components, r.covariance_type): self._cell(r) for r in self.records}
        width = max(11, *(len(cell) + 1 for cell in marks.values()))
        lines = [
            f"{self.criterion.upper()} (lower is better)",
            "components" + "".join(f"{kind:>{width - 1}} " for kind in types).rstrip(),
        ]
        for k in dict.fromkeys(record.n_components for record in self.records):
            lines.append(f"{k:>10}" + "".join(f"{marks[k, kind]:>{width}}" for kind in types).rstrip())
        legend = {"*": "best", "?": "stopped by max_iter before it converged"}
        used = [f"{mark} {text}" for mark, text in legend.items() if any(mark in cell for cell in marks.values())]
        lines += ["   ".join(used)] if used else []
        failures = [f"- {r.covariance_type}, {r.n_components}: {r.message}" for r in self.records if r.failed]
        return "\n".join([*lines, *failures])

    def _cell(self, record: SelectionRecord) -> str:
        if record.failed:
            return "- "
        best = record is self.best
        return f"{record.value:.3f}" + ("*" if best else " " if record.converged else "?") + ("" if record.converged else "")


def select(
    X: Any,
    n_components: Iterable[int],
    covariance_types: Iterable[str] = COVARIANCE_TYPES,
    criterion: str = "bic",
    *,
    sample_weight: Any = None,
    on_model: Callable[[SelectionRecord], object] | None = None,
    n_init: int = 1,
    random_state: Any = None,
    **options: Any,
) -> SelectionTable:
    """Fit a :class:`GaussianMixture` for every number of components and covariance type.

    Each start is a fit of its own with a seed of its own, so that one which collapses costs no more than itself, and
    the parameters of a chosen model are those that make it again. A start has collapsed where a component's variance in
    some direction is hardly more than ``reg_covar``: there the likelihood has no maximum and says nothing.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_components : iterable of int
    covariance_types : iterable of {"full", "tied", "diag", "spherical"}
    criterion : {"bic", "aic", "icl"}
    sample_weight : array-like of shape (n_samples,), optional
    on_model : callable, optional
        Called with the record of each model, as soon as it is fitted.
    n_init : int
        Starts of each model; one is enough for a single component.
    random_state : int, RandomState or None
        Where the starts' seeds come from; all models have the same.
    **options
        Further parameters of the estimator.

    Returns
    -------
    SelectionTable

    Raises
    ------
    ValueError
        If data or an option are not as described. A model that cannot be fitted is no error but a record that says so.

    References
    ----------
    Fraley & Raftery (2002), Model-based clustering, discriminant analysis, and density estimation. On spurious maxima:
    McLachlan & Peel (2000), Finite mixture models, section 3.10.
    """
    numbers, kinds = list(dict.fromkeys(n_components)), list(dict.fromkeys(covariance_types))
    if not numbers or not kinds:
        raise ValueError(
            f"a selection needs numbers of components and covariance types, but got {numbers} and {kinds}"
        )
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {CRITERIA}, but got {criterion!r}")
    n_samples, n_features = as_rows(X).shape
    weight = as_weights(sample_weight, n_samples)
    seeds = [int(seed) for seed in check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_init)]
    records = []
    for k in numbers:
        for kind in kinds:
            began = time.perf_counter()
            starts = [GaussianMixture(k, covariance_type=kind, random_state=seed, **options) for seed in seeds]
            model, message = _best_start(starts[:1] if k == 1 else starts, X, weight)
            value = log_likelihood = np.nan
            if model is not None:
                value = getattr(model, criterion)(X, sample_weight=weight)
                n = n_samples if weight is None else float(weight.sum())
                log_likelihood = model.score(X, sample_weight=weight) * n
            n_parameters = Gaussian(kind).n_parameters(k, n_features)  # type: ignore[arg-type]
            converged, seconds = model is not None and bool(model.converged_), time.perf_counter() - began
            record = SelectionRecord(
                k, kind, value, log_likelihood, n_parameters, converged, seconds, message, model
            )
            records.append(record)
            if on_model is not None:
                on_model(record)
    return SelectionTable(tuple(records), criterion)


def _best_start(
    starts: list[GaussianMixture], X: Any, weight: np.ndarray | None
) -> tuple[GaussianMixture | None, str]:
    """The fit of the highest likelihood among those that did not collapse, or what went wrong in the last one."""
    best, message = None, ""
    for model in starts:
        try:
            with warnings.catch_warnings():
                # Said by the record, or by k-means about rows that are equal.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X, sample_weight=weight)
            if has_collapsed(model):
                raise DegenerateComponentError(
                    "a component collapsed onto too few distinct rows in every start; use fewer components, more "
                    "starts or a larger reg_covar"
                )
        except InvalidParameterError:
            raise
        except ValueError as error:
            message = str(error)
            continue
        if best is None or model.lower_bound_ > best.lower_bound_:
            best = model
    return best, "" if best is not None else message


def has_collapsed(model: GaussianMixture) -> bool:
    """Whether a component's variance in a direction is hardly more than ``reg_covar``, and the mixture's far more."""
    weights, means, covariances = (
        np.asarray(a, dtype=np.float64) for a in (model.weights_, model.means_, model.covariances_)
    )
    offset = means - weights @ means
    if model.covariance_type in ("full", "tied"):
        covariances = np.broadcast_to(covariances, (len(means), *covariances.shape[-2:]))
        variances, directions = np.linalg.eigh(covariances)
        total = np.tensordot(weights, covariances, axes=1) + (weights * offset.T) @ offset
        overall = (directions * (total @ directions)).sum(axis=1)
    else:
        variances = np.broadcast_to(covariances.reshape(len(means), -1), means.shape)
        overall = weights @ (variances + offset**2)
    return bool(np.any((variances <= 2 * model.reg_covar) & (overall > 100 * model.reg_covar)))

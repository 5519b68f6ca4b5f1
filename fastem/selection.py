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
from fastem.families.covariance_storage import TIED
from fastem.families.covariance_structures import SKLEARN_COVARIANCE_TYPES, storage_of

CRITERIA = ("bic", "aic", "icl")

# Columns of numbers side by side in a summary.
_COLUMNS = 6


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
        kinds = list(dict.fromkeys(record.covariance_type for record in self.records))
        cells = {(r.n_components, r.covariance_type): self._cell(r) for r in self.records}
        width = 2 + max(9, *(len(cell) for cell in cells.values()))
        lines = [
            f"{self.criterion.upper()}, lower is better",
            "",
            "components" + "".join(f"{kind + '  ':>{width}}" for kind in kinds),
        ]
        for k in dict.fromkeys(record.n_components for record in self.records):
            lines.append(f"{k:>10}" + "".join(f"{cells[k, kind]:>{width}}" for kind in kinds))
        marks = {"*": "best", "?": "stopped before it converged", "-": "not fitted"}
        legend = [f"{mark} {text}" for mark, text in marks.items() if any(mark in c[-2:] for c in cells.values())]
        lines += ["", "   ".join(legend)]
        failed = [r for r in self.records if r.failed]
        for message in dict.fromkeys(r.message for r in failed):
            whose = ", ".join(f"{r.covariance_type} {r.n_components}" for r in failed if r.message == message)
            lines.append(f"  {whose}: {message}")
        return "\n".join(line.rstrip() for line in lines)

    def _cell(self, record: SelectionRecord) -> str:
        if record.failed:
            return "- "
        marks = ("*" if record is self.best else "") + ("" if record.converged else "?")
        return f"{record.value:.3f}{marks:<2}"

    def summary(self) -> str:
        """The best model's parameters as text; features by name where the model has names."""
        best, model = self.best, self.best.model
        assert model is not None
        how = f"yes, in {model.n_iter_} iterations" if best.converged else f"no, stopped after {model.n_iter_}"
        facts = {
            "log-likelihood": f"{best.log_likelihood:.4f}",
            self.criterion.upper(): f"{best.value:.4f}",
            "parameters": best.n_parameters,
            "converged": how,
            "engine": model.engine_,
        }
        several = "s" if best.n_components > 1 else ""
        lines = [f"{best.n_components} component{several}, covariance {best.covariance_type}", ""]
        lines += _aligned([[name, str(value)] for name, value in facts.items()], left=True)
        return "\n".join(lines + _parameters(model))


def _parameters(model: GaussianMixture) -> list[str]:
    """Lines of weights, means, standard deviations, and of matrices that are small."""
    means, storage = np.asarray(model.means_), storage_of(model.covariance_type)
    n_components, n_features = means.shape
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"x{j}" for j in range(n_features)])]
    variances = storage.variances(np.asarray(model.covariances_))
    if not storage.is_matrix:
        variances = variances.reshape(n_components, -1)
    deviations = np.broadcast_to(np.sqrt(variances), (n_components, variances.shape[-1]))
    shared = ["every feature"] if deviations.shape[1] < n_features else names
    lines: list[str] = []
    for first in range(0, n_components, _COLUMNS):
        some = slice(first, first + _COLUMNS)
        block: list[list[str]] = [
            ["component", *map(str, range(n_components)[some])],
            ["weight", *_numbers(model.weights_[some])],
        ]
        for title, rows, values in (("mean", names, means), ("standard deviation", shared, deviations)):
            block.append([title])
            block += [[f"  {name}", *_numbers(v[some])] for name, v in zip(rows, values.T, strict=True)]
        lines += ["", *_aligned(block)]
    if storage.is_matrix and 1 < n_features <= _COLUMNS:
        for k, matrix in enumerate(np.reshape(model.covariances_, (-1, n_features, n_features))):
            title = "covariance of every component" if storage is TIED else f"covariance of component {k}"
            entries = [[f"  {name}", *_numbers(row)] for name, row in zip(names, matrix, strict=True)]
            lines += ["", title, *_aligned([["", *names], *entries])]
    return lines


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:#.6g}" for value in values]


def _aligned(rows: list[list[str]], left: bool = False) -> list[str]:
    """Cells in columns, the first flush left and the others flush right (or left)."""
    widths = [max(len(row[j]) for row in rows if len(row) > j) for j in range(max(map(len, rows)))]
    align = str.ljust if left else str.rjust
    lines = []
    for row in rows:
        cells = [align(cell, width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines


def select(
    X: Any,
    n_components: Iterable[int],
    covariance_types: Iterable[str] = SKLEARN_COVARIANCE_TYPES,
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
    the parameters of a chosen model are those that make it again. A start has collapsed where the rows of a component
    agree in some direction, so that its variance there is ``reg_covar`` alone: without it the likelihood would be
    unbounded, and its value says nothing.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_components : iterable of int
    covariance_types : iterable of str
        The estimator's names of covariance structures; by default scikit-learn's four.
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
        raise ValueError(f"a selection needs numbers of components and covariance types, but got {numbers} and {kinds}")
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {CRITERIA}, but got {criterion!r}")
    n_samples, n_features = as_rows(X).shape
    weight = as_weights(sample_weight, n_samples)
    seeds = [int(seed) for seed in check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_init)]
    records = []
    for k in numbers:
        for kind in kinds:
            began = time.perf_counter()
            # All starts of a single component are the same.
            starts = seeds[:1] if k == 1 else seeds
            models = [GaussianMixture(k, covariance_type=kind, random_state=seed, **options) for seed in starts]
            model, message = _best_start(models, X, weight)
            log_likelihood, value = np.nan, np.nan
            if model is not None:
                log_likelihood = model.score(X, sample_weight=weight) * (
                    n_samples if weight is None else float(weight.sum())
                )
                value = getattr(model, criterion)(X, sample_weight=weight)
            record = SelectionRecord(
                n_components=k,
                covariance_type=kind,
                value=value,
                log_likelihood=log_likelihood,
                n_parameters=Gaussian(kind).n_parameters(k, n_features),  # type: ignore[arg-type]
                converged=model is not None and bool(model.converged_),
                seconds=time.perf_counter() - began,
                message=message,
                model=model,
            )
            records.append(record)
            if on_model is not None:
                on_model(record)
    return SelectionTable(tuple(records), criterion)


def _best_start(starts: list[GaussianMixture], X: Any, weight: np.ndarray | None) -> tuple[GaussianMixture | None, str]:
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
                    "a component collapsed onto too few distinct rows in every start; try fewer components, more "
                    "starts (n_init) or a larger reg_covar"
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
    """Whether a component's variance in a direction is ``reg_covar`` alone, and the mixture's far more."""
    weights, means, covariances = (
        np.asarray(a, dtype=np.float64) for a in (model.weights_, model.means_, model.covariances_)
    )
    offset = means - weights @ means
    storage = storage_of(model.covariance_type)
    if storage.is_matrix:
        covariances = np.broadcast_to(covariances, (len(means), *covariances.shape[-2:]))
        variances, directions = np.linalg.eigh(covariances)
        total = np.tensordot(weights, covariances, axes=1) + (weights * offset.T) @ offset
        overall = (directions * (total @ directions)).sum(axis=1)
        ridge = model.reg_covar_ @ directions**2
    else:
        variances = np.broadcast_to(covariances.reshape(len(means), -1), means.shape)
        overall = weights @ (variances + offset**2)
        ridge = np.broadcast_to(storage.least_variances(model.reg_covar_), means.shape)
    return bool(np.any((variances <= 1.001 * ridge) & (overall > 100 * ridge)))

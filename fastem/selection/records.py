"""What a search found: a record for each model, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastem.estimators import GaussianMixture
from fastem.selection.summary import aligned, parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CRITERIA = ("bic", "aic", "icl", "nec", "cv")

# Covariance types side by side; where there are more, numbers of components are.
_COLUMNS = 6


@dataclass(frozen=True)
class SearchRecord:
    """One model of a search. Criteria are lower for better models, and NaN where the fit failed.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    bic, aic, icl : float
        As the estimator's methods.
    nec : float
        Normalised entropy criterion (:func:`fastem.criteria.nec`).
    cv : float
        -2 times the cross-validated log-likelihood, on the scale of AIC; NaN where it was not the criterion.
    value : float
        The criterion of the search.
    log_likelihood : float
        Of all rows.
    n_parameters : int
        Degrees of freedom.
    converged : bool
    spurious : bool
        Whether a component of every solution collapsed or is on too few rows; such a model is not chosen.
    n_starts : int
        Starts that were run in full, a neighbour's included.
    starts_agreeing : int
        How many of them ended at this solution's likelihood, to ten times ``tol``.
    seconds : float
        Time of the fits, all starts together.
    message : str
        Why the fit failed, or the solution is spurious.
    model : GaussianMixture or None
        The fitted model; its parameters make it again.
    """

    n_components: int
    covariance_type: str
    bic: float
    aic: float
    icl: float
    nec: float
    cv: float
    value: float
    log_likelihood: float
    n_parameters: int
    converged: bool
    spurious: bool
    n_starts: int
    starts_agreeing: int
    seconds: float
    message: str
    model: GaussianMixture | None

    @property
    def failed(self) -> bool:
        return self.model is None

    @property
    def eligible(self) -> bool:
        """Whether the model may be chosen."""
        return not self.failed and not self.spurious and not np.isnan(self.value)


@dataclass(frozen=True)
class SearchTable(Sequence[SearchRecord]):
    """The models of a search, by number of components and covariance type; as text, a table of the criterion.

    Attributes
    ----------
    records : tuple of SearchRecord
    criterion : {"bic", "aic", "icl", "nec", "cv"}
    interrupted : bool
        Whether Ctrl-C ended the search: models are missing, or had fewer starts.
    """

    records: tuple[SearchRecord, ...]
    criterion: str
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> SearchRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SearchRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> SearchRecord | tuple[SearchRecord, ...]:
        return self.records[index]

    @property
    def best(self) -> SearchRecord:
        """The model of the lowest value that is not spurious; of equals, that of the lowest BIC.

        Raises
        ------
        ValueError
            If no fit succeeded; the message is the first one's.
        """
        eligible = [record for record in self.records if record.eligible]
        if not eligible:
            raise ValueError(f"no model could be fitted: {self.records[0].message}")
        # One component has the same NEC in all structures.
        return min(eligible, key=lambda record: (record.value, record.bic))

    def to_frame(self) -> Any:
        """The table as a pandas DataFrame, a row for each model; all of a record's attributes but the model.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        names = [field.name for field in fields(SearchRecord) if field.name not in ("model", "value")]
        return DataFrame([[getattr(record, name) for name in names] for record in self.records], columns=names)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the criterion by number of components (:func:`fastem.plot.criterion`)."""
        from fastem.plotting import criterion

        return criterion(self, ax)

    def __str__(self) -> str:
        """The criterion by number of components and covariance type; marked are the best and what went wrong."""
        kinds = list(dict.fromkeys(record.covariance_type for record in self.records))
        numbers = list(dict.fromkeys(record.n_components for record in self.records))
        best = self.best if any(record.eligible for record in self.records) else None
        # An entropy is small next to a log-likelihood.
        digits = ".3g" if self.criterion == "nec" else ".3f"
        cells = {(r.n_components, r.covariance_type): _cell(r, best, digits) for r in self.records}
        width = 2 + max(9, *(len(cell) for cell in cells.values()))
        lines = [f"{self.criterion.upper()}, lower is better", ""]
        if len(kinds) <= _COLUMNS:
            lines.append("components" + "".join(f"{kind + '  ':>{width}}" for kind in kinds))
            lines += [f"{k:>10}" + "".join(f"{cells[k, kind]:>{width}}" for kind in kinds) for k in numbers]
        else:
            lines.append("components" + "".join(f"{f'{k}  ':>{width}}" for k in numbers))
            lines += [f"{kind:>10}" + "".join(f"{cells[k, kind]:>{width}}" for k in numbers) for kind in kinds]
        marks = {"*": "best", "?": "stopped before it converged", "!": "spurious", "-": "not fitted"}
        legend = [f"{mark} {text}" for mark, text in marks.items() if any(mark in c[-2:] for c in cells.values())]
        lines += ["", "   ".join(legend)]
        faulty = [r for r in self.records if r.message]
        for message in dict.fromkeys(r.message for r in faulty):
            whose = ", ".join(f"{r.covariance_type} {r.n_components}" for r in faulty if r.message == message)
            lines.append(f"  {whose}: {message}")
        return "\n".join(line.rstrip() for line in lines)

    def summary(self) -> str:
        """The best model's parameters as text; features by name where the model has names."""
        best, model = self.best, self.best.model
        assert model is not None
        how = f"yes, in {model.n_iter_} iterations" if best.converged else f"no, stopped after {model.n_iter_}"
        facts = {
            "log-likelihood": f"{best.log_likelihood:.4f}",
            self.criterion.upper(): f"{best.value:.4f}" if self.criterion != "nec" else f"{best.value:.4g}",
            "parameters": best.n_parameters,
            "converged": how,
            "found by": f"{best.starts_agreeing} of {best.n_starts} start{'s' * (best.n_starts > 1)}",
            "engine": model.engine_,
        }
        several = "s" if best.n_components > 1 else ""
        lines = [f"{best.n_components} component{several}, covariance {best.covariance_type}", ""]
        lines += aligned([[name, str(value)] for name, value in facts.items()], left=True)
        return "\n".join(lines + parameters(model))


def _cell(record: SearchRecord, best: SearchRecord | None, digits: str) -> str:
    if np.isnan(record.value):
        return "- "
    marks = ("*" if record is best else "") + ("!" if record.spurious else "" if record.converged else "?")
    return f"{record.value:{digits}}{marks:<2}"

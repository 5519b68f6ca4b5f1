"""Records of fitted models: the criteria, and the estimator that makes each model again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastem import criteria
from fastem.em import Callback
from fastem.estimators import GaussianMixture
from fastem.selection.cross_validation import cross_validated
from fastem.selection.fits import Fits
from fastem.selection.records import SearchRecord
from fastem.selection.sweeps import Model, Models, Run

# Starts agree where they end within so many times tol: EM that stops at tol may be some times that from its limit.
_AGREEING = 10.0


class Judge:
    """Makes records of models.

    Parameters
    ----------
    fits : Fits
    templates : mapping of str to GaussianMixture
        Estimators of each covariance type, which know the features.
    criterion : str
    """

    def __init__(self, fits: Fits, templates: Mapping[str, GaussianMixture], criterion: str) -> None:
        self.fits = fits
        self.templates = templates
        self.criterion = criterion
        # To name an estimator's parameters takes scikit-learn longer than to make it.
        self._settings = {kind: template.get_params(deep=False) for kind, template in templates.items()}

    def record(self, model: Model, log_likelihood_of_one: float) -> SearchRecord:
        """The record of a model, without cross-validation."""
        best, fits, family = model.best, self.fits, model.family
        n_parameters = family.n_parameters(model.n_components, fits.X.shape[1])
        facts: dict[str, Any] = {
            **dict.fromkeys(("bic", "aic", "icl", "nec", "cv", "log_likelihood"), np.nan),
            **{"converged": False, "spurious": False, "starts_agreeing": 0, "message": "", "model": None},
        }
        if best is None:
            facts["message"] = model.failures[-1] if model.failures else "interrupted before it was fitted"
        else:
            fitted = self._estimator(model, best)
            totals = fits.totals(family, best.result.params, entropy=True)
            reached = np.array([run.lower_bound for run in model.runs])
            near = np.abs(reached - best.lower_bound) <= _AGREEING * fits.tol
            facts |= criteria.of_totals(totals, n_parameters)
            facts |= {
                "nec": criteria.nec(totals.log_likelihood, log_likelihood_of_one, model.n_components, totals.entropy),
                "converged": bool(fitted.converged_),
                "spurious": bool(best.fault),
                "starts_agreeing": int(near.sum()),
                "message": best.fault,
                "model": fitted,
            }
        return SearchRecord(
            n_components=model.n_components,
            covariance_type=family.covariance_type,
            n_parameters=n_parameters,
            n_starts=len(model.runs) + len(model.failures),
            seconds=model.seconds,
            value=facts[self.criterion],
            **facts,
        )

    def cross_validate(
        self, model: Model, folds: Sequence[np.ndarray], callbacks: Sequence[Callback]
    ) -> tuple[float, str]:
        """-2 times the cross-validated log-likelihood; infinite, and why, where a model without a fold has none."""
        best = model.best
        if best is None or best.fault:
            return np.nan, ""
        try:
            params: Any = best.result.params
            return -2 * cross_validated(self.fits, model.family, params, folds, callbacks), ""
        except ValueError as error:
            return np.inf, f"with a fold left out: {error}"

    def _estimator(self, model: Model, run: Run) -> GaussianMixture:
        """The fitted estimator, whose parameters lead to the same fit again."""
        kind, start = model.family.covariance_type, run.start
        template = self.templates[kind]
        beginning = GaussianMixture(covariance_type=kind)
        beginning._set_params_attributes(start, np.float64)
        given = {
            "n_components": model.n_components,
            "weights_init": beginning.weights_,
            "means_init": beginning.means_,
            "precisions_init": beginning.precisions_,
        }
        fitted = GaussianMixture(**{**self._settings[kind], **given})
        fitted.n_features_in_ = template.n_features_in_
        if hasattr(template, "feature_names_in_"):
            fitted.feature_names_in_ = template.feature_names_in_
        fitted._set_result(run.result, self.fits.X.dtype)
        return fitted


def log_likelihoods_of_one(fits: Fits, models: Models) -> dict[str, float]:
    """What NEC compares with: the log-likelihood of one component, by covariance type; NaN where it has none."""
    found: dict[str, float] = {}
    # The first M-step of one component has every row, wherever it starts.
    one = replace(fits, callbacks=(), max_iter=1)
    for family in {model.family for model in models.values()}:
        kind = family.covariance_type
        best = models[1, kind].best if (1, kind) in models else None
        try:
            result = best.result if best is not None else one.run(family, one.fresh(family, 1, 0))
            found[kind] = one.totals(family, result.params).log_likelihood
        except ValueError:
            found[kind] = np.nan
    return found

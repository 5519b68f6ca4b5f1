"""What a fitted mixture estimator answers: of rows in memory, or of those that come in a collection."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastem import criteria
from fastem.criteria import Totals
from fastem.data.arrays import as_weights, is_plain
from fastem.estimators.dispatch import Collection, as_collection
from fastem.estimators.settings import Settings
from fastem.families import Params
from fastem.mixture import Mixture


class FittedModel(Settings):
    """Posteriors, densities, criteria and samples, from the fitted attributes."""

    @abstractmethod
    def _fitted_params(self) -> Params:
        """The family's parameters of the fitted attributes, in float64."""

    @abstractmethod
    def _set_params_attributes(self, params: Params, dtype: Any) -> None:
        """Fitted attributes of the family's parameters."""

    @abstractmethod
    def _dtype(self) -> np.dtype[Any]:
        """Float type of the fitted attributes."""

    def __sklearn_is_fitted__(self) -> bool:
        # The first rows of partial_fit may still wait for a start.
        return hasattr(self, "weights_")

    @property
    def _mixture(self) -> Mixture:
        return Mixture(self._family(), self._fitted_params())

    def _posterior(self, X: np.ndarray, *wanted: str) -> Any:
        return self._mixture.posterior(X, *wanted, engine=self.engine, n_threads=self.n_threads)

    def _evaluate(self, X: Any, wanted: str) -> Any:
        """``labels``, ``log_likelihood`` or ``responsibilities`` of rows, in memory or in a collection."""
        collection = self._check_collection(X)
        if collection is not None:
            return collection.posterior(self._mixture, wanted, self.engine, self.n_threads)
        return getattr(self._posterior(self._check_rows(X), wanted), wanted)

    def _check_collection(self, X: Any) -> Collection | None:
        """The collection that ``X`` is, of the features that the model was fitted to; None for what is in memory."""
        collection = as_collection(X)
        if collection is not None:
            check_is_fitted(self)
            if collection.names is None:
                validate_data(self, collection.like, skip_check_array=True, reset=False)
            else:
                collection = collection.of_features(getattr(self, "feature_names_in_", None))
        return collection

    def _check_rows(self, X: Any) -> np.ndarray:
        if not hasattr(self, "weights_"):
            check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        if is_plain(X) and names is None and X.shape[1] == self.n_features_in_:
            return X
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False, ensure_all_finite=False)

    def predict(self, X: Any) -> Any:
        """Likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of files, Arrow data, blocks and other sources an iterator over those of each block.
        """
        return self._evaluate(X, "labels")

    def predict_proba(self, X: Any) -> Any:
        """Posterior probability of each component for each row (the responsibilities).

        Parameters
        ----------
        X
            As in :meth:`predict`.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            Or an iterator, as in :meth:`predict`.
        """
        return self._evaluate(X, "responsibilities")

    def score_samples(self, X: Any) -> Any:
        """Log-likelihood ``log p(x)`` of each row.

        Parameters
        ----------
        X
            As in :meth:`predict`.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Or an iterator, as in :meth:`predict`.
        """
        return self._evaluate(X, "log_likelihood")

    def predict_to(
        self, path: str | os.PathLike[str], X: Any, *, proba: bool = False, log_likelihood: bool = False
    ) -> None:
        """Write the likeliest component of each row to a file, in memory that does not grow with the rows.

        Parameters
        ----------
        path : path-like
            Ends in ``.parquet`` (needs pyarrow), ``.csv``, ``.tsv`` or ``.txt``. The file appears whole or not at all.
        X
            As in :meth:`predict`.
        proba : bool
            Whether to add columns ``p0``, ``p1``, ... with the probability of each component.
        log_likelihood : bool
            Whether to add a column ``log_likelihood``.

        Raises
        ------
        ValueError
            If the file cannot be written, or the rows are not the model's.
        """
        from fastem.data.writing import check_table
        from fastem.streaming import StreamedCollection, write_posteriors

        check_is_fitted(self)
        check_table(path)
        rows = StreamedCollection(X).of_features(getattr(self, "feature_names_in_", None))
        write_posteriors(path, self._mixture, rows.source, proba, log_likelihood, self.engine, self.n_threads)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of a row, weighted by ``sample_weight``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        score : float
        """
        totals = self._totals(X, sample_weight)
        return totals.log_likelihood / totals.weight

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            Component that each row was drawn from; rows come component by component.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. The sampling requires at least one sample.")
        return self._mixture.sample(n_samples, check_random_state(self.random_state))

    def _n_parameters(self) -> int:
        return self._mixture.n_parameters

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Bayesian information criterion, ``-2 log L + df log n``: lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
        sample_weight : array-like of shape (n_samples,), optional
            With weights, n is their sum.

        Returns
        -------
        bic : float

        References
        ----------
        Schwarz (1978), Estimating the dimension of a model.
        """
        totals = self._totals(X, sample_weight)
        return criteria.bic(totals.log_likelihood, self._n_parameters(), totals.weight)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Akaike information criterion, ``-2 log L + 2 df``: lower is better.

        Parameters
        ----------
        X, sample_weight
            As in :meth:`bic`.

        Returns
        -------
        aic : float
        """
        return criteria.aic(self._totals(X, sample_weight).log_likelihood, self._n_parameters())

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Integrated completed likelihood: BIC plus twice the entropy of the responsibilities; lower is better.

        Favours components that are apart, where BIC favours the density.

        Parameters
        ----------
        X, sample_weight
            As in :meth:`bic`.

        Returns
        -------
        icl : float

        References
        ----------
        Biernacki, Celeux & Govaert (2000), Assessing a mixture model for clustering with the integrated completed
        likelihood; the entropy form of McLachlan & Peel (2000), section 6.10.
        """
        totals = self._totals(X, sample_weight, entropy=True)
        return criteria.icl(totals.log_likelihood, self._n_parameters(), totals.weight, totals.entropy)

    def _totals(self, X: Any, sample_weight: Any, entropy: bool = False) -> Totals:
        """Weight, log-likelihood and, where asked for, entropy of the responsibilities of all rows."""
        collection = self._check_collection(X)
        if collection is not None:
            return collection.totals(self._mixture, sample_weight, self.engine, self.n_threads, entropy)
        X = self._check_rows(X)
        weight = as_weights(sample_weight, len(X))
        return self._mixture.totals(X, weight, entropy=entropy, engine=self.engine, n_threads=self.n_threads)

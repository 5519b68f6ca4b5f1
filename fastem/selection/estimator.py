"""``GaussianMixtureSearch``: a search with scikit-learn's manners."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastem.data.kinds import is_streamed
from fastem.estimators import GaussianMixture
from fastem.estimators.dispatch import as_collection
from fastem.selection.searching import DEFAULT_NUMBERS, search


class GaussianMixtureSearch(DensityMixin, BaseEstimator):
    """The Gaussian mixture whose number of components and covariance structure a criterion chooses.

    An estimator around :func:`fastem.search`: ``fit`` searches, and everything else is the chosen model's.

    Parameters
    ----------
    n_components : int or iterable of int, default=(1, ..., 9)
    covariance_types : "all", a type or an iterable of types, default="all"
    criterion : {"bic", "aic", "icl", "nec", "cv"}, default="bic"
    n_init, init_params, warm_starts, n_folds, tol, max_iter, reg_covar, random_state, engine, n_threads, callbacks
        As for :func:`fastem.search`.
    on_interrupt, accelerate, stopping, verbose
        As for :func:`fastem.search`.

    Attributes
    ----------
    best_estimator_ : GaussianMixture
    table_ : SearchTable
        All models that were tried.
    n_components_ : int
    covariance_type_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where ``X`` has feature names that are all strings.

    Examples
    --------
    >>> import numpy as np
    >>> from fastem import GaussianMixtureSearch
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(100, 2)), rng.normal(8, 1, size=(60, 2))])
    >>> found = GaussianMixtureSearch(n_components=(1, 2, 3), random_state=0).fit(X)
    >>> found.n_components_, found.covariance_type_
    (2, 'EII')
    >>> found.predict([[8, 8]]) == found.predict([[9, 9]])
    array([ True])
    """

    def __init__(
        self,
        n_components: Any = DEFAULT_NUMBERS,
        covariance_types: Any = "all",
        criterion: str = "bic",
        *,
        n_init: int = 1,
        init_params: str = "k-means++",
        warm_starts: bool = True,
        n_folds: int = 10,
        tol: float = 1e-5,
        max_iter: int = 1000,
        reg_covar: Any = "auto",
        random_state: Any = None,
        engine: str = "auto",
        n_threads: int | None = None,
        callbacks: Any = None,
        on_interrupt: str = "raise",
        accelerate: str | None = None,
        stopping: str = "change",
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_types = covariance_types
        self.criterion = criterion
        self.n_init = n_init
        self.init_params = init_params
        self.warm_starts = warm_starts
        self.n_folds = n_folds
        self.tol = tol
        self.max_iter = max_iter
        self.reg_covar = reg_covar
        self.random_state = random_state
        self.engine = engine
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.on_interrupt = on_interrupt
        self.accelerate = accelerate
        self.stopping = stopping
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> GaussianMixtureSearch:
        """Search, and keep the best model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
            As for :func:`fastem.search`; also a Dask array or data frame.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            Weight 2 is the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or a parameter are not as described, or no model can be fitted.
        """
        is_in_memory = as_collection(X) is None
        if is_in_memory:
            validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        table = search(X, sample_weight=sample_weight, **self.get_params(deep=False))
        self.table_ = table
        self.best_estimator_: Any = table.best.model
        self.n_components_ = table.best.n_components
        self.covariance_type_ = table.best.covariance_type
        if not is_in_memory:
            self._note_features(self.best_estimator_)
        return self

    def _note_features(self, model: Any) -> None:
        """The same as a model that was fitted to them."""
        self.n_features_in_ = model.n_features_in_
        if hasattr(model, "feature_names_in_"):
            self.feature_names_in_ = model.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Search, and return the likeliest component of each row under the best model."""
        labels = self.fit(X, sample_weight=sample_weight).predict(X)
        return np.concatenate(list(labels)) if is_streamed(X) else labels

    @property
    def _best(self) -> GaussianMixture:
        check_is_fitted(self)
        return self.best_estimator_

    def predict(self, X: Any) -> np.ndarray:
        """Likeliest component of each row: (n_samples,)."""
        return self._best.predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Posterior probability of each component: (n_samples, n_components_)."""
        return self._best.predict_proba(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood ``log p(x)`` of each row: (n_samples,)."""
        return self._best.score_samples(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of a row, weighted by ``sample_weight``."""
        return self._best.score(X, sample_weight=sample_weight)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the best model, and the components that they come from."""
        return self._best.sample(n_samples)

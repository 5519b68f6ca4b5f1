"""Fits of all rows: the data as the loop takes them, and the result as fitted attributes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from fastem.data.arrays import as_weights, is_plain
from fastem.data.kinds import is_source, is_streamed
from fastem.degeneracy import DegenerateComponentWarning, told
from fastem.engines import choose_engine, pass_work
from fastem.engines.threads import resolve_threads
from fastem.estimators.dispatch import Collection, as_collection
from fastem.estimators.fitted import FittedModel
from fastem.fitting import FitResult, fit
from fastem.progress import ProgressLine

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastem.data.sources.source import CacheKind, Missing


class Fitting(FittedModel):
    """``fit`` and ``fit_predict``."""

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Sequence[str | int] | None = None,
        weight_column: str | int | None = None,
        filter: Any = None,
        missing: Missing = "raise",
        cache: CacheKind | None = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 30.0,
        resume: bool = False,
    ) -> Self:
        """Estimate the parameters by expectation-maximization.

        Fits from ``n_init`` starts and keeps the parameters of the highest likelihood. With ``warm_start=True`` a
        second call goes on from where the last one ended.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
            Rows, float32 or float64; arrays in any memory order and memory maps are read where they lie. Files (a path,
            a folder, ``"events/*.parquet"``), Arrow data, HDF5, Zarr and iterables of blocks are read block by block in
            each pass, in memory that does not grow with the rows; the partitions of a Dask array or data frame on the
            machines that hold them.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights; weight 2 is the row twice. Those of a Dask collection are one in the same partitions.
        columns, weight_column, filter, missing, cache
            As in :func:`fastem.open_source`. Data frames and arrays too are read block by block where one of the first
            three is given, or rows with missing values are to be dropped (``n_dropped_`` counts them).
        checkpoint : path-like, optional
            File that the fit goes on from after any end, and which ``resume`` makes it do; it comes to the same bits.
            The rows are read block by block.
        checkpoint_every : float
            Seconds between two entries within a pass. A finished pass is always entered.
        resume : bool
            Whether to go on from ``checkpoint``, where there is such a file. Otherwise there must be none.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data hold NaN or infinity, have too few rows, or a parameter is not as documented.
        DegenerateComponentError
            (a ValueError) If ``strict`` and a component collapses, or no row is left to it.
        """
        if resume and checkpoint is None:
            raise ValueError("resume=True goes on from a checkpoint, but checkpoint is None; give the file's path")
        is_table = columns is not None or weight_column is not None or filter is not None or missing != "raise"
        if is_source(X):
            if is_table:
                raise ValueError("columns, weight_column, filter and missing are those that the source was opened with")
        elif is_table or checkpoint is not None or is_streamed(X):
            if not is_streamed(X) and as_collection(X) is not None:
                raise ValueError(
                    f"columns, weight_column, filter, missing and checkpoint are not for a {type(X).__module__}."
                    f"{type(X).__name__}, whose partitions stay where they lie: select columns and rows of it before "
                    "the fit, give sample_weight, or write it to files and fit these"
                )
            from fastem.data.sources import open_source

            X = open_source(
                X,
                columns=columns,
                weight_column=weight_column,
                sample_weight=sample_weight,
                filter=filter,
                missing=missing,
                cache=cache,
            )
            sample_weight = None
        kept = None
        if checkpoint is not None:
            from fastem.streaming import Checkpoint

            kept = Checkpoint(checkpoint, checkpoint_every, resume)
        self._fit(X, sample_weight, kept)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit, and return the likeliest component of each row: the same as ``fit(X).predict(X)``.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        if is_streamed(X):  # asked first: to make a collection of files is to open them
            return np.concatenate(list(self.fit(X, sample_weight=sample_weight).predict(X)))
        fitted = self._fit(X, sample_weight)
        return self._posterior(fitted, "labels").labels if as_collection(X) is None else self.predict(X)

    def _fit(self, X: Any, sample_weight: Any, checkpoint: Any = None) -> Any:
        self._validate_params()
        collection = as_collection(X)
        rows: Any
        if collection is not None:
            self._note_features(collection)
            rows, weight = collection.rows(sample_weight), None
            shape, dtype = collection.shape, collection.dtype
        else:
            if is_plain(X) and len(X) >= 2 and not hasattr(self, "feature_names_in_"):
                self.n_features_in_ = X.shape[1]
            else:
                X = validate_data(
                    self, X, dtype=[np.float64, np.float32], ensure_min_samples=2, ensure_all_finite=False
                )
            rows, weight = X, as_weights(sample_weight, len(X))
            shape, dtype = X.shape, X.dtype
        n_features = self.n_features_in_
        family = self._family()
        goes_on = self.warm_start and hasattr(self, "converged_")
        start: Any = self._fitted_params() if goes_on else self._given_params(None, n_features, dtype)
        progress = ProgressLine(
            self.verbose,
            self.verbose_interval,
            self.max_iter,
            self.tol,
            # Of a panel's starts it is not known beforehand which will run in full.
            n_init=self.n_init if start is None and self.init_params != "auto" else 1,
            heading=self._runner(shape) if self.verbose > 1 else "",
        )
        with progress:
            result = fit(
                rows,
                family,
                self.n_components,
                start=self.init_params if start is None else start,
                amend=lambda found: self._given_params(found, n_features, dtype),
                sample_weight=weight,
                tol=self.tol,
                max_iter=self.max_iter,
                n_init=self.n_init,
                random_state=self.random_state,
                engine=self.engine,
                n_threads=self.n_threads,
                callbacks=[*self._callbacks(), *progress.callbacks],
                on_interrupt=self.on_interrupt,
                previous=self.lower_bound_ if goes_on else -np.inf,
                accelerate=self.accelerate,
                stopping=self.stopping,
                split_merge=self.split_merge,
                strict=self.strict,
                checkpoint=checkpoint,
                standardize=getattr(self, "standardize", False),
            )
        self._set_result(result, dtype)
        self.n_dropped_ = 0 if collection is None else collection.n_dropped
        if not self.converged_ and not result.run.interrupted and self.max_iter > 0:
            warnings.warn(
                f"Best performing initialization did not converge in {self.n_iter_} iterations. Increase max_iter or "
                "tol, try different init parameters, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=3,
            )
        if result.diagnostics:
            warnings.warn(told(result.diagnostics), DegenerateComponentWarning, stacklevel=3)
        return X

    def _note_features(self, collection: Collection) -> None:
        """What a fit remembers of the features."""
        validate_data(self, collection.like, skip_check_array=True)
        if collection.names is not None:
            self.feature_names_in_ = np.array(collection.names, dtype=object)

    def _runner(self, shape: tuple[int, ...]) -> str:
        """The engine and the threads of a fit, as ``verbose=2`` shows them."""
        work = pass_work(shape, self.n_components, self._family().moments)
        engine = choose_engine(self.engine, work * self.max_iter * self.n_init)
        threads = resolve_threads(self.n_threads, work)
        return f"engine {engine.name}, {threads} thread{'s' * (threads > 1)}"

    def _set_result(self, result: FitResult, dtype: Any) -> None:
        self._set_params_attributes(result.params, dtype)
        run = result.run
        self.converged_ = run.converged
        self.n_iter_ = run.n_iter
        self.lower_bound_ = run.lower_bound
        self.lower_bounds_ = run.history.lower_bound.tolist()
        self.init_lower_bounds_ = list(result.lower_bounds)
        self.init_methods_ = list(result.start_methods)
        by_iteration = ("lower_bound", "weights", "seconds", "limit")
        self.history_ = {name: getattr(run.history, name) for name in by_iteration}
        self.engine_ = result.engine
        self.diagnostics_ = list(result.diagnostics)

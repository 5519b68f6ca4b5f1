"""What the mixture estimators share."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral, Number, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from fastem import criteria
from fastem.acceleration import ACCELERATIONS
from fastem.criteria import Totals
from fastem.data.arrays import as_weights, is_plain
from fastem.data.blocks import Block
from fastem.data.kinds import is_source, is_streamed
from fastem.degeneracy import DegenerateComponentWarning, told
from fastem.em import STOPPING_RULES
from fastem.engines import ENGINES, choose_engine, pass_work
from fastem.engines.threads import resolve_threads
from fastem.estimators.dispatch import Collection, as_collection
from fastem.families import Family, Params
from fastem.fitting import FitResult, fit
from fastem.init import START_METHODS
from fastem.mixture import Mixture
from fastem.progress import ProgressLine
from fastem.sampling import as_random_state

if TYPE_CHECKING:
    from fastem.data.sources.source import CacheKind, Missing
    from fastem.online import StepSize
    from fastem.online.learning import Learned

# Settings that are remembered as valid, by class.
_KNOWN_SETTINGS = 256


def _as_seen_by_constraints(value: Any) -> Any:
    """What of a parameter decides on its validity: its type and, of scalars, its value."""
    return type(value), value if isinstance(value, (str, int, float, Number)) else getattr(value, "ndim", None)


class BaseMixture(DensityMixin, BaseEstimator):
    """A mixture model as scikit-learn's users know it.

    A subclass names its family and translates between the family's parameters and its fitted attributes.
    """

    family_name: ClassVar[str]
    #: What :meth:`partial_fit` knows of the rows before.
    _learned: Learned | None = None
    _valid_settings: ClassVar[set[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._valid_settings = set()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions(set(START_METHODS))],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "engine": [StrOptions({"auto", *ENGINES})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callbacks": ["array-like", callable, None],
        "on_interrupt": [StrOptions({"raise", "keep"})],
        "accelerate": [StrOptions(set(ACCELERATIONS)), None],
        "stopping": [StrOptions(set(STOPPING_RULES))],
        "strict": ["boolean"],
        "split_merge": [Interval(Integral, 0, None, closed="left")],
    }

    @abstractmethod
    def _family(self) -> Family[Any]:
        """The family with this estimator's settings."""

    @abstractmethod
    def _given_params(self, start: Params | None, n_features: int, dtype: Any) -> Params | None:
        """``start`` with the user's starting values in place of its own; None where there is neither."""

    @abstractmethod
    def _fitted_params(self) -> Params:
        """The family's parameters of the fitted attributes, in float64."""

    @abstractmethod
    def _set_params_attributes(self, params: Params, dtype: Any) -> None:
        """Fitted attributes of the family's parameters."""

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
    ) -> BaseMixture:
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

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, step_size: StepSize | None = None
    ) -> BaseMixture:
        """Learn from further rows, by stepwise EM: each mini-batch enters the statistics of all rows before.

        The first rows wait until there are two for each free parameter (at most 50,000 rows); until then the model is
        not fitted. A start is found from them as ``init_params`` says. A model that was fitted by :meth:`fit`, or read
        from a file, goes on from its parameters. A call with many rows makes several steps. What was learned goes
        into copies and pickles, but not into the files of :meth:`save`, which hold parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in no particular order: those of one call should not be of one kind.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights.
        step_size : fastem.StepSize, optional
            How much new rows count; ``StepSize(half_life=...)`` follows a drift. By default ``StepSize()``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data or a parameter is not as documented, or the model was changed since the last call.
        DegenerateComponentError
            (a ValueError) If a component collapses; the model stays as it was.

        References
        ----------
        Cappé & Moulines (2009), On-line expectation-maximization algorithm for latent data models.
        """
        # A first fit in a process is as quick as the imports that it needs.
        from fastem.online.learning import Learned, Learner, find_start
        from fastem.online.memory import StepSize

        self._validate_params()
        if step_size is not None and not isinstance(step_size, StepSize):
            raise ValueError(f"step_size must be a fastem.StepSize or None, but got {step_size!r}")
        # Names and number of features are those of the first rows.
        new = not hasattr(self, "n_features_in_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=new)
        family = self._family()
        family.check_data(X)
        before = self._learned
        if before is None:
            before = Learned(params=self._fitted_params() if hasattr(self, "weights_") else None)
        engine = choose_engine(self.engine, pass_work(X.shape, self.n_components, family.moments))

        def start(block: Block) -> Params:
            given = self._given_params(None, X.shape[1], X.dtype)
            return find_start(
                block,
                family,
                self.n_components,
                self.init_params if given is None else given,
                as_random_state(self.random_state),
                engine,
                self.n_threads,
                n_init=self.n_init,
                amend=lambda found: self._given_params(found, X.shape[1], X.dtype),
            )

        learned, result = Learner(family, self.n_components, start, engine, self.n_threads).learn(
            Block(X, as_weights(sample_weight, len(X))),
            before,
            step_size or StepSize(),
            callbacks=self._callbacks(),
            on_interrupt=self.on_interrupt,
        )
        if result is not None:
            self._set_result(result, X.dtype)
        self._learned = learned
        self.n_samples_seen_ = learned.n_samples
        return self

    def __sklearn_is_fitted__(self) -> bool:
        # The first rows of partial_fit may still wait for a start.
        return hasattr(self, "weights_")

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

    def _validate_params(self) -> None:
        """Raise ValueError where a parameter is not as documented; settings that passed are not looked at again."""
        if get_config()["skip_parameter_validation"]:
            return
        settings = tuple(map(_as_seen_by_constraints, (getattr(self, name) for name in self._parameter_constraints)))
        if settings in self._valid_settings:
            return
        super()._validate_params()
        if len(self._valid_settings) >= _KNOWN_SETTINGS:
            self._valid_settings.clear()
        self._valid_settings.add(settings)

    def _runner(self, shape: tuple[int, ...]) -> str:
        """The engine and the threads of a fit, as ``verbose=2`` shows them."""
        work = pass_work(shape, self.n_components, self._family().moments)
        engine = choose_engine(self.engine, work * self.max_iter * self.n_init)
        threads = resolve_threads(self.n_threads, work)
        return f"engine {engine.name}, {threads} thread{'s' * (threads > 1)}"

    def _callbacks(self) -> list[Any]:
        return [self.callbacks] if callable(self.callbacks) else list(self.callbacks or ())

    def _set_result(self, result: FitResult, dtype: Any) -> None:
        # What partial_fit learned before is of other parameters.
        self._learned = None
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

    # What the fitted model computes.

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

    def _note_features(self, collection: Collection) -> None:
        """What a fit remembers of the features."""
        validate_data(self, collection.like, skip_check_array=True)
        if collection.names is not None:
            self.feature_names_in_ = np.array(collection.names, dtype=object)

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

    # Files.

    def save(self, path: Any) -> None:
        """Write the fitted model to one file, without pickle: ``.json`` for small models to read, else ``.npz``.

        Parameters
        ----------
        path : path-like
            Ends in ``.npz`` or ``.json``.
        """
        from fastem.persistence import save_mixture

        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        save_mixture(
            path,
            self._mixture,
            details={
                "converged": bool(self.converged_),
                "n_iter": int(self.n_iter_),
                "lower_bound": float(self.lower_bound_) if np.isfinite(self.lower_bound_) else None,
                "dtype": self._dtype().name,
                "feature_names": None if names is None else [str(name) for name in names],
            },
        )

    @classmethod
    def load(cls, path: Any) -> BaseMixture:
        """The fitted model of a file that :meth:`save` wrote.

        Raises
        ------
        ValueError
            If the file is damaged, of another program or version, or holds another family.
        """
        from fastem.persistence import load_mixture

        mixture, details = load_mixture(path)
        if mixture.family.name != cls.family_name:
            raise ValueError(f"{path} holds a {mixture.family.name} mixture; load it with fastem.load(path)")
        return cls._from_mixture(mixture, details)

    @classmethod
    def _from_mixture(cls, mixture: Mixture, details: dict[str, Any] | None = None) -> Any:
        """A fitted estimator of known parameters."""
        details = details or {}
        model = cls(n_components=len(mixture.params.weights), **mixture.family.settings())
        model._set_params_attributes(mixture.params, np.dtype(details.get("dtype", "float64")))
        model.n_features_in_ = mixture.params.origin.shape[1]
        if details.get("feature_names"):
            model.feature_names_in_ = np.array(details["feature_names"], dtype=object)
        model.converged_ = details.get("converged", True)
        model.n_iter_ = details.get("n_iter", 0)
        reached = details.get("lower_bound")
        model.lower_bound_ = -np.inf if reached is None else reached
        model.lower_bounds_ = []
        return model

    @abstractmethod
    def _dtype(self) -> np.dtype[Any]:
        """Float type of the fitted attributes."""

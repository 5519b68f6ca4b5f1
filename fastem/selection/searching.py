"""``fastem.search``: number of components and covariance structure, each model started also from its neighbours."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from fastem.acceleration import Acceleration
from fastem.data.arrays import as_rows, as_weights
from fastem.data.kinds import is_source, is_streamed
from fastem.em import Callback, OnInterrupt, Stopping
from fastem.engines import choose_engine, pass_work
from fastem.estimators import GaussianMixture
from fastem.estimators.dispatch import as_collection
from fastem.families import Gaussian
from fastem.families.covariance_structures import SKLEARN_NAMES, STRUCTURES
from fastem.passes import ArrayRows, Runner
from fastem.progress import FitProgress, GridProgress, PassProgress, title_of
from fastem.selection.cross_validation import make_folds
from fastem.selection.fits import Fits
from fastem.selection.judging import Judge, log_likelihoods_of_one
from fastem.selection.records import CRITERIA, SearchRecord, SearchTable
from fastem.selection.streamed import is_large, search_streamed
from fastem.selection.sweeps import Model, Models, Sweeps
from fastem.selection.workers import Workers

#: Numbers of components that are tried where none are given.
DEFAULT_NUMBERS = tuple(range(1, 10))
#: What "all" covariance types are: every structure once, by scikit-learn's name where it has one.
_BY_STRUCTURE = {mclust: name for name, mclust in SKLEARN_NAMES.items()}
ALL_TYPES = tuple(_BY_STRUCTURE.get(structure, structure) for structure in STRUCTURES)
#: All that differ where there is one feature.
TYPES_OF_ONE_FEATURE = ("tied", "full")
# What the criteria take of one model, in passes of its fit: its densities, and those of one component.
_CRITERIA_PASSES = 3.5


def chosen_numbers(n_components: int | Iterable[int]) -> list[int]:
    """Numbers of components, each once."""
    return [n_components] if isinstance(n_components, Integral) else list(dict.fromkeys(n_components))  # type: ignore


def chosen_types(covariance_types: str | Iterable[str], n_features: int) -> list[str]:
    """Names of covariance types, each once; "all" is every structure that the family knows, and that differs."""
    if isinstance(covariance_types, str):
        if covariance_types == "all":
            return list(ALL_TYPES if n_features > 1 else TYPES_OF_ONE_FEATURE)
        return [covariance_types]
    return list(dict.fromkeys(covariance_types))


def search(
    X: Any,
    n_components: int | Iterable[int] = DEFAULT_NUMBERS,
    covariance_types: str | Iterable[str] = "all",
    criterion: str = "bic",
    *,
    sample_weight: Any = None,
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
    callbacks: Callback | Sequence[Callback] | None = None,
    on_interrupt: OnInterrupt = "raise",
    accelerate: Acceleration | None = None,
    stopping: Stopping = "change",
    verbose: int = 0,
) -> SearchTable:
    """Fit Gaussian mixtures of several sizes and covariance structures, and find the best by a criterion.

    Going up, a model starts from a partition of one of two trees for all models, from ``n_init`` starts by
    ``init_params``, and from the solution of a component less with one split in two. Going down, it starts from the
    solution of a component more with two merged that lose little as one, and from those of structures near to its own.
    All are tried for a few iterations, and the best go on. Solutions with a component that collapsed, or
    that is there by chance, are set aside (:mod:`fastem.selection.spurious`).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
        Sources of up to a quarter of the memory are read into it. Of larger ones, of blocks that nobody has counted and
        of Dask's collections every model is fitted by itself, from ``n_init`` starts, to rows that are read in every
        pass: ``warm_starts`` and ``n_folds`` do not count, and the criterion is "bic", "aic" or "icl".
    n_components : int or iterable of int, default=1 to 9
    covariance_types : "all", a type or an iterable of types
    criterion : {"bic", "aic", "icl", "nec", "cv"}, default="bic"
        What chooses the model; lower is better for all of them. mclust's BIC has the opposite sign. The first four are
        in the table whichever chooses; "cv" costs ``n_folds`` more fits a model.
    sample_weight : array-like of shape (n_samples,), optional
        Weight 2 is the row twice.
    n_init : int, default=1
        Starts of each model by ``init_params``, and how many of these and its neighbour's run in full; more find more.
    init_params : str, default="k-means++"
        As for :class:`GaussianMixture`. Starts by k-means++ differ more from each other than those by k-means.
    warm_starts : bool, default=True
        Whether models start from their neighbours too.
    n_folds : int, default=10
        Parts of the rows that "cv" leaves out in turn; the same for all models.
    tol, max_iter, reg_covar, engine, accelerate, stopping
        As for :class:`GaussianMixture`, but with a smaller ``tol`` and a larger ``max_iter``: models are compared.
    random_state : int, RandomState or None
        Where the seeds of starts and folds come from. All models have the same seeds.
    n_threads : int or None, default=None
        Threads in all. Fits run side by side on a thread each, large ones in turn on all threads, and tiny ones in turn
        on one; the table does not depend on it, but for ``seconds``.
    callbacks : callable or sequence of callable, optional
        Called after each iteration of the full fits, also from other threads than this one.
    on_interrupt : {"raise", "keep"}, default="raise"
        Whether Ctrl-C raises, or ends the search with the models that are there.
    verbose : int, default=0
        1 shows the progress on stderr.

    Returns
    -------
    SearchTable

    Raises
    ------
    ValueError
        If data or an option are not as described. A model that cannot be fitted is no error but a record that says so.

    References
    ----------
    Fraley & Raftery (1998), How many clusters? Which clustering method?, for the tree. Ueda, Nakano, Ghahramani &
    Hinton (2000), SMEM algorithm for mixture models, for splits and merges as starts. Biernacki, Celeux &
    Govaert (2003), Choosing starting values for the EM algorithm, for short runs.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {CRITERIA}, but got {criterion!r}")
    options: dict[str, Any] = {
        "n_init": n_init,
        "init_params": init_params,
        "tol": tol,
        "max_iter": max_iter,
        "reg_covar": reg_covar,
        "engine": engine,
        "n_threads": n_threads,
        "callbacks": callbacks,
        "on_interrupt": on_interrupt,
        "accelerate": accelerate,
        "stopping": stopping,
    }
    numbers, names = chosen_numbers(n_components), None
    if is_streamed(X):
        from fastem.data.sources import open_source

        X = open_source(X)
        if sample_weight is not None:
            raise ValueError("sample_weight goes with an array; files and blocks bring their weights, see open_source")
    collection = as_collection(X)
    if collection is not None:
        if not is_source(X) or is_large(X):
            kinds = _checked_types(numbers, covariance_types, collection.shape[1], options)
            return search_streamed(
                X,
                numbers,
                kinds,
                criterion,
                sample_weight=sample_weight,
                random_state=random_state,
                shown=bool(verbose),
                **options,
            )
        names = collection.names
        with PassProgress("reading", shown=bool(verbose)) as reading:
            X, sample_weight = X.gathered(reading.on_block)
    templates, rows = _templates(X, names, numbers, covariance_types, options)
    rng = check_random_state(random_state)
    seeds = [int(seed) for seed in rng.randint(np.iinfo(np.int32).max, size=n_init)]
    folds = make_folds(len(rows), n_folds, rng) if criterion == "cv" else None
    weight = as_weights(sample_weight, len(rows))
    families = _families(templates, ArrayRows(rows, weight), Runner(choose_engine(engine, 0.0), n_threads))
    work = max(pass_work(rows.shape, max(numbers), family.moments) for family in families.values())
    workers = Workers(n_threads, work, on_interrupt)
    fits = Fits.like(next(iter(templates.values())), rows, weight, workers, callbacks)
    models = {(k, kind): Model(k, family) for k in numbers for kind, family in families.items()}
    sweeps = 1 + (warm_starts and len(numbers) > 1) + (folds is not None)
    with _progress(models, sweeps, options, shown=bool(verbose)) as progress:
        progress.on_phase("starts")
        Sweeps(fits, models, workers, seeds, progress).run(warm_starts)
        progress.on_phase("criteria")
        judge = Judge(fits, templates, criterion)
        ones = log_likelihoods_of_one(fits, models)
        records = [judge.record(model, ones[kind]) for (_, kind), model in models.items()]
        if folds is not None:
            records = _cross_validated(judge, workers, list(models.values()), records, folds, progress)
    return SearchTable(tuple(records), criterion, workers.interrupted.is_set())


def _progress(models: Models, sweeps: int, options: dict[str, Any], shown: bool) -> FitProgress | GridProgress:
    """That of one fit tells its end; of many the number that is done."""
    if len(models) * sweeps > 1:
        return GridProgress(list(models), shown, sweeps)
    title = title_of(*next(iter(models)))
    return FitProgress(title, options["max_iter"], options["tol"], shown, criteria_passes=_CRITERIA_PASSES)


def _checked_types(
    numbers: Sequence[int], covariance_types: str | Iterable[str], n_features: int, options: dict[str, Any]
) -> list[str]:
    """The covariance types, if they, the numbers of components and the options are as described."""
    kinds = chosen_types(covariance_types, n_features)
    if not numbers or not kinds:
        raise ValueError(f"a search needs numbers of components and covariance types, but got {numbers} and {kinds}")
    for k in numbers:
        GaussianMixture(k, **options)._validate_params()
    for kind in kinds:
        GaussianMixture(covariance_type=kind, **options)._validate_params()
    return kinds


def _templates(
    X: Any,
    names: Sequence[str] | None,
    numbers: Sequence[int],
    covariance_types: str | Iterable[str],
    options: dict[str, Any],
) -> tuple[dict[str, GaussianMixture], np.ndarray]:
    """An estimator of each covariance type, which knows the names of features; and the rows. Checks all of them."""
    shape = getattr(X, "shape", None) or np.asarray(X).shape
    kinds = _checked_types(numbers, covariance_types, shape[1] if len(shape) == 2 else 1, options)
    named = GaussianMixture()
    templates = {}
    for kind in kinds:
        # A model of the table has one start, and nothing to do with the search any more.
        kept = {name: value for name, value in options.items() if name not in ("n_init", "callbacks", "on_interrupt")}
        templates[kind] = GaussianMixture(covariance_type=kind, **kept)
    # Names of features are the estimator's business.
    rows = validate_data(named, X, dtype=[np.float64, np.float32], ensure_min_samples=2, ensure_all_finite=False)
    if names is not None:
        named.feature_names_in_ = np.array(names, dtype=object)
    for template in templates.values():
        template.n_features_in_ = named.n_features_in_
        if hasattr(named, "feature_names_in_"):
            template.feature_names_in_ = named.feature_names_in_
    return templates, as_rows(rows)


def _families(templates: dict[str, GaussianMixture], rows: ArrayRows, runner: Runner) -> dict[str, Gaussian]:
    """The family of each covariance type; rows are measured once for all of them, where ``reg_covar`` is relative."""
    measured = rows.scaled(next(iter(templates.values()))._family(), 1, runner)
    return {kind: replace(each._family(), reg_covar=measured.reg_covar) for kind, each in templates.items()}


def _cross_validated(
    judge: Judge,
    workers: Workers,
    models: Sequence[Model],
    records: Sequence[SearchRecord],
    folds: Sequence[np.ndarray],
    progress: FitProgress | GridProgress,
) -> list[SearchRecord]:
    """The records with their cross-validated criterion, for all that can be fitted before an interruption."""

    def validate(model: Model) -> tuple[float, str, float] | None:
        began = time.perf_counter()
        watch = progress.following(model.n_components, model.family.covariance_type)
        value, message = judge.cross_validate(model, folds, watch)
        if workers.interrupted.is_set():
            return None
        progress.step_done(model.n_components)
        return value, message, time.perf_counter() - began

    found = []
    for record, validated in zip(records, workers.map(validate, models), strict=True):
        value, message, seconds = validated or (np.nan, "interrupted before it was cross-validated", 0.0)
        found.append(
            replace(record, cv=value, value=value, message=record.message or message, seconds=record.seconds + seconds)
        )
    return found

"""``fastem.fit``: a mixture of any family fitted to rows, without scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from fastem.acceleration import Acceleration, check_acceleration
from fastem.data.arrays import as_rows, as_weights
from fastem.data.kinds import is_distributed, is_streamed
from fastem.degeneracy import Diagnosis
from fastem.em import STOPPING_RULES, Callback, EMResult, OnInterrupt, Stopping
from fastem.engines import choose_engine, pass_work
from fastem.families import Family, Params, as_family
from fastem.init import Start, find_starts, searches
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Rows, Runner
from fastem.restarts import PANELS, RESTARTS, Heat, Outcome, best_run, race, settling_rows
from fastem.runs import Loop, Runs
from fastem.sampling import borrowed_random_state

if TYPE_CHECKING:
    from fastem.scaling import Scaling
    from fastem.streaming import Checkpoint

# Who fits what is distributed, by the package of its type.
_ELSEWHERE = {
    "dask": "fastem.GaussianMixture(...).fit(X) leaves them where they are, and so does "
    "fastem.fit(fastem.distributed.dask.DaskRows(X), ...)",
    "pyspark": "fastem.distributed.spark.fit(X, columns, ...) leaves them where they are",
}


@dataclass(frozen=True)
class FitResult(Mixture):
    """A fitted mixture and how it came about.

    Attributes
    ----------
    run : EMResult
        Loop of the best start: ``converged``, ``n_iter``, ``lower_bound``, ``history``.
    lower_bounds : tuple of float
        Mean log-likelihood that each start reached, on the sample where it ended in the race; -inf where a component
        collapsed.
    engine : str
        Name of the engine that ran.
    start_methods : tuple of str
        How each start was found: the name of a method, or "given".
    diagnostics : tuple of Diagnosis
        Components of the result that are hardly distributions; none where all is well.
    """

    run: EMResult[Any]
    lower_bounds: tuple[float, ...]
    engine: str
    start_methods: tuple[str, ...] = ()
    diagnostics: tuple[Diagnosis, ...] = ()

    @classmethod
    def of(
        cls,
        runs: Runs,
        winner: int,
        run: EMResult[Any],
        n_rows: int,
        lower_bounds: tuple[float, ...],
        start_methods: tuple[str, ...],
    ) -> FitResult:
        """What the run from the winning start, over so many rows, came to.

        Raises
        ------
        DegenerateComponentError
            If a component is degenerate, and the runs are strict.
        """
        diagnostics = runs.diagnose(winner, run.params, n_rows)
        return cls(runs.family, run.params, run, lower_bounds, runs.runner.engine.name, start_methods, diagnostics)


@dataclass(frozen=True)
class _Field:
    """Starts, and the rows that they run over before all.

    Attributes
    ----------
    starts : list of Start
    heats : sequence of Heat
        Those of the race; none where all starts run in full.
    sample : ArrayRows or None
        Where they race, and moves out of an optimum are tried.
    settling : ArrayRows or None
        Where the winner settles.
    """

    starts: list[Start]
    heats: Sequence[Heat]
    sample: ArrayRows | None
    settling: ArrayRows | None

    def race(self, runs: Runs, rows: Rows, begin: Callable[..., None]) -> tuple[dict[int, Outcome], dict[int, Outcome]]:
        """Outcome of each start, and of those that ran over all rows; ``begin`` is told when they do."""

        def run_heat(these: Mapping[int, Any], iterations: int) -> dict[int, Outcome]:
            assert self.sample is not None
            return runs.heat(self.sample, these, iterations)

        def run_finals(these: Mapping[int, Any]) -> dict[int, Outcome]:
            if self.settling is not None:
                settled = runs.settle(self.settling, these)
                found = {i: run for i, run in settled.items() if isinstance(run, EMResult)}
                if any(run.interrupted for run in found.values()):
                    return settled
                sound = {i: run.params for i, run in found.items() if not runs.degenerate(i, run.params).any()}
                these = {**these, **sound}
            begin("iterations")
            return runs.finals(rows, these)

        every = {i: each.params for i, each in enumerate(self.starts)}
        heats = self.heats if runs.loop.max_iter > 0 else ()
        return race(every, heats, run_heat, run_finals, runs.worth)


def fit(
    X: Any,
    family: str | Family[Any] = "gaussian",
    n_components: int = 1,
    *,
    start: str | Params | Sequence[Params] = "auto",
    amend: Callable[[Any], Any] | None = None,
    sample_weight: Any = None,
    tol: float = 1e-3,
    max_iter: int = 100,
    n_init: int = 1,
    random_state: Any = None,
    engine: str = "auto",
    n_threads: int | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    on_interrupt: OnInterrupt = "raise",
    previous: float = -np.inf,
    accelerate: Acceleration | None = None,
    stopping: Stopping = "change",
    split_merge: int = 0,
    strict: bool = False,
    checkpoint: Checkpoint | None = None,
    standardize: bool = False,
) -> FitResult:
    """Fit a mixture by expectation-maximization.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or what :func:`fastem.open_source` takes or returns
        Rows, float32 or float64 in any memory order, read where they lie; other types are converted to float64. Files,
        Arrow data, blocks and large memory maps are read block by block in each pass, and starts are found on a uniform
        sample of the rows. Also a :class:`fastem.passes.Rows`.
    family : {"gaussian", "poisson"} or Family
        Distribution of the components; a :class:`~fastem.families.Family` carries settings, such as
        ``Gaussian("diag", reg_covar=0.0)``.
    n_components : int
    start : {"auto", "kmeans", "k-means++", "random", "random_from_data"}, Params, or sequence of Params
        Where to start: a method, or parameters, of which each is tried. "auto" lets starts by several methods race on a
        sample of the rows (:mod:`fastem.init.candidates`), where components have covariances, and is "kmeans" elsewhere
        and for a single component. Where the rows are very many, the best start settles on a sample of them: its passes
        there are not counted, and callbacks do not see them.
    amend : callable, optional
        Applied to the parameters that a method starts from, to put known values in their place.
    sample_weight : array-like of shape (n_samples,), optional
        Non-negative weights: weight 2 is the row twice.
    tol : float
        Stop when the mean log-likelihood of a row changes by less.
    max_iter : int
        Passes over the rows of a start at most.
    n_init : int
        Number of starts that a method makes, and of panels of starts that "auto" makes; the one of the highest
        likelihood is kept. Where the rows are many, the starts first race on a sample of them (see
        :mod:`fastem.restarts`); starts that are given all run in full.
    random_state : int, RandomState or None
    engine : {"auto", "numba", "cython", "numpy", "python"}
    n_threads : int or None
        Threads of a pass; None for as many as this process may use. The result does not depend on it.
    callbacks : callable or sequence of callable
        Each is called with an :class:`~fastem.em.Iteration`; a true return value stops the fit. A method ``on_block``
        of a callback is told, after each block of a source, how many rows of the pass are done, and of how many. A
        method ``on_phase`` is told what begins: "rows", which are checked and measured, "starts" or "iterations".
        Without one, the iterations of a fit to few rows are one call, which may round in another order.
    on_interrupt : {"raise", "keep"}
        Whether Ctrl-C raises, or ends the fit with the best parameters so far.
    previous : float
        Mean log-likelihood that the first iteration's change is measured from, for a fit that goes on.
    accelerate : {None, "auto", "lbfgs", "squarem", "anderson"}
        Extrapolation between EM steps, guarded by the likelihood (:mod:`fastem.acceleration`); None is EM itself, and
        "auto" is "lbfgs". Where rows in memory are many, the first passes are in single precision. A family of your
        own needs ``to_vector``, ``from_vector`` and ``expected_log_likelihood``.
    stopping : {"change", "aitken"}
        What ``tol`` bounds: the change by an EM step, or the distance to where the log-likelihood is heading
        (:func:`fastem.em.aitken_limit`).
    split_merge : int
        Rounds of split-and-merge moves after the best run: two components become one and a third one two, and EM goes
        on from there (:mod:`fastem.split_merge`). A round is kept only if the likelihood rises, and the first that does
        not is the last. ``run`` is the last run that was kept.
    strict : bool
        Whether a component that collapses, or that no row is left to, is an error. Otherwise a covariance that becomes
        singular is regularised more than asked for, starts that collapse are kept only if all do, and ``diagnostics``
        says what is wrong with the result.
    checkpoint : fastem.Checkpoint, optional
        File from which the fit goes on after any end, with the same bits; the rows are then read block by block,
        whatever they are. Callbacks are told again of the passes before.
    standardize : bool
        Whether to fit features of mean 0 and variance 1: starts, ``reg_covar`` and structures are then those of these
        units, and the result is in those of the data (:mod:`fastem.scaling`). For Gaussian components that are no
        spheres.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If data, weights or an option are not as described; the message says what was given and what is required.
        Collections of Dask and of Spark are not gathered: the message says who fits them.
    DegenerateComponentError
        If ``strict`` and a component is degenerate in the best of all starts.

    References
    ----------
    Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """
    callbacks = [callbacks] if callable(callbacks) else list(callbacks)
    family = as_family(family)
    _check_options(n_components, tol, max_iter, n_init, on_interrupt, stopping, split_merge)
    check_acceleration(accelerate, family)
    on_block, settles = _telling(callbacks, "on_block"), _by_panels(start, family, n_components)
    opened = _opened(X, sample_weight, family, n_components, random_state, checkpoint, on_block, settles)
    with opened as (rows, random_state):
        begin = _telling(callbacks, "on_phase")
        begin("rows")
        rows.check(family)
        if rows.n_samples < n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = "
                f"{rows.n_samples}; use fewer components or more rows"
            )
        n_starts = n_init if isinstance(start, str) else 1 if isinstance(start, Params) else len(start)
        work = pass_work(rows.shape, n_components, family.moments) * max_iter * n_starts
        runner = Runner(choose_engine(engine, work), n_threads)
        scaling = None
        if standardize:
            from fastem.scaling import ScaledRows, Scaling

            scaling = Scaling.of(family, rows.moments("diag", runner))
            rows, amend = ScaledRows(rows, scaling), scaling.amending(amend)
            callbacks = [scaling.told(callback) for callback in callbacks]
            previous += scaling.log_volume
            if not isinstance(start, str):
                start = [scaling.from_data(params) for params in ([start] if isinstance(start, Params) else start)]
        begin("starts")
        family = rows.scaled(family, n_components, runner)
        loop = Loop(tol, max_iter, stopping, accelerate, previous, callbacks, on_interrupt, strict)
        runs = Runs(family, n_components, runner, loop)
        with borrowed_random_state(random_state) as rng:
            field = _field(start, n_init, amend, rows, runs, rng, needs_sample=split_merge > 0)
        outcomes, finals = field.race(runs, rows, begin)
        winner, best = best_run(finals, runs.worth)
        if split_merge > 0 and max_iter > 0:
            assert field.sample is not None
            best = _moved(best, winner, split_merge, runs, rows, field.sample)
        reached = tuple(run.lower_bound if isinstance(run, EMResult) else -np.inf for run in outcomes.values())
        methods = tuple(each.method for each in field.starts)
        result = FitResult.of(runs, winner, best, rows.n_weighted, reached, methods)
        return result if scaling is None else _to_data(result, scaling)


@contextmanager
def _opened(
    X: Any,
    sample_weight: Any,
    family: Family[Any],
    n_components: int,
    random_state: Any,
    checkpoint: Checkpoint | None,
    on_block: Callable[..., None],
    settles: bool,
) -> Iterator[tuple[Rows, Any]]:
    """The data as rows, and the random state of the fit, which a checkpoint keeps."""
    if isinstance(X, Rows):
        if sample_weight is not None or checkpoint is not None:
            raise ValueError("sample_weight and checkpoint go with data, and not with rows that bring their own")
        yield X, random_state
    elif checkpoint is not None or is_streamed(X):
        from fastem.streaming import open_rows

        with open_rows(X, sample_weight, family, n_components, random_state, checkpoint, on_block, settles) as rows:
            yield rows, rows.seed
    else:
        _check_in_memory(X)
        X = as_rows(X)
        yield ArrayRows(X, as_weights(sample_weight, len(X))), random_state


def _telling(callbacks: Sequence[Any], method: str) -> Callable[..., None]:
    """Calls the method of those callbacks that have it."""
    told = [getattr(callback, method) for callback in callbacks if hasattr(callback, method)]

    def tell(*what: Any) -> None:
        for each in told:
            each(*what)

    return tell


def _check_in_memory(X: Any) -> None:
    if is_distributed(X):
        package = type(X).__module__.partition(".")[0]
        raise ValueError(
            f"the rows of a {type(X).__module__}.{type(X).__name__} would all be gathered here; {_ELSEWHERE[package]}"
        )


def _by_panels(start: Any, family: Family[Any], n_components: int) -> bool:
    return isinstance(start, str) and start == "auto" and searches(family, n_components)


def _field(
    start: str | Params | Sequence[Params],
    n_init: int,
    amend: Callable[[Any], Any] | None,
    rows: Rows,
    runs: Runs,
    rng: np.random.RandomState,
    needs_sample: bool,
) -> _Field:
    """The starts, with a sample where they race or ``needs_sample``."""
    family, n_components, runner = runs.family, runs.n_components, runs.runner
    by_panels = _by_panels(start, family, n_components)
    plan = PANELS if by_panels else RESTARTS
    n_parameters = family.n_parameters(n_components, rows.n_features)
    most = plan.n_rows(n_parameters)
    has_many = rows.n_samples >= 2 * most
    races = isinstance(start, str) and (by_panels or (n_init > 1 and has_many))
    sample = settling = None
    n_settling = settling_rows(rows.n_samples, rows.n_features, n_parameters) if by_panels else None
    if n_settling is not None:
        settling = rows.sample(n_settling, rng)
        sample = settling.sample(most, rng)
    elif by_panels or needs_sample or (isinstance(start, str) and rows.in_memory is None):
        sample = rows.sample(most if has_many else rows.n_samples, rng)
    if isinstance(start, str):
        source = sample if by_panels or rows.in_memory is None else rows.in_memory
        assert source is not None
        data = source.X, source.sample_weight
        starts = find_starts(family, *data, n_components, start, n_init, rng, runner.engine, runner.n_threads, amend)
        if races and sample is None:
            sample = rows.sample(most, rng)
    else:
        given = [start] if isinstance(start, Params) else start
        starts = [Start("given", params) for params in _check_starts(given, family, (n_components, rows.n_features))]
    return _Field(starts, plan.heats if races else (), sample, settling)


def _moved(best: EMResult[Any], winner: int, rounds: int, runs: Runs, rows: Rows, sample: ArrayRows) -> EMResult[Any]:
    """The best run after rounds of split-and-merge moves, which are tried on the sample."""
    from fastem.split_merge import Mover

    def run_on(X: np.ndarray, weight: np.ndarray | None, params: Params, iterations: int) -> EMResult[Any]:
        return runs.trial(ArrayRows(X, weight), params, iterations)

    def run_full(params: Params) -> EMResult[Any]:
        return best_run(runs.finals(rows, {winner: params}))[1]

    X = np.ascontiguousarray(sample.X, dtype=np.float64)
    mover = Mover(runs.family, X, sample.sample_weight, runs.runner.engine, runs.runner.n_threads, run_on)
    return mover.improve(best, run_full, rounds)


def _to_data(result: FitResult, scaling: Scaling) -> FitResult:
    """A result in the units of the data."""
    run = scaling.run_to_data(result.run)
    reached = tuple(value - scaling.log_volume for value in result.lower_bounds)
    family = result.family.in_units(scaling.scale)
    return replace(result, family=family, params=run.params, run=run, lower_bounds=reached)


def _check_options(
    n_components: Any, tol: Any, max_iter: Any, n_init: Any, on_interrupt: Any, stopping: Any, split_merge: Any
) -> None:
    at_least = {"n_components": 1, "max_iter": 0, "n_init": 1, "split_merge": 0}
    given = (n_components, max_iter, n_init, split_merge)
    for (name, least), value in zip(at_least.items(), given, strict=True):
        if not isinstance(value, Integral) or int(value) < least:
            raise ValueError(f"{name} must be an integer of at least {least}, but got {value!r}")
    if not isinstance(tol, Real) or not float(tol) >= 0:
        raise ValueError(f"tol must be a number of at least 0, but got {tol!r}")
    if on_interrupt not in ("raise", "keep"):
        raise ValueError(f"on_interrupt must be 'raise' or 'keep', but got {on_interrupt!r}")
    if stopping not in STOPPING_RULES:
        raise ValueError(f"stopping must be one of {STOPPING_RULES}, but got {stopping!r}")


def _check_starts(starts: Sequence[Params], family: Family[Any], shape: tuple[int, int]) -> list[Params]:
    if len(starts) == 0:
        raise ValueError("start must be a method, parameters, or a sequence of at least one set of parameters")
    for params in starts:
        try:
            family.check_params(params)
        except ValueError as error:
            raise ValueError(f"start does not fit the family: {error}") from error
        if params.origin.shape != shape:
            raise ValueError(
                "the starting parameters have (n_components, n_features) = "
                f"{params.origin.shape}, but the fit is of {shape}"
            )
    return list(starts)

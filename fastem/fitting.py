"""``fastem.fit``: a mixture of any family fitted to rows, without scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastem import em
from fastem.acceleration import Acceleration, accelerated, check_acceleration
from fastem.data.arrays import as_rows, as_weights, rough_centre, sample_rows
from fastem.degeneracy import Diagnosis, Guard, told
from fastem.em import STOPPING_RULES, Callback, EMResult, OnInterrupt, Stopping
from fastem.engines import Engine, choose_engine, pass_work
from fastem.engines.threads import resolve_threads
from fastem.families import Family, Params, as_family
from fastem.families.base import DegenerateComponentError
from fastem.init import Start, find_starts, searches
from fastem.mixture import Mixture
from fastem.restarts import PANELS, RESTARTS, Outcome, best_run, race, run_starts
from fastem.sampling import as_random_state
from fastem.split_merge import Mover
from fastem.stats import Moments, Stats

#: Rows and their weights.
Data = tuple[np.ndarray, np.ndarray | None]

# Work of one pass, in multiply-adds, below which restarts run side by side instead of one after another on all threads.
_SIDE_BY_SIDE_WORK = 5e7
# Rows are grouped from this pass on, and if there are so many of them: an index costs half of a pass, and 4 bytes a
# row, which memory that does not grow with the rows leaves room for up to here.
_FIRST_GROUPING = 4
_GROUPED_ROWS = range(20_000, 2**22)
# A heat stops early only where nothing happens any more: slow starts may be the better ones.
_HEAT_TOL = 1e-5


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


class Passes:
    """The two steps of EM for one family, engine and data set."""

    def __init__(
        self,
        family: Family[Any],
        X: np.ndarray,
        sample_weight: np.ndarray | None,
        engine: Engine,
        n_threads: int | None,
    ) -> None:
        self.family = family
        self.X = X
        self.sample_weight = sample_weight
        self.engine = engine
        self.n_threads = n_threads
        # What does not depend on the parameters is computed once, about a point that does not depend on them either.
        self._shared = None
        if family.shared_moments is not None:
            self._shared = moments_of_all_rows(family.shared_moments, X, sample_weight, engine, n_threads)

    def accumulate(self, params: Params, order: np.ndarray | None = None) -> Stats:
        """E-step: the statistics of all rows under ``params``."""
        stats = self.engine.accumulate(
            self.family, self.X, params, sample_weight=self.sample_weight, n_threads=self.n_threads, order=order
        )
        return stats if self._shared is None else replace(stats, shared=self._shared)

    def of_one_run(self) -> Callable[[Params], Stats]:
        """The E-step of one run: as it settles, rows are grouped by component where that lets whole blocks skip."""
        order: np.ndarray | None = None
        passes = count(1)

        def accumulate(params: Params) -> Stats:
            nonlocal order
            number = next(passes)
            # In the passes 4, 8, 16 ...: labels change less and less.
            is_time = number >= _FIRST_GROUPING and number & (number - 1) == 0 and len(self.X) in _GROUPED_ROWS
            if is_time and self.family.separates(params):
                order = self.engine.group_rows(self.family, self.X, params, n_threads=self.n_threads)
            stats = self.accumulate(params, order)
            prior = self.family.log_prior(params)
            return stats if prior == 0 else replace(stats, log_likelihood=stats.log_likelihood + prior)

        return accumulate


def moments_of_all_rows(
    moments: Moments, X: np.ndarray, sample_weight: np.ndarray | None, engine: Engine, n_threads: int | None
) -> Stats:
    """Moments of all rows about a point near them, in float64 whatever the rows are: it is done once."""
    centre = rough_centre(X, sample_weight)
    total: Stats | None = None
    step = len(X) if X.dtype == np.float64 else max(1, 2**17 // X.shape[1])
    for start in range(0, len(X), step):
        rows = X[start : start + step].astype(np.float64, copy=False)
        weight = None if sample_weight is None else sample_weight[start : start + step]
        every = np.broadcast_to(np.ones(()), (len(rows), 1))
        stats = engine.accumulate_given(moments, rows, every, centre[None], sample_weight=weight, n_threads=n_threads)
        total = stats if total is None else total + stats
    assert total is not None
    return total


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
) -> FitResult:
    """Fit a mixture by expectation-maximization.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows, float32 or float64 in any memory order, read where they lie; other types are converted to float64.
    family : {"gaussian", "poisson"} or Family
        Distribution of the components; a :class:`~fastem.families.Family` carries settings, such as
        ``Gaussian("diag", reg_covar=0.0)``.
    n_components : int
    start : {"auto", "kmeans", "k-means++", "random", "random_from_data"}, Params, or sequence of Params
        Where to start: a method, or parameters, of which each is tried. "auto" lets starts by several methods race on a
        sample of the rows (:mod:`fastem.init.candidates`), where components have covariances, and is "kmeans" elsewhere
        and for a single component.
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
        Each is called with an :class:`~fastem.em.Iteration`; a true return value stops the fit.
    on_interrupt : {"raise", "keep"}
        Whether Ctrl-C raises, or ends the fit with the best parameters so far.
    previous : float
        Mean log-likelihood that the first iteration's change is measured from, for a fit that goes on.
    accelerate : {None, "auto", "squarem", "anderson"}
        Extrapolation between EM steps, guarded by the likelihood (:mod:`fastem.acceleration`); None is EM itself, and
        "auto" is "anderson". A family of your own needs ``to_vector``, ``from_vector`` and ``expected_log_likelihood``.
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

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If data, weights or an option are not as described; the message says what was given and what is required.
    DegenerateComponentError
        If ``strict`` and a component is degenerate in the best of all starts.

    References
    ----------
    Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """
    X = as_rows(X)
    callbacks = [callbacks] if callable(callbacks) else list(callbacks)
    sample_weight = as_weights(sample_weight, len(X))
    family = as_family(family)
    _check_options(n_components, tol, max_iter, n_init, on_interrupt, stopping, split_merge)
    check_acceleration(accelerate, family)
    family.check_data(X)
    if len(X) < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {len(X)}; "
            "use fewer components or more rows"
        )
    work = pass_work(X.shape, n_components, family.moments)
    n_starts = n_init if isinstance(start, str) else 1 if isinstance(start, Params) else len(start)
    runner = choose_engine(engine, work * max_iter * n_starts)
    family = family.scaled_to(
        lambda moments: moments_of_all_rows(moments, X, sample_weight, runner, n_threads), n_components
    )
    by_panels = isinstance(start, str) and start == "auto" and searches(family, n_components)
    plan = PANELS if by_panels else RESTARTS
    n_rows = plan.n_rows(family.n_parameters(n_components, X.shape[1]))
    has_many = len(X) >= 2 * n_rows
    sample: Data | None = None
    with _random_state(random_state) as rng:
        if by_panels or split_merge > 0:
            sample = sample_rows(X, sample_weight, n_rows if has_many else len(X), rng)
        if isinstance(start, str):
            source = sample if by_panels and sample is not None else (X, sample_weight)
            found = find_starts(
                family, source[0], source[1], n_components, start, n_init, rng, runner, n_threads, amend
            )
            if sample is None and n_init > 1 and has_many:
                sample = sample_rows(X, sample_weight, n_rows, rng)
        else:
            given = _check_starts([start] if isinstance(start, Params) else start, family, (n_components, X.shape[1]))
            found = [Start("given", params) for params in given]
    races = max_iter > 0 and isinstance(start, str) and (by_panels or (n_init > 1 and has_many))

    guards: dict[int, Guard] = {}

    def is_sound(params: Params) -> bool:
        held_up = any(guard.has_held_up(params) for guard in guards.values())
        return not held_up and not family.collapsed_components(params).any()

    def run_all(
        data: Data,
        starts: Mapping[int, Any],
        max_iter: int,
        callbacks: Sequence[Callback],
        tol: float,
        is_heat: bool = False,
    ) -> dict[int, Outcome]:
        side_by_side = 1
        work = pass_work(data[0].shape, n_components, family.moments)
        # A heat is over before threads of its own have paid for themselves.
        if not is_heat and len(starts) > 1 and work < _SIDE_BY_SIDE_WORK and not callbacks:
            side_by_side = min(resolve_threads(n_threads, np.inf), len(starts))
        passes = Passes(family, *data, runner, n_threads if side_by_side == 1 else 1)

        def run_one(index: int, on_interrupt: OnInterrupt, stop: Sequence[Callback]) -> EMResult[Any]:
            guards[index] = Guard(family, strict)
            return em.run(
                passes.of_one_run() if accelerate is None else _quietly(passes.of_one_run()),
                guards[index].update,
                starts[index],
                tol=tol,
                max_iter=max_iter,
                previous=previous,
                start=index,
                callbacks=(*callbacks, *stop),
                on_interrupt=on_interrupt,
                stopping=stopping,
                steps=accelerated(accelerate, family, tol, stopping, previous),
            )

        return run_starts(run_one, starts, side_by_side, on_interrupt)

    def run_heat(these: Mapping[int, Any], iterations: int) -> dict[int, Outcome]:
        assert sample is not None
        return run_all(sample, these, iterations, (), min(tol, _HEAT_TOL), is_heat=True)

    def run_finals(these: Mapping[int, Any]) -> dict[int, Outcome]:
        return run_all((X, sample_weight), these, max_iter, callbacks, tol)

    every = {i: each.params for i, each in enumerate(found)}
    outcomes, finals = race(every, plan.heats if races else (), run_heat, run_finals, is_sound)
    best = best_run(list(finals.values()), is_sound)
    winner = next(i for i, run in finals.items() if getattr(run, "params", None) is best.params)
    reached = tuple(run.lower_bound if isinstance(run, EMResult) else -np.inf for run in outcomes.values())
    if split_merge > 0 and max_iter > 0:
        assert sample is not None
        rows = np.ascontiguousarray(sample[0], dtype=np.float64)

        def run_on(rows: np.ndarray, weight: np.ndarray | None, params: Params, iterations: int) -> EMResult[Any]:
            passes = Passes(family, rows, weight, runner, n_threads)
            return em.run(passes.accumulate, family.update, params, tol=_HEAT_TOL, max_iter=iterations)

        def run_full(params: Params) -> EMResult[Any]:
            return best_run(list(run_finals({winner: params}).values()))

        best = Mover(family, rows, sample[1], runner, n_threads, run_on).improve(best, run_full, split_merge)
    n_rows = len(X) if sample_weight is None else int(np.count_nonzero(sample_weight))
    diagnostics = guards[winner].diagnose(best.params, n_rows) if max_iter > 0 else ()
    if strict and diagnostics:
        raise DegenerateComponentError(told(diagnostics), diagnostics[0].component)
    methods = tuple(each.method for each in found)
    return FitResult(family, best.params, best, reached, runner.name, methods, diagnostics)


def _quietly(accumulate: Callable[[Params], Stats]) -> Callable[[Params], Stats]:
    """Without NumPy's warnings: an extrapolated point that is too far off overflows, and is rejected."""

    def quiet(params: Params) -> Stats:
        with np.errstate(over="ignore", invalid="ignore"):
            return accumulate(params)

    return quiet


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


# A new generator takes as long as a small fit; a used one is seeded anew in a tenth of that.
_used_generators: list[np.random.RandomState] = []


@contextmanager
def _random_state(seed: Any) -> Iterator[np.random.RandomState]:
    """As :func:`fastem.sampling.as_random_state`; what an integer seeds is used again afterwards."""
    if not isinstance(seed, Integral):
        yield as_random_state(seed)
        return
    try:
        rng = _used_generators.pop()
        rng.seed(int(seed))
    except IndexError:
        rng = as_random_state(seed)
    yield rng
    _used_generators.append(rng)

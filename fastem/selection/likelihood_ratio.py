"""Number of components by a test: K against K + 1 by the likelihood ratio, whose distribution is bootstrapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, overload

import numpy as np
from sklearn.utils import check_random_state

from fastem.data.arrays import as_rows
from fastem.em import OnInterrupt
from fastem.engines import choose_engine, pass_work
from fastem.estimators import GaussianMixture
from fastem.families import Gaussian
from fastem.families.base import DegenerateComponentError
from fastem.fitting import FitResult
from fastem.mixture import Mixture
from fastem.passes import ArrayRows, Runner
from fastem.progress import GridProgress
from fastem.selection.fits import Fits
from fastem.selection.neighbours import Components, Cuts
from fastem.selection.searching import DEFAULT_NUMBERS, chosen_numbers
from fastem.selection.spurious import fault_of_fit
from fastem.selection.workers import Workers

# Iterations that all splits of the smaller model and the fresh starts are tried for, and how many are run in full.
_HEAT, _FINALISTS = 10, 3


@dataclass(frozen=True, eq=False)
class LikelihoodRatioTest:
    """One test of K components against K + 1.

    Attributes
    ----------
    n_components : int
        K, the hypothesis.
    statistic : float
        ``2 (log L(K + 1) - log L(K))``.
    p_value : float
        Share of samples from the fitted K components, the data counted among them, whose statistic is as large.
    bootstrap : ndarray
        The statistics of the samples, without those that could not be fitted.
    """

    n_components: int
    statistic: float
    p_value: float
    bootstrap: np.ndarray


@dataclass(frozen=True, eq=False)
class LikelihoodRatioTests(Sequence[LikelihoodRatioTest]):
    """Tests one after another, up to the first that does not reject.

    Attributes
    ----------
    tests : tuple of LikelihoodRatioTest
    covariance_type : str
    level : float
    interrupted : bool
        Whether Ctrl-C ended the last test early, or left out further ones.
    """

    tests: tuple[LikelihoodRatioTest, ...]
    covariance_type: str
    level: float
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.tests)

    @overload
    def __getitem__(self, index: int) -> LikelihoodRatioTest: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LikelihoodRatioTest, ...]: ...
    def __getitem__(self, index: int | slice) -> LikelihoodRatioTest | tuple[LikelihoodRatioTest, ...]:
        return self.tests[index]

    @property
    def p_values(self) -> list[float]:
        return [test.p_value for test in self.tests]

    @property
    def n_components(self) -> int:
        """The first number that is not rejected; one more than the last where all are."""
        last = self.tests[-1]
        return last.n_components + (last.p_value <= self.level)

    def __str__(self) -> str:
        lines = [f"bootstrap likelihood ratio, covariance {self.covariance_type}", ""]
        lines.append("components   2 log ratio   p-value   samples")
        for test in self.tests:
            against = f"{test.n_components} vs {test.n_components + 1}"
            star = "*" if test.p_value <= self.level else " "
            lines.append(f"{against:>10}{test.statistic:>14.4f}{test.p_value:>10.4f}{star}{len(test.bootstrap):>9}")
        several = "s" if self.n_components > 1 else ""
        lines += ["", f"* rejected at {self.level:g}: {self.n_components} component{several}"]
        if self.interrupted:
            lines.append("interrupted before its end")
        return "\n".join(line.rstrip() for line in lines)


def bootstrap_lrt(
    X: Any,
    n_components: int | Iterable[int] = DEFAULT_NUMBERS,
    covariance_type: str = "full",
    *,
    n_bootstrap: int = 99,
    level: float = 0.05,
    n_init: int = 5,
    init_params: str = "k-means++",
    tol: float = 1e-5,
    max_iter: int = 1000,
    reg_covar: Any = "auto",
    random_state: Any = None,
    engine: str = "auto",
    n_threads: int | None = None,
    on_interrupt: OnInterrupt = "raise",
    verbose: int = 0,
) -> LikelihoodRatioTests:
    """Test K components against K + 1, for each K in turn, until one is not rejected.

    The likelihood ratio of mixtures has no chi-square limit. Its distribution is that of samples drawn from the fitted
    K components, to which both models are fitted again: K from the parameters that were drawn from, K + 1 from that
    fit with a component split (every one, across its two longest axes) and from ``n_init`` fresh starts; the best
    three go on after ten iterations. The data's own ratio is found in the same way.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_components : int or iterable of int, default=1 to 9
        The hypotheses K, tried in increasing order.
    covariance_type : str, default="full"
    n_bootstrap : int, default=99
        Samples. The smallest p-value that there can be is ``1 / (n_bootstrap + 1)``.
    level : float, default=0.05
        The tests end where the p-value is above it.
    n_init, init_params, tol, max_iter, reg_covar, random_state, engine, n_threads, on_interrupt, verbose
        As for :func:`fastem.search`. The result does not depend on the number of threads.

    Returns
    -------
    LikelihoodRatioTests
        As text, a table.

    Raises
    ------
    ValueError
        If data or an option are not as described, or a model cannot be fitted to the data.

    References
    ----------
    McLachlan (1987), On bootstrapping the likelihood ratio test statistic for the number of components in a normal
    mixture. Scrucca, Fop, Murphy & Raftery (2016), mclust 5, for the sequence of tests.
    """
    numbers = sorted(chosen_numbers(n_components))
    if not numbers:
        raise ValueError("n_components must name at least one number of components to test, but got none")
    if n_bootstrap < 1 or not 0 < level < 1:
        raise ValueError(
            f"n_bootstrap must be at least 1, and level between 0 and 1, but got {n_bootstrap!r} and {level!r}"
        )
    for k in numbers:
        template = GaussianMixture(
            k, covariance_type=covariance_type, n_init=n_init, init_params=init_params, tol=tol, max_iter=max_iter,
            reg_covar=reg_covar, engine=engine, n_threads=n_threads, on_interrupt=on_interrupt,
        )  # fmt: skip
        template._validate_params()
    X = as_rows(X)
    runner = Runner(choose_engine(engine, 0.0), n_threads)
    family = ArrayRows(X).scaled(template._family(), 1, runner)
    rng = check_random_state(random_state)
    workers = Workers(n_threads, pass_work(X.shape, max(numbers) + 1, family.moments), on_interrupt)
    fits = Fits.like(template, X, None, workers)
    tests = []
    for k in numbers:
        seeds = rng.randint(np.iinfo(np.int32).max, size=(1 + n_bootstrap, n_init))
        with GridProgress([(k, covariance_type)] * n_bootstrap, shown=bool(verbose)) as progress:
            test = _test(fits, family, k, seeds, workers, progress)
        if test is None:
            break
        tests.append(test)
        if test.p_value > level or workers.interrupted.is_set():
            break
    if not tests:
        raise KeyboardInterrupt
    return LikelihoodRatioTests(tuple(tests), covariance_type, level, workers.interrupted.is_set())


def _test(
    fits: Fits, family: Gaussian, k: int, seeds: np.ndarray, workers: Workers, progress: GridProgress
) -> LikelihoodRatioTest | None:
    """The test of ``k`` components; None where it was interrupted at its beginning."""

    def observed(_: None) -> tuple[FitResult, float] | None:
        null = _best(fits, family, _fresh(fits, family, k, seeds[0]))
        ratio = _ratio(fits, family, null, seeds[0])
        return None if workers.interrupted.is_set() else (null, ratio)

    found = workers.map(observed, [None])[0]
    if found is None:
        return None
    null, statistic = found

    def simulated(seeds: np.ndarray) -> float | None:
        rows, _ = Mixture(family, null.params).sample(len(fits.X), np.random.RandomState(seeds[0]))
        sample = replace(fits, X=rows.astype(fits.X.dtype, copy=False))
        try:
            start: Any = null.params
            ratio = _ratio(sample, family, sample.run(family, start), seeds)
            return None if workers.interrupted.is_set() else ratio
        except ValueError:
            return np.nan
        finally:
            progress.step_done(k)

    simulations = [ratio for ratio in workers.map(simulated, list(seeds[1:])) if ratio is not None]
    bootstrap = np.array([ratio for ratio in simulations if np.isfinite(ratio)])
    p_value = (1 + np.count_nonzero(bootstrap >= statistic)) / (len(bootstrap) + 1)
    return LikelihoodRatioTest(k, statistic, p_value, bootstrap)


def _ratio(fits: Fits, family: Gaussian, null: FitResult, seeds: np.ndarray) -> float:
    """``2 (log L(K + 1) - log L(K))`` for the fit of K components."""
    params: Any = null.params
    cuts = Cuts.of(Components.of(family, params))
    halved = [cuts.split(number) for number in range(cuts.n_cuts)]
    larger = _best(fits, family, halved + _fresh(fits, family, len(params.weights) + 1, seeds))
    # Both loops stop a little below their limits.
    return max(0.0, 2 * fits.weight * (larger.run.lower_bound - null.run.lower_bound))


def _fresh(fits: Fits, family: Gaussian, k: int, seeds: np.ndarray) -> list[Components]:
    return [Components.of(family, fits.fresh(family, k, int(seed))) for seed in (seeds[:1] if k == 1 else seeds)]


def _best(fits: Fits, family: Gaussian, starts: Sequence[Components]) -> FitResult:
    """The fit of the highest likelihood from those starts that are best after a few iterations.

    One that is not spurious, if there is one.
    """
    results: list[tuple[bool, float, FitResult]] = []
    message = "every start collapsed within a few iterations"
    moments = [start.as_stats(family, fits.weight) for start in starts]
    for found in islice(fits.best_first(family, moments, _HEAT), _FINALISTS):
        try:
            result = fits.run(family, found.params)
        except DegenerateComponentError as error:
            message = str(error)
            continue
        results.append((not fault_of_fit(family, result, fits.n_samples), result.run.lower_bound, result))
    if not results:
        raise DegenerateComponentError(message)
    return max(results, key=lambda entry: entry[:2])[2]

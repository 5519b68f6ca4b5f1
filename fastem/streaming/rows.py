"""EM over a source: each pass reads its blocks, and memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any

import numpy as np

from fastem.data.blocks import BEGIN, Block, Position
from fastem.data.sources import OnBlock, Source, open_source
from fastem.engines import pass_work
from fastem.engines.base import total_weight
from fastem.engines.threads import resolve_threads
from fastem.families import Family, Params
from fastem.passes import ArrayRows, Rows, Runner, moments_about
from fastem.restarts import PANELS, RESTARTS, settling_rows
from fastem.sampling import Reservoir, as_random_state
from fastem.stats import Moments, Stats
from fastem.streaming.checkpoints import Checkpoint, Journal
from fastem.streaming.side_by_side import side_by_side
from fastem.streaming.survey import Survey, VarianceSums


class SourceRows(Rows):
    """Rows of a source.

    The first pass counts and checks them, measures their variances, fills the source's cache and keeps a sample; it is
    made when it is needed.

    Parameters
    ----------
    source : Source
        That can be read again.
    n_sample : int
        Rows that the first pass keeps.
    seed : int
        Which rows these are.
    journal : Journal, optional
        Where finished passes, and the beginning of this one, are written down.
    on_block : callable, optional
    """

    def __init__(
        self,
        source: Source,
        n_sample: int,
        seed: int,
        journal: Journal | None = None,
        on_block: OnBlock | None = None,
    ) -> None:
        if not source.again:
            raise ValueError(
                f"EM reads the rows many times, but {source.where} can be read once; give a list of blocks, an object "
                "whose __iter__ begins anew or a function that returns an iterable, or use fastem.fit_online"
            )
        self.source = source
        self.n_features = source.n_features
        self._n_sample = n_sample
        self.seed = seed
        self._journal = journal
        self._on_block = on_block
        self._survey: Survey | None = None
        self._moments: dict[Moments, Stats] = {}

    def __enter__(self) -> SourceRows:
        return self

    def __exit__(self, *error: object) -> None:
        if self._journal is not None:
            self._journal.close()

    @property
    def n_samples(self) -> int:  # type: ignore[override]
        return self.survey().n_samples

    @property
    def n_weighted(self) -> int:
        return self.survey().n_weighted

    def check(self, family: Family[Any]) -> None:
        self.survey(family)

    def survey(self, family: Family[Any] | None = None) -> Survey:
        """What the first pass found out; a family says in it whether it has a density for the values."""
        if self._survey is None and self._journal is not None:
            self._survey = self._journal.survey()
            if self._survey is not None:
                self.source.n_dropped = self._survey.n_dropped
        if self._survey is None:
            self._survey = self._surveyed(family)
            if self._journal is not None:
                self._journal.add_moments("diag", self._moments["diag"])
                self._journal.add_survey(self._survey)
        return self._survey

    def _surveyed(self, family: Family[Any] | None) -> Survey:
        reservoir = Reservoir(self._n_sample, np.random.RandomState(self.seed))
        n_samples = n_weighted = 0
        weight = 0.0
        are_weighted = False
        sums = VarianceSums()
        for block in self.source.blocks():
            if family is not None:
                try:
                    family.check_data(block.X)
                except ValueError as error:
                    raise ValueError(f"{self.source.where}, after row {n_samples} of those read: {error}") from error
            sums.add(block)
            n_samples += len(block)
            weight += total_weight(len(block), block.weight)
            if block.weight is None:
                n_weighted += len(block)
                reservoir.offer(block.X)
            else:
                there = block.weight > 0
                n_weighted += int(there.sum())
                are_weighted = True
                reservoir.offer(block.X[there], block.weight[there])
            self._tell(n_samples)
        if n_weighted == 0:
            raise ValueError(f"no row of {self.source.where} has a positive weight")
        self._moments["diag"] = sums.stats
        sample = ArrayRows(reservoir.rows, reservoir.weight if are_weighted else None)
        return Survey(n_samples, self.source.n_dropped, n_weighted, weight, sample)

    def _tell(self, n_rows: int) -> None:
        if self._on_block is not None:
            n_samples = self.source.n_samples if self._survey is None else self._survey.n_samples
            self._on_block(n_rows, n_samples)

    def accumulate(self, family: Family[Any], params: Params, runner: Runner, order: np.ndarray | None = None) -> Stats:
        total: Stats | None = None
        start, n_rows = BEGIN, 0
        journal, key = self._journal, ""
        if journal is not None:
            key = journal.key_of(family, params)
            finished = journal.stats(key)
            if finished is not None:
                return finished
            total, start, n_rows = journal.beginning(key)
        e_step = runner.engine.e_step(family, params, runner.n_threads)
        work = pass_work((self.source.block_rows, self.n_features), len(params.weights), family.moments)
        for stats, end, n in self._each(lambda block: e_step(block.X, block.weight), work, runner, start):
            total = stats if total is None else total + stats
            n_rows += n
            if journal is not None:
                journal.block_is_done(key, total, end, n_rows)
            self._tell(n_rows)
        assert total is not None
        self._check(total)
        if journal is not None:
            journal.add_stats(key, total)
        return total

    def _each(
        self, of_block: Callable[[Block], Stats], work: float, runner: Runner, start: Position = BEGIN
    ) -> Iterator[tuple[Stats, Position, int]]:
        """Of each block the statistics, which take about so many multiply-adds, the end, and the number of rows."""

        def known(block: Block) -> tuple[Stats, Position, int]:
            return of_block(block), block.end, len(block)

        # Where blocks are decoded, two threads that take turns at it lose what one that keeps at it does not.
        may_be = runner.engine.side_by_side and not self.source.decodes
        if may_be and resolve_threads(runner.n_threads, work) > 1:
            return side_by_side(self.source.blocks(start, ahead=False), known)
        return map(known, self.source.blocks(start))

    def _check(self, total: Stats) -> None:
        expected = self.survey().weight
        if total.weight != expected:
            raise ValueError(
                f"{self.source.where} gave rows of total weight {total.weight:g} in this pass, but {expected:g} in the "
                "first; all passes must read the same rows"
            )

    def moments(self, kind: Moments, runner: Runner) -> Stats:
        if kind not in self._moments and self._journal is not None:
            found = self._journal.moments(kind)
            if found is not None:
                self._moments[kind] = found
        if kind not in self._moments:
            self._moments[kind] = self._summed_moments(kind, runner)
            if self._journal is not None:
                self._journal.add_moments(kind, self._moments[kind])
        return self._moments[kind]

    def _summed_moments(self, kind: Moments, runner: Runner) -> Stats:
        sample = self.survey().sample
        centre = np.average(sample.X.astype(np.float64), axis=0, weights=sample.sample_weight)
        total: Stats | None = None
        work = pass_work((self.source.block_rows, self.n_features), 1, kind)

        def of_block(block: Block) -> Stats:
            return moments_about(centre, kind, block.X, block.weight, runner)

        for stats, _, _ in self._each(of_block, work, runner):
            total = stats if total is None else total + stats
        assert total is not None
        self._check(total)
        return total

    def sample(self, most: int, rng: np.random.RandomState) -> ArrayRows:
        survey = self.survey()
        sample = survey.sample
        if most > sample.n_samples and survey.n_weighted > sample.n_samples:
            sample = SourceRows(self.source, most, rng.randint(2**31)).survey().sample
        if most >= sample.n_samples:
            return sample
        # The reservoir's rows are uniform already: any of them are.
        rows = np.sort(rng.permutation(sample.n_samples)[:most])
        weight = None if sample.sample_weight is None else sample.sample_weight[rows]
        return ArrayRows(sample.X[rows], weight)


def open_rows(
    data: Any,
    sample_weight: Any,
    family: Family[Any],
    n_components: int,
    random_state: Any,
    checkpoint: Checkpoint | None,
    on_block: OnBlock | None = None,
    settles: bool = False,
) -> SourceRows:
    """The rows of a fit to what :func:`fastem.open_source` takes or returns: a context, which holds the checkpoint.

    Parameters
    ----------
    settles : bool
        Whether a start is to settle on a sample, where the rows are many (:func:`fastem.restarts.settling_rows`).

    Raises
    ------
    ValueError
        If the data can be read only once, or the checkpoint is of another fit, or in use.
    """
    source = data if isinstance(data, Source) else open_source(data, sample_weight=sample_weight)
    if source is data and sample_weight is not None:
        raise ValueError("sample_weight goes with an array; a source has its weights")
    is_seed = isinstance(random_state, Integral)
    seed = int(random_state) if is_seed else as_random_state(random_state).randint(2**31 - 1)
    journal = None
    if checkpoint is not None:
        fit = {"family": family.name, **family.settings(), "n_components": n_components}
        facts = {**fit, **source.facts(), "random_state": seed if is_seed else None}
        journal = Journal(checkpoint)
        try:
            seed = journal.begin(facts, seed)
        except BaseException:
            journal.close()
            raise
    n_parameters = family.n_parameters(n_components, source.n_features)
    most = max(plan.n_rows(n_parameters) for plan in (PANELS, RESTARTS))
    # Up to twice the rows of a race all are taken.
    n_samples = np.inf if source.n_samples is None else source.n_samples
    n_sample = most if 2 * most <= n_samples < np.inf else 2 * most
    n_settling = settling_rows(n_samples, source.n_features, n_parameters) if settles else None
    return SourceRows(source, n_sample if n_settling is None else max(n_sample, n_settling), seed, journal, on_block)

"""What a fit shows while it runs: a line that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastem.em import Callback, Iteration, Occasional

if TYPE_CHECKING:
    from typing_extensions import Self

# Seconds between two plain lines.
_PLAIN_SECONDS = 10.0
# A terminal of less than so many columns has a short bar.
_NARROW = 100
# Passes by whose time the next ones' is told; a first pass is left out where there are others.
_PASSES_TIMED = 8
# Phases of a fit as they are shown, where not by their own names.
_PHASES = {"rows": "first pass", "starts": "finding a start"}


def expected_iterations(changes: list[float], tol: float, max_iter: int) -> int:
    """Iteration in which the fit will end, if the changes go on to shrink as they did.

    EM converges linearly: the changes fall by a nearly constant factor. Without one to see, it is ``max_iter``.
    """
    done = len(changes)
    recent = [(i, abs(c)) for i, c in enumerate(changes) if math.isfinite(c)][-8:]
    if len(recent) < 3 or tol <= 0 or min(change for _, change in recent) <= 0:
        return max_iter
    # The slope of the logarithms' regression line, which one odd change hardly moves.
    middle = sum(i for i, _ in recent) / len(recent)
    spread = sum((i - middle) ** 2 for i, _ in recent)
    slope = sum((i - middle) * math.log(change) for i, change in recent) / spread
    if slope >= 0:
        return max_iter
    more = math.log(max(recent[-1][1], tol) / tol) / -slope
    return min(max_iter, done + math.ceil(more))


def clock(seconds: float) -> str:
    """A duration to read: ``0.8s``, ``42s``, ``3:07``, ``2:05:00``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressLine:
    """Context of one fit's progress; its ``callbacks`` go to the fit.

    Parameters
    ----------
    verbose : int
        0 shows nothing.
    interval : int
        Iterations between two lines where the output is not a terminal.
    max_iter, tol
        The fit's, for the expected end.
    n_init : int
        Number of starts; the line counts them where there are several.
    heading : str, optional
        Shown once, above the line.
    """

    def __init__(
        self, verbose: int, interval: int, max_iter: int, tol: float, n_init: int = 1, heading: str = ""
    ) -> None:
        self.interval = interval
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.heading = heading
        self._changes: list[float] = []
        self._first = 0.0
        self._live: Any = None
        self._last: Iteration | None = None
        self._printed = True
        self._ended = False
        self.callbacks: list[Callback] = [self._show] if verbose else []

    def __enter__(self) -> ProgressLine:
        if not self.callbacks:
            return self
        if self.heading:
            print(self.heading, flush=True)
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            # Only the last state of the line stays; where there was none, nothing does.
            self._live = Live(self._text("finding starting values ..."), console=Console(), refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        if self._live is None:
            self._print_last()
            return
        if self._last is None:
            self._live.transient = True
        else:
            self._live.update(self._text(self._line(self._last)))
        self._live.stop()

    def _show(self, iteration: Iteration) -> None:
        if self._last is None or iteration.start != self._last.start:
            self._print_last()
            self._changes, self._first = [], iteration.seconds
        # A pass whose point was rejected changes nothing, and says nothing of the rate.
        self._changes.append(iteration.change or math.nan)
        self._last, self._printed = iteration, False
        if self._live is not None:
            self._live.update(self._text(self._line(iteration)))
        elif iteration.iteration % self.interval == 0:
            self._print_last()

    def _print_last(self) -> None:
        """The plain line of the last iteration, unless it stands there already."""
        if self._live is None and self._last is not None and not self._printed:
            print(self._line(self._last), flush=True)
            self._printed = True

    @staticmethod
    def _text(line: str) -> Any:
        from rich.text import Text

        return Text(line, no_wrap=True, overflow="ellipsis")

    def _line(self, iteration: Iteration) -> str:
        start = f"start {iteration.start + 1}/{self.n_init}  " if self.n_init > 1 else ""
        change = f" ({iteration.change:+.1e})" if math.isfinite(iteration.change) else ""
        found = f"{iteration.lower_bound:.6f}{change}  {clock(iteration.seconds)}, {self._state(iteration)}"
        width = math.inf if self._live is None else self._live.console.width
        for name in ("mean log-likelihood", "log-lik.", "ll"):
            line = f"{start}iteration {iteration.iteration:>3}  {name} {found}"
            if len(line) <= width:
                break
        return line

    def _state(self, iteration: Iteration) -> str:
        if iteration.converged:
            return "converged"
        done = iteration.iteration
        if done >= self.max_iter:
            return "not converged"
        if self._ended:
            return "stopped"
        if done < 2:
            return "..."
        # The first iteration may have waited for the compiler.
        each = (iteration.seconds - self._first) / (done - 1)
        left = each * max(1, expected_iterations(self._changes, self.tol, self.max_iter) - done)
        return f"{clock(left)} left"


def title_of(n_components: int, covariance_type: str) -> str:
    """A model's name for those who wait for it."""
    return f"{covariance_type}, {n_components} component{'s' * (n_components > 1)}"


class TimedBar:
    """Context of something long, on stderr: a bar that moves with the clock on a terminal, else a line now and then.

    Parameters
    ----------
    title : str
    shown : bool
    """

    def __init__(self, title: str, shown: bool = True) -> None:
        self.title = title
        self.shown = shown
        self._began = self._said = time.monotonic()
        self._end: float | None = None
        self._live: Any = None

    def __enter__(self) -> Self:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(get_renderable=self._drawn, console=console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def expected_end(self) -> float | None:
        """On the clock of :func:`time.monotonic`; None where nothing is known of it yet."""
        return self._end

    def line(self) -> str:
        """What is shown: what is done now, and the time that is left."""
        left = "" if self._end is None else f", {clock(max(0.0, self._end - time.monotonic()))} left"
        return f"{self.title}{self._state()}{left}{self._speed()}"

    def _state(self) -> str:
        return ""

    def _speed(self) -> str:
        return ""

    def _expect(self, left: float | None) -> None:
        """From now on so many seconds are left."""
        self._end = None if left is None else time.monotonic() + left
        if self._live is None and self.shown and time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"fastem: {self.line()}", file=sys.stderr, flush=True)

    def _drawn(self) -> Any:
        """Drawn anew a few times a second, also where nothing was heard in between."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        passed = time.monotonic() - self._began
        total = math.inf if self._end is None else max(passed, self._end - self._began)
        width = 24 if self._live is None or self._live.console.width > _NARROW else 10
        bar = ProgressBar(1.0, passed / total, width, pulse=self._end is None)
        row = Table.grid(padding=(0, 1))
        row.add_row(bar, Text(clock(passed)), Text(self.line(), no_wrap=True, overflow="ellipsis"))
        return row


class PassProgress(TimedBar):
    """One pass over rows that are read."""

    _share = 0.0
    _rows = 0

    def on_block(self, n_rows: int, n_samples: int | None) -> None:
        """A block was read: so many rows of the pass are done."""
        self._rows = n_rows
        self._share = min(1.0, n_rows / n_samples) if n_samples else 0.0
        passed = time.monotonic() - self._began
        self._expect(passed / self._share * (1 - self._share) if self._share else None)

    def _state(self) -> str:
        return read_so_far(self._rows, self._share)


class FitProgress(TimedBar):
    """One fit from its first pass to its criteria: a context, and a callback of :func:`fastem.fit`.

    What is left is told in passes, and a pass takes as long as the last ones did.

    Parameters
    ----------
    title : str
        What is fitted.
    max_iter, tol
        The fit's, for the expected end.
    shown : bool
    criteria_passes : float
        What the criteria cost, in passes: densities and logarithms of responsibilities, and what else there is.
    """

    def __init__(self, title: str, max_iter: int, tol: float, shown: bool = True, criteria_passes: float = 2.0) -> None:
        super().__init__(title, shown)
        self.criteria_passes = criteria_passes
        self.max_iter = max_iter
        self.tol = tol
        self._phase = "starts"
        self._n_runs = 1
        #: Changes of the runs that go on, by the number of their start, and the passes of those that are over.
        self._running: dict[int, list[float]] = {}
        self._finished: list[int] = []
        #: When the last passes ended, and how many there were then.
        self._ends: deque[tuple[float, int]] = deque(maxlen=_PASSES_TIMED + 1)
        self._rows, self._share, self._phase_began = 0, 0.0, self._began
        self._has_read = False
        # Runs may go side by side.
        self._lock = threading.Lock()

    # What a fit and a search tell.

    def on_phase(self, phase: str) -> None:
        """What begins now: "rows", "starts", "iterations" or "criteria"."""
        with self._lock:
            self._phase, self._phase_began = phase, time.monotonic()
            self._rows, self._share = 0, 0.0
            if phase == "iterations":
                self._ends.append((self._phase_began, self._n_passes))
            self._tell()

    def expect_runs(self, n_runs: int) -> None:
        """How many runs there will be from now on."""
        self._n_runs = n_runs + len(self._finished) + len(self._running)

    def following(self, n_components: int, covariance_type: str) -> list[Callback]:
        """Callbacks of another run."""
        if not self.shown:
            return []
        number = -1 - len(self._finished) - len(self._running)
        return [Occasional(lambda iteration: self._note(number, iteration))]

    def step_done(self, n_components: int, share: float = 1.0) -> None:
        """All runs of the one model are over."""

    def on_block(self, n_rows: int, n_samples: int | None) -> None:
        """A block was read: so many rows of this pass are done."""
        with self._lock:
            now = time.monotonic()
            if n_rows < self._rows:
                self._phase_began = now
            if not self._has_read and self._phase == "iterations":
                # Passes before were those of a checkpoint, which took no time.
                self._ends.clear()
                self._ends.append((self._phase_began, self._n_passes))
            self._has_read = True
            self._rows = n_rows
            self._share = min(1.0, n_rows / n_samples) if n_samples else 0.0
            self._tell()

    def __call__(self, iteration: Iteration) -> None:
        self._note(iteration.start, iteration)

    def _note(self, number: int, iteration: Iteration) -> None:
        with self._lock:
            changes = self._running.setdefault(number, [])
            # Of passes that were one call the last is seen. One whose point was rejected says nothing of the rate.
            changes += [math.nan] * (iteration.iteration - 1 - len(changes))
            changes.append(iteration.change or math.nan)
            if iteration.converged or iteration.iteration >= self.max_iter:
                self._finished.append(len(self._running.pop(number)))
            self._phase_began = time.monotonic()
            self._rows, self._share = 0, 0.0
            self._ends.append((self._phase_began, self._n_passes))
            self._tell()

    # What follows from it.

    @property
    def _n_passes(self) -> int:
        return sum(self._finished) + sum(map(len, self._running.values()))

    def _tell(self) -> None:
        self._expect(self._left())

    def _left(self) -> float | None:
        """Seconds that are left, where a pass was timed."""
        if len(self._ends) < 2:
            return None
        # The first pass may have waited for the compiler.
        began, before = self._ends[0 if len(self._ends) == 2 else 1]
        ended, done = self._ends[-1]
        return None if done == before else (ended - began) / (done - before) * self._passes_left()

    def _passes_left(self) -> float:
        if self._phase == "criteria":
            return self.criteria_passes * (1 - self._share)
        expected = [max(len(c) + 1, expected_iterations(c, self.tol, self.max_iter)) for c in self._running.values()]
        known = self._finished or expected or [self.max_iter]
        others = max(0, self._n_runs - len(self._finished) - len(expected)) * sum(known) / len(known)
        done = sum(map(len, self._running.values())) + self._share
        return max(0.0, sum(expected) - done) + others + self.criteria_passes

    def _state(self) -> str:
        state = _PHASES.get(self._phase, self._phase)
        if state == "iterations":
            done = max(map(len, self._running.values()), default=0)
            state = f"iteration {min(done + 1, self.max_iter)}"
            if self._n_runs > 1:
                state = f"run {min(self._n_runs, len(self._finished) + 1)}/{self._n_runs}, {state}"
        return f", {state}{read_so_far(self._rows, self._share)}"

    def _speed(self) -> str:
        passed = time.monotonic() - self._phase_began
        return f", {self._rows / passed / 1e6:.3g}M rows/s" if self._rows and passed > 0 else ""


def read_so_far(n_rows: int, share: float) -> str:
    """The part of a pass that is done, for a line of progress."""
    if share:
        return f", {100 * share:.0f}%"
    return f", {n_rows / 1e6:.1f}M rows" if n_rows else ""


class GridProgress:
    """Context of the progress of many fits, on stderr: a bar on a terminal, now and then a line elsewhere.

    Parameters
    ----------
    models : sequence of (int, str)
        Numbers of components and covariance types.
    shown : bool
        Whether to show anything.
    sweeps : int
        How often each model has its turn.
    """

    def __init__(self, models: Sequence[tuple[int, str]], shown: bool = True, sweeps: int = 1) -> None:
        self.models = models
        self.shown = shown
        self.sweeps = sweeps
        self._steps = self._work = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._began = self._said = time.monotonic()
        # Fits may run side by side.
        self._lock = threading.Lock()

    def __enter__(self) -> GridProgress:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                BarColumn(24),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            work = self.sweeps * sum(k for k, _ in self.models)
            self._task = self._bar.add_task("", total=work, count=self._count())
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_phase(self, phase: str) -> None:
        """What begins now, of the search as a whole."""
        if self._bar is not None and phase != "iterations":  # of which each is told
            self._bar.update(self._task, description=_PHASES.get(phase, phase))

    def expect_runs(self, n_runs: int) -> None:
        """How many runs there will be from now on; models are what is counted."""

    def following(self, n_components: int, covariance_type: str) -> list[Callback]:
        """Callbacks of a model's fit."""
        if self._bar is None:
            return []
        model = title_of(n_components, covariance_type)

        def show(iteration: Iteration) -> None:
            self._bar.update(self._task, description=f"{model}, iteration {iteration.iteration}")

        return [Occasional(show)]

    def step_done(self, n_components: int, share: float = 1.0) -> None:
        """To be called after each turn of a model, or a share of it."""
        with self._lock:
            self._steps += share
            self._work += share * n_components
            if self._bar is not None:
                self._bar.update(self._task, completed=self._work, count=self._count())
            elif self.shown and time.monotonic() - self._said >= _PLAIN_SECONDS:
                self._said = time.monotonic()
                passed = clock(self._said - self._began)
                print(f"fastem: {self._count()} models after {passed}", file=sys.stderr, flush=True)

    def _count(self) -> str:
        # Shares are added up with rounding.
        return f"{int((self._steps + 1e-6) / self.sweeps)}/{len(self.models)}"

"""What a fit shows while it runs: a line that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from fastem.em import Callback, Iteration, Occasional

# Seconds between two plain lines of a grid's progress.
_PLAIN_SECONDS = 10.0


def expected_iterations(changes: list[float], tol: float, max_iter: int) -> int:
    """Iteration in which the fit will end, if the changes go on to shrink as they did.

    EM converges linearly: the changes fall by a nearly constant factor. Without one to see, it is ``max_iter``.
    """
    done = len(changes)
    recent = [abs(c) for c in changes[-8:] if math.isfinite(c)]
    if len(recent) < 3 or tol <= 0 or min(recent) <= 0:
        return max_iter
    # The slope of the logarithms' regression line, which one odd change hardly moves.
    middle = (len(recent) - 1) / 2
    spread = sum((i - middle) ** 2 for i in range(len(recent)))
    slope = sum((i - middle) * math.log(change) for i, change in enumerate(recent)) / spread
    if slope >= 0:
        return max_iter
    more = math.log(max(recent[-1], tol) / tol) / -slope
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


class StreamProgress:
    """Context and callback of a fit that reads its rows in every pass: on stderr, a bar on a terminal, else lines.

    Parameters
    ----------
    title : str
        What is fitted.
    max_iter, tol
        The fit's, for the expected end.
    shown : bool
    """

    def __init__(self, title: str, max_iter: int, tol: float, shown: bool = True) -> None:
        self.title = title
        self.max_iter = max_iter
        self.tol = tol
        self.shown = shown
        self._start = -1
        self._changes: list[float] = []
        self._share = 0.0
        self._rows = 0
        self._is_first = True
        self._pass_seconds = 0.0
        self._pass_began = self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> StreamProgress:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.line(), total=1.0)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_block(self, n_rows: int, n_samples: int | None) -> None:
        """A block was read: so many rows of this pass are done."""
        if n_rows <= self._rows:
            self._pass_began, self._is_first = time.monotonic(), False
        self._rows = n_rows
        self._share = min(1.0, n_rows / n_samples) if n_samples else 0.0
        self._show()

    def __call__(self, iteration: Iteration) -> None:
        if iteration.start != self._start:
            self._start, self._changes, self._is_first = iteration.start, [], False
        self._changes.append(iteration.change or math.nan)
        self._pass_seconds = time.monotonic() - self._pass_began
        self._share, self._rows = 0.0, 0
        self._pass_began = time.monotonic()
        self._show()

    @property
    def _expected(self) -> int:
        """Passes of this run, as far as can be seen now."""
        return max(len(self._changes) + 1, expected_iterations(self._changes, self.tol, self.max_iter))

    def line(self) -> str:
        """What is shown: the pass, its share, the speed and the time that is left."""
        passed = time.monotonic() - self._pass_began
        done = len(self._changes)
        name = "first pass" if self._is_first else f"iteration {min(done + 1, self.max_iter)}"
        line = f"{self.title}, {name}, {100 * self._share:.0f}%"
        if self._rows and passed > 0:
            line += f", {self._rows / passed / 1e6:.3g}M rows/s"
        each = self._pass_seconds or (passed / self._share if self._share else 0.0)
        if done and each:
            line += f", {clock(each * (self._expected - done - self._share))} left"
        return line

    def _show(self) -> None:
        if self._bar is not None:
            completed = (len(self._changes) + self._share) / self._expected
            self._bar.update(self._task, description=self.line(), completed=completed)
        elif self.shown and time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"fastem: {self.line()}", file=sys.stderr, flush=True)


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

    def following(self, n_components: int, covariance_type: str) -> list[Callback]:
        """Callbacks of a model's fit."""
        if self._bar is None:
            return []
        model = f"{covariance_type}, {n_components} component{'s' * (n_components > 1)}"

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

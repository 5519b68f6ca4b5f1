"""What a fit shows while it runs: a line that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from typing import Any

from fastem.em import Callback, Iteration


def expected_iterations(changes: list[float], tol: float, max_iter: int) -> int:
    """Iteration in which the fit will end, if the changes go on to shrink as they did.

    EM converges linearly: the changes fall by a nearly constant factor. Without one to see, it is ``max_iter``.
    """
    done = len(changes)
    recent = [abs(c) for c in changes[-5:] if math.isfinite(c)]
    if len(recent) < 2 or tol <= 0 or recent[0] <= 0 or recent[-1] <= 0:
        return max_iter
    rate = (recent[-1] / recent[0]) ** (1 / (len(recent) - 1))
    if rate >= 1:
        return max_iter
    more = math.log(max(recent[-1], tol) / tol) / -math.log(rate)
    return min(max_iter, done + math.ceil(more))


def clock(seconds: float) -> str:
    """A duration to read: ``0.8s``, ``42s``, ``3:07``, ``2:05:00``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
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
    """

    def __init__(self, verbose: int, interval: int, max_iter: int, tol: float) -> None:
        self.interval = interval
        self.max_iter = max_iter
        self.tol = tol
        self._changes: list[float] = []
        self._start = -1
        self._live: Any = None
        self._last: Iteration | None = None
        self.callbacks: list[Callback] = [self._show] if verbose else []

    def __enter__(self) -> ProgressLine:
        if self.callbacks and sys.stdout.isatty():
            from rich.live import Live

            self._live = Live("", transient=False, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._last is not None and self._last.iteration % self.interval:
            print(self._line(self._last), flush=True)

    def _show(self, iteration: Iteration) -> None:
        if iteration.start != self._start:
            self._start, self._changes = iteration.start, []
        self._changes.append(iteration.change)
        self._last = iteration
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(self._line(iteration), no_wrap=True, overflow="ellipsis"))
        elif iteration.iteration % self.interval == 0:
            print(self._line(iteration), flush=True)

    def _line(self, iteration: Iteration) -> str:
        end = expected_iterations(self._changes, self.tol, self.max_iter)
        left = iteration.seconds / iteration.iteration * (end - iteration.iteration)
        state = "converged" if abs(iteration.change) < self.tol else f"about {clock(left)} left"
        return (
            f"start {iteration.start + 1}  iteration {iteration.iteration:>4}  "
            f"mean log-likelihood {iteration.lower_bound:.6f}  change {iteration.change:+.2e}  "
            f"{clock(iteration.seconds)}, {state}"
        )

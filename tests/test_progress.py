"""What a fit shows while it runs, on a terminal and elsewhere."""

import io
import math
import re
import sys

import numpy as np
import pytest

from fastem import GaussianMixture
from fastem.em import Iteration
from fastem.progress import GridProgress, ProgressLine, clock, expected_iterations

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A function that puts a terminal of some width in the place of both outputs."""

    def make(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return make


def visible(text):
    """The lines without control sequences."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()


def step(iteration, change=1e-2, start=0, seconds=1.0, lower_bound=-1.5):
    return Iteration(start, iteration, None, np.ones(1), lower_bound, change, seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1:00"), (187, "3:07"), (7500, "2:05:00")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_expected_end_of_a_linear_convergence():
    changes = [math.inf, *(0.5**i for i in range(1, 12))]
    # 0.5^i < 1e-6 from i = 20, the 21st iteration.
    assert expected_iterations(changes, 1e-6, 1000) == 21
    assert expected_iterations(changes, 1e-6, 15) == 15
    assert expected_iterations(changes[:3], 1e-6, 1000) == 1000  # too few to see a rate
    assert expected_iterations([1e-3] * 8, 1e-6, 1000) == 1000  # no progress
    assert expected_iterations(changes, 0.0, 1000) == 1000
    assert expected_iterations([*changes, 0.0], 1e-6, 1000) == 1000


def test_silence_by_default(faithful, capsys):
    GaussianMixture(2, random_state=0).fit(faithful)
    assert capsys.readouterr() == ("", "")


def test_plain_lines(faithful, capsys):
    model = GaussianMixture(3, tol=1e-4, random_state=0, verbose=1, verbose_interval=5).fit(faithful)
    lines = capsys.readouterr().out.splitlines()
    numbers = [int(re.match(r"iteration +(\d+)  ", line)[1]) for line in lines]
    assert model.n_iter_ % 5 != 0
    assert numbers == [*range(5, model.n_iter_, 5), model.n_iter_]
    for line, n in zip(lines, numbers, strict=True):
        change = model.lower_bounds_[n - 1] - model.lower_bounds_[n - 2]
        assert f"mean log-likelihood {model.lower_bounds_[n - 1]:.6f} ({change:+.1e})" in line
    assert lines[-1].endswith(", converged")
    assert all(line.endswith(" left") for line in lines[:-1])


def test_every_start_has_a_last_line(faithful, capsys):
    options = {"init_params": "kmeans", "random_state": 0, "verbose": 1, "verbose_interval": 1000}
    GaussianMixture(2, n_init=3, **options).fit(faithful)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["start 1/3", "start 2/3", "start 3/3"]
    assert all(line.endswith("converged") for line in lines)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_end_of_a_fit_that_does_not_converge(faithful, capsys):
    GaussianMixture(3, max_iter=4, tol=1e-9, random_state=0, verbose=1).fit(faithful)
    assert capsys.readouterr().out.rstrip().endswith("not converged")


def test_verbose_2_says_who_runs(faithful, capsys, engine):
    model = GaussianMixture(2, random_state=0, verbose=2, engine=engine, n_threads=2, max_iter=20, tol=1e-2)
    model.fit(faithful)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"engine {engine}, 2 threads"


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_does_not_change_the_result(faithful, verbose, capsys):
    options = {"n_init": 2, "init_params": "kmeans", "random_state": 0}
    quiet, loud = (GaussianMixture(3, **options, verbose=v).fit(faithful) for v in (0, verbose))
    assert np.array_equal(quiet.means_, loud.means_)
    assert capsys.readouterr().out.startswith("engine " if verbose == 2 else "start 1/2")


@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_line_of_a_terminal_never_wraps(terminal, width):
    screen = terminal(width)
    with ProgressLine(1, 10, 1000, 1e-6, n_init=12) as progress:
        for i in range(1, 5):
            progress.callbacks[0](step(900 + i, start=10, seconds=4000.0 * i, lower_bound=-12345.678901))
        progress._live.refresh()
        lines = visible(screen.getvalue())
    assert max(map(len, lines)) <= width
    last = [line for line in lines if line.strip()][-1].rstrip()
    assert last.startswith("start 11/12  iteration 904  ")
    if width == 50:
        assert last.endswith("…")
    else:
        assert re.search(r"  4:26:40, \d+:\d\d left$", last)
    assert ("mean log-likelihood" in last) is (width == 140)


def test_a_terminal_keeps_one_line(terminal, faithful):
    screen = terminal(80)
    GaussianMixture(3, random_state=0, verbose=1).fit(faithful)
    text = screen.getvalue()
    assert text.count(HIDE_CURSOR) == text.count(SHOW_CURSOR) == 1
    assert text.count("\n") == 1
    assert visible(text)[-1].rstrip().endswith("converged")


def test_a_terminal_is_usable_after_ctrl_c(terminal, faithful):
    screen = terminal(80)

    def interrupt(iteration):
        if iteration.iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GaussianMixture(3, tol=1e-9, random_state=0, verbose=1, callbacks=interrupt).fit(faithful)
    text = screen.getvalue()
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert visible(text)[-1].rstrip().endswith("stopped")


def test_a_fit_that_is_stopped_says_so(faithful, capsys):
    GaussianMixture(3, tol=1e-9, random_state=0, verbose=1, callbacks=lambda i: i.iteration == 7).fit(faithful)
    assert re.match(r"iteration   7  .*, stopped\n$", capsys.readouterr().out)


MODELS = [(1, "full"), (1, "diag"), (2, "full"), (2, "diag")]


def test_grid_on_a_terminal(terminal):
    screen = terminal(80)
    with GridProgress(MODELS) as progress:
        (watch,) = progress.following(1, "full")
        for n in (1, 2):
            watch(step(n))
        progress.step_done(1)
        progress.following(1, "diag")[0](step(7))
        progress._bar.refresh()
    text = screen.getvalue()
    assert "1/4" in text
    assert "diag, 1 component, iteration 7" in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert max(map(len, visible(text))) <= 80


def test_grid_elsewhere(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fastem.progress.time.monotonic", lambda: now[0])
    with GridProgress(MODELS) as progress, GridProgress(MODELS, shown=False) as silent:
        for passed in (1, 12, 1, 95):
            now[0] += passed
            assert progress.following(1, "full") == []
            progress.step_done(1)
            silent.step_done(1)
    assert capsys.readouterr() == (
        "",
        "fastem: 2/4 models after 13s\nfastem: 4/4 models after 1:49\n",
    )


def test_grid_of_several_turns_and_shares(terminal):
    terminal(80)
    with GridProgress(MODELS, sweeps=2) as progress:
        counts = []
        for sweep in range(2):
            for k, _ in MODELS:
                for _ in range(3):
                    progress.step_done(k, 1 / 3)
                counts.append(progress._count())
            assert progress._bar.tasks[0].completed == pytest.approx((1 + sweep) * 6)
        assert progress._bar.tasks[0].total == 12
    assert counts == ["0/4", "1/4", "1/4", "2/4", "2/4", "3/4", "3/4", "4/4"]

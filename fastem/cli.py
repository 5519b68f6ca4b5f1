"""The command ``fastem``: fit, predict, sample, info. What is heavy is imported where it is needed."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fastem import __version__

if TYPE_CHECKING:
    import numpy as np

    from fastem.data.sources import Source
    from fastem.selection import SearchTable

# The library's own lists, written out so that the help needs none of its imports.
SKLEARN_COVARIANCES = ("full", "tied", "diag", "spherical")
COVARIANCES = (
    *SKLEARN_COVARIANCES,
    *("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"),
)
CRITERIA = ("bic", "aic", "icl", "nec", "cv")
STARTS = ("auto", "kmeans", "k-means++", "random", "random_from_data")
ACCELERATIONS = ("auto", "lbfgs", "squarem", "anderson")
STOPPING_RULES = ("change", "aitken")
ENGINES = ("auto", "numba", "cython", "numpy", "python")
MODEL_ENDINGS = (".json", ".npz")
# What the library's messages advise, in the words of the command.
_OPTIONS_OF_ARGUMENTS = {"resume=True": "--resume", "cache=None": "--cache none"}

_CHUNK_ROWS = 2**17
_PLOTTED_ROWS = 20_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    status : int
        0, or 2 after an error, 130 after Ctrl-C, 141 where nobody reads the output any more.
    """
    try:
        args = _parser().parse_args(argv)
        args.run(args)
        sys.stdout.flush()
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except BrokenPipeError:
        # Python flushes once more at its end, and must not fail again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("fastem: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, MemoryError) as error:
        print(f"fastem: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _one_line(error: BaseException) -> str:
    text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
    for argument, option in _OPTIONS_OF_ARGUMENTS.items():
        text = text.replace(argument, option)
    return " ".join(text.split()) or type(error).__name__


def _note(message: object) -> None:
    print(f"fastem: note: {' '.join(str(message).split())}", file=sys.stderr)


# Arguments.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastem", description="Mixture models by expectation-maximization.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastem {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Any], None], help: str, more: str = "") -> argparse.ArgumentParser:
        description = f"{help[0].upper()}{help[1:]}. {more}".strip()
        command = commands.add_parser(name, help=help, description=description, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    _add_fit(add)
    predict = add("predict", _predict, "write the likeliest component of each row of a table")
    predict.add_argument("model", help="model that fastem fit wrote")
    predict.add_argument(
        "file", nargs="+", metavar="FILE", help="table; its columns are found by name where both have names"
    )
    predict.add_argument("--out", metavar="LABELS.csv", default="-",
                         help="where to write, also as .parquet (default: standard output)")  # fmt: skip
    predict.add_argument("--proba", action="store_true", help="add the probability of each component")
    sample = add("sample", _sample, "draw rows from a model")
    sample.add_argument("model", help="model that fastem fit wrote")
    sample.add_argument("--n", type=_at_least(1), default=1000, help="number of rows (default: %(default)s)")
    sample.add_argument("--out", metavar="ROWS.csv", default="-", help="where to write (default: standard output)")
    sample.add_argument("--labels", action="store_true", help="add the component that each row was drawn from")
    sample.add_argument("--seed", type=_at_least(0), default=0, help="of the random numbers (default: %(default)s)")
    add("info", _info, "print versions, engines and processor", "What a report of a problem needs.")
    return parser


def _add_fit(add: Callable[..., argparse.ArgumentParser]) -> None:
    fit = add(
        "fit",
        _fit,
        "fit Gaussian mixtures to a table and choose the best",
        "The table is CSV (.csv, .tsv, .txt), NumPy (.npy), Parquet, Arrow, HDF5 or Zarr; every column of numbers is "
        "used. Data that would fill a quarter of the memory, and more, are read block by block in every pass.",
    )
    fit.add_argument("file", nargs="+", metavar="FILE", help="table of the data: files of one kind, folders, patterns")
    add_option = fit.add_argument
    add_option("--components", type=_counts, default="1:6", metavar="N", help="3, 1:6 or 1,2,5 (default: %(default)s)")
    add_option("--covariance", type=_one_of(COVARIANCES), default=",".join(SKLEARN_COVARIANCES), metavar="TYPES",
               help=f"some of {','.join(COVARIANCES)} (default: %(default)s)")  # fmt: skip
    add_option("--criterion", choices=CRITERIA, default="bic", help="what chooses the model (default: %(default)s)")
    add_option("--folds", type=_at_least(2), default=10, metavar="N",
               help="parts of the rows that criterion cv leaves out in turn (default: %(default)s)")  # fmt: skip
    add_option("--columns", type=_names, metavar="A,B", help="columns to use (default: all that hold numbers)")
    add_option("--weights", metavar="COLUMN", help="column with the weights of the rows")
    add_option("--missing", choices=("raise", "drop"), default="raise",
               help="for missing values: an error, or their rows left out (default: %(default)s)")  # fmt: skip
    add_option("--stream", action="store_true", help="read the data block by block, however small")
    add_option("--cache", choices=("auto", "memory", "disk", "none"), default="auto",
               help="where decoded rows are kept for later passes (default: %(default)s)")  # fmt: skip
    add_option("--checkpoint", metavar="RUN.ckpt", help="file that the fit of one model goes on from after any end")
    add_option("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    add_option("--out", metavar="MODEL.json", help="write the chosen model, as .json or .npz")
    add_option("--plot", metavar="PLOT.png", help="draw the chosen model and the criterion (needs matplotlib)")
    add_option("--n-init", type=_at_least(1), default=5, metavar="N",
               help="starts a model, beside those from its neighbours (default: %(default)s)")  # fmt: skip
    # Starts by k-means++ differ more from each other than those by k-means, and five find at least as good maxima.
    add_option("--init", choices=STARTS, default="k-means++", help="how starts are found (default: %(default)s)")
    add_option("--seed", type=_at_least(0), default=0, metavar="N", help="of the starts (default: %(default)s)")
    add_option("--tol", type=float, default=1e-5, metavar="X",
               help="stop when the mean log-likelihood of a row changes by less (default: %(default)s)")  # fmt: skip
    add_option("--max-iter", type=_at_least(1), default=1000, metavar="N", help="iterations (default: %(default)s)")
    add_option("--accelerate", choices=ACCELERATIONS, help="extrapolate between steps (default: plain EM)")
    add_option("--stopping", choices=STOPPING_RULES, default="change",
               help="what --tol bounds: change, or distance to the limit (default: %(default)s)")  # fmt: skip
    add_option("--reg-covar", type=_number_or_auto, default="auto", metavar="X",
               help="added to variances, in squared units of the data, or auto: 1e-6 of each column's variance "
                    "(default: %(default)s)")  # fmt: skip
    add_option("--engine", choices=ENGINES, default="auto", help="what runs the passes (default: %(default)s)")
    add_option("--threads", type=_at_least(1), metavar="N", help="threads (default: all that this process may use)")
    add_option("--quiet", action="store_true", help="no progress and no notes on standard error")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**32:
            raise argparse.ArgumentTypeError(f"an integer of at least {least} is required, but got {text!r}")
        return int(text)

    return number


def _number_or_auto(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number or auto is required, but got {text!r}") from None


def _counts(text: str) -> list[int]:
    """Numbers of components: ``3``, ``1:6`` (inclusive), ``1,2,5``."""
    counts: list[int] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        ends = (first, last) if colon else (first, first)
        if not all(end.isdecimal() for end in ends) or not 1 <= int(ends[0]) <= int(ends[1]):
            raise argparse.ArgumentTypeError(f"3, 1:6 (first and last) or 1,2,5 is required, but got {text!r}")
        counts += range(int(ends[0]), int(ends[1]) + 1)
    return sorted(set(counts))


def _one_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        given = text.split(",")
        if not set(given) <= set(names):
            raise argparse.ArgumentTypeError(f"some of {','.join(names)} are required, but got {text!r}")
        return [name for name in names if name in given]

    return chosen


def _names(text: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([text]))]


# The commands.


def _fit(args: Any) -> None:
    from fastem.data.sources import open_source
    from fastem.data.writing import check_target, whole_file

    if args.resume and args.checkpoint is None:
        raise ValueError("--resume goes on from a checkpoint, but none was given; add --checkpoint RUN.ckpt")
    if args.out is not None:
        check_target(args.out, MODEL_ENDINGS, "a model")
    if args.plot is not None:
        check_target(args.plot, _picture_endings(), "a picture")
    table = open_source(
        args.file[0] if len(args.file) == 1 else args.file,
        columns=args.columns,
        weight_column=args.weights,
        missing=args.missing,
        cache=None if args.cache == "none" else args.cache,
    )
    if table.left_out and not args.quiet:
        _note(f"left out, as not numbers: {', '.join(table.left_out)}")
    with _warnings_as_notes(args.quiet):
        found = _search(args, table)
        if table.n_dropped and not args.quiet:
            rows = "row with a missing value was" if table.n_dropped == 1 else "rows with missing values were"
            _note(f"{table.n_dropped} {rows} left out")
        model: Any = found.best.model
        with ExitStack() as files:
            if args.plot is not None:
                _plot(found, _sample_of(table, args.quiet), files.enter_context(whole_file(args.plot)))
            if args.out is not None:
                model.save(args.out)
    _print_result(found)


def _picture_endings() -> list[str]:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install 'fastem[plot]'")
    from matplotlib.figure import Figure

    return [f".{kind}" for kind in Figure().canvas.get_supported_filetypes()]


def _search(args: Any, table: Source) -> SearchTable:
    from fastem.selection import search
    from fastem.selection.streamed import search_streamed

    models = args.components, args.covariance, args.criterion
    settings = _model_settings(args)
    if args.checkpoint is None and not args.stream:
        return search(table, *models, n_folds=args.folds, verbose=not args.quiet, **settings)
    n_models = len(args.components) * len(args.covariance)
    if args.checkpoint is not None and n_models > 1:
        raise ValueError(
            f"a checkpoint is of one model, but {n_models} were asked for; give one of each, as in --components 8 "
            "--covariance full"
        )
    kept = {} if args.checkpoint is None else {"checkpoint": args.checkpoint, "resume": args.resume}
    return search_streamed(table, *models, fit_options=kept, shown=not args.quiet, **settings)


def _model_settings(args: Any) -> dict[str, Any]:
    return {
        "n_init": args.n_init,
        "init_params": args.init,
        "tol": args.tol,
        "max_iter": args.max_iter,
        "reg_covar": args.reg_covar,
        "random_state": args.seed,
        "engine": args.engine,
        "n_threads": args.threads,
        "accelerate": args.accelerate,
        "stopping": args.stopping,
    }


def _sample_of(table: Source, quiet: bool) -> np.ndarray:
    """Some rows, for a picture."""
    import numpy as np

    from fastem.data.sources import told
    from fastem.progress import PassProgress
    from fastem.sampling import Reservoir

    reservoir = Reservoir(_PLOTTED_ROWS, np.random.RandomState(0))
    with PassProgress("rows for the picture", not quiet) as progress:
        for block in told(table.blocks(), table.n_samples, progress.on_block):
            reservoir.offer(block.X)
    return reservoir.rows


@contextmanager
def _warnings_as_notes(quiet: bool) -> Iterator[None]:
    """Python's warnings as one line each, once."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said and not quiet:
            said.add(str(message))
            _note(message)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        # Rows come as an array, their names apart.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        warnings.showwarning = show
        yield


def _plot(found: SearchTable, X: np.ndarray, path: Path) -> None:
    """The chosen model and the criterion, side by side."""
    from matplotlib.figure import Figure

    from fastem import plot

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.mixture(found.best.model, X, ax=left)
    plot.criterion(found, ax=right, criterion=found.criterion)
    figure.savefig(path, dpi=150)


def _print_result(found: SearchTable) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text(f"{found}\n\n{found.summary()}")
    text.highlight_regex(r"[-\d.]+\*", "bold green")
    # Colours on a terminal only; lines are never broken.
    Console(highlight=False, soft_wrap=True).print(text)


def _predict(args: Any) -> None:
    from fastem.data.writing import check_table
    from fastem.persistence import load_mixture
    from fastem.progress import PassProgress
    from fastem.streaming import StreamedCollection, write_posteriors

    check_table(args.out)
    mixture, details = load_mixture(args.model)
    names = details.get("feature_names")
    files = args.file[0] if len(args.file) == 1 else args.file
    rows = StreamedCollection(files).of_features(names)
    # Labels on a terminal show how far they are.
    shown = sys.stderr.isatty() and not (args.out == "-" and sys.stdout.isatty())
    with PassProgress("predicting", shown) as progress:
        write_posteriors(args.out, mixture, rows.source, proba=args.proba, on_block=progress.on_block)


def _sample(args: Any) -> None:
    import numpy as np

    from fastem.data.writing import check_table, table_writer
    from fastem.persistence import load_mixture

    check_table(args.out)
    mixture, details = load_mixture(args.model)
    rng = np.random.RandomState(args.seed)
    X, labels = mixture.sample(args.n, rng)
    X = X.astype(np.int64) if mixture.family.name == "poisson" else X
    order = rng.permutation(len(X))  # they come component by component
    names = details.get("feature_names") or [f"x{j}" for j in range(X.shape[1])]
    with table_writer(args.out, [*names, *(["label"] if args.labels else [])]) as write:
        for start in range(0, len(X), _CHUNK_ROWS):
            chunk = order[start : start + _CHUNK_ROWS]
            write([*X[chunk].T, *([labels[chunk]] if args.labels else [])])


def _info(args: Any) -> None:
    from fastem.environment import facts

    for name, find in facts().items():
        try:
            value = find()
        except Exception as error:  # what is broken here is what a report is about
            value = f"unknown ({type(error).__name__}: {_one_line(error)})"
        print(f"{name:<19}{value}")

"""The command: its answers, its files, its errors of one line, and what it leaves behind when it is stopped."""

import csv
import os
import signal
import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastem
from fastem import cli, environment
from fastem.data.sources import open_source

FAITHFUL = Path(__file__).parents[1] / "examples" / "data" / "old_faithful.csv"
MAIN = "import sys; from fastem.cli import main; sys.exit(main())"

# mclust's BIC of Old Faithful for 1, 2 and 3 components.
PUBLISHED = {
    "spherical": (4024.7215, 3458.3050, 3336.5980),
    "diag": (3055.8349, 2346.0649, 2342.3658),
    "tied": (2607.6225, 2325.2199, 2314.3163),
    "full": (2607.6225, 2322.1920, 2349.6963),
}


def command(*argv, **options):
    return subprocess.run([sys.executable, "-c", MAIN, *argv], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def model(tmp_path):
    """A saved model of two named features, and its file."""
    model = fastem.GaussianMixture.from_parameters([0.3, 0.7], [[2, 55], [4.3, 80]], [[0.1, 30], [0.2, 36]],
                                                   covariance_type="diag")  # fmt: skip
    model.feature_names_in_ = np.array(["eruptions", "waiting"], dtype=object)
    path = tmp_path / "model.json"
    model.save(path)
    vars(model).pop("feature_names_in_")
    return model, path


@pytest.fixture(scope="module")
def faithful_run(tmp_path_factory):
    """The README's command and the files that it wrote."""
    folder = tmp_path_factory.mktemp("readme")
    options = ["--components", "1:6", "--plot", "faithful.png", "--out", "model.json"]
    pytest.importorskip("matplotlib")
    done = command("fit", str(FAITHFUL), *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done, folder


# fastem fit.


def bic_table(text):
    """Numbers and marks of the printed table."""
    lines = [line.split() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line[:1] == ["components"])
    rows = lines[start + 1 : lines.index([], start)]
    return {(kind, int(row[0])): cell for row in rows for kind, cell in zip(lines[start][1:], row[1:], strict=True)}


def test_old_faithful_gives_the_published_table(faithful_run):
    table = bic_table(faithful_run[0].stdout)
    assert set(table) == {(kind, k) for kind in PUBLISHED for k in range(1, 7)}
    values = {key: float(cell.rstrip("*?")) for key, cell in table.items()}
    for kind, published in PUBLISHED.items():
        assert [values[kind, 1], values[kind, 2]] == pytest.approx(published[:2], abs=0.01)
        assert values[kind, 3] < published[2] + 0.01  # mclust ends in lower maxima of diag and full
    assert [key for key, cell in table.items() if "*" in cell] == [("tied", 3)]
    assert values["tied", 3] == pytest.approx(2314.316, abs=0.03)
    assert min(values.values()) == values["tied", 3]
    assert not any("?" in cell for cell in table.values())


def test_old_faithful_prints_the_chosen_model(faithful_run):
    done, folder = faithful_run
    model = fastem.load(folder / "model.json")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "3 components, covariance tied" in done.stdout
    assert ["parameters", "11"] in lines
    assert ["engine", "cython"] in lines or ["engine", "numba"] in lines
    weights = next(line for line in lines if line[:1] == ["weight"])
    assert [float(w) for w in weights[1:]] == pytest.approx(model.weights_, rel=1e-5)
    waiting = [line for line in lines if line[:1] == ["waiting"]]
    assert [float(w) for w in waiting[0][1:]] == pytest.approx(model.means_[:, 1], rel=1e-5)
    assert [float(w) for w in waiting[-1][1:]] == pytest.approx(model.covariances_[1], rel=1e-5)


def test_old_faithful_writes_model_and_picture(faithful_run, faithful):
    done, folder = faithful_run
    assert sorted(p.name for p in folder.iterdir()) == ["faithful.png", "model.json"]
    model = fastem.load(folder / "model.json")
    assert (model.n_components, model.covariance_type) == (3, "tied")
    assert model.feature_names_in_.tolist() == ["eruptions", "waiting"]
    vars(model).pop("feature_names_in_")
    assert model.bic(faithful) == pytest.approx(2314.316, abs=0.03)
    picture = (folder / "faithful.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (1650, 660)
    assert len(picture) > 30_000  # not two empty panels
    # No bar where nobody watches.
    assert all(line.startswith("fastem: ") and " models after " in line for line in done.stderr.splitlines())


def test_options_reach_the_fit(run, tmp_path):
    status, out, err = run("fit", FAITHFUL, "--components", "2,4", "--covariance", "spherical,diag", "--criterion",
                           "icl", "--columns", "waiting", "--n-init", 1, "--init", "random_from_data", "--seed", 3,
                           "--tol", 1e-3, "--max-iter", 7, "--reg-covar", 0.5, "--engine", "numpy", "--threads", 1,
                           "--quiet", "--out", "m.npz")  # fmt: skip
    assert (status, err) == (0, "")
    table = bic_table(out)
    assert list(table) == [(kind, k) for k in (2, 4) for kind in ("diag", "spherical")]
    assert out.startswith("ICL")
    best = next(key for key, cell in table.items() if "*" in cell)
    X = open_source(FAITHFUL, columns=["waiting"]).whole()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = fastem.search(X, [2, 4], ["diag", "spherical"], "icl", n_init=1, init_params="random_from_data",
                              tol=1e-3, max_iter=7, reg_covar=0.5, random_state=3, engine="numpy")  # fmt: skip
        again = again.best.model
    assert (again.n_components, again.covariance_type, again.engine_) == (best[1], best[0], "numpy")
    saved = fastem.load(tmp_path / "m.npz")
    assert np.array_equal(saved.means_, again.means_)
    assert table[best].startswith(f"{again.icl(X):.3f}*")
    assert ("?" in table[best]) is not again.converged_


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", [3]), ("1:6", [1, 2, 3, 4, 5, 6]), ("5,1,2", [1, 2, 5]), ("2:3,7", [2, 3, 7])]
)
def test_numbers_of_components(text, numbers):
    assert cli._parser().parse_args(["fit", "f.csv", "--components", text]).components == numbers


def test_text_columns_are_left_out_with_a_note(run, tmp_path):
    (tmp_path / "t.csv").write_text("a,kind,b\n" + "".join(f"{i},x,{i * i % 7}\n" for i in range(30)))
    arguments = ("fit", "t.csv", "--components", 1, "--covariance", "diag", "--out", "m.json")
    status, _, err = run(*arguments)
    assert (status, err) == (0, "fastem: note: left out, as not numbers: kind\n")
    assert fastem.load(tmp_path / "m.json").feature_names_in_.tolist() == ["a", "b"]
    assert run(*arguments, "--quiet")[::2] == (0, "")


def test_arrays_and_parquet(run, tmp_path, faithful):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    np.save("x.npy", faithful)
    parquet.write_table(pyarrow.table({"x0": faithful[:, 0], "x1": faithful[:, 1]}), "t.parquet")
    outputs = []
    for file in ("x.npy", "t.parquet"):
        status, out, err = run("fit", file, "--components", "2", "--covariance", "full", "--out", "m.json")
        assert (status, err) == (0, "")
        assert bic_table(out)["full", 2] == "2322.192*"
        assert hasattr(fastem.load("m.json"), "feature_names_in_") is (file == "t.parquet")
        outputs.append(out)
    assert outputs[0] == outputs[1]


def test_warnings_become_notes(run, monkeypatch):
    import fastem.selection

    search = fastem.selection.search

    def warns(*args, **kwargs):
        for _ in range(2):
            warnings.warn("two\nlines", RuntimeWarning, stacklevel=2)
        return search(*args, **kwargs)

    monkeypatch.setattr(fastem.selection, "search", warns)
    arguments = ("fit", FAITHFUL, "--components", 1, "--covariance", "diag")
    assert run(*arguments)[2] == "fastem: note: two lines\n"
    assert run(*arguments, "--quiet")[2] == ""


# Errors.


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND (see fastem --help)"),
        (["guess"], "invalid choice: 'guess'"),
        (["fit"], "required: FILE (see fastem fit --help)"),
        (["fit", "nix.csv"], "there is no file nix.csv"),
        (["fit", FAITHFUL, "--components", "0:3"], "argument --components: 3, 1:6 (first and last) or 1,2,5"),
        (["fit", FAITHFUL, "--components", "6:1"], "argument --components"),
        (["fit", FAITHFUL, "--components", "two"], "argument --components"),
        (["fit", FAITHFUL, "--components", "400"], "no model could be fitted: Expected n_samples >= n_components"),
        (["fit", FAITHFUL, "--covariance", "full,round"], "some of full,tied,diag,spherical,EII,VII"),
        (["fit", FAITHFUL, "--n-init", "0"], "--n-init: an integer of at least 1 is required, but got '0'"),
        (["fit", FAITHFUL, "--tol", "-1"], "'tol' parameter"),
        (["fit", FAITHFUL, "--tol", "small"], "--tol"),
        (["fit", FAITHFUL, "--col", "eruptions"], "unrecognized arguments: --col"),
        (["fit", FAITHFUL, "--columns", "eruptions,size"], "has no column 'size'; its columns are eruptions, waiting"),
        (["fit", FAITHFUL, "--out", "model.pkl"], "its name must end in .json or .npz"),
        (["fit", FAITHFUL, "--out", "nix/model.json"], "there is no folder nix"),
        (["fit", FAITHFUL, "--plot", "nix/plot.png"], "there is no folder nix"),
        (["fit", FAITHFUL, "--plot", "plot.doc"], "cannot write a picture to plot.doc"),
        (["predict", "nix.json", FAITHFUL], "there is no model file nix.json"),
        (["predict", FAITHFUL, FAITHFUL], "is not a fastem model"),
        (["predict", "model.json", "iris.csv"], "iris.csv has no column 'eruptions'"),
        (["predict", "model.json", "wide.npy"], "X has 3 features, but the model was made for 2"),
        (["predict", "model.json", FAITHFUL, "--out", "labels.xlsx"], "cannot write a table to labels.xlsx"),
        (["sample", "model.json", "--n", "0"], "--n: an integer of at least 1"),
        (["sample", "model.json", "--out", "nix/rows.csv"], "there is no folder nix"),
    ],
)
def test_an_error_is_one_line_and_writes_nothing(run, model, tmp_path, monkeypatch, argv, message):
    (tmp_path / "iris.csv").write_text("length,width\n1,2\n3,4\n")
    np.save(tmp_path / "wide.npy", np.ones((4, 3)))
    before = sorted(tmp_path.iterdir())
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("fastem: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def no_fits(monkeypatch):
    """A fit would fail the test."""
    import fastem.selection

    def search(*_, **__):
        raise AssertionError("a model was fitted")

    monkeypatch.setattr(fastem.selection, "search", search)


def test_without_matplotlib_nothing_is_fitted(run, monkeypatch, no_fits, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = run("fit", FAITHFUL, "--plot", "p.png", "--out", "m.json")
    assert (status, out) == (2, "")
    assert err == "fastem: error: --plot needs matplotlib: pip install 'fastem[plot]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", [("--plot", "nix/p.png"), ("--out", "nix/m.json"), ("--plot", "p.doc")])
def test_targets_are_checked_before_the_fits(run, no_fits, target):
    assert run("fit", FAITHFUL, *target)[0] == 2


def test_an_error_of_the_picture_leaves_no_file(run, monkeypatch, tmp_path):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device", "p.png")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    status, out, err = run("fit", FAITHFUL, "--components", 1, "--plot", "p.png", "--out", "m.json")
    assert (status, out, err) == (2, "", "fastem: error: No space left on device: p.png\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_picture_is_written(run, monkeypatch, tmp_path):
    def half(figure, path, **_):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    (tmp_path / "m.json").write_text("before")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    status, out, err = run("fit", FAITHFUL, "--components", 1, "--plot", "p.png", "--out", "m.json")
    assert (status, out, err) == (130, "", "fastem: interrupted\n")
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]
    assert (tmp_path / "m.json").read_text() == "before"


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_ctrl_c_in_a_fit(tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.normal(size=(100_000, 4)))
    options = ["--components", "8", "--n-init", "100", "--tol", "0", "--out", "m.json"]
    # A shell's background jobs ignore SIGINT, and so would what they start.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen([sys.executable, "-c", MAIN, "fit", "x.npy", *options], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed) as process:  # fmt: skip
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "fastem: interrupted\n")
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.skipif(os.name == "nt", reason="pipes of another kind")
def test_a_reader_that_goes_away_is_no_error(model):
    argv = [sys.executable, "-c", MAIN, "sample", str(model[1]), "--n", "100000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"eruptions,waiting\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# fastem predict.


def test_predict_finds_columns_by_name(run, model, tmp_path, faithful):
    mixture, path = model
    rows = "\n".join(f"x,{w!r},{e!r}" for e, w in faithful.tolist())
    (tmp_path / "t.csv").write_text("note,waiting,eruptions\n" + rows)
    expected = mixture.predict(faithful)
    assert 0 < expected.mean() < 1
    assert run("predict", path, "t.csv", "--out", "labels.csv") == (0, "", "")
    written = open_source(tmp_path / "labels.csv")
    assert written.names == ["label"]
    assert np.array_equal(written.whole()[:, 0], expected)
    # To standard output, and from rows without names, in the order of the fit.
    np.save("x.npy", faithful)
    assert run("predict", path, "x.npy") == (0, "\n".join(["label", *map(str, expected)]) + "\n", "")


def test_predict_probabilities_read_back_exactly(run, model, faithful, monkeypatch):
    monkeypatch.setattr(cli, "_CHUNK_ROWS", 100)  # three chunks
    mixture, path = model
    assert run("predict", path, FAITHFUL, "--proba", "--out", "labels.csv") == (0, "", "")
    table = open_source("labels.csv")
    assert table.names == ["label", "p0", "p1"]
    assert np.array_equal(table.whole()[:, 0], mixture.predict(faithful))
    assert np.array_equal(table.whole()[:, 1:], mixture.predict_proba(faithful))


def test_predict_of_bad_rows_writes_nothing(run, model, tmp_path, faithful):
    bad = faithful.copy()
    bad[200, 1] = np.nan
    np.save("x.npy", bad)
    status, out, err = run("predict", model[1], "x.npy", "--out", "labels.csv")
    assert (status, out) == (2, "")
    assert "row 200 (from 0): column 'x1' is missing" in err
    assert not (tmp_path / "labels.csv").exists()


def test_counts(run, tmp_path):
    fastem.PoissonMixture.from_parameters([0.5, 0.5], [[2.0], [30.0]]).save(tmp_path / "m.json")
    assert run("sample", "m.json", "--n", 200, "--labels", "--out", "rows.csv")[0] == 0
    with Path("rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["x0"].isdecimal() for row in rows)
    (tmp_path / "x.csv").write_text("\n".join(row["x0"] for row in rows))
    out = run("predict", "m.json", "x.csv")[1].split()[1:]
    assert np.mean([a == row["label"] for a, row in zip(out, rows, strict=True)]) > 0.97


# fastem sample.


def test_sample(run, model, tmp_path):
    mixture, path = model
    assert run("sample", path, "--n", 4000, "--labels", "--out", "rows.csv") == (0, "", "")
    table = open_source("rows.csv")
    assert table.names == ["eruptions", "waiting", "label"]
    assert table.whole().shape == (4000, 3)
    labels = table.whole()[:, 2].astype(int)
    assert labels.mean() == pytest.approx(0.7, abs=0.04)
    assert np.count_nonzero(np.diff(labels)) > 1000  # not component by component
    for k in (0, 1):
        rows = table.whole()[labels == k, :2]
        assert rows.mean(axis=0) == pytest.approx(mixture.means_[k], rel=0.02)
        assert rows.var(axis=0) == pytest.approx(mixture.covariances_[k], rel=0.2)
    assert run("sample", path, "--n", 4000, "--seed", 0, "--out", "again.csv")[0] == 0
    assert np.array_equal(open_source("again.csv").whole(), table.whole()[:, :2])
    assert run("sample", path, "--n", 4000, "--seed", 1, "--out", "other.csv")[0] == 0
    assert not np.array_equal(open_source("other.csv").whole(), table.whole()[:, :2])
    lines = run("sample", path)[1].splitlines()
    assert lines[0] == "eruptions,waiting"
    assert len(lines) == 1001


# fastem info, and the help.


def test_info(run):
    status, out, err = run("info")
    assert (status, err) == (0, "")
    facts = {line[:19].strip(): line[19:] for line in out.splitlines()}
    assert facts["fastem"] == fastem.__version__
    assert facts["numpy"] == np.__version__
    assert facts["engines"] == ", ".join(fastem.available_engines())
    assert facts["compiled kernels"] == (fastem.compiled.level or "none: built without a C compiler")
    assert facts["threads"].isdecimal()
    assert not any("unknown" in value for value in facts.values()), facts


def test_info_of_a_broken_installation(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "fastem.engines.numba_drivers", None)
    monkeypatch.setattr(environment, "_version", lambda package: 1 / 0)
    status, out, err = run("info")
    assert (status, err) == (0, "")
    assert "processor features unknown (" in out
    assert "numpy              unknown (ZeroDivisionError: division by zero)" in out
    assert "engines            numba" in out or "engines            cython" in out


def test_the_help_is_quick(run):
    code = "import sys; from fastem.cli import main; main(['fit', '--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--components" in done.stdout
    assert not any(f"'{name}'" in done.stdout for name in ("numba", "sklearn", "scipy", "numpy", "matplotlib", "rich"))
    assert run("--version") == (0, f"fastem {fastem.__version__}\n", "")
    assert run("--help")[0] == 0


def test_lists_of_the_help_are_those_of_the_library():
    from fastem.acceleration import ACCELERATIONS
    from fastem.em import STOPPING_RULES
    from fastem.engines import ENGINES
    from fastem.families.covariance_structures import COVARIANCE_TYPES, SKLEARN_COVARIANCE_TYPES
    from fastem.init import START_METHODS
    from fastem.selection import CRITERIA

    assert tuple(cli.COVARIANCES) == tuple(COVARIANCE_TYPES)
    assert tuple(cli.SKLEARN_COVARIANCES) == tuple(SKLEARN_COVARIANCE_TYPES)
    assert set(cli.STARTS) == set(START_METHODS)
    assert cli.CRITERIA == CRITERIA
    assert (cli.ACCELERATIONS, cli.STOPPING_RULES) == (ACCELERATIONS, STOPPING_RULES)
    assert ("auto", *ENGINES) == cli.ENGINES

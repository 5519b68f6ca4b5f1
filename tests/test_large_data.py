"""The estimators and the command on files: fitted, asked and written block by block, in memory that stays flat."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import fastem
from fastem import GaussianMixture, PoissonMixture, open_source
from fastem.em import Iteration
from fastem.progress import FitProgress

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

N, D = 5000, 2


@pytest.fixture(name="X")
def some_rows(rng):
    centres = np.array([[0.0, 0.0], [9.0, 1.0], [-2.0, 12.0]])
    return centres[rng.integers(3, size=N)] + rng.normal(size=(N, D))


@pytest.fixture
def folder(tmp_path, X, rng):
    """Files with the rows, their weights and a text."""
    path = tmp_path / "events"
    path.mkdir()
    for number, rows in enumerate(np.array_split(np.column_stack([X, rng.integers(1, 3, N)]), 3)):
        columns = {name: np.ascontiguousarray(column) for name, column in zip("abw", rows.T, strict=True)}
        parquet.write_table(pyarrow.table({**columns, "t": ["x"] * len(rows)}), path / f"{number}.parquet")
    return path


def table(folder):
    return parquet.read_table(folder).to_pandas()


# Estimators.


def test_files_are_fitted_by_names(folder, X):
    options = {"n_components": 3, "random_state": 0, "tol": 1e-8}
    model = GaussianMixture(**options).fit(f"{folder}/*.parquet", columns=["b", "a"], weight_column="w")
    weight = table(folder)["w"].to_numpy()
    whole = GaussianMixture(**options).fit(X[:, ::-1], sample_weight=weight)
    assert model.feature_names_in_.tolist() == ["b", "a"]
    order, expected = np.argsort(model.means_[:, 0]), np.argsort(whole.means_[:, 0])
    np.testing.assert_allclose(model.means_[order], whole.means_[expected], atol=1e-4)
    np.testing.assert_allclose(model.covariances_[order], whole.covariances_[expected], atol=1e-3)
    assert model.lower_bound_ == pytest.approx(whole.lower_bound_, abs=1e-7)
    assert model.n_dropped_ == 0


@pytest.mark.parametrize("kind", ["frame", "polars", "table", "array"])
def test_tables_in_memory_are_fitted_by_names_too(folder, X, kind):
    frame = table(folder)
    if kind == "polars":
        pytest.importorskip("polars")
    data = {
        "frame": lambda: frame,
        "polars": lambda: __import__("polars").from_arrow(parquet.read_table(folder)),
        "table": lambda: parquet.read_table(folder),
        "array": lambda: frame[["a", "b", "w"]].to_numpy(),
    }[kind]()
    columns, weight = (["a", "b"], "w") if kind != "array" else ([0, 1], 2)
    options = {"n_components": 3, "random_state": 0, "tol": 1e-8}
    model = GaussianMixture(**options).fit(data, columns=columns, weight_column=weight)
    whole = GaussianMixture(**options).fit(X, sample_weight=frame["w"])
    assert model.lower_bound_ == pytest.approx(whole.lower_bound_, abs=1e-7)


def test_what_a_model_says_of_files_is_what_it_says_of_rows(folder, tmp_path, X):
    model = GaussianMixture(3, random_state=0).fit(folder, columns=["a", "b"])
    for name in ("predict", "predict_proba", "score_samples"):
        found = getattr(model, name)(folder)
        assert iter(found) is found
        np.testing.assert_array_equal(np.concatenate(list(found)), getattr(model, name)(table(folder)[["a", "b"]]))
    for name in ("score", "bic", "aic", "icl"):
        assert getattr(model, name)(folder) == pytest.approx(getattr(model, name)(table(folder)[["a", "b"]]))
    weighted = open_source(folder, columns=["a", "b"], weight_column="w")
    for name in ("score", "bic", "aic", "icl"):
        expected = getattr(model, name)(table(folder)[["a", "b"]], sample_weight=table(folder)["w"])
        assert getattr(model, name)(weighted) == pytest.approx(expected)
    assert np.array_equal(model.fit_predict([X[:99], X[99:]]), model.predict(X))
    with pytest.raises(ValueError, match="has no column 'a'"):
        model.fit(folder, columns=["a", "b"]).predict(pyarrow.table({"c": [1.0], "b": [2.0]}))
    with pytest.raises(ValueError, match="X has 3 features, but the model was made for 2"):
        list(model.fit(X).predict(folder))


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_labels_are_written_to_a_file(folder, tmp_path, X, name):
    model = GaussianMixture(3, random_state=0).fit(folder, columns=["a", "b"])
    model.predict_to(tmp_path / name, folder, proba=True, log_likelihood=True)
    written = open_source(tmp_path / name)
    assert written.names == ["label", "p0", "p1", "p2", "log_likelihood"]
    frame = table(folder)[["a", "b"]]
    expected = [model.predict(frame)[:, None], model.predict_proba(frame), model.score_samples(frame)[:, None]]
    np.testing.assert_array_equal(written.whole(), np.hstack(expected))
    with pytest.raises(ValueError, match="its name must end in"):
        model.predict_to(tmp_path / "out.xlsx", folder)
    bad = pyarrow.table({"a": [1.0, None], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="row 1"):
        model.predict_to(tmp_path / "bad.parquet", bad)
    assert not (tmp_path / "bad.parquet").exists()


def test_missing_values_are_dropped_and_counted(X, tmp_path):
    holed = X.copy()
    holed[::50, 1] = np.nan
    model = GaussianMixture(3, random_state=0).fit(holed, missing="drop")
    assert model.n_dropped_ == N // 50
    kept = np.delete(X, np.s_[::50], axis=0)
    assert model.lower_bound_ == pytest.approx(GaussianMixture(3, random_state=0).fit(kept).lower_bound_, abs=1e-3)
    path = tmp_path / "run.ckpt"
    model.fit(holed, missing="drop", checkpoint=path)
    assert model.fit(holed, missing="drop", checkpoint=path, resume=True).n_dropped_ == N // 50


def test_a_checkpointed_estimator_goes_on(folder, tmp_path):
    options = {"columns": ["a", "b"], "checkpoint": tmp_path / "run.ckpt"}
    with pytest.warns(match="did not converge"):
        GaussianMixture(3, random_state=0, tol=0.0, max_iter=3).fit(folder, **options)
        longer = GaussianMixture(3, random_state=0, tol=0.0, max_iter=9).fit(folder, resume=True, **options)
        whole = GaussianMixture(3, random_state=0, tol=0.0, max_iter=9).fit(folder, columns=["a", "b"])
    assert longer.n_iter_ == 9
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        assert np.array_equal(getattr(longer, name), getattr(whole, name))


def test_options_that_contradict_a_source(folder, X):
    with pytest.raises(ValueError, match="that the source was opened with"):
        GaussianMixture().fit(open_source(folder), columns=["a"])
    with pytest.raises(ValueError, match="weights of files and blocks come with them"):
        GaussianMixture().fit(X).score([X], sample_weight=np.ones(N))
    with pytest.raises(ValueError, match="come with them"):
        GaussianMixture().fit([X], sample_weight=np.ones(N))


def test_counts_in_files(tmp_path, rng):
    counts = rng.poisson([[3.0, 40.0]], size=(900, 2))
    parquet.write_table(pyarrow.table({"a": counts[:, 0], "b": counts[:, 1]}), tmp_path / "c.parquet")
    model = PoissonMixture(1).fit(tmp_path / "c.parquet")
    np.testing.assert_allclose(model.rates_[0], counts.mean(axis=0))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["parquet", "map"])
def test_memory_stays_flat(tmp_path, kind):
    """Ten times the rows take no more memory."""
    peaks = []
    for n in (300_000, 3_000_000):
        path = tmp_path / f"{n}.{'parquet' if kind == 'parquet' else 'npy'}"
        rng = np.random.default_rng(0)
        if kind == "parquet":
            schema = pyarrow.schema([(f"x{j}", pyarrow.float32()) for j in range(8)])
            with parquet.ParquetWriter(path, schema) as writer:
                for _ in range(n // 100_000):
                    arrays = [rng.random(100_000, np.float32) for _ in range(8)]
                    writer.write_table(pyarrow.table(arrays, schema=schema))
        else:
            rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, 8))
            rows[:] = rng.random(8, np.float32)
            rows[:, 0] = np.arange(n) % 1000
            del rows
        done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 40_000  # of 96 MB more


PEAK = """
import sys
from pathlib import Path
import numpy as np
import fastem
from fastem.data import kinds
kinds._MAPPED_BYTES = 0
path = Path(sys.argv[1])
data = path if path.suffix == ".parquet" else np.load(path, mmap_mode="r")
family = fastem.Gaussian("diag", reg_covar=1e-3)
fastem.fit(data, family, 2, start="random_from_data", random_state=0, max_iter=3, tol=0.0)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


# The command.


def test_the_command_reads_files_block_by_block(run, folder, tmp_path):
    arguments = ["fit", folder, "--columns", "a,b", "--weights", "w", "--covariance", "full,diag", "--stream"]
    status, out, err = run(*arguments, "--components", "2,3", "--out", "model.json")
    assert status == 0, err
    assert "3 components, covariance diag" in out
    model = fastem.load(tmp_path / "model.json")
    assert model.feature_names_in_.tolist() == ["a", "b"]
    source = open_source(folder, columns=["a", "b"], weight_column="w")
    same = {"n_components": 3, "covariance_type": "diag", "random_state": 0, "n_init": 5, "init_params": "k-means++"}
    assert model.bic(source) == pytest.approx(GaussianMixture(**same, tol=1e-5).fit(source).bic(source))
    status, _, err = run("predict", "model.json", *sorted(folder.glob("*.parquet")), "--out", "labels.parquet")
    assert status == 0, err
    assert np.array_equal(open_source("labels.parquet").whole()[:, 0], np.concatenate(list(model.predict(folder))))


def test_the_command_goes_on_from_a_checkpoint(run, folder):
    arguments = [
        "fit",
        folder,
        "--columns",
        "a,b",
        "--components",
        "3",
        "--covariance",
        "full",
        "--checkpoint",
        "r.ckpt",
    ]
    status, first, err = run(*arguments, "--max-iter", "2", "--n-init", "1", "--quiet")
    assert status == 0, err
    assert "is a checkpoint r.ckpt already" in run(*arguments)[2]
    assert run(*arguments, "--max-iter", "2", "--n-init", "1", "--resume", "--quiet")[:2] == (0, first)
    assert "--resume goes on from a checkpoint, but none was given" in run("fit", folder, "--resume")[2]
    assert "a checkpoint is of one model" in run(*arguments, "--components", "2:3", "--resume")[2]
    assert "criterion is one of bic, aic, icl" in run(*arguments, "--criterion", "cv", "--resume")[2]


def test_the_command_drops_and_counts(run, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n2,1\n3,5\n0,0\n1,1.5\n" * 20 + "NA,1\n2,\n")
    arguments = ["fit", "t.csv", "--components", "1", "--covariance", "diag"]
    assert "line 102: column 'a' holds 'NA'" in run(*arguments)[2]
    for more in ([], ["--stream"]):
        status, _, err = run(*arguments, "--missing", "drop", *more)
        assert (status, "2 rows with missing values were left out" in err) == (0, True)


# Progress.


def test_progress_says_the_pass_the_speed_and_the_end(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = FitProgress("full, 2 components", max_iter=5, tol=0.0, criteria_passes=1.5)
    progress.on_phase("rows")
    clock[0] = 2.0
    progress.on_block(1_000_000, 4_000_000)
    assert progress.line() == "full, 2 components, first pass, 25%, 0.5M rows/s"
    clock[0] = 8.0
    progress.on_block(4_000_000, 4_000_000)
    progress.on_phase("starts")
    clock[0] = 9.0
    assert progress.line() == "full, 2 components, finding a start"
    assert progress.expected_end is None
    progress.on_phase("iterations")
    clock[0] = 11.0
    progress.on_block(1_000_000, 4_000_000)
    assert progress.line() == "full, 2 components, iteration 1, 25%, 0.5M rows/s"
    # The first iteration is slow, as where it is compiled, and does not count once there is another.
    for clock[0], iteration in ((21.0, 1), (29.0, 2)):
        progress(Iteration(0, iteration, None, np.ones(2), -1.0, np.inf, 8.0))
    clock[0] = 31.0
    progress.on_block(1_000_000, 4_000_000)
    assert progress.line() == "full, 2 components, iteration 3, 25%, 34s left, 0.5M rows/s"
    assert progress.expected_end == 31 + 8 * (2.75 + 1.5)
    for clock[0], iteration in ((37.0, 3), (45.0, 4), (53.0, 5)):
        progress(Iteration(0, iteration, None, np.ones(2), -1.0, np.inf, 8.0))
    assert progress.expected_end == 53 + 8 * 1.5
    progress.on_phase("criteria")
    clock[0] = 59.0
    progress.on_block(2_000_000, 4_000_000)
    assert progress.line() == "full, 2 components, criteria, 50%, 6.0s left, 0.333M rows/s"


def test_the_expected_end_counts_the_runs_to_come(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = FitProgress("full, 2 components", max_iter=4, tol=0.0, criteria_passes=0.0)
    progress.expect_runs(3)
    progress.on_phase("iterations")
    for _ in range(2):
        (watch,) = progress.following(2, "full")
        for iteration in range(1, 5):
            clock[0] += 1.0
            watch(Iteration(0, iteration, None, np.ones(2), -1.0, 1e-3, 1.0))
            assert progress.expected_end == 12.0
    assert progress.line() == "full, 2 components, run 3/3, iteration 1, 4.0s left"


def test_passes_of_a_checkpoint_say_nothing_of_the_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = FitProgress("full, 2 components", max_iter=6, tol=0.0, criteria_passes=0.0)
    progress.on_phase("iterations")
    for iteration in (1, 2, 3):
        progress(Iteration(0, iteration, None, np.ones(2), -1.0, 1e-3, 1.0))
    clock[0] = 4.0
    progress.on_block(10, 10)
    progress(Iteration(0, 4, None, np.ones(2), -1.0, 1e-3, 1.0))
    assert progress.expected_end == 12.0


def test_a_search_shows_all_of_one_fit(folder, monkeypatch):
    from fastem.progress import TimedBar

    lines = []
    monkeypatch.setattr(TimedBar, "_expect", lambda self, left: lines.append(self.line()))
    fastem.search(open_source(f"{folder}/*.parquet", columns=["a", "b"]), 3, "full", tol=0.0, max_iter=20, verbose=1)
    assert [line for line in lines if line.startswith("reading, 100%")]
    shown = [re.sub(r"iteration .*|run \d/\d, ", "", line).rstrip(", ") for line in lines if line.startswith("full")]
    phases = list(dict.fromkeys(shown))
    assert phases == [f"full, 3 components{phase}" for phase in (", finding a start", "", ", criteria")]


# Searches.


@pytest.fixture
def small_memory(monkeypatch):
    """Whatever is read counts as large."""
    monkeypatch.setattr("fastem.selection.searching.is_large", lambda source: True)


def test_a_search_reads_what_fits_into_memory(folder):
    source = open_source(f"{folder}/*.parquet", columns=["b", "a"], weight_column="w")
    table_of_files = fastem.search(source, [2, 3], ["full", "diag"], random_state=0)
    frame = table(folder)
    expected = fastem.search(
        frame[["b", "a"]], [2, 3], ["full", "diag"], sample_weight=frame["w"].to_numpy(), random_state=0
    )
    assert [r.bic for r in table_of_files] == pytest.approx([r.bic for r in expected], rel=1e-9)
    assert np.isfinite([r.nec for r in table_of_files]).all()
    assert table_of_files.best.model.feature_names_in_.tolist() == ["b", "a"]


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_a_search_over_a_source(folder, small_memory, criterion):
    source = open_source(f"{folder}/*.parquet", columns=["b", "a"], weight_column="w")
    found = fastem.search(source, [2, 3], ["full", "diag"], criterion, random_state=0, callbacks=lambda it: None)
    assert [(r.n_components, r.covariance_type) for r in found] == [(2, "full"), (2, "diag"), (3, "full"), (3, "diag")]
    for record in found:
        assert record.value == pytest.approx(getattr(record.model, criterion)(source), rel=1e-12)
    assert found.best.n_components == 3
    assert found.best.model.feature_names_in_.tolist() == ["b", "a"]


def test_the_search_of_an_estimator_over_files(folder, small_memory):
    search = fastem.GaussianMixtureSearch((2, 3), "diag", random_state=0)
    columns = {"columns": ["a", "b"]}
    labels = search.fit_predict(open_source(folder, **columns))
    assert (search.n_components_, search.n_features_in_) == (3, 2)
    assert search.feature_names_in_.tolist() == ["a", "b"]
    assert np.array_equal(labels, np.concatenate(list(search.best_estimator_.predict(open_source(folder, **columns)))))
    X = np.random.default_rng(0).normal(size=(200, 2))
    assert not hasattr(search.fit(X), "feature_names_in_")


def test_blocks_that_nobody_has_counted_are_not_gathered(X):
    def blocks():
        yield from np.array_split(X, 5)

    found = fastem.search(blocks, 3, "full", random_state=0)
    assert np.isnan(found.best.nec)
    assert found.best.bic == pytest.approx(found.best.model.bic(X), rel=1e-9)


def test_what_a_search_over_a_source_cannot_do(folder, X, small_memory):
    for criterion in ("nec", "cv"):
        with pytest.raises(ValueError, match=f"bic, aic, icl, but got '{criterion}', which needs the rows in memory"):
            fastem.search(folder, 2, "full", criterion)
    with pytest.raises(ValueError, match="files and blocks bring their weights"):
        fastem.search(folder, 2, "full", sample_weight=np.ones(N))
    with pytest.raises(ValueError, match="'tol' parameter"):
        fastem.search(folder, 2, "full", tol=-1)


def test_ctrl_c_keeps_the_models_of_a_search(folder, small_memory):
    def interrupt(iteration):
        if len(iteration.weights) == 3:
            raise KeyboardInterrupt

    options = {"covariance_types": "diag", "random_state": 0, "callbacks": interrupt}
    source = open_source(folder, columns=["a", "b"])
    found = fastem.search(source, [2, 3], on_interrupt="keep", **options)
    assert (found.interrupted, [r.n_components for r in found]) == (True, [2])
    with pytest.raises(KeyboardInterrupt):
        fastem.search(source, [2, 3], **options)

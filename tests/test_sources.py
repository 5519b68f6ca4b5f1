"""Sources: every kind of data gives the same blocks, as often as asked, from anywhere on, and says what is wrong."""

import errno
import os
import threading
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from fastem import fit, fit_online
from fastem.data.sources import block_rows_for, open_source
from fastem.data.sources import cache as caching

N, D = 1000, 3
NAMES = ["a", "b", "c"]


@pytest.fixture(name="X")
def some_rows(rng):
    return rng.normal(size=(N, D)).astype(np.float32)


def rows_of(source, start=(0, 0)):
    """All rows and weights; blocks are copied, for their memory is used again."""
    blocks = [block.copy() for block in source.blocks(start)]
    weights = [np.ones(len(b)) if b.weight is None else b.weight for b in blocks]
    return np.concatenate([b.X for b in blocks]), np.concatenate(weights), blocks


def arrow_table(X, **more):
    pyarrow = pytest.importorskip("pyarrow")
    columns = {name: np.ascontiguousarray(X[:, j]) for j, name in enumerate(NAMES)}
    return pyarrow.table({**columns, **more})


def parquet_files(folder, X, n_files=3, row_group_size=100, **more):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder.mkdir(exist_ok=True)
    table = arrow_table(X, **more)
    edges = np.linspace(0, len(X), n_files + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(edges)):
        parquet.write_table(
            table.slice(start, stop - start), folder / f"{number}.parquet", row_group_size=row_group_size
        )
    return folder


def npy_files(folder, X, order="C"):
    for number, rows in enumerate(np.array_split(X, 3)):
        np.save(folder / f"{number}.npy", np.asarray(rows, order=order))
    return sorted(folder.glob("*.npy"))


def text_file(folder, X):
    path = folder / "t.csv"
    lines = [",".join(NAMES), *(",".join(map(repr, row)) for row in X.tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


def hdf5_file(folder, X, by_columns):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "t.h5", "w") as file:
        if by_columns:
            for j, name in enumerate(NAMES):
                file[name] = X[:, j]
        else:
            file.create_dataset("rows", data=X, chunks=(64, D), compression="gzip")
    return folder / "t.h5"


def zarr_array(folder, X):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(folder / "t.zarr", X)
    return folder / "t.zarr"


def memory_map(folder, X):
    np.save(folder / "m.npy", X)
    return np.load(folder / "m.npy", mmap_mode="r")


KINDS = {
    "array": lambda folder, X: X,
    "fortran": lambda folder, X: np.asfortranarray(X),
    "map": memory_map,
    "npy": lambda folder, X: npy_files(folder, X),
    "npy fortran": lambda folder, X: npy_files(folder, X, "F"),
    "pandas": lambda folder, X: pytest.importorskip("pandas").DataFrame(X, columns=NAMES),
    "polars": lambda folder, X: pytest.importorskip("polars").DataFrame(dict(zip(NAMES, X.T, strict=True))),
    "table": lambda folder, X: arrow_table(X),
    "batches": lambda folder, X: arrow_table(X).to_batches(max_chunksize=130),
    "dataset": lambda folder, X: pytest.importorskip("pyarrow.dataset").dataset(parquet_files(folder / "p", X)),
    "parquet": lambda folder, X: parquet_files(folder / "p", X, 1) / "0.parquet",
    "folder": lambda folder, X: parquet_files(folder / "p", X),
    "pattern": lambda folder, X: str(parquet_files(folder / "p", X) / "*.parquet"),
    "text": text_file,
    "hdf5": lambda folder, X: hdf5_file(folder, X, False),
    "hdf5 columns": lambda folder, X: hdf5_file(folder, X, True),
    "zarr": zarr_array,
    "blocks": lambda folder, X: np.array_split(X, 7),
    "function": lambda folder, X: lambda: iter(np.array_split(X, 7)),
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace(" ", "-"))
def kind(request, tmp_path, X):
    """One kind of data with the rows ``X``."""
    if request.param in ("pandas", "polars", "zarr"):
        pytest.importorskip(request.param)
    return KINDS[request.param](tmp_path, X)


@pytest.mark.parametrize("cache", [None, "auto", "memory", "disk"])
def test_every_kind_gives_the_same_rows_in_each_pass(kind, cache, X):
    with open_source(kind, cache=cache, block_rows=128) as source:
        assert (source.n_features, source.again) == (D, True)
        assert source.n_samples in (N, None)
        for _ in range(3):
            found, _, blocks = rows_of(source)
            assert np.array_equal(found, X.astype(found.dtype))
            assert found.dtype == source.dtype
            assert max(map(len, blocks)) <= 128
        assert source.n_samples == N


@pytest.mark.parametrize("cache", [None, "disk"])
def test_reading_goes_on_from_every_block(kind, cache, X):
    with open_source(kind, cache=cache, block_rows=128) as source:
        _, _, blocks = rows_of(source)
        done = 0
        for number, block in enumerate(blocks[:-1]):
            done += len(block)
            found, _, rest = rows_of(source, block.end)
            assert np.array_equal(found, X[done:].astype(found.dtype)), number
            assert [len(b) for b in rest] == [len(b) for b in blocks[number + 1 :]]


def test_names_are_the_data_s_own_where_it_has_any(tmp_path, X):
    for kind in ("folder", "text", "hdf5 columns"):
        (tmp_path / kind).mkdir()
        assert open_source(KINDS[kind](tmp_path / kind, X)).names == NAMES
    source = open_source(X)
    assert (source.names, source.named) == (["x0", "x1", "x2"], False)


def test_columns_and_weights_are_found_by_name(tmp_path, rng, X):
    w = rng.random(N)
    path = parquet_files(tmp_path / "p", X, w=w, t=["x"] * N)
    source = open_source(path, columns=["c", "a"], weight_column="w", block_rows=100)
    found, weight, _ = rows_of(source)
    assert np.array_equal(found, X[:, [2, 0]])
    assert np.array_equal(weight, w)
    source = open_source(path, weight_column="w")
    assert (source.names, source.left_out) == (NAMES, ["t"])
    both = np.column_stack([X, w])
    np.save(tmp_path / "both.npy", both)
    for data in (both, [both], tmp_path / "both.npy"):
        for columns in ([2, 0], [0, 1, 2], None):
            found, weight, _ = rows_of(open_source(data, columns=columns, weight_column=3))
            assert np.array_equal(found, X[:, columns or [0, 1, 2]].astype(float))
            assert np.array_equal(weight, w)


def test_weights_come_with_arrays_and_blocks(rng, X):
    w = rng.random(N)
    for data, options in [(X, {"sample_weight": w}), ([(X[:300], w[:300]), (X[300:], w[300:])], {})]:
        found, weight, _ = rows_of(open_source(data, block_rows=70, **options))
        assert np.array_equal(found, X)
        assert np.array_equal(weight, w)
    with pytest.raises(ValueError, match="weights of blocks come with them"):
        open_source([X], sample_weight=w)
    with pytest.raises(ValueError, match="given twice"):
        open_source(X, sample_weight=w, weight_column=0)


def test_filters_choose_rows_and_leave_out_files(tmp_path, X):
    dataset = pytest.importorskip("pyarrow.dataset")
    number = np.arange(N)
    path = parquet_files(tmp_path / "p", X, number=number)
    for condition in (dataset.field("number") >= 400, [("number", ">=", 400)]):
        source = open_source(path, columns=NAMES, filter=condition, block_rows=128)
        assert source.n_samples is None
        found, _, blocks = rows_of(source)
        assert np.array_equal(found, X[400:])
        assert np.array_equal(rows_of(source, blocks[2].end)[0], X[400 + 3 * 128 :])
        assert source.n_samples == 600
    with pytest.raises(ValueError, match="has no rows"):
        rows_of(open_source(path, columns=NAMES, filter=[("number", "<", 0)]))
    with pytest.raises(ValueError, match="filter is for Arrow data"):
        open_source(X, filter=[("number", "<", 0)])
    with pytest.raises(ValueError, match="filter must be an expression"):
        open_source(path, filter=3)


def test_parts_of_paths_can_be_filtered_by(tmp_path, X):
    pytest.importorskip("pyarrow")
    for year in (2020, 2021):
        (tmp_path / f"year={year}").mkdir()
        parquet_files(tmp_path / f"year={year}", X + year, n_files=1)
    assert open_source(tmp_path).names == NAMES
    found, _, _ = rows_of(open_source(tmp_path, filter=[("year", "==", 2021)]))
    assert np.array_equal(found, X + 2021)


# Missing values.


def test_missing_values_are_dropped_and_counted(kind, tmp_path, X, request):
    name = request.node.callspec.params["kind"]
    holed = X.copy()
    holed[[3, 500, 501, 999], [0, 1, 2, 0]] = np.nan

    def made(folder):
        folder.mkdir()
        return KINDS[name](folder, holed)

    kept = ~np.isnan(holed).any(axis=1)
    with open_source(made(tmp_path / "1"), missing="drop", block_rows=128) as source:
        for _ in range(3):
            found, _, blocks = rows_of(source)
            assert np.array_equal(found, X[kept].astype(found.dtype))
            assert (source.n_dropped, source.n_samples) == (4, N)
        rest = rows_of(source, blocks[0].end)[0]
        assert np.array_equal(rest, found[len(blocks[0]) :])
    source = open_source(made(tmp_path / "2"), block_rows=128)
    with pytest.raises(ValueError, match=r"(row|line) \d+.*column '(a|x0)' (is missing|is empty|holds 'nan')"):
        rows_of(source)
    holed[3] = np.inf
    with pytest.raises(ValueError, match=r"(row|line) \d+.*column '(a|x0)' holds '?inf"):
        rows_of(open_source(made(tmp_path / "3"), missing="drop", block_rows=128))


def test_the_row_of_a_missing_value_is_its_row_in_the_file(tmp_path, X):
    pyarrow = pytest.importorskip("pyarrow")
    nulls = pyarrow.array([None if i == 777 else 1 for i in range(N)])
    path = parquet_files(tmp_path / "p", X, n_files=2, whole=nulls)
    with pytest.raises(ValueError, match=r"1.parquet, row 277 \(from 0\): column 'whole' is missing"):
        rows_of(open_source(path))
    source = open_source(path, missing="drop", weight_column="whole")
    assert np.array_equal(rows_of(source)[0], np.delete(X, 777, axis=0))


@pytest.mark.parametrize("bad", [-1.0, np.inf])
def test_weights_that_are_none(tmp_path, X, bad):
    w = np.ones(N)
    w[42] = bad
    path = parquet_files(tmp_path / "p", X, w=w)
    for missing in ("raise", "drop"):
        with pytest.raises(ValueError, match=rf"0.parquet, row 42 \(from 0\): column 'w' holds {bad}"):
            rows_of(open_source(path, weight_column="w", missing=missing))


def test_all_kinds_of_numbers_are_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    from decimal import Decimal

    columns = {
        "i": pyarrow.array([1, 2, None]),
        "b": pyarrow.array([True, None, False]),
        "d": pyarrow.array([Decimal("1.5"), Decimal("2.5"), None]),
        "h": pyarrow.array(np.float16([0.5, 1.5, 2.5])),
    }
    table = pyarrow.table(columns)
    frame = table.to_pandas(
        types_mapper={pyarrow.int64(): pandas.Int64Dtype(), pyarrow.bool_(): pandas.BooleanDtype()}.get
    )
    frame["d"] = frame["d"].astype(float)
    for data in (table, frame):
        assert rows_of(open_source(data, missing="drop"))[0].tolist() == [[1.0, 1.0, 1.5, 0.5]]


# Files that are not what they were.


def change_in_second_pass(source, change):
    rows_of(source)
    change()
    with pytest.raises(ValueError) as raised:
        rows_of(source)
    return str(raised.value)


def test_files_that_change_between_passes_are_named(tmp_path, X):
    parquet = pytest.importorskip("pyarrow.parquet")

    def cut(path):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    for kind in ("folder", "npy", "text", "hdf5"):
        folder = tmp_path / kind
        folder.mkdir()
        data = KINDS[kind](folder, X)
        last = sorted(p for p in folder.rglob("*") if p.is_file())[-1]
        source = open_source(data, cache=None)
        assert f"{last} was cut short" in change_in_second_pass(source, lambda last=last: cut(last))
        assert "vanished" in change_in_second_pass_of(tmp_path, kind, X)
    path = parquet_files(tmp_path / "schema", X) / "1.parquet"
    source = open_source(path.parent, cache=None)
    rows_of(source)
    parquet.write_table(arrow_table(X).drop_columns(["a"]), path)
    with pytest.raises(ValueError, match=f"{path} was (cut short|lengthened)"):
        rows_of(source)
    with pytest.raises(ValueError, match=f"{path} has no column 'a', but .*0.parquet has"):
        open_source(path.parent)


def change_in_second_pass_of(tmp_path, kind, X):
    folder = tmp_path / f"{kind} again"
    folder.mkdir()
    data = KINDS[kind](folder, X)
    last = sorted(p for p in folder.rglob("*") if p.is_file())[-1]
    message = change_in_second_pass(open_source(data, cache=None), last.unlink)
    assert str(last) in message
    return message


def test_cached_rows_outlive_their_files(tmp_path, X):
    path = parquet_files(tmp_path / "p", X)
    source = open_source(path)
    rows_of(source)
    (path / "1.parquet").unlink()
    assert np.array_equal(rows_of(source)[0], X)


def test_a_damaged_page_is_named(tmp_path, X):
    path = parquet_files(tmp_path / "p", X, 1) / "0.parquet"
    source = open_source(path, cache=None)
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ValueError, match=r"0.parquet could not be read"):
        rows_of(source)


def test_files_that_do_not_fit_together(tmp_path, X):
    np.save(tmp_path / "0.npy", X)
    np.save(tmp_path / "1.npy", X[:, :2])
    with pytest.raises(ValueError, match=r"1.npy has 2 columns, but .*0.npy has 3"):
        open_source(tmp_path)
    np.save(tmp_path / "1.npy", X.astype(float))
    with pytest.raises(ValueError, match=r"1.npy holds float64, but .*0.npy holds float32"):
        open_source(tmp_path)
    text_file(tmp_path, X)
    with pytest.raises(ValueError, match="files of one kind are required"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="there are no files"):
        open_source(str(tmp_path / "*.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no files that end in"):
        open_source(tmp_path / "empty")


def test_lazy_frames_are_to_be_collected(X):
    polars = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"collect\(\) the Polars LazyFrame"):
        fit(polars.DataFrame({"a": [1.0, 2.0]}).lazy())


def test_what_is_no_data(X):
    for data in (3, object()):
        with pytest.raises(ValueError, match="must be an array or an iterable of blocks"):
            open_source(data)
    with pytest.raises(ValueError, match="there are no rows"):
        open_source([])
    with pytest.raises(ValueError, match=r"block 1 \(from 0\): X has 2 features"):
        rows_of(open_source([X, X[:, :2]]))
    for option, value in [("missing", "keep"), ("cache", "tape"), ("block_rows", 0)]:
        with pytest.raises(ValueError, match=f"{option} must be"):
            open_source(X, **{option: value})


def test_an_iterator_is_read_once(X):
    source = open_source(iter([X[:400], X[400:]]))
    assert not source.again
    assert np.array_equal(rows_of(source)[0], X)
    with pytest.raises(ValueError, match="has no rows"):
        rows_of(source)


# Memory and disk.


def test_arrays_are_read_where_they_lie(X):
    assert all(np.shares_memory(block.X, X) for block in open_source(X, block_rows=100).blocks())
    assert all(np.shares_memory(block.X, X) for block in open_source([X]).blocks())
    assert open_source(X).array is X


def test_a_full_disk_ends_the_cache_and_not_the_fit(tmp_path, X, monkeypatch):
    path = parquet_files(tmp_path / "p", X)

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caching.DiskCache, "_write", full)
    source = open_source(path, block_rows=128)
    for _ in range(2):
        assert np.array_equal(rows_of(source)[0], X)
    with pytest.raises(OSError, match=r"cache of decoded rows cannot be written .* make room"):
        rows_of(open_source(path, cache="disk"))


def test_blocks_of_a_cache_on_disk_keep_their_rows(tmp_path, X):
    """Each is a map of its own, with the source closed too."""
    path = parquet_files(tmp_path / "p", X, w=np.arange(1.0, len(X) + 1))
    source = open_source(path, weight_column="w", cache="disk", block_rows=101)
    copies = [block.copy() for block in source.blocks()]
    blocks = list(source.blocks())
    source.close()
    assert len(blocks) > 2
    for block, copy in zip(blocks, copies, strict=True):
        assert np.array_equal(block.X, copy.X)
        assert np.array_equal(block.weight, copy.weight)
        assert block.end == copy.end


def test_a_disk_without_room_is_not_filled(tmp_path, X, monkeypatch):
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda _: SimpleNamespace(free=2000))
    # Of files whose rows are counted, and of those whose are not.
    for data in (parquet_files(tmp_path / "p", X), text_file(tmp_path, X)):
        source = open_source(data, block_rows=128)
        for _ in range(2):
            assert np.array_equal(rows_of(source)[0], X)
        assert source._cache is None


def test_the_reading_thread_ends_with_its_reader(tmp_path, X):
    source = open_source(parquet_files(tmp_path / "p", X), block_rows=64)
    blocks = source.blocks()
    next(blocks)
    blocks.close()
    assert not [t for t in threading.enumerate() if t.name == "fastem-reader"]
    assert np.array_equal(rows_of(source)[0], X)


def test_blocks_are_large_but_not_too_large():
    assert block_rows_for(8, np.float32) == 2**19
    assert block_rows_for(128, np.float64) == 2**14
    assert block_rows_for(10**6, np.float64) == 2**10


@pytest.mark.parametrize(("name", "extra"), [("t.h5", "hdf5"), ("t.zarr", "zarr"), ("t.parquet", "parquet")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, extra):
    for package in ("h5py", "zarr", "pyarrow"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ImportError, match=rf"pip install 'fastem\[{extra}\]'"):
        open_source(tmp_path / name)


def test_text_without_pyarrow_is_the_same(tmp_path, X, monkeypatch):
    path = text_file(tmp_path, X)
    expected = rows_of(open_source(path))[0]
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert np.array_equal(rows_of(open_source(path, block_rows=128))[0], expected)


def test_one_array_without_its_rows_of_missing_values(tmp_path, X):
    holed = X.copy()
    holed[::10, 1] = np.nan
    np.save(tmp_path / "x.npy", holed)
    for data in (holed, tmp_path / "x.npy"):
        source = open_source(data, missing="drop")
        assert np.array_equal(source.whole(), holed[~np.isnan(holed).any(axis=1)])
        assert fit_online(source, "gaussian", 1, random_state=0).n_samples == N - N // 10


def test_empty_lines_before_the_names(tmp_path):
    path = tmp_path / "t.csv"
    for start in ("", "\n\n", "\r\n"):
        path.write_text(start + "a,b\n1,2\n3,4\n", newline="")
        assert open_source(path).whole().tolist() == [[1.0, 2.0], [3.0, 4.0]]
        path.write_text(start + "1,2\n3,4\n", newline="")
        assert open_source(path).whole().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_blocks_may_be_empty_or_without_weight(X):
    weight = np.ones(300)
    parts = [(X[:300], 0 * weight), (X[:0], weight[:0]), (X[300:600], weight), (X[600:900], weight)]
    source = open_source(parts)
    blocks = list(source.blocks())
    assert [len(block) for block in blocks] == [300, 300, 300]
    assert np.array_equal(rows_of(source, blocks[0].end)[0], X[300:900])
    start = {"start": "random_from_data", "random_state": 0}
    found = fit(source, "gaussian", 1, **start)
    np.testing.assert_allclose(found.params.means[0], X[300:900].mean(axis=0), atol=1e-6)
    online = fit_online(open_source(parts), "gaussian", 1, **start, method="incremental", n_passes=2, tol=0.0)
    np.testing.assert_allclose(online.params.means[0], X[300:900].mean(axis=0), atol=1e-6)
    for learn in (fit, fit_online):
        with pytest.raises(ValueError, match="positive weight"):
            learn(open_source(parts[:1]), "gaussian", 1)


def test_blocks_lose_no_digits(X):
    wide = 1e200 * X.astype(np.float64)
    both = rows_of(open_source([X, wide]))[0]
    assert np.array_equal(both, np.concatenate([X, wide]))
    source = open_source(lambda: iter([X, wide]))
    with pytest.raises(ValueError, match=r"block 1 \(from 0\): X is float64, but the first block is float32"):
        list(source.blocks())

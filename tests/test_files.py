"""Tables in files: what is read, what is refused, and what is left behind when writing fails."""

import builtins
import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest

from fastem.data.sources import open_source
from fastem.data.writing import check_target, table_writer, whole_file


def read_table(path, columns=None):
    source = open_source(path, columns=columns)
    return SimpleNamespace(
        values=source.whole(), names=source.names, named=source.named, left_out=source.left_out, source=source
    )


def written(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


# Text.


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_header_delimiter_and_line_ends_are_detected(tmp_path, delimiter, header, end):
    rows = [["1.5", "-2e3"], ["0.1", "4"], [" 7", "8.25"]]
    lines = [["width", "height"], *rows] if header else rows
    table = read_table(written(tmp_path, end.join(delimiter.join(line) for line in lines) + end))
    assert table.values.tolist() == [[1.5, -2000.0], [0.1, 4.0], [7.0, 8.25]]
    assert table.named is header
    assert table.names == (["width", "height"] if header else ["x0", "x1"])
    assert table.left_out == []


def test_one_column(tmp_path):
    assert read_table(written(tmp_path, "3\n1\n2\n")).values.tolist() == [[3], [1], [2]]
    table = read_table(written(tmp_path, "ph\n3\n1"))
    assert (table.names, table.values.tolist()) == (["ph"], [[3], [1]])


def test_a_byte_order_mark_quotes_and_blank_lines(tmp_path):
    text = '"a, b","two\nlines"\n\n"1","2"\n3,4\n\n'
    table = read_table(written(tmp_path, text, encoding="utf-8-sig"))
    assert table.names == ["a, b", "two\nlines"]
    assert table.values.tolist() == [[1, 2], [3, 4]]


def test_text_columns_and_nameless_ones_are_left_out(tmp_path):
    path = written(tmp_path, '"","a","species","b"\n"1",1.5,x,2\n"2",2.5,y,3\n')
    table = read_table(path)
    assert (table.names, table.left_out) == (["a", "b"], ["column 1", "species"])
    assert table.values.tolist() == [[1.5, 2], [2.5, 3]]
    # Without names in the first line no column is nameless.
    table = read_table(written(tmp_path, "5.1,3.5,setosa\n4.9,3,virginica\n"))
    assert (table.named, table.names, table.left_out) == (False, ["x0", "x1"], ["x2"])
    assert table.values.tolist() == [[5.1, 3.5], [4.9, 3]]


def test_columns_by_name_come_in_the_order_asked_for(tmp_path):
    path = written(tmp_path, "a,b,c\n1,2,x\n3,,y\n")
    table = read_table(path, columns=["a"])
    assert (table.names, table.values.tolist(), table.left_out) == (["a"], [[1], [3]], [])
    path = written(tmp_path, "a,b,c\n1,2,3\n4,5,6\n")
    assert read_table(path, columns=["c", "a"]).values.tolist() == [[3, 1], [6, 4]]


def test_both_ways_of_reading_give_the_same_bits(tmp_path, rng):
    X = rng.normal(size=(1000, 3)) * 10.0 ** rng.integers(-300, 300, size=(1000, 3))
    text = "a,b,c\n" + "\n".join(",".join(map(repr, row)) for row in X.tolist())
    path = written(tmp_path, text)
    assert np.array_equal(read_table(path).values, X)
    assert np.array_equal(read_table(path, ["c", "b", "a"]).values, X[:, ::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,oops\n5,6\n", "line 3: column 'b' holds 'oops'"),
        ("a,b\n1,2\n\n3,NA\n5,6\n", "line 4: column 'b' holds 'NA'"),
        ("1,2\n3,4\n,6\n7,8\n", "line 3: column 'x0' is empty"),
        ("a,b\n1,2\n3,nan\n", "line 3: column 'b' holds 'nan'"),
        ("a,b\n1,2\n-inf,3\n", "line 3: column 'a' holds '-inf'"),
        ("a,b\n1,2\n1_000,3\n4,5\n", "line 3: column 'a' holds '1_000'"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells, but 2 in the first line"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but 2 in the first line"),
        ("a,b,t\n1,2,x\n3,4,y,z\n", "line 3: 4 cells, but 3 in the first line"),
        ("a,b\n", "names of columns in its first line, but no rows"),
        ("a,b\nx,y\n", "no column of numbers"),
        ("a,a\n1,2\n", "more than one column 'a'"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"a,b\n1,\xff\xfe\n", "not text in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError) as raised:
        read_table(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_bad_cell_far_down_is_found(tmp_path):
    path = written(tmp_path, "a,b\n" + "1,2\n" * 5000 + "3,x\n" + "1,2\n" * 10)
    with pytest.raises(ValueError, match=r"line 5002: column 'b' holds 'x'"):
        read_table(path)


def test_columns_that_are_not_there(tmp_path):
    path = written(tmp_path, "a,b,t\n1,2,x\n")
    with pytest.raises(ValueError, match="no column 'c'; its columns are a, b, t"):
        read_table(path, ["a", "c"])
    with pytest.raises(ValueError, match=r"column 't' of .* holds no numbers"):
        read_table(path, ["a", "t"])
    with pytest.raises(ValueError, match="must be different names"):
        read_table(path, ["a", "a"])


def test_paths_that_are_no_tables(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        read_table(tmp_path / "nix.csv")
    with pytest.raises(ValueError, match=r"must end in .csv, .tsv, .txt, .npy, .parquet"):
        read_table(written(tmp_path, "1", "t.xlsx"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match="has no files"):
        read_table(tmp_path / "folder.csv")


# NumPy.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_an_array_is_mapped_and_not_copied(tmp_path, rng, dtype):
    path, X = tmp_path / "x.npy", rng.normal(size=(50, 3)).astype(dtype)
    np.save(path, X)
    table = read_table(path)
    assert isinstance(table.values, np.memmap)
    assert not table.values.flags.writeable
    assert table.values.dtype == dtype
    assert np.array_equal(table.values, X)
    assert (table.named, table.names) == (False, ["x0", "x1", "x2"])
    # What changes in the file changes in the table.
    with path.open("r+b") as file:
        file.seek(-X.itemsize, 2)
        file.write(np.array(42, dtype).tobytes())
    assert table.values[-1, -1] == 42


def test_integers_and_single_features_and_chosen_columns(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(6).reshape(3, 2))
    assert read_table(path).values.dtype == np.float64
    assert read_table(path, ["x1"]).values.tolist() == [[1], [3], [5]]
    np.save(path, np.array([1.0, 2.0]))
    assert read_table(path).values.tolist() == [[1], [2]]


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.array(["a"]), np.array(1.0), np.zeros((2, 2), complex)])
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match="must hold a table of numbers"):
        read_table(tmp_path / "x.npy")


def test_damaged_and_pickled_arrays_are_refused(tmp_path):
    path = written(tmp_path, b"\x93NUMPY\x01\x00nonsense", "x.npy")
    with pytest.raises(ValueError, match=r"not an array of numbers saved by numpy.save"):
        read_table(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not an array of numbers saved by numpy.save"):
        read_table(path)


# Parquet.


@pytest.fixture
def parquet(tmp_path):
    """A function that writes columns to a file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(row_group_size=3, **columns):
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet", row_group_size=row_group_size)
        return tmp_path / "t.parquet"

    return write


def test_numbers_of_a_parquet_file(parquet):
    path = parquet(a=[1.5, 2, 3, 4, 5], t=list("vwxyz"), n=[1, 2, 3, 4, 2**40], b=[True, False, True, True, True])
    table = read_table(path)
    assert (table.named, table.names, table.left_out) == (True, ["a", "n", "b"], ["t"])
    assert table.values.tolist() == [[1.5, 1, 1], [2, 2, 0], [3, 3, 1], [4, 4, 1], [5, 2.0**40, 1]]
    assert read_table(path, ["n", "a"]).values[:2].tolist() == [[1, 1.5], [2, 2]]


def test_single_precision_stays(parquet):
    table = read_table(parquet(a=np.float32([1, 2]), b=np.float32([3, 4])))
    assert table.values.dtype == np.float32
    assert table.values.flags.f_contiguous
    assert read_table(parquet(a=np.float32([1, 2]), b=np.float64([3, 4]))).values.dtype == np.float64


def test_pandas_row_labels_are_no_feature(tmp_path):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1.0, 2.0]}, index=[7, 9]).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").names == ["a"]


@pytest.mark.parametrize(("bad", "message"), [(None, "is missing"), (np.inf, "holds inf"), (np.nan, "is missing")])
def test_missing_values_of_a_parquet_file(parquet, bad, message):
    with pytest.raises(ValueError, match=rf"row 4 \(from 0\): column 'b' {message}"):
        read_table(parquet(a=[1.0] * 6, b=[1.0, 2, 3, 4, bad, 6]))


def test_other_parquet_files_are_refused(tmp_path, parquet):
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_table(written(tmp_path, b"PAR1 nonsense", "x.parquet"))
    with pytest.raises(ValueError, match="no column of numbers"):
        read_table(parquet(t=["a"]))
    with pytest.raises(ValueError, match="has no rows"):
        read_table(parquet(a=np.empty(0)))


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = written(tmp_path, b"PAR1", "x.parquet")
    real_import = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'fastem\[parquet\]'"):
        read_table(path)


# Writing.


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = written(tmp_path, "before")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "before"
    with pytest.raises(OSError, match=r"No space left.*" + path.name) as full, whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert full.value.filename == str(path)
    with whole_file(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("after")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "after"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_written_table_reads_the_same(tmp_path, rng, name):
    X = rng.normal(size=(20, 2)) / 3
    with table_writer(str(tmp_path / name), ["a", "b, c"]) as write:
        write(X[:15].T)
        write(X[15:].T)
    table = read_table(tmp_path / name)
    assert table.names == ["a", "b, c"]
    assert np.array_equal(table.values, X)


def test_targets_are_checked(tmp_path, monkeypatch):
    check_target(tmp_path / "m.json", [".json"], "a model")
    with pytest.raises(ValueError, match=r"cannot write a model to .*: its name must end in .json or .npz"):
        check_target(tmp_path / "m.txt", [".json", ".npz"], "a model")
    with pytest.raises(ValueError, match="there is no folder"):
        check_target(tmp_path / "nix" / "m.json", [".json"], "a model")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(ValueError, match="it is a folder"):
        check_target(tmp_path / "d.json", [".json"], "a model")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match="is read-only"):
        check_target(tmp_path / "m.json", [".json"], "a model")

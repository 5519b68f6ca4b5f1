"""Files that are no models, or no longer: refused with a message that says so, and never run."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import fastem
from fastem import GaussianMixture, PoissonMixture


@pytest.fixture(name="X")
def rows(rng):
    return rng.poisson([3.0, 8.0, 5.0], size=(90, 3)) + 9.0 * (np.arange(90) % 3)[:, None]


@pytest.fixture(params=[".npz", ".json"])
def suffix(request):
    return request.param


@pytest.fixture
def saved(X, suffix, tmp_path):
    """Path of a saved model."""
    path = tmp_path / f"model{suffix}"
    GaussianMixture(3, random_state=0).fit(X).save(path)
    return path


def test_file_of_another_family(suffix, X, tmp_path):
    PoissonMixture(2, random_state=0).fit(X).save(tmp_path / f"model{suffix}")
    with pytest.raises(ValueError, match=r"poisson.*fastem\.load"):
        GaussianMixture.load(tmp_path / f"model{suffix}")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        fastem.load(tmp_path / "nothing.npz")
    with pytest.raises(OSError):
        fastem.load(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.2, 0.5, 0.9, 0.99])
def test_truncated(saved, part):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=r"damaged|not a fastem model"):
        fastem.load(saved)


def test_flipped_bytes(X, tmp_path, rng):
    """A flip in an npz file is found, or it changed nothing that is read."""
    path = tmp_path / "model.npz"
    model = GaussianMixture(3, random_state=0).fit(X)
    model.save(path)
    good = path.read_bytes()
    found = 0
    for at in rng.permutation(len(good))[:600]:
        for bit in (1, 1 << int(rng.integers(1, 8))):
            damaged = bytearray(good)
            damaged[at] ^= bit
            path.write_bytes(damaged)
            try:
                loaded = fastem.load(path)
            except ValueError:
                found += 1
            else:
                for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
                    np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name), err_msg=name)
    assert found > 600


def edited(path, change):
    """The saved model with its header and arrays put through ``change(content)``."""
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    content = {**json.loads(str(arrays.pop("header"))), "params": arrays}
    change(content)
    params = content.pop("params")
    np.savez(path, header=np.array(json.dumps(content)), **params)


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


DAMAGES = {
    "no version": lambda c: c.pop("version"),
    "no family": lambda c: c.pop("family"),
    "no settings": lambda c: c.pop("settings"),
    "no details": lambda c: c.pop("details"),
    "no weights": lambda c: c["params"].pop("weights"),
    "no factor": lambda c: c["params"].pop("precisions_cholesky"),
    "one array too many": put("params", "extra", [1.0]),
    "another family": put("family", "uniform"),
    "another structure": put("settings", "covariance_type", "round"),
    "structure of other shapes": put("settings", "covariance_type", "spherical"),
    "an unknown setting": put("settings", "colour", 1),
    "settings of a wrong type": put("settings", [1]),
    "one weight of three": put("params", "weights", [1.0]),
    "weights that do not sum to 1": put("params", "weights", [0.5, 0.5, 0.5]),
    "negative weights": put("params", "weights", [-1.0, 1.0, 1.0]),
    "means of another shape": put("params", "means", [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]),
    "means of one component": put("params", "means", [[1.0, 2.0, 3.0]]),
    "covariances of another shape": put("params", "covariances", [1.0]),
    "text for numbers": put("params", "means", [["a", "b", "c"]] * 3),
    "not a number": put("params", "means", [[float("nan")] * 3] * 3),
    "an unknown float type": put("details", "dtype", "float5"),
    "details of a wrong type": put("details", [3]),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_content(saved, change):
    edited(saved, change)
    with pytest.raises(ValueError, match=r"damaged|not a fastem model") as caught:
        fastem.load(saved)
    assert str(saved) in str(caught.value)


def test_newer_version(saved):
    edited(saved, put("version", 2))
    with pytest.raises(ValueError, match=r"version 2.*upgrade"):
        fastem.load(saved)


def foreign_arrays(path):
    np.savez(path, weights=np.ones(3), means=np.ones((3, 2)))


def foreign_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def objects(path):
    with path.open("wb") as file:
        np.savez(file, header=np.array({"format": "fastem mixture"}, dtype=object))


def pickled(path):
    path.write_bytes(pickle.dumps(GaussianMixture(2)))


def text(content):
    def write(path):
        path.write_text(content, encoding="utf-8")

    return write


FOREIGN = {
    "arrays": foreign_arrays,
    "array": foreign_array,
    "objects": objects,
    "pickle": pickled,
    "nothing": text(""),
    "a list": text("[1, 2]"),
    "a number": text("3"),
    "null": text("null"),
    "an object": text('{"a": 1}'),
    "a list of parameters": text('{"format": "fastem mixture", "version": 1, "params": [1]}'),
    "another format": text('{"format": "other", "version": 1, "params": {}}'),
    "deep": text("[" * 100_000),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 20),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files(write, suffix, tmp_path):
    made = tmp_path / "made.npz"
    write(made)
    path = made.rename(tmp_path / f"foreign{suffix}")
    with pytest.raises(ValueError, match="not a fastem model"):
        fastem.load(path)


def test_pickles_are_never_run(tmp_path):
    """Not even one that stands in an npz file in place of an array."""
    flag = tmp_path / "ran"

    class Run:
        def __reduce__(self):
            return open, (str(flag), "w")

    np.savez(tmp_path / "model.npz", header=np.array([Run()], dtype=object))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Run()))
    for name in ("model.npz", "plain.npz"):
        with pytest.raises(ValueError, match="not a fastem model"):
            fastem.load(tmp_path / name)
    assert not flag.exists()

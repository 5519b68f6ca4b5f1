"""Models in files: bit for bit there and back, whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fastem
from fastem import GaussianMixture, PoissonMixture, persistence

MAKERS = {
    **{s: (lambda s=s, **o: GaussianMixture(3, covariance_type=s, **o)) for s in ("full", "tied", "diag", "spherical")},
    "poisson": lambda **o: PoissonMixture(3, **o),
}
ATTRIBUTES = (
    *("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "rates_"),
    *("converged_", "n_iter_", "lower_bound_", "n_features_in_", "feature_names_in_"),
)


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


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same_model(one, other):
    for name in ATTRIBUTES:
        assert hasattr(one, name) == hasattr(other, name), name
        if hasattr(one, name):
            a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
            assert a.dtype == b.dtype, name
            assert np.array_equal(a, b), name


# There and back.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", MAKERS)
def test_round_trip(kind, dtype, suffix, X, tmp_path):
    X = X.astype(dtype)
    model = MAKERS[kind](random_state=0).fit(X)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    assert names_in(tmp_path) == [path.name]
    for loaded in (type(model).load(path), fastem.load(path), fastem.load(str(path))):
        assert type(loaded) is type(model)
        assert_same_model(loaded, model)
        assert loaded.n_components == 3
        for method in ("predict", "predict_proba", "score_samples", "bic", "icl"):
            assert np.array_equal(getattr(loaded, method)(X), getattr(model, method)(X)), method
        for name in ("covariance_type", "reg_covar"):
            assert getattr(loaded, name, None) == getattr(model, name, None)


def test_saving_again_changes_nothing(kind_saved_twice):
    first, second = kind_saved_twice
    assert_same_model(fastem.load(second), fastem.load(first))


@pytest.fixture(params=MAKERS)
def kind_saved_twice(request, suffix, X, tmp_path):
    paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
    MAKERS[request.param](random_state=0).fit(X.astype(np.float32)).save(paths[0])
    fastem.load(paths[0]).save(paths[1])
    return paths


def test_feature_names(suffix, X, tmp_path):
    frame = pd.DataFrame(X, columns=["length", "breadth", "größe"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    model.save(tmp_path / f"model{suffix}")
    loaded = fastem.load(tmp_path / f"model{suffix}")
    assert_same_model(loaded, model)
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[["breadth", "length", "größe"]])


def test_model_of_given_parameters(suffix, tmp_path):
    model = PoissonMixture.from_parameters([0.25, 0.75], [[1e-30], [1e30]])
    model.save(tmp_path / f"model{suffix}")
    assert_same_model(fastem.load(tmp_path / f"model{suffix}"), model)


def test_json_is_json(tmp_path):
    """Also of a model that was never fitted, whose lower bound is not finite: other programs read it."""
    GaussianMixture.from_parameters([1.0], [[0.5]], [[[2.0]]]).save(tmp_path / "model.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "model.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["params"]["means"] == [[0.5]]
    assert content["family"] == "gaussian"


def test_loaded_model_is_fitted_again(suffix, X, tmp_path):
    model = GaussianMixture(3, random_state=0, max_iter=100).fit(X)
    model.save(tmp_path / f"model{suffix}")
    again = fastem.load(tmp_path / f"model{suffix}").set_params(warm_start=True).fit(X)
    assert again.lower_bound_ >= model.lower_bound_ - 1e-12


def test_files_of_version_1_still_load(tmp_path):
    """The format as it was first released: files that people have must go on to load, and predict the same."""
    content = {
        "format": "fastem mixture",
        "version": 1,
        "family": "gaussian",
        "settings": {"covariance_type": "diag", "reg_covar": 1e-06},
        "details": {"converged": True, "n_iter": 7, "lower_bound": -1.5, "dtype": "float64", "feature_names": ["a"]},
        "params": {
            "weights": [0.25, 0.75],
            "means": [[0.0], [4.0]],
            "covariances": [[1.0], [4.0]],
            "precisions_cholesky": [[1.0], [0.5]],
        },
    }
    (tmp_path / "old.json").write_text(json.dumps(content), encoding="utf-8")
    arrays = {name: np.array(values) for name, values in content.pop("params").items()}
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(content)), **arrays)
    for name in ("old.json", "old.npz"):
        model = fastem.load(tmp_path / name)
        frame = pd.DataFrame({"a": [0.0, 4.0]})
        expected = [np.log(0.25 + 0.375 * np.exp(-2.0)), np.log(0.25 * np.exp(-8.0) + 0.375)]
        np.testing.assert_allclose(model.score_samples(frame), np.array(expected) - 0.5 * np.log(2 * np.pi))
        assert (model.n_iter_, model.lower_bound_, model.covariance_type) == (7, -1.5, "diag")


# Writing.


def test_unknown_ending(X, tmp_path):
    model = GaussianMixture(2, random_state=0).fit(X)
    for name in ("model.pkl", "model", "model.json.gz"):
        with pytest.raises(ValueError, match=r"\.npz or \.json"):
            model.save(tmp_path / name)
    assert names_in(tmp_path) == []


def test_unfitted_models_are_not_saved(tmp_path, suffix):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        GaussianMixture().save(tmp_path / f"model{suffix}")
    assert names_in(tmp_path) == []


def test_nothing_is_left_where_writing_fails(saved, X, tmp_path, monkeypatch):
    """And the file that was there before stays as it was."""
    before = saved.read_bytes()
    model = GaussianMixture(2, random_state=0).fit(X)

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    monkeypatch.setattr(persistence.json, "dumps", fail)
    with pytest.raises(OSError, match="no space left"):
        model.save(saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    (tmp_path / "folder").with_suffix(saved.suffix).mkdir()
    with pytest.raises(OSError):
        model.save((tmp_path / "folder").with_suffix(saved.suffix))
    with pytest.raises(OSError):
        model.save(tmp_path / "missing" / f"model{saved.suffix}")
    assert names_in(tmp_path) == sorted([saved.name, f"folder{saved.suffix}"])


def test_a_model_replaces_another(saved, X):
    GaussianMixture(2, random_state=0).fit(X).save(saved)
    assert fastem.load(saved).n_components == 2

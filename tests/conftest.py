"""Fixtures: random numbers, the engines that run here, and data sets with published answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastem

DATA = Path(__file__).parent / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(params=["numba", "cython", "numpy", "python"])
def engine(request):
    """Name of each engine in turn."""
    if request.param not in fastem.available_engines():
        pytest.skip(f"the {request.param} engine does not run here")
    return request.param


@pytest.fixture(params=["numba", "cython"])
def compiled_engine(request):
    """Name of each engine that runs on several threads."""
    if request.param not in fastem.available_engines():
        pytest.skip(f"the {request.param} engine does not run here")
    return request.param


@pytest.fixture(params=["numba", "cython", "python"])
def kernel_engine(request):
    """Name of each engine that runs the kernels."""
    if request.param not in fastem.available_engines():
        pytest.skip(f"the {request.param} engine does not run here")
    return request.param


def _columns(name, *columns):
    return np.loadtxt(DATA / name, delimiter=",", skiprows=1, usecols=columns, ndmin=2)


@pytest.fixture(scope="session")
def faithful():
    return _columns("faithful.csv", 0, 1)


@pytest.fixture(scope="session")
def iris():
    return _columns("iris.csv", 0, 1, 2, 3)


@pytest.fixture(scope="session")
def acidity():
    return _columns("acidity.csv", 0)


@pytest.fixture(scope="session")
def earthquakes():
    return _columns("earthquakes.csv", 1)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """The command in this process and an empty folder: status, standard output and error."""
    from fastem import cli

    monkeypatch.chdir(tmp_path)

    def run(*argv):
        status = cli.main([str(a) for a in argv])
        return (status, *capsys.readouterr())

    return run

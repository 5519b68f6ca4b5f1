"""``fastem.warmup``, and what a first fit imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastem


def test_engines_without_compilation_are_ready_at_once():
    assert fastem.warmup("numpy") is None
    fastem.warmup("python", ["float64"], ["gaussian"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fortran",), "engine must be"),
        (("numpy", ["int32"]), "float64 or float32"),
        (("numpy", ["float64"], ["weibull"]), "families must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastem.warmup(*arguments)


def test_a_fit_without_scikit_learn_imports_numpy_alone(tmp_path):
    code = (
        "import sys, numpy as np, fastem; "
        "X = np.random.default_rng(0).normal(size=(200, 2)); "
        "fastem.fit(X, n_components=2, start='kmeans', random_state=0, engine='numpy'); "
        "print([m for m in ('numba', 'sklearn', 'scipy', 'rich', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_an_estimator_imports_no_clustering(tmp_path):
    code = (
        "import sys, numpy as np; from fastem import GaussianMixture; "
        "GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(200, 2))); "
        "print([m for m in ('numba', 'sklearn.cluster', 'sklearn.mixture', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr

"""The kernels with vectors of other widths than this processor's best: what other processors run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastem import compiled
from fastem.engines import available_engines

CHECK = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import fastem
from families import CASES
from reference import TOLERANCE, assert_close
rng = np.random.default_rng(1)
runner, reference = fastem.get_engine({engine!r}), fastem.get_engine("numpy")
for case in CASES:
    for n_samples, n_features, n_components in {shapes}:
        for dtype in {dtypes}:
            X = case.rows(rng, n_samples, n_features).astype(dtype)
            params, weight = case.params(rng, n_components, n_features), rng.uniform(size=n_samples)
            a, b = (e.accumulate(case.family, X, params, sample_weight=weight) for e in (runner, reference))
            assert_close(a.S, b.S, TOLERANCE[dtype], f"{{case}} {{X.shape}} {{dtype}}")
            assert_close(a.log_likelihood, b.log_likelihood, TOLERANCE[dtype], "log_likelihood")
            a, b = (e.evaluate(case.family, X, params, ("labels", "responsibilities")) for e in (runner, reference))
            assert_close(a.responsibilities, b.responsibilities, TOLERANCE[dtype], "responsibilities")
            assert np.mean(a.labels == b.labels) > 0.98
print("same")
"""


def check(setup, engine, shapes, dtypes, folder):
    code = setup + CHECK.format(tests=str(Path(__file__).parent), engine=engine, shapes=shapes, dtypes=dtypes)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "same"


@pytest.mark.slow
@pytest.mark.skipif("numba" not in available_engines(), reason="needs Numba")
@pytest.mark.parametrize("width", [16, 64])
def test_numba(width, tmp_path):
    """Whatever the processor has: the compiler splits what is too wide for it."""
    from fastem.engines import numba_vectors

    if width == numba_vectors.VECTOR_BYTES:
        pytest.skip("this processor's own width, which all other tests run")
    setup = f"from fastem.engines import numba_vectors\nnumba_vectors.VECTOR_BYTES = {width}\n"
    setup += f"assert numba_vectors.Vector(numba_vectors.types.float64).lanes == {width // 8}\n"
    # One float type compiles in half the time, and the widest vectors hold the most values of the smaller one.
    dtypes = ["float32"] if width == 64 else ["float64"]
    check(setup, "numba", [(1, 1, 1), (63, 5, 3), (300, 9, 2)], dtypes, tmp_path)


LEVELS = ["baseline", "v3", "v4"]
RUNNABLE = LEVELS[: LEVELS.index(compiled.level) + 1] if compiled.level is not None else []


@pytest.mark.parametrize("level", RUNNABLE)
def test_compiled_ahead_of_time(level, tmp_path):
    """Each level that was built and that this processor runs."""
    setup = "import sys\n"
    for better in LEVELS[LEVELS.index(level) + 1 :]:
        setup += f"sys.modules['fastem.compiled.float64_{better}'] = None\n"
    setup += f"from fastem import compiled\nassert compiled.level == {level!r}, compiled.level\n"
    shapes = [(1, 1, 1), (2, 3, 2), (63, 5, 3), (64, 4, 1), (300, 9, 2), (700, 17, 4)]
    check(setup, "cython", shapes, ["float64", "float32"], tmp_path)

"""What comes back from Numba's disk cache is what was put there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")
pytestmark = pytest.mark.slow

PASSES = """
import sys
import numpy as np, fastem
X = np.random.default_rng(0).poisson([[1.0], [4.0], [7.0]] * 100, size=(300, 3)).astype(float)
means = np.array([[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]])
covariances = {"tied": np.eye(3) + 0.3, "diag": np.full((2, 3), 1.5)}
for name in sys.argv[1:]:
    family = fastem.Poisson() if name == "poisson" else fastem.Gaussian(name)
    params = family.make_params(np.array([0.5, 0.5]), means, *([covariances[name]] if name in covariances else []))
    numba, numpy = (fastem.get_engine(engine).accumulate(family, X, params) for engine in ("numba", "numpy"))
    np.testing.assert_allclose(numba.log_likelihood, numpy.log_likelihood, rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(numba.S, numpy.S, rtol=1e-9, atol=1e-9, err_msg=name)
from fastem.engines import numba_drivers
kernel = numba_drivers.block_kernel(family.log_density_kernel, "log_density", X.dtype)
print(sum(kernel.stats.cache_hits.values()))
"""


def run_passes(folder, *families):
    """Passes in a process of their own; whether the last family's kernel came from the cache."""
    done = subprocess.run(
        [sys.executable, "-c", PASSES, *families],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip() == "1"


def test_kernels_of_several_processes_meet_in_one(tmp_path):
    """Numba numbers the functions of a process: kernels that two processes compiled must not share a symbol's name."""
    # Those that compile soonest.
    assert not run_passes(tmp_path, "poisson")
    assert run_passes(tmp_path, "poisson")
    assert not run_passes(tmp_path, "diag")
    assert not run_passes(tmp_path, "tied")
    assert run_passes(tmp_path, "poisson", "diag", "tied", "poisson", "diag", "tied", "poisson")


WARMUP = """
import sys
import fastem
fastem.warmup("numba", ["float32"], ["poisson", fastem.Gaussian("tied")])
from fastem.engines import numba_drivers as drivers
import numpy as np
made = [drivers.driver(name, np.dtype(t)) for name in drivers.DRIVERS for t in ("float32", "float64")]
for family in (fastem.Poisson(), fastem.Gaussian("tied")):
    made.append(drivers.block_kernel(family.log_density_kernel, "log_density", np.dtype("float32")))
print(sum(sum(f.stats.cache_misses.values()) for f in made), sum(sum(f.stats.cache_hits.values()) for f in made))
X = np.random.default_rng(0).poisson(3.0, size=(3000, 3)).astype(np.float32)
before = drivers.block_kernel.cache_info().misses, drivers.driver.cache_info().misses
fastem.fit(X, "poisson", 2, random_state=0, engine="numba", max_iter=2)
fastem.fit(X, fastem.Gaussian("tied"), 2, random_state=0, engine="numba", max_iter=2)
print((drivers.block_kernel.cache_info().misses, drivers.driver.cache_info().misses) == before)
"""


def test_after_a_warmup_nothing_is_compiled(tmp_path):
    """Not in the fits of the same process, and not in the next process."""
    for expected in ("10 0", "0 10"):
        done = subprocess.run(
            [sys.executable, "-c", WARMUP],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.splitlines() == [expected, "True"]

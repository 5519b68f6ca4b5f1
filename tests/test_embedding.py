"""The kernels in other people's compiled code: called from njit functions, and cimported."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from fastem import Gaussian, GaussianParams, compiled
from fastem.engines import available_engines
from fastem.families import scratch_shape


def problem():
    """A block of 150 rows, padded to 160, and the packed parameters of three components."""
    rng = np.random.default_rng(0)
    family = Gaussian("full")
    params: GaussianParams = family.make_params(
        np.array([0.5, 0.3, 0.2]), rng.normal(size=(3, 5)), np.repeat(2.0 * np.eye(5)[None], 3, axis=0)
    )
    X = rng.normal(size=(150, 5))
    XT = np.repeat(X[-1:], 160, axis=0)
    XT[:150] = X
    packed = family.pack(params, np.dtype(np.float64))
    expected = family.log_density(X, params) + np.log(params.weights)
    return np.ascontiguousarray(XT.T), packed, expected


@pytest.mark.skipif("numba" not in available_engines(), reason="needs Numba")
def test_from_njit_code():
    from numba import njit

    from fastem.engines.numba_drivers import block_kernel

    kernel = block_kernel(Gaussian("full").log_density_kernel, "log_density", np.dtype(np.float64))

    @njit
    def best_component(XT, theta, common, scratch, log_p):
        kernel(XT, 150, theta, common, scratch, log_p)
        total = 0.0
        for b in range(150):
            total += log_p[:, b].max()
        return total

    XT, packed, expected = problem()
    scratch, log_p = np.zeros(scratch_shape(5, 160)), np.zeros((3, 160))
    total = best_component(XT, packed.theta, packed.common, scratch, log_p)
    np.testing.assert_allclose(log_p[:, :150].T, expected, rtol=1e-12)
    assert total == pytest.approx(expected.max(axis=1).sum(), rel=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(compiled.level is None, reason="built without a C compiler")
def test_from_cython_code(tmp_path):
    """A package that cimports the kernels builds and runs, in a process that has not imported fastem before."""
    pytest.importorskip("Cython")
    (tmp_path / "user.pyx").write_text(
        textwrap.dedent(
            """
            import fastem.compiled  # registers the modules of this processor's level
            from fastem.compiled.float64 cimport full_log_density

            def log_density(double[:, ::1] XT, Py_ssize_t n_rows, double[:, ::1] theta, double[:, ::1] common,
                            double[:, ::1] scratch, double[:, ::1] log_p):
                with nogil:
                    full_log_density(XT, n_rows, theta, common, scratch, log_p)
            """
        )
    )
    # The path is for editable installs, whose folder is not among those that Cython searches.
    folder = Path(compiled.__file__).parent.parent.parent
    (tmp_path / "setup.py").write_text(
        "from Cython.Build import cythonize\nfrom setuptools import setup\n"
        f"setup(ext_modules=cythonize('user.pyx', include_path=[{str(folder)!r}]))\n"
    )
    build = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        env={**os.environ, "CFLAGS": "-O0"},  # the kernels are compiled; what calls them compiles in half the time
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    XT, packed, expected = problem()
    np.savez(
        tmp_path / "problem.npz",
        XT=XT,
        theta=packed.theta,
        common=packed.common,
        scratch=np.zeros(scratch_shape(5, 160)),
    )
    code = (
        "import numpy as np, user\n"
        "p = np.load('problem.npz'); log_p = np.zeros((3, 160))\n"
        "user.log_density(p['XT'], 150, p['theta'], p['common'], p['scratch'], log_p)\n"
        "np.save('out.npy', log_p)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy")[:, :150].T, expected, rtol=1e-12)

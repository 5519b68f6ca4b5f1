"""Without a compiler, without Numba, without both: a fit runs on what is there, and says so once."""

import subprocess
import sys

import pytest

NO_NUMBA = "sys.modules['numba'] = None\n"
NO_COMPILED = "sys.modules['fastem.compiled.float64_baseline'] = None\n"
FITS = """
import warnings
import numpy as np
import fastem
X = np.random.default_rng(0).normal(size=(500, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    engines = {fastem.fit(X, n_components=2, random_state=0).engine for _ in range(2)}
print(*engines)
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("blocked", "engine", "missing"),
    [
        (NO_NUMBA, "cython", "without Numba"),
        (NO_COMPILED, "numba", "without its compiled kernels"),
        (NO_NUMBA + NO_COMPILED, "numpy", "without Numba and its compiled kernels"),
    ],
    ids=["no numba", "no compiler", "neither"],
)
def test_auto_takes_what_is_there_and_says_so_once(blocked, engine, missing, tmp_path):
    lines = run(blocked + FITS, tmp_path)
    assert lines[0] == engine
    said = [line for line in lines[1:] if "RuntimeWarning fastem" in line]
    assert len(said) == 1
    assert missing in said[0]


def test_auto_says_nothing_where_all_is_there(tmp_path):
    lines = run(FITS, tmp_path)
    assert lines[0] == "cython"
    assert not [line for line in lines[1:] if "fastem" in line]


@pytest.mark.parametrize(("blocked", "name"), [(NO_NUMBA, "numba"), (NO_COMPILED, "cython")])
def test_an_engine_asked_for_by_name_is_an_error_where_it_is_missing(blocked, name, tmp_path):
    code = f"import fastem\ntry:\n    fastem.get_engine({name!r})\nexcept ImportError as error:\n    print(error)\n"
    assert "install" in run(blocked + code, tmp_path)[0]


def test_a_folder_without_leave_to_write_only_costs_the_cache(tmp_path):
    """Numba then compiles in every process; that is said, and is no error."""
    code = """
import warnings
import numpy as np
from numba.core import caching
def nowhere(*args, **kwargs):
    raise RuntimeError('cannot cache function: no locator available')
caching.FunctionCache.__init__ = nowhere
import fastem
X = np.random.default_rng(0).normal(size=(500, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    print(fastem.fit(X, n_components=2, random_state=0, engine='numba').engine)
print(sum('compiled anew' in str(w.message) for w in caught))
"""
    lines = run(code, tmp_path)
    assert lines[0] == "numba"
    assert lines[1] == "1"

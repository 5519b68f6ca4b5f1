"""Fresh processes: imports, and the first fit with Numba's cache empty."""

from __future__ import annotations

from typing import ClassVar

# iris comes from scikit-learn's own file, without importing scikit-learn before the clock starts.
_IRIS = """
import importlib.util, pathlib
import numpy as np
folder = pathlib.Path(importlib.util.find_spec("sklearn").origin).parent
X = np.loadtxt(folder / "datasets" / "data" / "iris.csv", delimiter=",", skiprows=1, usecols=range(4))
"""
# Numba reads the name of its cache folder when it is imported.
_EMPTY_CACHE = """
import atexit, os, shutil, tempfile
cache = tempfile.mkdtemp(prefix="fastem-benchmark-")
atexit.register(shutil.rmtree, cache)
os.environ["NUMBA_CACHE_DIR"] = cache
"""


class Import:
    """``import fastem``, and the import of its estimators, with NumPy imported already."""

    number = 1
    repeat = (3, 10, 20.0)

    def timeraw_fastem(self) -> tuple[str, str]:
        return "import fastem", "import numpy"

    def timeraw_estimator(self) -> tuple[str, str]:
        return "from fastem import GaussianMixture", "import numpy"


class FirstFit:
    """Import and a fit of iris with 3 components."""

    params: ClassVar = ("auto", "numba", "cython", "numpy", "scikit-learn")
    param_names: ClassVar = ("engine",)
    number = 1
    repeat = (3, 5, 30.0)
    timeout = 600

    def timeraw_iris(self, engine: str) -> tuple[str, str]:
        if engine == "scikit-learn":
            return "from sklearn.mixture import GaussianMixture; GaussianMixture(3).fit(X)", _IRIS
        statement = f"from fastem import GaussianMixture; GaussianMixture(3, engine={engine!r}).fit(X)"
        return statement, _EMPTY_CACHE + _IRIS

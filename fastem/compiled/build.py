"""Build of the compiled kernels: one module a float type and processor level, from the kernels' own Python source.

The kernel files are joined into one module source, without their imports of each other; the C types come from their
``.pxd`` files, joined likewise. Used by ``setup.py`` only.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
KERNELS = PACKAGE.parent / "kernels"
C_TYPES = {"float64": "double", "float32": "float"}

# x86-64 levels by features, which older compilers know too; -ffp-contract forms the fused multiply-adds, and nothing
# here may reorder sums: the exponential lives from the rounding of an addition.
_LEVEL_3 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2"]
_LEVEL_4 = [*_LEVEL_3, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx512cd"]
_COMMON = ["-O3", "-g0", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
BOUNDS_CHECK = os.environ.get("FASTEM_BOUNDS_CHECK") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": BOUNDS_CHECK,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "infer_types": True,
    "freethreading_compatible": True,
}


def levels() -> dict[str, list[str]]:
    """Compiler flags of each processor level that this platform can build."""
    if os.name == "nt":
        return {"baseline": ["/O2"]}
    found = {"baseline": _COMMON}
    if platform.machine().lower() in {"x86_64", "amd64"} and "arm64" not in os.environ.get("ARCHFLAGS", ""):
        found["v3"] = _COMMON + _LEVEL_3
        found["v4"] = _COMMON + _LEVEL_4
    return found


def _sources() -> list[Path]:
    kernels = sorted(p for p in KERNELS.glob("*.py") if p.stem not in {"__init__", "vectors"})
    return [*kernels, PACKAGE / "entry.py"]


def _without_own_imports(text: str) -> str:
    return re.sub(r"^from fastem\.kernels\.\w+ c?import (\([^)]*\)|.*)\n", "", text, flags=re.MULTILINE)


def module_source() -> str:
    """Python source of the compiled module."""
    # The first line makes another source of another setting: nothing of the last build is taken for this one's.
    setting = f"# cython: boundscheck={BOUNDS_CHECK}\n"
    return setting + "\n\n".join(_without_own_imports(p.read_text(encoding="utf-8")) for p in _sources())


def module_types() -> str:
    """The augmenting declarations of that source."""
    parts = [_without_own_imports(p.with_suffix(".pxd").read_text(encoding="utf-8")) for p in _sources()]
    return "\n".join([(KERNELS / "vectors.pxd").read_text(encoding="utf-8"), *parts])


def public_header(dtype: str) -> str:
    """Declarations for other packages to cimport: the kernels that deal in arrays alone."""
    lines = []
    for path in _sources():
        for line in path.with_suffix(".pxd").read_text(encoding="utf-8").splitlines():
            is_kernel = re.match(r"(cdef|ctypedef) (void|double) (?!_|.*\bvec\b).*noexcept nogil$", line)
            if is_kernel and "accumulate_panel" not in line and "evaluate_panel" not in line:
                lines.append(re.sub(r"\breal\b", C_TYPES[dtype], line))
    return "# Made by the build from fastem/kernels/*.pxd.\n" + "\n".join(lines) + "\n"


def extensions(build_folder: str, required: bool) -> list[Any]:
    """Extensions to build, their sources written below ``build_folder``."""
    from Cython.Build import cythonize
    from Cython.Compiler import Errors
    from setuptools import Extension

    root = Path(build_folder)
    folder = root / "fastem" / "compiled"
    folder.mkdir(parents=True, exist_ok=True)
    for package in (root / "fastem", folder):
        (package / "__init__.py").touch()
    found = []
    for level, flags in levels().items():
        for dtype, c_type in C_TYPES.items():
            source = folder / f"{dtype}_{level}.py"
            _write_if_new(source, module_source())
            _write_if_new(source.with_suffix(".pxd"), module_types())
            found.append(
                Extension(
                    f"fastem.compiled.{dtype}_{level}",
                    [str(source)],
                    include_dirs=[str(KERNELS)],
                    depends=[str(KERNELS / "vectors.h")],
                    define_macros=[("FASTEM_REAL", c_type), *([("FASTEM_BOUNDS_CHECK", "1")] if BOUNDS_CHECK else [])],
                    extra_compile_args=flags,
                )
            )
    # The declarations of private helpers say "inline", which Cython honours, but not without a warning.
    Errors.LEVEL = 2
    made = cythonize(found, include_path=[str(root)], compiler_directives=DIRECTIVES, quiet=True)
    for extension in made:
        # cythonize drops this flag when it is set before.
        extension.optional = not required
    return made


def _write_if_new(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

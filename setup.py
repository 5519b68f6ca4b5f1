"""The Cython extension modules; everything else about the package is in pyproject.toml."""

import importlib.util
import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("fastem_build", ROOT / "fastem" / "compiled" / "build.py")
kernels = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernels)

REQUIRED = os.environ.get("FASTEM_REQUIRE_COMPILED") == "1"


class BuildExtensions(build_ext):
    """Compile the modules side by side: they do not depend on each other."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()


class BuildPackage(build_py):
    """Write the headers for other packages' Cython beside the modules."""

    def run(self):
        super().run()
        folder = Path(ROOT if self.editable_mode else self.build_lib) / "fastem" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        for dtype in kernels.C_TYPES:
            (folder / f"{dtype}.pxd").write_text(kernels.public_header(dtype), encoding="utf-8")


def extension_modules():
    try:
        return kernels.extensions("build/kernels", REQUIRED)
    except ImportError as error:
        if REQUIRED:
            raise
        print(f"fastem: building without compiled kernels ({error})", file=sys.stderr)
        return []


setup(ext_modules=extension_modules(), cmdclass={"build_ext": BuildExtensions, "build_py": BuildPackage})

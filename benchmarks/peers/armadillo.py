"""Armadillo's ``gmm_full`` and ``gmm_diag``: a small C++ program, built on the spot."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from peers.base import MissingPeerError
from peers.program import Program

_OPTIONS = ("-O3", "-march=native", "-fopenmp", "-std=c++17", "-DARMA_NO_DEBUG")


class Armadillo(Program):
    name = "Armadillo"

    def version(self) -> str:
        command = [*self.command(), "--version"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def command(self) -> list[str]:
        return [str(Path(_built().name) / "armadillo")]


@cache
def _built() -> tempfile.TemporaryDirectory[Any]:
    """Folder with the program, which goes when this process does."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise MissingPeerError("no C++ compiler")
    folder = tempfile.TemporaryDirectory(prefix="fastem-benchmark-")
    source = Path(__file__).with_name("armadillo.cpp")
    program = Path(folder.name) / "armadillo"
    command = [compiler, *_OPTIONS, str(source), "-o", str(program), "-larmadillo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingPeerError(f"does not build (Debian: apt-get install libarmadillo-dev): {done.stderr.strip()[:99]}")
    return folder

"""mclust's ``em``, in R."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from peers.base import MissingPeerError
from peers.program import Program


class Mclust(Program):
    name = "mclust"
    dtypes = ("float64",)

    def version(self) -> str:
        done = subprocess.run([*self.command(), "--version-only"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MissingPeerError("R has no package mclust (Debian: apt-get install r-cran-mclust)")
        return done.stdout.strip()

    def command(self) -> list[str]:
        if shutil.which("Rscript") is None:
            raise MissingPeerError("no R (Debian: apt-get install r-base-core r-cran-mclust)")
        return ["Rscript", "--vanilla", str(Path(__file__).with_name("mclust.R"))]

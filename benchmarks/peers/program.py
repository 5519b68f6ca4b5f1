"""Peers that are not Python: a program that reads rows and start from files, and times its fit itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from comparison.timing import Turn
from peers.base import Fit, Outcome, Peer, covariances_of
from problems import Start


class Program(Peer):
    """Runs ``command() FOLDER N D K STRUCTURE DTYPE ITERATIONS``.

    The folder has ``rows``, ``weights``, ``means`` and ``covariances`` as plain values row by row. The program
    writes the last three over them, and prints ``{"wall": seconds, "cpu": seconds, "rise": bytes or null}``.
    """

    own_process = True

    @abstractmethod
    def command(self) -> list[str]:
        """Program and first arguments."""

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        arrays = {"weights": start.weights, "means": start.means, "covariances": covariances_of(start, structure)}
        with tempfile.TemporaryDirectory(prefix="fastem-benchmark-") as name:
            folder = Path(name)
            X.tofile(folder / "rows")

            def fit(max_iter: int) -> Outcome:
                for part, values in arrays.items():
                    values.tofile(folder / part)
                sizes = (str(size) for size in (*X.shape, len(start.weights)))
                command = [*self.command(), name, *sizes, structure, X.dtype.name, str(max_iter)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise RuntimeError(f"{self.name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
                took = json.loads(done.stdout.splitlines()[-1])
                found = (np.fromfile(folder / part, X.dtype).reshape(a.shape) for part, a in arrays.items())
                return Outcome(Turn(took["wall"], took["cpu"]), *found, rise=took["rise"])

            yield fit

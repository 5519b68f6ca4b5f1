"""oneDAL's ``em_gmm``, through daal4py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from comparison.timing import clock
from peers.base import Fit, MissingPeerError, Outcome, Peer, covariances_of, package_version
from problems import Start


class OneDAL(Peer):
    name = "oneDAL"

    def version(self) -> str:
        # daal4py comes with scikit-learn-intelex since 2025; on its own it is an older oneDAL.
        try:
            found = package_version("scikit-learn-intelex")
        except MissingPeerError:
            found = package_version("daal4py", "scikit-learn-intelex")
        try:
            import daal4py  # noqa: F401
        except ImportError as error:
            raise MissingPeerError(f"daal4py does not load: {error}") from None
        return found

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        import daal4py

        daal4py.daalinit(n_threads)
        covariances = covariances_of(start, structure)
        # A table a component: the matrix, or the diagonal as one row.
        tables = list(covariances if structure == "full" else covariances[:, None])
        options = {
            "fptype": "float" if X.dtype == np.float32 else "double",
            "covarianceStorage": "full" if structure == "full" else "diagonal",
            "accuracyThreshold": 0.0,
        }

        def fit(max_iter: int) -> Outcome:
            algorithm = daal4py.em_gmm(nComponents=len(tables), maxIterations=max_iter, **options)
            turn, found = clock(lambda: algorithm.compute(X, start.weights[None], start.means, tables))
            return Outcome(turn, found.weights[0], found.means, np.reshape(found.covariances, covariances.shape))

        yield fit

"""OpenCV's ``ml.EM``; OpenCV 5 has no module ``ml``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from comparison.timing import clock
from peers.base import Fit, MissingPeerError, Outcome, Peer, covariances_of
from problems import Start

_INSTALL = "pip install 'opencv-python-headless<5'"


class OpenCV(Peer):
    name = "OpenCV"
    dtypes = ("float64",)

    def version(self) -> str:
        try:
            import cv2
        except ImportError:
            raise MissingPeerError(f"not installed ({_INSTALL})") from None
        if not hasattr(cv2, "ml"):
            raise MissingPeerError(f"OpenCV {cv2.__version__} has no module ml ({_INSTALL})")
        return cv2.__version__

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        import cv2

        cv2.setNumThreads(n_threads)
        n_components = len(start.weights)
        covariances = covariances_of(start, structure)
        # A plain array of three dimensions counts as two with channels.
        matrices = cv2.Mat(covariances if structure == "full" else np.stack([np.diag(c) for c in covariances]))

        def fit(max_iter: int) -> Outcome:
            model = cv2.ml.EM_create()
            model.setClustersNumber(n_components)
            model.setCovarianceMatrixType(
                cv2.ml.EM_COV_MAT_GENERIC if structure == "full" else cv2.ml.EM_COV_MAT_DIAGONAL
            )
            # Its last iteration is an E-step alone.
            model.setTermCriteria((cv2.TERM_CRITERIA_COUNT, max_iter + 1, 0.0))
            turn, _ = clock(lambda: model.trainE(X, start.means, matrices, start.weights[None]))
            found = np.stack(model.getCovs())
            if structure == "diag":
                found = np.diagonal(found, axis1=1, axis2=2)
            return Outcome(turn, model.getWeights()[0], model.getMeans(), found)

        yield fit

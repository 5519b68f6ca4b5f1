"""scikit-learn and fastem's engines, behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from comparison.timing import clock
from peers.base import Fit, MissingPeerError, Outcome, Peer, package_version
from problems import Start


class _Estimator(Peer):
    def unfitted(self, n_components: int, n_threads: int, **options: Any) -> Any:
        """A ``GaussianMixture`` with these options."""
        raise NotImplementedError

    def with_parameters_of(self, model: Any, n_threads: int) -> Any:
        """A model with the parameters of a fitted scikit-learn model."""
        raise NotImplementedError

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        options = {"covariance_type": structure, "tol": 0.0, "reg_covar": 1e-6, **start.as_options()}

        def fit(max_iter: int) -> Outcome:
            model = self.unfitted(len(start.weights), n_threads, max_iter=max_iter, **options)
            turn, _ = clock(lambda: model.fit(X))
            return Outcome(turn, model.weights_, model.means_, model.covariances_)

        yield fit


class ScikitLearn(_Estimator):
    name = "scikit-learn"

    def version(self) -> str:
        return package_version("scikit-learn")

    def unfitted(self, n_components: int, n_threads: int, **options: Any) -> Any:
        from sklearn.mixture import GaussianMixture

        return GaussianMixture(n_components, **options)

    def with_parameters_of(self, model: Any, n_threads: int) -> Any:
        return model


class Fastem(_Estimator):
    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.name = f"fastem {engine}"

    def version(self) -> str:
        from fastem import __version__, available_engines

        if self.engine not in (*available_engines(), "auto"):
            raise MissingPeerError("not in this installation of fastem")
        return __version__

    def unfitted(self, n_components: int, n_threads: int, **options: Any) -> Any:
        from fastem import GaussianMixture

        return GaussianMixture(n_components, engine=self.engine, n_threads=n_threads, **options)

    def with_parameters_of(self, model: Any, n_threads: int) -> Any:
        from fastem import GaussianMixture

        return GaussianMixture.from_sklearn(model).set_params(engine=self.engine, n_threads=n_threads)

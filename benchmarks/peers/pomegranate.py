"""pomegranate's ``GeneralMixtureModel`` of normal distributions, on torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from comparison.timing import clock
from peers.base import Fit, Outcome, Peer, covariances_of, package_version
from problems import Start


class Pomegranate(Peer):
    name = "pomegranate"

    def version(self) -> str:
        return f"{package_version('pomegranate')} (torch {package_version('torch', 'pomegranate')})"

    @contextmanager
    def problem(self, X: np.ndarray, start: Start, structure: str, n_threads: int) -> Iterator[Fit]:
        import torch
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel

        torch.set_num_threads(n_threads)
        rows = torch.from_numpy(X)
        covariances = covariances_of(start, structure)

        def fit(max_iter: int) -> Outcome:
            # It goes on with the tensors that it is given, so each fit has its own.
            normals = [
                Normal(torch.tensor(mean), torch.tensor(covariance), covariance_type=structure)
                for mean, covariance in zip(start.means, covariances, strict=True)
            ]
            priors = torch.tensor(start.weights)
            model = GeneralMixtureModel(normals, priors=priors, max_iter=max_iter, tol=-math.inf)
            turn, _ = clock(lambda: model.fit(rows))
            means, found = (np.stack([getattr(n, name).numpy() for n in normals]) for name in ("means", "covs"))
            return Outcome(turn, model.priors.numpy(), means, found)

        yield fit

"""The table of families that the tests run over: a new family is one line of ``CASES``.

Each line comes with makers of rows and parameters, and with its density spelled by SciPy's distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy import stats as distributions

from fastem.families import Family, Gaussian, Params, Poisson


def gaussian_rows(rng, n_samples, n_features):
    """Three overlapping clouds: responsibilities are soft, and no component is empty."""
    centres = rng.normal(scale=1.5, size=(3, n_features))
    return centres[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, n_features))


def count_rows(rng, n_samples, n_features):
    rates = rng.gamma(4.0, 1.5, size=(3, n_features))
    return rng.poisson(rates[rng.integers(3, size=n_samples)]).astype(np.float64)


def _weights(rng, n_components):
    weights = rng.uniform(0.5, 1.5, size=n_components)
    return weights / weights.sum()


def _covariance(rng, n_features):
    A = rng.normal(size=(n_features, n_features)) / np.sqrt(n_features)
    return A @ A.T + 0.5 * np.eye(n_features)


def full_params(rng, n_components, n_features):
    covariances = np.stack([_covariance(rng, n_features) for _ in range(n_components)])
    means = rng.normal(scale=1.5, size=(n_components, n_features))
    return Gaussian("full").make_params(_weights(rng, n_components), means, covariances)


def tied_params(rng, n_components, n_features):
    means = rng.normal(scale=1.5, size=(n_components, n_features))
    return Gaussian("tied").make_params(_weights(rng, n_components), means, _covariance(rng, n_features))


def diag_params(rng, n_components, n_features):
    means = rng.normal(scale=1.5, size=(n_components, n_features))
    variances = rng.uniform(0.5, 2.0, size=(n_components, n_features))
    return Gaussian("diag").make_params(_weights(rng, n_components), means, variances)


def spherical_params(rng, n_components, n_features):
    means = rng.normal(scale=1.5, size=(n_components, n_features))
    return Gaussian("spherical").make_params(_weights(rng, n_components), means, rng.uniform(0.5, 2.0, n_components))


def poisson_params(rng, n_components, n_features):
    rates = rng.gamma(4.0, 1.5, size=(n_components, n_features))
    return Poisson().make_params(_weights(rng, n_components), rates)


def matrix_log_pdf(X, params, k):
    covariance = params.covariances[k] if params.covariances.ndim == 3 else params.covariances
    return distributions.multivariate_normal(params.means[k], covariance).logpdf(X).reshape(len(X))


def variance_log_pdf(X, params, k):
    deviation = np.sqrt(np.broadcast_to(params.covariances[k], params.means[k].shape))
    return distributions.norm(params.means[k], deviation).logpdf(X).sum(axis=1)


def poisson_log_pdf(X, params, k):
    return distributions.poisson(params.rates[k]).logpmf(X).sum(axis=1)


def permute_all(params, order):
    """Components in another order, where every array but the weights has the components first."""
    return replace(params, **{f.name: getattr(params, f.name)[order] for f in fields(params)})


def permute_tied(params, order):
    return replace(params, weights=params.weights[order], means=params.means[order])


@dataclass(frozen=True)
class Case:
    """A family with its settings, and how to make and to check it.

    Attributes
    ----------
    rows : callable
        ``(rng, n_samples, n_features)`` to float64 rows.
    params : callable
        ``(rng, n_components, n_features)`` to parameters.
    log_pdf : callable
        ``(X, params, k)`` to the log-densities of the rows under component ``k``, from SciPy.
    permute : callable
        ``(params, order)`` to the same mixture with its components in another order.
    """

    name: str
    family: Family[Any]
    rows: Callable[..., np.ndarray]
    params: Callable[..., Params]
    log_pdf: Callable[..., np.ndarray]
    permute: Callable[..., Params] = permute_all

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("full", Gaussian("full", reg_covar=0.0), gaussian_rows, full_params, matrix_log_pdf),
    Case("tied", Gaussian("tied", reg_covar=0.0), gaussian_rows, tied_params, matrix_log_pdf, permute_tied),
    Case("diag", Gaussian("diag", reg_covar=0.0), gaussian_rows, diag_params, variance_log_pdf),
    Case("spherical", Gaussian("spherical", reg_covar=0.0), gaussian_rows, spherical_params, variance_log_pdf),
    Case("poisson", Poisson(), count_rows, poisson_params, poisson_log_pdf),
)

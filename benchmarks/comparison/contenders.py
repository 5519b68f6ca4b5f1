"""Who is compared: scikit-learn and fastem's engines, behind scikit-learn's interface."""

from __future__ import annotations

from typing import Any

BASE = "scikit-learn"
REFERENCE = "fastem numpy"
CONTENDERS = (BASE, "fastem numba", "fastem cython", REFERENCE)


def unfitted(name: str, n_components: int, structure: str, start: dict[str, Any], n_threads: int, max_iter: int) -> Any:
    """A ``GaussianMixture`` that makes exactly ``max_iter`` iterations from the given start."""
    options = {"covariance_type": structure, "tol": 0.0, "max_iter": max_iter, **start}
    if name == BASE:
        from sklearn.mixture import GaussianMixture

        return GaussianMixture(n_components, **options)
    from fastem import GaussianMixture

    return GaussianMixture(n_components, engine=_engine(name), n_threads=n_threads, **options)


def with_parameters_of(name: str, model: Any, n_threads: int) -> Any:
    """The model of ``name`` with the parameters of a fitted scikit-learn model."""
    if name == BASE:
        return model
    from fastem import GaussianMixture

    return GaussianMixture.from_sklearn(model).set_params(engine=_engine(name), n_threads=n_threads)


def _engine(name: str) -> str:
    return name.removeprefix("fastem ")

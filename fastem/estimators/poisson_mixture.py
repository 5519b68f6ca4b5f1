"""``PoissonMixture``: components of independent counts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_array

from fastem.estimators.base import BaseMixture
from fastem.estimators.given import checked_array, checked_weights
from fastem.families import Params, Poisson, PoissonParams
from fastem.mixture import Mixture


class PoissonMixture(BaseMixture):
    """Mixture of Poisson distributions of counts, independent given the component.

    Parameters
    ----------
    n_components : int, default=1
    tol, max_iter, n_init, random_state, warm_start, verbose, verbose_interval
        As in :class:`GaussianMixture`.
    init_params : {"kmeans", "auto", "k-means++", "random", "random_from_data"}, default="kmeans"
        As in :class:`GaussianMixture`, but "auto" is "kmeans".
    weights_init : array-like of shape (n_components,), optional
    rates_init : array-like of shape (n_components, n_features), optional
        Starting rates; with weights and rates given no start is searched.
    engine, n_threads, callbacks, on_interrupt, accelerate, stopping, split_merge, strict
        As in :class:`GaussianMixture`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    rates_ : ndarray of shape (n_components, n_features)
        Expected counts.
    means_ : ndarray of shape (n_components, n_features)
        The same as ``rates_``: a Poisson variable's mean.
    converged_, n_iter_, lower_bound_, lower_bounds_, init_lower_bounds_, init_methods_, history_, engine_
        As in :class:`GaussianMixture`.

    References
    ----------
    McLachlan & Peel (2000), Finite mixture models, section 4.7. Zucchini & MacDonald (2009), Hidden Markov models for
    time series, section 1.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastem import PoissonMixture
    >>> X = np.array([[1], [2], [0], [1], [30], [28], [33], [31]])
    >>> sorted(PoissonMixture(2, random_state=0).fit(X).rates_.ravel().round(2).tolist())
    [1.0, 30.5]
    """

    family_name = "poisson"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMixture._parameter_constraints,
        "weights_init": ["array-like", None],
        "rates_init": ["array-like", None],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        rates_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        engine: str = "auto",
        n_threads: int | None = None,
        callbacks: Any = None,
        on_interrupt: str = "raise",
        accelerate: str | None = None,
        stopping: str = "change",
        split_merge: int = 0,
        strict: bool = False,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.rates_init = rates_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.engine = engine
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.on_interrupt = on_interrupt
        self.accelerate = accelerate
        self.stopping = stopping
        self.split_merge = split_merge
        self.strict = strict

    @classmethod
    def from_parameters(cls, weights: Any, rates: Any, **options: Any) -> PoissonMixture:
        """A model of known parameters, which predicts, scores and samples without a fit.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Non-negative, with sum 1.
        rates : array-like of shape (n_components, n_features)
            Positive.
        **options
            Further constructor parameters.
        """
        rates = check_array(rates, dtype=[np.float64, np.float32])
        _check_rates(rates, "rates")
        weights = checked_weights(weights, len(rates), rates.dtype, "weights")
        family = Poisson()
        params = family.make_params(weights.astype(np.float64), rates.astype(np.float64))
        return cls._from_mixture(Mixture(family, params), {"dtype": rates.dtype.name}).set_params(**options)

    def _family(self) -> Poisson:
        return Poisson()

    def _given_params(self, start: Params | None, n_features: int, dtype: Any) -> Params | None:
        weights = rates = None
        if self.weights_init is not None:
            weights = checked_weights(self.weights_init, self.n_components, dtype, "weights_init").astype(np.float64)
        if self.rates_init is not None:
            rates = checked_array(self.rates_init, (self.n_components, n_features), "rates_init", dtype)
            _check_rates(rates, "rates_init")
            rates = rates.astype(np.float64)
        if start is None:
            return None if weights is None or rates is None else Poisson().make_params(weights, rates)
        assert isinstance(start, PoissonParams)
        return Poisson().make_params(
            start.weights if weights is None else weights, start.rates if rates is None else rates
        )

    def _fitted_params(self) -> PoissonParams:
        return PoissonParams(np.asarray(self.weights_, dtype=np.float64), np.asarray(self.rates_, dtype=np.float64))

    def _set_params_attributes(self, params: Params, dtype: Any) -> None:
        assert isinstance(params, PoissonParams)
        self.weights_ = params.weights.astype(dtype)
        self.rates_ = params.rates.astype(dtype)
        self.means_ = self.rates_.copy()

    def _check_rows(self, X: Any) -> np.ndarray:
        X = super()._check_rows(X)
        self._family().check_data(X)
        return X

    def _dtype(self) -> np.dtype[Any]:
        return np.asarray(self.rates_).dtype

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def _check_rates(rates: np.ndarray, name: str) -> None:
    if not (rates > 0).all():
        raise ValueError(f"'{name}' must be positive: expected counts")

"""``GaussianMixture``, in place of scikit-learn's."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from fastem.estimators.base import BaseMixture
from fastem.estimators.given import checked_array, checked_weights
from fastem.families import Gaussian, GaussianParams, NormalInverseWishart, Params
from fastem.families.covariance_structures import COVARIANCE_TYPES, storage_of
from fastem.fitting import FitResult
from fastem.mixture import Mixture

# Fitted attributes that scikit-learn's model has not.
_NOT_OF_SKLEARN = ("history_", "engine_", "init_lower_bounds_", "init_methods_", "reg_covar_", "covariance_prior_",
                   "diagnostics_", "n_dropped_")  # fmt: skip


class GaussianMixture(BaseMixture):
    """Mixture of Gaussians, fitted by expectation-maximization on compiled kernels.

    Parameters, methods and fitted attributes are those of ``sklearn.mixture.GaussianMixture``, with the same meaning;
    code that imports it from there runs unchanged. The parameters from ``engine`` on are additions, and so are the
    defaults of ``init_params`` and ``reg_covar``.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : str, default="full"
        "full": a covariance matrix for each component; "tied": one for all; "diag": a variance for each component and
        feature; "spherical": one for each component. Or one of the 14 structures by mclust's name, whose letters say
        of volume, shape and orientation whether components have it in common (E), each its own (V), or none (I):
        "EII", "VII" (spherical), "EEI", "VEI", "EVI", "VVI" (diag), "EEE" (tied), "VEE", "EVE", "VVE", "EEV", "VEV",
        "EVV", "VVV" (full).
    tol : float, default=1e-3
        Stop when the mean log-likelihood of a row changes by less.
    reg_covar : float, array-like of shape (n_features,) or "auto", default="auto"
        Added to the diagonal of each component's covariance, in squared units of the data, before the structure is
        imposed on them. "auto" is 1e-6 times the variance of each feature over all rows but outliers, so that the fit
        is the same in any units of the features; or 0 with ``covariance_prior`` or ``eigenvalue_ratio``. scikit-learn's
        default is 1e-6.
    max_iter : int, default=100
    n_init : int, default=1
        Number of starts, or with ``init_params="auto"`` of panels of starts; the fit of the highest likelihood is kept.
        Where the rows are many (at least 40,000, and 10 for each free parameter), the starts of the other methods race
        too: each runs 10 iterations on a random sample of the rows, and the best third, at least one, goes on with all
        of them.
    init_params : {"auto", "kmeans", "k-means++", "random", "random_from_data"}, default="auto"
        How starting values are found. "auto" makes starts by several methods, which do not depend on the units or the
        rotation of the features, lets them race on a sample of the rows, and goes on from the best: model-based
        agglomerative clustering, k-means, seeds where the density falls short, and with ``n_init`` random rows
        (:mod:`fastem.init.candidates`). The others are scikit-learn's: from k-means' clusters (on a random sample of
        50,000 rows where there are more), from rows that k-means++ picks, from random responsibilities, or from random
        rows.
    weights_init, means_init, precisions_init : array-like, optional
        Starting values, in the shapes of ``weights_``, ``means_`` and ``precisions_``. With all three given no start
        is searched.
    random_state : int, RandomState instance or None, default=None
    warm_start : bool, default=False
        Whether a further call of ``fit`` goes on from the last result.
    verbose : int, default=0
        1 shows a progress line that stays in place: iteration, mean log-likelihood, change, time and expected end;
        plain lines where the output is not a terminal. 2 adds the engine and the threads.
    verbose_interval : int, default=10
        Iterations between two plain lines.
    engine : {"auto", "numba", "cython", "numpy", "python"}, default="auto"
        Who runs the passes. "auto" takes the kernels compiled ahead of time ("cython"), which need no compilation,
        unless compiling them for this very processor ("numba") saves more than its wait.
    n_threads : int or None, default=None
        Threads of a pass; None for as many as this process may use. The result has the same bits for any number.
    callbacks : callable or list of callables, optional
        Each is called after each iteration with a :class:`fastem.em.Iteration`; a true return value stops the fit.
    on_interrupt : {"raise", "keep"}, default="raise"
        What Ctrl-C does: raise KeyboardInterrupt, or end the fit with the best parameters so far
        (``converged_ = False``).
    accelerate : {None, "auto", "lbfgs", "squarem", "anderson"}, default=None
        Extrapolation between EM steps, which needs fewer passes where EM is slow. No point is taken whose likelihood
        falls. None is EM itself, step by step that of scikit-learn; "auto" is "lbfgs".
    stopping : {"change", "aitken"}, default="change"
        What ``tol`` bounds: the change by an EM step, or the distance to the limit that is estimated for the mean
        log-likelihood, of which slow steps may still be far.
    split_merge : int, default=0
        Rounds of moves out of a local optimum, after the best fit: two components that overlap become one, one that
        fits badly becomes two, and EM goes on from there (:mod:`fastem.split_merge`). A round is kept only if the
        likelihood rises, and the first that does not is the last.
    strict : bool, default=False
        Whether a degenerate component is an error. Otherwise the fit ends with a model and a
        :class:`fastem.DegenerateComponentWarning`, and ``diagnostics_`` says what is wrong.
    covariance_prior : {None, "auto"}, fastem.NormalInverseWishart or dict, default=None
        Conjugate prior of means and covariances: the fit is the mode of the posterior. "auto" is that of Fraley &
        Raftery (2007), which depends on the rows alone; a dict has parameters of
        :class:`fastem.NormalInverseWishart`. For "full", "tied", "diag", "spherical", and "EII" and "EEI".
    eigenvalue_ratio : float or None, default=None
        The largest that the ratio of two eigenvalues of covariances may be, over all components; at least 1 (TCLUST's
        ``restr.fact``). For the same types.
    standardize : bool, default=False
        Whether to fit features of mean 0 and variance 1, which the first pass measures: starts, ``reg_covar`` and
        structures are then those of these units, and the fitted attributes are in those of the data. Not for spheres,
        nor with ``covariance_prior``.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    means_ : ndarray of shape (n_components, n_features)
    covariances_, precisions_, precisions_cholesky_ : ndarray
        (n_components, n_features, n_features) if "full", (n_features, n_features) if "tied" or "EEE",
        (n_components, n_features) if "diag" or of axes that are the features' ("EEI" to "VVI"), (n_components,) if
        "spherical", "EII" or "VII"; of other structures as "full". ``precisions_cholesky_`` is upper-triangular with
        ``P @ P.T = precision``.
    reg_covar_ : ndarray of shape (n_features,)
        What ``reg_covar`` came to in the fit.
    covariance_prior_ : fastem.NormalInverseWishart or None
        The same of ``covariance_prior``.
    converged_ : bool
    n_iter_ : int
        Iterations of the best start: passes over the rows, with those to points that acceleration then rejected.
    lower_bound_ : float
        Mean log-likelihood of a row in the last E-step of the best start; with ``covariance_prior`` the log-posterior,
        up to a constant, over the number of rows.
    lower_bounds_ : list of float
        The same after each iteration.
    init_lower_bounds_ : list of float
        What each of the starts reached: the mean log-likelihood of all rows, or of the sample where the start went no
        further than the race; -inf where a component collapsed.
    init_methods_ : list of str
        How each of the starts was found; "given" where the starting values were given.
    history_ : dict of ndarray
        ``lower_bound``, ``weights``, ``seconds`` and ``limit`` by iteration; ``limit`` is the estimate of where
        ``lower_bound`` is heading, NaN where there is none.
    engine_ : str
        The engine that ran.
    diagnostics_ : list of fastem.degeneracy.Diagnosis
        Components that collapsed or that no row is left to, with the iteration; empty where all is well.
    n_dropped_ : int
        Rows with missing values that ``fit(missing="drop")`` left out.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where ``X`` has feature names that are all strings.

    References
    ----------
    Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm. Celeux & Govaert
    (1995), Gaussian parsimonious clustering models: the structures. Fraley & Raftery (2007), Bayesian regularization
    for normal mixture estimation and model-based clustering: the prior. Fritz, García-Escudero & Mayo-Iscar (2013), A
    fast algorithm for robust constrained clustering: the bound on the eigenvalues.

    Examples
    --------
    >>> import numpy as np
    >>> from fastem import GaussianMixture
    >>> X = np.array([[1, 2], [2, 4], [1, 0], [10, 2], [11, 4], [10, 0]])
    >>> model = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> model.means_.round(3)
    array([[ 1.333,  2.   ],
           [10.333,  2.   ]])
    >>> model.predict([[0, 0], [12, 3]])
    array([0, 1])
    """

    family_name = "gaussian"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "reg_covar": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"}), "array-like"],
        "covariance_prior": [NormalInverseWishart, StrOptions({"auto"}), dict, None],
        "eigenvalue_ratio": [Interval(Real, 1.0, None, closed="left"), None],
        "standardize": ["boolean"],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: Any = "auto",
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "auto",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
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
        covariance_prior: Any = None,
        eigenvalue_ratio: float | None = None,
        standardize: bool = False,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
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
        self.covariance_prior = covariance_prior
        self.eigenvalue_ratio = eigenvalue_ratio
        self.standardize = standardize

    @classmethod
    def from_parameters(
        cls, weights: Any, means: Any, covariances: Any, *, covariance_type: str = "full", **options: Any
    ) -> GaussianMixture:
        """A model of known parameters, which predicts, scores and samples without a fit.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Non-negative, with sum 1.
        means : array-like of shape (n_components, n_features)
        covariances : array-like
            In the shape of ``covariances_``.
        covariance_type : str
            As the parameter of the class.
        **options
            Further constructor parameters.

        Raises
        ------
        ValueError
            If shapes disagree, weights are not a distribution, a covariance is not positive definite, or they do not
            have the structure.
        """
        family = Gaussian(covariance_type)  # type: ignore[arg-type]
        means = check_array(means, dtype=[np.float64, np.float32])
        n_components, n_features = means.shape
        shape = family.covariance_shape(n_components, n_features)
        covariances = checked_array(covariances, shape, "covariances", means.dtype)
        _check_symmetric(covariances, covariance_type, "covariances")
        if not family.structure.is_of(covariances):
            raise ValueError(
                f"'covariances' should have the structure {covariance_type}, but have not; pass covariance_type="
                f"{family.storage.name!r} for covariances of any structure"
            )
        weights = checked_weights(weights, n_components, means.dtype, "weights")
        params = family.make_params(*(a.astype(np.float64) for a in (weights, means, covariances)))
        model = cls._from_mixture(Mixture(family, params), {"dtype": means.dtype.name})
        return model.set_params(**options)

    @classmethod
    def from_sklearn(cls, model: Any) -> GaussianMixture:
        """The fitted ``sklearn.mixture.GaussianMixture`` as a model of this class, with the same parameters."""
        check_is_fitted(model)
        shared = set(cls._get_param_names())
        mine = cls(**{name: value for name, value in model.get_params().items() if name in shared})
        for name, value in vars(model).items():
            if name.endswith("_") and not name.startswith("_"):
                setattr(mine, name, value)
        return mine

    def to_sklearn(self) -> Any:
        """A fitted ``sklearn.mixture.GaussianMixture`` with the same parameters.

        Its ``covariance_type`` is the one of scikit-learn's four that holds the covariances, whatever structure they
        have. A structure of fewer parameters is not known to its ``bic``, nor to a new fit. A ``reg_covar`` that is no
        single number becomes the smallest of those that the fit took.
        """
        from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

        check_is_fitted(self)
        shared = set(SklearnGaussianMixture._get_param_names())
        options = {k: v for k, v in self.get_params().items() if k in shared}
        options["covariance_type"] = storage_of(self.covariance_type).name
        if not isinstance(self.reg_covar, Real):
            options["reg_covar"] = float(np.min(getattr(self, "reg_covar_", 1e-6)))
        if options["init_params"] == "auto":
            options["init_params"] = "kmeans"
        model = SklearnGaussianMixture(**options)
        for name, value in vars(self).items():
            if name.endswith("_") and name not in _NOT_OF_SKLEARN:
                setattr(model, name, value)
        return model

    def _family(self) -> Gaussian:
        reg_covar = float(self.reg_covar) if isinstance(self.reg_covar, Real) else self.reg_covar
        return Gaussian(self.covariance_type, reg_covar, self.covariance_prior, self.eigenvalue_ratio)  # type: ignore[arg-type]

    def _set_result(self, result: FitResult, dtype: Any) -> None:
        super()._set_result(result, dtype)
        assert isinstance(result.family, Gaussian)
        self.reg_covar_ = np.broadcast_to(result.family.ridge, self.means_.shape[1:]).copy()
        self.covariance_prior_ = result.family.prior

    def _given_params(self, start: Params | None, n_features: int, dtype: Any) -> Params | None:
        if self.weights_init is None and self.means_init is None and self.precisions_init is None:
            return start
        n_components, family = self.n_components, self._family()
        weights = means = precisions = None
        if self.weights_init is not None:
            weights = checked_weights(self.weights_init, n_components, dtype, "weights_init")
        if self.means_init is not None:
            means = checked_array(self.means_init, (n_components, n_features), "means_init", dtype)
        if self.precisions_init is not None:
            shape = family.covariance_shape(n_components, n_features)
            precisions = checked_array(self.precisions_init, shape, "precisions_init", dtype)
            _check_symmetric(precisions, self.covariance_type, "precisions_init")
        if start is None:
            if weights is None or means is None or precisions is None:
                return None
            return family.from_precisions(*(a.astype(np.float64) for a in (weights, means, precisions)))
        assert isinstance(start, GaussianParams)
        if weights is not None:
            start = replace(start, weights=weights.astype(np.float64))
        if means is not None:
            start = replace(start, means=means.astype(np.float64))
        if precisions is not None:
            given = family.from_precisions(start.weights, start.means, precisions.astype(np.float64))
            start = given
        return start

    def _fitted_params(self) -> GaussianParams:
        return GaussianParams(
            *(
                np.asarray(a, dtype=np.float64)
                for a in (self.weights_, self.means_, self.covariances_, self.precisions_cholesky_)
            )
        )

    def _set_params_attributes(self, params: Params, dtype: Any) -> None:
        assert isinstance(params, GaussianParams)
        # Of the factor as it is kept, so that a saved model gives the same bits.
        factor = params.precisions_cholesky.astype(dtype)
        is_matrix = storage_of(self.covariance_type).is_matrix
        precisions = factor @ np.swapaxes(factor, -1, -2) if is_matrix else factor**2
        self.weights_ = params.weights.astype(dtype)
        self.means_ = params.means.astype(dtype)
        self.covariances_ = params.covariances.astype(dtype)
        self.precisions_cholesky_ = factor
        self.precisions_ = precisions

    def _dtype(self) -> np.dtype[Any]:
        return np.asarray(self.means_).dtype


def _check_symmetric(matrices: np.ndarray, covariance_type: str, name: str) -> None:
    """Raise ValueError unless the matrices are symmetric and positive definite, or the numbers positive."""
    storage = storage_of(covariance_type)
    if not storage.is_matrix:
        if (matrices <= 0).any():
            raise ValueError(f"'{name}' should be positive")
        return
    many = matrices.reshape(-1, *matrices.shape[-2:])
    rtol = 1e-5 if matrices.dtype == np.float32 else 1e-8
    # Not np.isclose, which takes as long as a small fit.
    transposed = many.swapaxes(1, 2)
    symmetric = (np.abs(many - transposed) <= 1e-8 + rtol * np.abs(transposed)).all(axis=(1, 2))
    positive = (np.linalg.eigvalsh(many.astype(np.float64)) > 0).all(axis=1)
    bad = np.flatnonzero(~(symmetric & positive))
    if bad.size:
        whose = f"'{name}' of component {bad[0]}" if matrices.ndim == 3 else f"'{name}'"
        raise ValueError(f"{whose} should be symmetric, positive-definite")

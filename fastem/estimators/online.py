"""Fits that learn from further rows, call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import validate_data

from fastem.data.arrays import as_weights
from fastem.data.blocks import Block
from fastem.engines import choose_engine, pass_work
from fastem.estimators.fitting import Fitting
from fastem.families import Params
from fastem.fitting import FitResult
from fastem.sampling import as_random_state

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastem.online import StepSize
    from fastem.online.learning import Learned


class OnlineFitting(Fitting):
    """``partial_fit``."""

    #: What :meth:`partial_fit` knows of the rows before.
    _learned: Learned | None = None

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, step_size: StepSize | None = None
    ) -> Self:
        """Learn from further rows, by stepwise EM: each mini-batch enters the statistics of all rows before.

        The first rows wait until there are two for each free parameter (at most 50,000 rows); until then the model is
        not fitted. A start is found from them as ``init_params`` says. A model that was fitted by :meth:`fit`, or read
        from a file, goes on from its parameters. A call with many rows makes several steps. What was learned goes
        into copies and pickles, but not into the files of :meth:`save`, which hold parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in no particular order: those of one call should not be of one kind.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights.
        step_size : fastem.StepSize, optional
            How much new rows count; ``StepSize(half_life=...)`` follows a drift. By default ``StepSize()``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data or a parameter is not as documented, or the model was changed since the last call.
        DegenerateComponentError
            (a ValueError) If a component collapses; the model stays as it was.

        References
        ----------
        Cappé & Moulines (2009), On-line expectation-maximization algorithm for latent data models.
        """
        # A first fit in a process is as quick as the imports that it needs.
        from fastem.online.learning import Learned, Learner, find_start
        from fastem.online.memory import StepSize

        self._validate_params()
        if step_size is not None and not isinstance(step_size, StepSize):
            raise ValueError(f"step_size must be a fastem.StepSize or None, but got {step_size!r}")
        # Names and number of features are those of the first rows.
        new = not hasattr(self, "n_features_in_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=new)
        family = self._family()
        family.check_data(X)
        before = self._learned
        if before is None:
            before = Learned(params=self._fitted_params() if hasattr(self, "weights_") else None)
        engine = choose_engine(self.engine, pass_work(X.shape, self.n_components, family.moments))

        def start(block: Block) -> Params:
            given = self._given_params(None, X.shape[1], X.dtype)
            return find_start(
                block,
                family,
                self.n_components,
                self.init_params if given is None else given,
                as_random_state(self.random_state),
                engine,
                self.n_threads,
                n_init=self.n_init,
                amend=lambda found: self._given_params(found, X.shape[1], X.dtype),
            )

        learned, result = Learner(family, self.n_components, start, engine, self.n_threads).learn(
            Block(X, as_weights(sample_weight, len(X))),
            before,
            step_size or StepSize(),
            callbacks=self._callbacks(),
            on_interrupt=self.on_interrupt,
        )
        if result is not None:
            self._set_result(result, X.dtype)
        self._learned = learned
        self.n_samples_seen_ = learned.n_samples
        return self

    def _set_result(self, result: FitResult, dtype: Any) -> None:
        # What was learned before is of other parameters.
        self._learned = None
        super()._set_result(result, dtype)

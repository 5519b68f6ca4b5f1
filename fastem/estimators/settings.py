"""What a mixture estimator is told: its parameters, and which values they may have."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral, Number, Real
from typing import Any, ClassVar

from sklearn import get_config
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils._param_validation import Interval, StrOptions

from fastem.acceleration import ACCELERATIONS
from fastem.em import STOPPING_RULES
from fastem.engines import ENGINES
from fastem.families import Family, Params
from fastem.init import START_METHODS

# Settings that are remembered as valid, by class.
_KNOWN_SETTINGS = 256


def _as_seen_by_constraints(value: Any) -> Any:
    """What of a parameter decides on its validity: its type and, of scalars, its value."""
    return type(value), value if isinstance(value, (str, int, float, Number)) else getattr(value, "ndim", None)


class Settings(DensityMixin, BaseEstimator):
    """Parameters of an estimator, and what its family makes of them."""

    _valid_settings: ClassVar[set[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._valid_settings = set()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions(set(START_METHODS))],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "engine": [StrOptions({"auto", *ENGINES})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callbacks": ["array-like", callable, None],
        "on_interrupt": [StrOptions({"raise", "keep"})],
        "accelerate": [StrOptions(set(ACCELERATIONS)), None],
        "stopping": [StrOptions(set(STOPPING_RULES))],
        "strict": ["boolean"],
        "split_merge": [Interval(Integral, 0, None, closed="left")],
    }

    @abstractmethod
    def _family(self) -> Family[Any]:
        """The family with this estimator's settings."""

    @abstractmethod
    def _given_params(self, start: Params | None, n_features: int, dtype: Any) -> Params | None:
        """``start`` with the user's starting values in place of its own; None where there is neither."""

    def _callbacks(self) -> list[Any]:
        return [self.callbacks] if callable(self.callbacks) else list(self.callbacks or ())

    def _validate_params(self) -> None:
        """Raise ValueError where a parameter is not as documented; settings that passed are not looked at again."""
        if get_config()["skip_parameter_validation"]:
            return
        settings = tuple(map(_as_seen_by_constraints, (getattr(self, name) for name in self._parameter_constraints)))
        if settings in self._valid_settings:
            return
        super()._validate_params()
        if len(self._valid_settings) >= _KNOWN_SETTINGS:
            self._valid_settings.clear()
        self._valid_settings.add(settings)

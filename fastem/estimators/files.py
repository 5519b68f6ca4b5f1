"""Fitted mixture estimators in files, without pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastem.estimators.fitted import FittedModel
from fastem.mixture import Mixture

if TYPE_CHECKING:
    from typing_extensions import Self


class Files(FittedModel):
    """``save`` and ``load``."""

    family_name: ClassVar[str]

    def save(self, path: Any) -> None:
        """Write the fitted model to one file, without pickle: ``.json`` for small models to read, else ``.npz``.

        Parameters
        ----------
        path : path-like
            Ends in ``.npz`` or ``.json``.
        """
        from fastem.persistence import save_mixture

        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        save_mixture(
            path,
            self._mixture,
            details={
                "converged": bool(self.converged_),
                "n_iter": int(self.n_iter_),
                "lower_bound": float(self.lower_bound_) if np.isfinite(self.lower_bound_) else None,
                "dtype": self._dtype().name,
                "feature_names": None if names is None else [str(name) for name in names],
            },
        )

    @classmethod
    def load(cls, path: Any) -> Self:
        """The fitted model of a file that :meth:`save` wrote.

        Raises
        ------
        ValueError
            If the file is damaged, of another program or version, or holds another family.
        """
        from fastem.persistence import load_mixture

        mixture, details = load_mixture(path)
        if mixture.family.name != cls.family_name:
            raise ValueError(f"{path} holds a {mixture.family.name} mixture; load it with fastem.load(path)")
        return cls._from_mixture(mixture, details)

    @classmethod
    def _from_mixture(cls, mixture: Mixture, details: dict[str, Any] | None = None) -> Any:
        """A fitted estimator of known parameters."""
        details = details or {}
        model = cls(n_components=len(mixture.params.weights), **mixture.family.settings())
        model._set_params_attributes(mixture.params, np.dtype(details.get("dtype", "float64")))
        model.n_features_in_ = mixture.params.origin.shape[1]
        if details.get("feature_names"):
            model.feature_names_in_ = np.array(details["feature_names"], dtype=object)
        model.converged_ = details.get("converged", True)
        model.n_iter_ = details.get("n_iter", 0)
        reached = details.get("lower_bound")
        model.lower_bound_ = -np.inf if reached is None else reached
        model.lower_bounds_ = []
        return model

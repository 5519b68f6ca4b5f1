"""What the mixture estimators share."""

from __future__ import annotations

from fastem.estimators.files import Files
from fastem.estimators.online import OnlineFitting


class BaseMixture(OnlineFitting, Files):
    """A mixture model as scikit-learn's users know it.

    A subclass names its family and translates between the family's parameters and its fitted attributes.
    """

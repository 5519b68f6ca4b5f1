"""scikit-learn's own checks, for every estimator that fastem exports."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastem import estimators

ESTIMATORS = [getattr(estimators, name)() for name in estimators.__all__ if isinstance(getattr(estimators, name), type)]


# Checks fit tiny and odd data: warnings of convergence belong to them.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_checks(estimator, check):
    check(estimator)

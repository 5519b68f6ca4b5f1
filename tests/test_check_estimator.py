"""scikit-learn's own checks, for every estimator that fastem exports."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastem import GaussianMixtureSearch, estimators

ESTIMATORS = [getattr(estimators, name)() for name in estimators.__all__ if isinstance(getattr(estimators, name), type)]

# Few models: the checks fit a hundred times.
ESTIMATORS.append(GaussianMixtureSearch((1, 2), ("full", "diag"), n_init=1, max_iter=100))


# Checks fit tiny and odd data: warnings of convergence belong to them.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_checks(estimator, check):
    check(estimator)

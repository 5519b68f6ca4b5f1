"""Which mixture: number of components and covariance structure by criteria, cross-validation and tests."""

from fastem.selection.bootstrap import ParameterBootstrap, bootstrap_parameters
from fastem.selection.estimator import GaussianMixtureSearch
from fastem.selection.likelihood_ratio import LikelihoodRatioTests, bootstrap_lrt
from fastem.selection.records import CRITERIA, SearchRecord, SearchTable
from fastem.selection.searching import search

__all__ = [
    "CRITERIA",
    "GaussianMixtureSearch",
    "LikelihoodRatioTests",
    "ParameterBootstrap",
    "SearchRecord",
    "SearchTable",
    "bootstrap_lrt",
    "bootstrap_parameters",
    "search",
]

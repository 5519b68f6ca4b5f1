"""Starting values."""

from fastem.init.starts import START_METHODS, Start, find_starts, params_of, searches, start_params
from fastem.init.tree import MergeTree, merge_tree

__all__ = [
    "START_METHODS",
    "MergeTree",
    "Start",
    "find_starts",
    "merge_tree",
    "params_of",
    "searches",
    "start_params",
]

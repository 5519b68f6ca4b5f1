"""Starting values."""

from fastem.init.starts import START_METHODS, start_params

__all__ = ["START_METHODS", "start_params"]

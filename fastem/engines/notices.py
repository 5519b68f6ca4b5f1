"""What the engines have to say, once in a process."""

from __future__ import annotations

import warnings
from functools import cache


@cache
def say_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=5)

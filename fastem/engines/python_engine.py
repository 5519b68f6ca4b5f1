"""The kernels' source, uncompiled: slow, and NumPy finds the index out of range that compiled code hides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastem.engines.panelwise_engine import PanelwiseEngine
from fastem.kernels import panel
from fastem.kernels.vectors import WIDE


class PythonEngine(PanelwiseEngine):
    name = "python"
    is_wide = WIDE

    def _accumulate_panel(self, log_density: Any, moments: Any, dtype: Any) -> Callable[..., float]:
        return _quietly(partial(panel.accumulate_panel, log_density, moments))

    def _evaluate_panel(self, log_density: Any, dtype: Any) -> Callable[..., None]:
        return _quietly(partial(panel.evaluate_panel, log_density))


def _quietly(run: Callable[..., Any]) -> Callable[..., Any]:
    """Without NumPy's warnings of infinities and NaN, which compiled code passes on without a word."""

    def quiet(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return run(*args)

    return quiet

"""Which data are read block by block: told without an import of what would read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

#: Packages whose collections are partitions of rows.
DISTRIBUTED = ("dask", "pyspark")
# Maps of more are not kept in memory.
_MAPPED_BYTES = 2**28


def is_source(data: Any) -> bool:
    """Whether data are a :class:`fastem.Source`; where that was never imported there is none."""
    module = sys.modules.get("fastem.data.sources.source")
    return module is not None and isinstance(data, module.Source)


def is_streamed(data: Any) -> bool:
    """Whether data are read a block at a time, and not as one array in memory.

    Paths, Arrow data, HDF5, Zarr, blocks, and memory maps of more than 256 MB are; arrays, lists of numbers and data
    frames are not, of which nothing is known that an array would not say.
    """
    if isinstance(data, np.memmap):
        return data.nbytes > _MAPPED_BYTES
    if isinstance(data, np.ndarray):
        return False
    if is_source(data) or is_path(data):
        return True
    module = type(data).__module__.partition(".")[0]
    if module in ("pyarrow", "h5py", "zarr") or (module == "polars" and not hasattr(data, "__array__")):
        return True
    if isinstance(data, (list, tuple)):
        first = data[0] if data else None
        first = first[0] if isinstance(first, tuple) and first else first
        return getattr(first, "ndim", 0) == 2 or is_path(first) or type(first).__module__.startswith("pyarrow.")
    return (
        not hasattr(data, "__array__")
        and not hasattr(data, "__len__")
        and (callable(data) or isinstance(data, Iterable))
    )


def is_distributed(data: Any) -> bool:
    """Whether data are partitions that stay where they are, on other machines maybe."""
    return type(data).__module__.partition(".")[0] in DISTRIBUTED


def is_path(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike))

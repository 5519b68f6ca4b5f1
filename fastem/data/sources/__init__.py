"""Rows from anywhere: one protocol, ``Source``, and a reader for each kind of data."""

from fastem.data.sources.ahead import AT_WORK
from fastem.data.sources.opening import ENDINGS, open_source
from fastem.data.sources.source import OnBlock, Source, block_rows_for, told

__all__ = ["AT_WORK", "ENDINGS", "OnBlock", "Source", "block_rows_for", "open_source", "told"]

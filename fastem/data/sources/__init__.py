"""Rows from anywhere: one protocol, ``Source``, and a reader for each kind of data."""

from fastem.data.sources.opening import ENDINGS, open_source
from fastem.data.sources.source import Source, block_rows_for

__all__ = ["ENDINGS", "Source", "block_rows_for", "open_source"]

"""EM over data beyond memory: passes over a source's blocks, checkpoints, and what a model says of each row."""

from fastem.streaming.checkpoints import Checkpoint, Journal
from fastem.streaming.collection import StreamedCollection
from fastem.streaming.posteriors import posteriors, write_posteriors
from fastem.streaming.rows import SourceRows, open_rows

__all__ = [
    "Checkpoint",
    "Journal",
    "SourceRows",
    "StreamedCollection",
    "open_rows",
    "posteriors",
    "write_posteriors",
]

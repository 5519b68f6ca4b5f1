"""Figures on their way into a file: what has been measured is there as soon as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write(figures: dict[str, Any], file: Path | None) -> None:
    """All of them as JSON, where a file is wanted; it is whole at any time."""
    if file:
        beside = file.with_name(file.name + ".part")
        beside.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        beside.replace(file)


def collect(figures: dict[str, Any], section: str, parts: Iterable[tuple[str, Any]], file: Path | None) -> None:
    """Names and figures of a section's parts, written one by one: a run that is cut off keeps what it has."""
    found = figures.setdefault(section, {})
    for name, part in parts:
        found[name] = part
        write(figures, file)

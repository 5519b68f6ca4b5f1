"""Turn the figures of compare.py and limit.py into docs/benchmarks.md with its plots.

    python benchmarks/report.py [FILE.json ...] [--output docs/benchmarks.md]

Without files: all in benchmarks/results. Runs of some sections or shapes only are fine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="by default all in benchmarks/results")
    parser.add_argument("--output", type=Path, default=_HERE.parent / "docs" / "benchmarks.md")
    settings = parser.parse_args()
    files = settings.files or sorted((_HERE / "results").glob("*.json"))
    if not files:
        raise SystemExit("no results: run compare.py and limit.py with --json, and give the files")
    write(files, settings.output)
    print(f"{settings.output} is written.")


def write(files: list[Path], output: Path) -> None:
    from reporting.page import page

    runs: list[dict[str, Any]] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    plots = output.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    output.write_text(page(runs, plots), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

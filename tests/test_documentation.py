"""What the documentation shows is run: the examples in docstrings, and the Python blocks of the README and of docs/."""

import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "module",
    ["fastem.estimators.gaussian_mixture", "fastem.estimators.poisson_mixture", "fastem.selection.estimator"],
)
def test_docstring_examples(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted > 0
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page, monkeypatch, tmp_path):
    """Blocks of a page run one after another, in a folder of their own that has the example data."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    if "import dask" in text:
        pytest.importorskip("dask.array")
    printed = {}
    names = {"__name__": "__main__", "print": lambda *what: note(printed, *what)}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        printed.clear()
        exec(compile(block, str(page), "exec"), names)
        for line, told in printed_values(block):
            assert is_said(told, printed[line]), f"{page.name} says {told}, and it is {printed[line]}"
    importlib.import_module("matplotlib.pyplot").close("all")


def note(printed, *what):
    """A print that takes down what it is given, by the line of the block."""
    printed[sys._getframe(2).f_lineno] = " ".join(map(str, what))


def printed_values(block):
    """Line and comment of each print that is followed by what it gives; comments in words say something else."""
    for number, line in enumerate(block.splitlines(), 1):
        found = re.match(r"print\(.*\)  # (.*)", line)
        if found and not re.match(r"[a-z]+ [a-z]", found[1]):
            yield number, found[1]


def is_said(told, given):
    """Whether two texts are the same but for the last digit of their numbers; of powers of ten, a factor of 10."""
    number = r"-?\d+\.?\d*(?:e[-+]\d+)?"
    if re.split(number, told) != re.split(number, given):
        return False
    for one, other in zip(re.findall(number, told), re.findall(number, given), strict=True):
        if "e" in one:
            same = float(one) / 10 <= float(other) <= float(one) * 10
        else:
            decimals = one.partition(".")[2]
            same = bool(decimals) and abs(float(one) - float(other)) <= 1.001 * 10.0 ** -len(decimals)
        if not (one == other or same):
            return False
    return True


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md")], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"

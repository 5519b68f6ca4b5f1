"""The benchmark programs run, and their figures become a page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "system": "Linux",
    "python": "3.11",
    "versions": {"fastem": "0.1.0"},
    "compiled_level": "v3",
    "malloc_keeps": False,
}
SETTINGS = {"dtype": "float64", "scale": 1.0, "threads": 2, "max_iter": 300}


def timed(seconds, **more):
    return {"wall": [seconds, 2 * seconds, 3 * seconds], "cpu": [seconds] * 3, "faster": [1.0, 2.0, 3.0], **more}


def by_contender(**more):
    return {"scikit-learn": timed(1.0, **more), "fastem numba": timed(0.1, **more)}


def compared():
    """Figures of compare.py: all sections, a peer that failed and one that is missing."""
    iterations = by_contender(log_likelihood=-11.25, mark="")
    iterations["OpenCV"] = {"failure": "error: no memory"}
    iterations["oneDAL"] = timed(0.01, log_likelihood=float("nan"), mark="DIFFERS")
    shape = {"largest_responsibility": 0.6, "vanishing": 0.01, "iterations": iterations}
    solution = by_contender(log_likelihood=[-11.0] * 3, n_iter=[30, 31, 300], converged=[True, True, False])
    return {
        "program": "compare",
        "settings": SETTINGS,
        "machine": MACHINE,
        "contenders": {"scikit-learn": "1.9", "fastem numba": "0.1.0"},
        "missing": {"mclust": "no R"},
        "shapes": {"full-1000x2x3": {**shape, "posteriors": {"predict": by_contender(difference=0.0)}}},
        "small": {"predict of one row": by_contender()},
        "solution": {"full-1000x2x3": solution},
        "memory": {"full-1000x2x3": {"rows": 10**7, "rises": {"scikit-learn": [10**8], "fastem numba": [0]}}},
        "cold_start": {"fastem fit": [0.5, 0.6]},
        "sweep": {"N": {"1000": iterations, "2000": iterations}, "D": {"2": iterations}},
    }


def limited():
    rounds = [{"seconds": 0.3, "limit": 0.1}, {"seconds": 0.2, "limit": 0.1}, {"seconds": 0.2, "limit": 0.1}]
    rates = {"multiply_adds": 5e10, "exponentials": {"numpy": 1e9}, "read": 1e10}
    skipping = {
        "seconds": {"skipping": [0.1], "no bounds": [0.3], "dense": [0.7]},
        "ratios": {"no bounds": [3.0], "dense": [7.0]},
        "difference": 2e-16,
        "verdict": "PASS",
    }
    return {
        "program": "limit",
        "settings": SETTINGS,
        "machine": MACHINE,
        "ceilings": {"float64": rates},
        "skipping": {"shape": "full-1000x16x128", "target": 6.0, "engines": {"cython": skipping}},
        "shapes": {
            "full-1000x8x8": {
                "target": 2.5,
                "largest_responsibility": 0.5,
                "vanishing": 0.0,
                "wrong": [],
                "engines": {"numba": rounds, "cython": rounds},
            },
            "full-1000x2x3": {
                "target": None,
                "largest_responsibility": 0.5,
                "vanishing": 0.0,
                "wrong": ["cython"],
                "engines": {"cython": rounds},
            },
        },
    }


def run(program, *arguments, environment=None):
    command = [sys.executable, "-W", "error", str(BENCHMARKS / program), *map(str, arguments)]
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(folder, *results):
    pytest.importorskip("matplotlib")
    for number, figures in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(figures))
    page = folder / "benchmarks.md"
    run("report.py", *sorted(folder.glob("*.json")), "--output", page)
    text = page.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert all((folder / picture).stat().st_size > 1000 for picture in pictures)
    return text, pictures


def test_report_of_all_sections(tmp_path):
    text, pictures = report(tmp_path, compared(), limited())
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert headings == [
        "An EM iteration",
        "Against the machine's limit",
        "Skipping",
        "Time against N, D and K",
        "Time to solution",
        "Memory beyond the rows",
        "Posteriors",
        "Small problems",
        "Cold start",
    ]
    assert len(pictures) == 5
    assert "mclust (no R)" in text
    assert "| full-1000x2x3 | 2 | **0.2** |  | (0.02) |" in text
    assert "error: no memory" in text
    assert "| full-1000x8x8 | numba | 0.2 [0.2, 0.3] | 0.1 [0.1, 0.1] | 2 [2, 3] | 2.5 | PASS |" in text
    assert "2 [1, 3] | -11.25" in text
    assert "300, not converged" in text
    assert text.count("WRONG") == 1


@pytest.mark.parametrize("key", ["shapes", "sweep", "memory", "cold_start"])
def test_report_of_a_partial_run(key, tmp_path):
    kept = {
        name: part for name, part in compared().items() if name == key or name in ("program", "settings", "machine")
    }
    text, _ = report(tmp_path, kept)
    assert len(re.findall("^## ", text, re.MULTILINE)) == (2 if key == "shapes" else 1)


def test_runs_of_one_machine_become_one_table(tmp_path):
    first, second = compared(), compared()
    second["shapes"] = {"full-5x2x3": first["shapes"]["full-1000x2x3"]}
    first["machine"], second["machine"] = {**MACHINE, "load": 0.1}, {**MACHINE, "load": 0.2}
    text, pictures = report(tmp_path, first, second)
    assert text.count("Seconds an iteration from the same start") == 1
    assert "| full-1000x2x3 | 2 | **0.2** |" in text
    assert "| full-5x2x3 | 2 | **0.2** |" in text
    assert len(pictures) == 4


@pytest.mark.slow
def test_limit_runs(tmp_path):
    pytest.importorskip("threadpoolctl")
    file = tmp_path / "limit.json"
    options = ("--scale", 0.001, "--repeats", 1, "--shapes", "1000000x2x3", "diag-1000000x8x8", "--engines", "cython")
    said = run("limit.py", *options, "--json", file)
    assert "times the limit" in said
    assert "dense" in said
    found = json.loads(file.read_text())
    assert found["skipping"]["engines"]["cython"]["difference"] < 1e-12
    assert list(found["shapes"]) == ["full-1000x2x3", "diag-1000x8x8"]
    text, _ = report(tmp_path)
    assert "Against the machine's limit" in text


@pytest.mark.slow
def test_compare_runs_and_names_the_missing(tmp_path):
    pytest.importorskip("threadpoolctl")
    file = tmp_path / "compare.json"
    options = ("--scale", 0.001, "--repeats", 1, "--shapes", "1000000x2x3", "--sections", "iterations", "small")
    said = run("compare.py", *options, "--peers", "Armadillo", "--json", file, environment={"CXX": "no-such-compiler"})
    assert "Missing: Armadillo: no C++ compiler" in said
    found = json.loads(file.read_text())
    likelihoods = {r["log_likelihood"] for r in found["shapes"]["full-1000x2x3"]["iterations"].values()}
    assert max(likelihoods) - min(likelihoods) < 1e-8
    report(tmp_path)


# Ends without a word in the third part of a section, as if the machine went down.
CUT_OFF = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
from comparison import figures
collect = figures.collect
def first_two(found, section, parts, file):
    collect(found, section, (part for number, part in enumerate(parts) if number < 2 or os._exit(9)), file)
figures.collect = first_two
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def cut_off(program, *arguments):
    """Run a program whose end comes while it measures the third part of a section."""
    command = [sys.executable, "-c", CUT_OFF, str(BENCHMARKS / program), *map(str, arguments)]
    # Not from the folder of the tests, whose fastem may be another than the one that the programs import.
    done = subprocess.run(command, check=False, timeout=600, cwd=BENCHMARKS)
    assert done.returncode == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("compare.py", ("--sections", "iterations", "--peers")),
        ("limit.py", ("--parts", "shapes", "--engines", "cython")),
    ],
)
def test_a_run_that_is_cut_off_keeps_its_shapes_and_another_adds_the_rest(program, options, tmp_path):
    pytest.importorskip("threadpoolctl")
    options = ("--scale", 0.001, "--repeats", 1, *options)
    names = ["full-1000x2x3", "full-1000x8x8", "diag-1000x8x8"]
    cut_off(program, *options, "--shapes", "1000000x2x3", "1000000x8x8", "--json", tmp_path / "cut.json")
    assert list(json.loads((tmp_path / "cut.json").read_text())["shapes"]) == names[:2]
    run(program, *options, "--shapes", "diag-1000000x8x8", "--json", tmp_path / "rest.json")
    assert {file.name for file in tmp_path.iterdir()} == {"cut.json", "rest.json"}
    text, _ = report(tmp_path)
    tables = [table for table in text.split("\n\n") if table.count("| " + names[0])]
    assert len(tables) == 1
    assert all("| " + name in tables[0] for name in names)


@pytest.mark.slow
def test_optima_runs(tmp_path):
    file = tmp_path / "optima.json"
    said = run("optima.py", "--quick", "--seeds", 1, "--only", "fastem", "--json", file)
    found = json.loads(file.read_text())["problems"]
    assert len(found) == 6
    assert np.mean([problem["fastem"]["found"] for problem in found.values()]) > 0.9
    assert "all" in said


PAGE = BENCHMARKS.parent / "docs" / "what-goes-wrong.md"
TABLE = r"<!-- (\w+) -->\n(.*?)<!-- end -->"


def test_every_section_of_what_goes_wrong_is_measured():
    tables = dict(re.findall(TABLE, PAGE.read_text(encoding="utf-8"), re.DOTALL))
    program = (BENCHMARKS / "pictures.py").read_text(encoding="utf-8")
    assert list(tables) == re.findall(r'^    "(\w+)": \1,$', program, re.MULTILINE)
    assert tables.pop("versions").startswith("Measured with scikit-learn")
    assert all("| --- |" in table for table in tables.values())


@pytest.mark.slow
def test_pictures_runs(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text("<!-- collapse -->\n<!-- end -->\nkept\n<!-- units -->\nold\n<!-- end -->\n")
    run("pictures.py", "--sections", "collapse", "units", "--seeds", 1, "--output", page)
    text = page.read_text()
    assert "\nkept\n" in text
    assert "old" not in text
    assert "| fastem, iris | 0.00 | 0.00 |" in text
    assert {file.name for file in (tmp_path / "page").iterdir()} == {"collapse.png", "units.png"}


def test_asv_finds_its_suites(tmp_path):
    # As asv does: every module of the folder, which is known by its name and has nothing beside it on the path.
    settings = json.loads((BENCHMARKS.parent / "asv.conf.json").read_text(encoding="utf-8"))
    folder = BENCHMARKS.parent / settings["benchmark_dir"]
    modules = [f"{folder.name}.{file.stem}" for file in folder.glob("*.py") if file.stem != "__init__"]
    assert any("bench_" in module for module in modules)
    lines = [
        "import importlib.util as importing, sys",
        f"name, folder = {folder.name!r}, {str(folder)!r}",
        "file = folder + '/__init__.py'",
        "spec = importing.spec_from_file_location(name, file, submodule_search_locations=[folder])",
        "sys.modules[name] = importing.module_from_spec(spec)",
        "spec.loader.exec_module(sys.modules[name])",
        *(f"import {module}" for module in modules),
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=tmp_path)

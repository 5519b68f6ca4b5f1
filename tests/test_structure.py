"""The house's own rules: imports go downwards, kernels stay plain, and `import fastem` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastem

PACKAGE = Path(fastem.__file__).parent
FILES = sorted(p for p in PACKAGE.rglob("*.py"))

# From the ground up; a room may import the rooms below it, and its own files.
FLOORS = [
    {"kernels"},
    {"stats", "compiled"},
    {"families"},
    {"engines", "em"},
    {"criteria", "data", "sampling"},
    {"acceleration", "compilation", "degeneracy", "init", "mixture", "passes", "restarts"},
    {"runs", "scaling", "split_merge", "streaming"},
    {"fitting", "persistence", "progress"},
    {"plotting", "online", "coresets", "distributed"},
    {"estimators"},
    {"selection", "environment"},
    {"cli"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_rooms(path):
    """Rooms that a file imports, at any depth of its code except for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fastem":
            rest = node.module.split(".")[1:]
            # ``from fastem import name`` goes through the lazy face; rooms alone count.
            yield from [rest[0]] if rest else [alias.name for alias in node.names if alias.name in FLOOR]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("fastem."):
                    yield alias.name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    room = room_of(path)
    if room == "__init__":  # the lazy face of all rooms
        return
    assert room in FLOOR, f"{room} has no floor yet: give it one"
    for other in imported_rooms(path):
        assert other == room or FLOOR[other] < FLOOR[room], f"{path.name} imports upwards: {other}"


def test_em_knows_no_family_and_no_engine():
    assert set(imported_rooms(PACKAGE / "em.py")) == {"stats"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "engines").glob("*.py")), ids=lambda p: p.name)
def test_engines_know_no_family_by_name(path):
    text = path.read_text(encoding="utf-8").lower()
    assert "poisson" not in text
    # One kernel fills the place of a density where none is evaluated.
    allowed = 1 if path.name == "kernel_engine.py" else 0
    assert text.count("gaussian") <= allowed


def test_no_utils():
    assert not [p for p in FILES if p.stem in ("utils", "util", "helpers", "misc")]


KERNEL_FILES = sorted(p for p in (PACKAGE / "kernels").glob("*.py") if p.stem not in ("__init__", "vectors"))
PLAIN = (
    *(ast.Module, ast.ImportFrom, ast.alias, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign),
    *(ast.AugAssign, ast.For, ast.If, ast.Expr, ast.Call, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple),
    *(ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Continue, ast.Load, ast.Store),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda p: p.name)
def test_kernels_are_plain(path):
    """Loops over arrays and scalars: no allocation, no slices, no Python objects."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imported = {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    for node in ast.walk(tree):
        assert isinstance(node, PLAIN), f"line {getattr(node, 'lineno', '?')}: {type(node).__name__} in a kernel"
        if isinstance(node, ast.Attribute):
            assert node.attr == "shape"
        if isinstance(node, ast.Call):
            arguments = {"log_density", "accumulate"}
            assert node.func.id in defined | imported | {"range", "min"} | arguments
            assert not node.keywords
        if isinstance(node, ast.ImportFrom):
            assert node.module.startswith("fastem.kernels.")


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda p: p.name)
def test_kernels_declare_their_c_types(path):
    declared = path.with_suffix(".pxd").read_text(encoding="utf-8")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            assert f" {node.name}(" in declared


def run(code, cwd):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=300)


def test_import_is_light(tmp_path):
    code = (
        "import sys, fastem; dir(fastem); "
        "heavy = ('numba', 'sklearn', 'scipy', 'matplotlib', 'rich', 'numpy', 'dask', 'pyspark'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    assert run(code, tmp_path).stdout.strip() == "[]"


def test_a_fit_in_memory_loads_no_readers_of_files(tmp_path):
    code = (
        "import sys, numpy as np; from fastem import GaussianMixture; "
        "GaussianMixture(2, random_state=0).fit(np.arange(20.0)[:, None] ** 2); "
        "rooms = ('fastem.data.sources', 'fastem.streaming', 'fastem.online', 'fastem.distributed'); "
        "print([m for m in sys.modules if m in rooms])"
    )
    assert run(code, tmp_path).stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in fastem.__all__:
        assert getattr(fastem, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastem.nothing  # noqa: B018

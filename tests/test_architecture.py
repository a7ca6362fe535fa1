"""The rules of the house: where files lie, who may import whom, how long things are, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "course_lib"
FILES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "benchmarks").glob("*.py"))
OUTSIDE = {"notebooks", "exercises", "solutions", "tests"}
PUBLIC_NAMES = json.loads((ROOT / "tests" / "public_names.json").read_text(encoding="utf-8"))
LONGEST_FUNCTION, MEDIAN_FUNCTION = 45, 7
LONGEST_MODULE, MEDIAN_MODULE = 300, 120
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python(code):
    """Standard output of a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_roots(path):
    """First part of every absolute import in a file, wherever in the file it stands."""
    tree = parsed(path)
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    source = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in plain + source}


def lint_imports(folder):
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def functions(path):
    """(Name, lines) of every function of a file, nested ones included, with its docstring."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, kinds)]
    return [(f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - node.lineno + 1) for node in nodes]


def undocumented(node, prefix):
    """Public functions, classes and methods below ``node`` that have no docstring."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            if ast.get_docstring(child) is None:
                yield f"{prefix}{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child, f"{prefix}{child.name}.")


def import_circles(package):
    """Groups of modules that reach each other through imports (Tarjan's strongly connected components)."""
    graph = grimp.build_graph(package, cache_dir=None)
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in graph.find_modules_directly_imported_by(module):
            if imported not in index:
                visit(imported)
                low[module] = min(low[module], low[imported])
            elif imported in stack:
                low[module] = min(low[module], index[imported])
        if low[module] == index[module]:
            circle = [stack.pop()]
            while circle[-1] != module:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in graph.modules:
        if module not in index:
            visit(module)
    return found


@pytest.fixture(scope="module")
def copied_house(tmp_path_factory):
    """A copy of the sources, to be damaged by a test."""
    folder = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.xz", "*.json")
    shutil.copytree(PACKAGE, folder / "course_lib", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def loose_files(package):
    return sorted(path.name for path in package.iterdir() if path.is_file())


def test_two_files_lie_at_the_root_of_the_package():
    assert loose_files(PACKAGE) == ["__init__.py", "doctor.py"]


def test_one_exhaustive_contract_says_who_may_import_whom():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    assert (contract["type"], contract["containers"], contract["exhaustive"]) == ("layers", ["course_lib"], True)
    finished = lint_imports(ROOT)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("attic/__init__.py", "", "attic"),
        ("core/upwards.py", "from course_lib import training\n", "course_lib.core is not allowed to import"),
        ("pruning/sideways.py", "from course_lib import lowrank\n", "course_lib.pruning is not allowed to import"),
        ("loose.py", "", "loose"),
    ],
)
def test_the_contract_notices_a_room_that_is_not_placed_and_an_import_that_is_not_allowed(
    copied_house, file, source, complaint
):
    added = copied_house / "course_lib" / file
    added.parent.mkdir(exist_ok=True)
    added.write_text(source, encoding="utf-8")
    try:
        finished = lint_imports(copied_house)
    finally:
        added.unlink()
        if added.name == "__init__.py":
            shutil.rmtree(added.parent)
    assert finished.returncode != 0 and complaint in finished.stdout + finished.stderr


def test_no_two_files_import_each_other():
    assert import_circles("course_lib") == []


def test_a_circle_of_two_files_would_be_found(tmp_path, monkeypatch):
    package = tmp_path / "circular_example"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from circular_example import two\n")
    (package / "two.py").write_text("def late():\n    from circular_example.one import anything\n")
    (package / "three.py").write_text("from circular_example import one\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_circles("circular_example") == [["circular_example.one", "circular_example.two"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_from_notebooks_or_tests(path):
    assert not imported_roots(path) & OUTSIDE


@pytest.mark.parametrize("room", sorted(PUBLIC_NAMES))
def test_public_names_stay_importable_from_their_room(room):
    module = importlib.import_module(f"course_lib.{room}")
    assert [name for name in PUBLIC_NAMES[room] if not hasattr(module, name)] == []


def test_importing_the_course_is_quick_and_brings_no_torch():
    code = """
import sys, time
started = time.perf_counter()
import course_lib
print(time.perf_counter() - started, 'torch' in sys.modules, 'numpy' in sys.modules)
"""
    runs = [python(code).split() for _ in range(5)]
    assert min(float(seconds) for seconds, *_ in runs) < 0.3
    assert all(flags == ["False", "False"] for _, *flags in runs)


@pytest.mark.parametrize("room", ["grading", "learning", "calculator", "cli", "doctor", "launch", "notebook.runner"])
def test_a_room_that_computes_nothing_does_not_import_torch(room):
    assert python(f"import sys, course_lib.{room}; print('torch' in sys.modules)").strip() == "False"


def test_the_launcher_needs_nothing_but_the_standard_library():
    code = """
import sys
import course_lib.launch
own = {'course_lib', '__main__'}
print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - own))
"""
    bare = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert bare == "[]"


def test_every_room_is_reachable_from_the_package():
    """Each in a fresh interpreter's sense: through the lazy attribute, not because something imported it before."""
    rooms = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    code = f"""
import course_lib
for room in {[*rooms, "doctor"]!r}:
    assert getattr(course_lib, room).__name__ == f"course_lib.{{room}}", room
print(sorted(set(course_lib.__all__) - {{"__version__"}}))
"""
    assert python(code).strip() == str(sorted([*rooms, "doctor"]))
    import course_lib

    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = course_lib.nowhere


def test_functions_stay_short():
    lengths = dict(entry for path in FILES for entry in functions(path))
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION


def test_modules_stay_short():
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}
    assert statistics.median(lines.values()) <= MEDIAN_MODULE


def test_every_public_function_and_method_has_a_docstring():
    files = sorted(PACKAGE.rglob("*.py"))
    assert [name for path in files for name in undocumented(parsed(path), f"{path.relative_to(ROOT)}:")] == []

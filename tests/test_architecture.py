"""The rules of the house: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "course_lib").rglob("*.py")) + sorted((ROOT / "benchmarks").glob("*.py"))
OUTSIDE = {"notebooks", "exercises", "solutions", "tests"}


def python(code):
    """Standard output of a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def imported_roots(path):
    """First part of every absolute import in a file, wherever in the file it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    source = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in plain + source}


def test_import_contracts_hold():
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_from_notebooks_or_tests(path):
    assert not imported_roots(path) & OUTSIDE


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
    import course_lib

    assert course_lib.assets.FOLDER.is_dir()
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = course_lib.nowhere
    present = {path.stem for path in (ROOT / "course_lib").iterdir() if not path.name.startswith("_")}
    assert set(course_lib.__all__) - {"__version__"} <= present


def test_modules_stay_readable():
    """The habit is 80-250 lines; what grows beyond 350 is two modules."""
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 350} == {}

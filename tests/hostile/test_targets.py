"""What the attacks of these tests import, patch, read and overwrite exists; else they would pass and show nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from pathlib import Path

import pytest

from course_lib.grading import building, nbval_run, sandbox
from tests.hostile import test_looking, test_reaching_out

OURS = ("course_lib", "probe_runtime")
HIDDEN = set(test_looking.SHORTCUTS.values())  # what an answer must not be able to import


def attacks():
    """Programs in the strings of these tests that import something of the course."""
    return [
        pytest.param(node.value, id=f"{file.stem}-{node.lineno}")
        for file in sorted(Path(__file__).parent.glob("test_*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in HIDDEN
        if any(f"import {name}" in node.value or f"from {name}" in node.value for name in OURS)
    ]


def module_of(name):
    return importlib.import_module("course_lib.grading.probe_runtime" if name == "probe_runtime" else name)


def program(source):
    try:
        return ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return ast.parse("")  # a sentence that speaks of an import


def imported(source):
    """Name in the program → the object of the course that it is."""
    found = {}
    for node in ast.walk(program(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in OURS:
                    found[alias.asname or alias.name.split(".")[0]] = module_of(
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            for alias in node.names:
                found[alias.asname or alias.name] = attribute(module_of(node.module), alias.name)
        elif isinstance(node, ast.Assign) and "import_module(" in (call := ast.unparse(node.value)):
            found[node.targets[0].id] = module_of(call.split("'")[1])
    return found


def attribute(owner, name):
    if not hasattr(owner, name):
        return importlib.import_module(f"{owner.__name__}.{name}")
    return getattr(owner, name)


def resolved(node, names):
    """The object that ``a.b.c`` is in a program; None if it is not one of the course."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    owner = resolved(node.value, names) if isinstance(node, ast.Attribute) else None
    return attribute(owner, node.attr) if owner is not None else None


def patched(source):
    """Attributes of the course that a program sets, as (owner, name)."""
    names = imported(source)
    for node in ast.walk(program(source)):
        for target in node.targets if isinstance(node, ast.Assign) else []:
            if isinstance(target, ast.Attribute) and (owner := resolved(target.value, names)) is not None:
                yield owner, target.attr


def has(owner, name):
    """Whether a module or class has an attribute, also one that its methods set."""
    return hasattr(owner, name) or (isinstance(owner, type) and f"self.{name} = " in inspect.getsource(owner))


@pytest.mark.parametrize("source", attacks())
def test_what_an_attack_patches_exists(source):
    missing = [(owner, name) for owner, name in patched(source) if not has(owner, name)]
    assert missing == []


def test_there_are_attacks_that_import_and_patch():
    sources = [parameter.values[0] for parameter in attacks()]
    assert sum(bool(imported(source)) for source in sources) >= 7
    assert len({(str(owner), name) for source in sources for owner, name in patched(source)}) >= 12


def test_what_the_attacks_import_can_be_imported_in_the_sandbox(grader):
    """All imports at once, before a right answer: it would lose its points if one of them failed."""
    lines = {
        ast.unparse(node)
        for parameter in attacks()
        for node in ast.walk(program(parameter.values[0]))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)
        and "import" in ast.unparse(node)
        and any(name in ast.unparse(node) for name in OURS)
    }
    assert len(lines) >= 6
    source = "\n".join(["import importlib", *sorted(lines), grader.right("01.1")])
    assert grader.attack(source).passed


@pytest.mark.parametrize("name", test_looking.SHORTCUTS)
def test_what_is_hidden_from_the_sandbox_exists_outside(name):
    (node,) = [node for node in ast.walk(program(test_looking.SHORTCUTS[name])) if isinstance(node, ast.ImportFrom)]
    assert attribute(importlib.import_module(node.module), node.names[0].name) is not None


def test_what_is_overwritten_exists_inside(grader):
    """The files of ``/course`` that the attack names are there, and they are files."""
    inside = [str(path) for path in test_reaching_out.library(grader)]
    assert f"{sandbox.LIBRARY}/probe_runtime.py" in inside and len(inside) >= 10
    source = f"import os\nassert all(map(os.path.isfile, {inside!r}))\n"
    assert grader.attack(source + grader.right("01.1")).passed


@pytest.mark.parametrize("name", test_reaching_out.PLACES)
def test_what_is_written_outside_has_a_place_there(name):
    """A file that is overwritten, or a folder in which the attack makes the new file (in a home, with its folders)."""
    paths, home = test_reaching_out.PLACES[name], test_reaching_out.HOME
    assert home.is_dir()
    assert any(path.is_file() or path.parent.is_dir() or path.is_relative_to(home) for path in paths)
    if name in test_reaching_out.OVERWRITTEN:
        assert any(path.is_file() for path in paths), name


def test_the_needles_of_the_search_are_in_solution_and_reference():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    reference = building.ROOT / "course_lib" / "learning" / "exercises" / "lesson_01" / "reference.py"
    for file in (solution, reference):
        assert test_looking.NEEDLE in file.read_text(encoding="utf-8"), file


def test_the_files_of_a_run_have_the_names_that_the_search_looks_for(tmp_path):
    from nbformat.v4 import new_notebook

    nbval_run._prepare(tmp_path, new_notebook(), {}, "bwrap", sandbox.Limits(), [])
    assert {"notebook.ipynb", "settings.json"} <= {path.name for path in tmp_path.iterdir()}

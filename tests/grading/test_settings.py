"""The key of a result depends on everything that decides it: settings, submission, and the files of the grader."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.grading import building, fork_server, grade, nbval_report, sandbox, settings
from course_lib.grading.settings import Settings, result_key

FOLDER = Path(settings.__file__).parent
PREFIX = "course_lib.grading."


def imported(file):
    """Modules of the grader that a file imports, or names in a string (plugins, preloaded modules)."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    modules = {name.removeprefix(PREFIX).split(".")[0] for name in names if name.startswith(PREFIX)}
    return {name for name in modules if (FOLDER / f"{name}.py").is_file()}


def reached(start):
    """A module of the grader and all that it needs."""
    found, waiting = set(), [start]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += imported(FOLDER / f"{name}.py")
    return found


def test_all_modules_that_a_verdict_needs_are_in_the_digest():
    deciding = {file.stem for file in settings.deciding_modules()}
    assert reached("grade") <= deciding
    assert {"judge", "nbval_guard", "cell_report", "provisioner", "sandbox_kernel", "probe_runtime"} <= deciding


def test_the_modules_that_are_left_out_exist_and_decide_nothing():
    assert all((FOLDER / f"{name}.py").is_file() for name in settings.LATER)
    assert not reached("grade") & set(settings.LATER)


def test_what_is_loaded_by_name_exists(tmp_path):
    plugins = [name for name in nbval_report.options(tmp_path) if name.startswith("course_lib.")]
    preloaded = [name for names in fork_server.PRELOADED.values() for name in names]
    assert plugins and all(importlib.util.find_spec(name) for name in [*plugins, *preloaded])


def test_the_digest_changes_with_a_file_of_the_grader(monkeypatch, tmp_path):
    (tmp_path / "one.py").write_text("x = 1")
    monkeypatch.setattr(settings, "deciding_modules", lambda: [tmp_path / "one.py"])
    settings.grader_digest.cache_clear()
    before = settings.grader_digest()
    (tmp_path / "one.py").write_text("x = 2")
    settings.grader_digest.cache_clear()
    assert settings.grader_digest() != before
    settings.grader_digest.cache_clear()


@pytest.fixture
def chosen(tmp_path):
    return Settings(str(tmp_path / "out"), str(tmp_path / "state"), pool=2)


def test_the_key_depends_on_submission_student_secret_and_limits(chosen, monkeypatch):
    assignment = grade.find_assignment(str(building.SOLUTIONS), "01")
    keys = {result_key(b"x", "anna", assignment, chosen)}
    keys |= {result_key(b"y", "anna", assignment, chosen), result_key(b"x", "ben", assignment, chosen)}
    slower = replace(chosen, limits=sandbox.Limits(question_seconds=9))
    keys |= {result_key(b"x", "anna", assignment, slower)}
    monkeypatch.setenv("COURSE_GRADING_SECRET", "another")
    keys |= {result_key(b"x", "anna", assignment, chosen)}
    assert len(keys) == 5

"""The stages of ``start.py test``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from course_lib.launch import suite
from course_lib.launch.environment import Environment

ROOT = Path(__file__).parents[2]


def test_every_stage_runs_even_after_a_failure_and_the_exit_code_is_1(project, capfd):
    called = []

    class Fake(Environment):
        def call(self, *arguments, **variables):
            called.append(variables["COURSE_PROGRESS"])
            return int("mypy" in arguments)

    assert suite.run(Fake(project)) == 1
    assert len(called) == len(suite.stages(project))
    assert not Path(called[0]).parent.exists()
    shown = capfd.readouterr().out
    assert "mypy           FAILED (1)" in shown and "1 failed" in shown and "tests          passed" in shown


def test_it_covers_lint_types_rules_tests_lessons_and_solutions(project):
    stages = suite.stages(project)
    assert list(stages) == [
        "ruff check", "ruff format", "import rules", "mypy", "tests", "hostile", "lessons", "solutions",
    ]  # fmt: skip
    plugins = [word for word in stages["lessons"] if word.startswith("course_lib.")]
    assert plugins and all(importlib.util.find_spec(name) for name in plugins)
    assert "--nbval-lax" in stages["lessons"] and "--nbval" in stages["solutions"]
    assert (ROOT / "tests" / "notebooks" / "sanitize.cfg").is_file()


def test_ci_runs_the_same_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "python3 start.py test" in script and os.access(ROOT / ".ci" / "run", os.X_OK)

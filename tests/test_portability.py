"""What a learner uses works without modules that exist on POSIX systems only, without a home and without a name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HIDE = """
import builtins, importlib, pkgutil, sys
original = builtins.__import__
def without_posix(name, globals=None, *others, **named):
    importer = (globals or {}).get("__name__", "")
    if name in {"fcntl", "resource", "pwd", "grp", "termios", "posix"} and importer.startswith("course_lib"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return original(name, globals, *others, **named)
builtins.__import__ = without_posix
"""
WITHOUT_HOME = """
import os, pwd
def unknown(*_):
    raise KeyError("uid not found")
pwd.getpwuid = unknown
"""
CHECK = """
from course_lib.learning import CheckFailed, check
from course_lib.learning.exercises.lesson_03 import reference
assert check("03.1", reference.magnitude_mask).points > 0
try:
    check("03.1", lambda weight, sparsity: weight > 0)
except CheckFailed:
    print("checked")
"""


def run(code, cwd, **variables):
    """Output and warnings of a fresh interpreter."""
    command = [sys.executable, "-c", code]
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "COURSE_PROGRESS", "COURSE_CACHE")}
    kept = {key: value for key, value in kept.items() if not key.startswith("XDG_")} | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        command, cwd=cwd, env=kept | variables, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, finished.stderr


def test_modules_are_really_hidden(tmp_path):
    code = f"{HIDE}\nexec('import fcntl', {{'__name__': 'course_lib.anything'}})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "No module named 'fcntl'" in finished.stderr


def test_rooms_lessons_and_checks_need_no_posix_modules(tmp_path):
    code = """
import course_lib
skipped = ("course_lib.grading",)
names = [info.name for info in pkgutil.walk_packages(course_lib.__path__, "course_lib.") if "__main__" not in info.name]
for name in [*(name for name in names if not name.startswith(skipped)), "course_lib.grading.selfcheck"]:
    importlib.import_module(name)
assert "course_lib.learning.exercises.lesson_11.questions" in names
"""
    output, _ = run(HIDE + code + CHECK, tmp_path, COURSE_PROGRESS="memory", COURSE_CACHE=str(tmp_path))
    assert output == "checked\n"


def test_the_launcher_needs_no_posix_modules_where_the_system_is_windows(tmp_path):
    code = "sys.platform = 'win32'\nfrom course_lib import launch, doctor\nlaunch.parse(['run'])"
    run(HIDE + code, tmp_path)


def test_without_home_and_name_a_right_answer_counts_and_progress_is_in_memory(tmp_path):
    code = """
from course_lib import assets
from course_lib.learning import progress
assert progress.read()["questions"]["03.1"]["points"] > 0 and progress.location() is None
assert assets.cache_folder().is_absolute()
"""
    output, warnings = run(WITHOUT_HOME + CHECK + code, tmp_path)
    assert output == "checked\n" and list(tmp_path.iterdir()) == []
    assert warnings.count("ProgressWarning") == 1 and "it is kept in memory until the kernel stops" in warnings

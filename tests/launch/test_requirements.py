"""What decides an installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from course_lib.launch import requirements
from course_lib.launch.errors import LaunchError

ROOT = Path(__file__).parents[2]


def test_every_package_of_a_learner_is_named():
    names = requirements.names(ROOT)
    assert {"torch", "jupyterlab", "nbval"} <= set(names) and "nbgrader" not in names


def test_a_locked_version_is_read_without_its_marker(project):
    (project / "requirements.lock").write_text("# x==1\nappnope == 1.0 ; sys_platform == 'darwin'\n--no-binary x\n")
    assert requirements.locked_version(project, "appnope") == "1.0"
    assert requirements.locked_version(project, "x") is None


def test_order_and_spacing_do_not_decide(project):
    text = "[project]\nname = 'tiny'\ndependencies = {}\n"
    (project / "pyproject.toml").write_text(text.format(["torch>=2,<3", "numpy"]))
    before = requirements.identity(project, ["dev", "classroom"])
    (project / "pyproject.toml").write_text(text.format(["numpy", "torch >= 2, <3"]))
    assert requirements.identity(project, ["classroom", "dev"]) == before
    (project / "pyproject.toml").write_text(text.format(["numpy", "torch >= 2"]))
    assert requirements.identity(project, ["classroom", "dev"]) != before


def test_a_missing_lock_is_one_line_with_the_remedy(project):
    (project / "requirements.lock").unlink()
    with pytest.raises(LaunchError, match=r"requirements\.lock is missing .*git checkout -- requirements\.lock"):
        requirements.identity(project, [])

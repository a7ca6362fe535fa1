"""The view of the file system: system and Python, and never the course."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from course_lib.grading import building, sandbox_view


def test_python_is_shown_and_the_course_is_not():
    assert sandbox_view.shows(Path(sys.prefix) / "lib") and sandbox_view.shows("/usr/bin/env")
    for path in (building.SOLUTIONS, building.ROOT / "tests", building.ROOT / "course_lib" / "grading"):
        assert not sandbox_view.shows(path)


def test_home_folders_and_temporary_folders_are_not_shown():
    assert not any(sandbox_view.shows(path) for path in (Path.home(), "/root", "/home", "/tmp", "/var", "/etc/shadow"))


@pytest.mark.parametrize("own", ["/usr/src/app", "/usr/lib/python3/dist-packages/course_lib"])
def test_a_course_inside_the_system_is_covered(monkeypatch, own):
    monkeypatch.setattr(sandbox_view, "_own", lambda: [Path(own)])
    assert sandbox_view.shows("/usr/src") and not sandbox_view.shows(f"{own}/solutions")


def test_the_link_that_python_was_started_through_is_there(tmp_path, monkeypatch):
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    [link] = [view for view in sandbox_view.views() if view.path == tmp_path / ".venv"]
    assert (link.kind, link.target) == ("link", str((tmp_path / ".venv").resolve()))


def test_a_python_inside_the_covered_course_is_shown_again(monkeypatch):
    monkeypatch.setattr(sandbox_view, "_own", lambda: [Path("/usr/src/app")])
    monkeypatch.setattr(sandbox_view, "_prefixes", lambda: [Path("/usr/src/app/.venv")])
    assert sandbox_view.shows("/usr/src/app/.venv/lib") and not sandbox_view.shows("/usr/src/app/solutions")
    kinds = [view.kind for view in sandbox_view.views() if "/usr/src/app" in str(view.path)]
    assert kinds == ["cover", "show"]

"""The view of the disk: system and Python, and never the course."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from course_lib.grading import building, room


def test_python_is_shown_and_the_course_is_not():
    assert room.shows(Path(sys.prefix) / "lib") and room.shows("/usr/bin/env")
    for path in (building.SOLUTIONS, building.ROOT / "tests", building.ROOT / "course_lib" / "grading"):
        assert not room.shows(path)


def test_nobodys_home_and_nothing_temporary_is_shown():
    assert not any(room.shows(path) for path in (Path.home(), "/root", "/home", "/tmp", "/var", "/etc/shadow"))


@pytest.mark.parametrize("own", ["/usr/src/app", "/usr/lib/python3/dist-packages/course_lib"])
def test_a_course_that_lies_in_the_system_is_covered(monkeypatch, own):
    monkeypatch.setattr(room, "_own", lambda: [Path(own)])
    assert room.shows("/usr/src") and not room.shows(f"{own}/solutions")


def test_a_python_inside_the_covered_course_is_shown_again(monkeypatch):
    monkeypatch.setattr(room, "_own", lambda: [Path("/usr/src/app")])
    monkeypatch.setattr(room, "_prefixes", lambda: [Path("/usr/src/app/.venv")])
    assert room.shows("/usr/src/app/.venv/lib") and not room.shows("/usr/src/app/solutions")
    kinds = [view.kind for view in room.views() if "/usr/src/app" in str(view.path)]
    assert kinds == ["cover", "show"]

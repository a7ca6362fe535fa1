"""Optional extras: their packages come from the project file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from course_lib.core import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_packages_of_an_extra_are_those_of_the_installed_project():
    declared = [re.match(r"[\w.-]+", line)[0] for line in PROJECT["optional-dependencies"]["classroom"]]
    assert extras.packages("classroom") == declared and "nbgrader" in declared
    assert extras.packages("unheard-of") == []


def test_a_missing_package_is_named_with_the_command_of_the_readme(monkeypatch):
    monkeypatch.setattr(extras, "packages", lambda extra: ["pip", "nbgrader-of-nowhere"])
    assert extras.missing("classroom") == ["nbgrader-of-nowhere"]
    with pytest.raises(
        extras.ExtraMissing, match=r"\[classroom\] is not installed \(nbgrader-of-nowhere missing\)"
    ) as caught:
        extras.check_installed("classroom")
    command = str(caught.value).split("install it with: ")[-1]
    for page in ("README.md", "course_lib/grading/README.md"):
        assert f"`{command}`" in (ROOT / page).read_text(encoding="utf-8")


def test_without_the_project_metadata_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(extras, "COURSE", "course-of-nowhere")
    assert extras.missing("classroom") == []

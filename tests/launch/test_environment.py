"""The virtual environment: when it counts as ready, and what runs in it."""

from __future__ import annotations

import os

from course_lib.launch.environment import Environment


def test_a_stamp_of_the_same_inputs_is_enough(ready):
    assert Environment(ready).is_ready() is True
    assert Environment(ready).is_ready(extras=["classroom"]) is True
    assert Environment(ready).is_ready(extras=["dev"]) is False


def test_a_damaged_stamp_counts_as_none(ready):
    for content in ("{", "[]", "\x00"):
        Environment(ready).stamp.write_text(content)
        assert Environment(ready).is_ready() is False


def test_variables_keep_other_pythons_out(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    variables = Environment(project).variables(EXTRA="1")
    assert "PYTHONPATH" not in variables and "PYTHONHOME" not in variables and variables["EXTRA"] == "1"
    assert variables["PATH"].split(os.pathsep)[0] == str(project / ".venv" / "bin")

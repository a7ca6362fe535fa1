"""Folders and half-written files of graders that were killed are removed; those of running ones stay."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from course_lib.grading import leftovers


def test_what_a_killed_grader_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"course-{kind}-{ended.pid}-x" for kind in ("library", "grade", "trial")]
    kept = [f"{leftovers.prefix('grade')}x", "course-grade-abc", "course-tests-1-x", f"other-{ended.pid}-x"]
    for name in (*names, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    out = tmp_path / "out"
    (out / "results").mkdir(parents=True)
    for name, age in ((".old.json.1.partial", 7200), (".new.json.2.partial", 0)):
        (out / "results" / name).write_text("half")
        past = Path(__file__).stat().st_atime
        os.utime(out / "results" / name, (past, __import__("time").time() - age))
    leftovers.sweep(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "out"])
    assert [path.name for path in (out / "results").iterdir()] == [".new.json.2.partial"]


def test_what_another_grader_removes_at_the_same_moment_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = tmp_path / "course-grade-1-gone"
    half = tmp_path / "out" / ".x.json.1.partial"
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [half if pattern == ".*.partial" else gone])
    leftovers.sweep(tmp_path / "out")

"""A class of 60 in three layouts, with odd files, under umask 077, where the clock changes, into last year's gradebook.

The whole class gets its verdicts without a sandbox; one student of each kind is graded for real, by the command.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace

import class_layouts
import pytest

from course_lib.grading import batch, classroom, decision, grade, late, probes
from course_lib.grading.outcome import Status, Verdict


@pytest.fixture
def strict_machine(tmp_path, monkeypatch):
    """Umask 077 and a time zone with daylight saving time."""
    monkeypatch.setenv("TZ", class_layouts.ZONE)
    monkeypatch.setenv("COURSE_GRADING_STATE", str(tmp_path / "state"))
    time.tzset()
    before = os.umask(class_layouts.UMASK)
    yield
    os.umask(before)
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def simulated(monkeypatch):
    """Verdicts without a sandbox: the answers of the solution pass."""

    def judge(assignment, taken, references, files, *, level, limits=None):
        right = assignment.answers
        verdicts = {
            id: Verdict(Status.PASSED if source == right[id] else Status.NOT_ATTEMPTED)
            for id, source in taken.answers.items()
        }
        return decision.Decision(verdicts | {id: Verdict(Status.NOT_ACCEPTED) for id in taken.findings}, ())

    def on_workers(found, settings, **_):
        return batch.one_by_one(found, settings)

    monkeypatch.setattr(grade, "judge", judge)
    monkeypatch.setattr(batch, "on_workers", on_workers)
    monkeypatch.setattr(probes, "_compute", lambda assignment, key, pool: [
        {id: {"seed": 1, "line": "1", "floors": []} for id in assignment.questions}
    ] * pool)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return class_layouts.exercise()


@pytest.mark.parametrize("layout", class_layouts.LAYOUTS)
def test_sixty_students_have_sixty_lines_with_the_right_points(tmp_path, strict_machine, simulated, made, layout):
    given, expected = class_layouts.make(tmp_path, layout, class_layouts.STUDENTS, made)
    class_layouts.last_years_gradebook(tmp_path / "out", made, next(iter(expected)))
    run = functools.partial(classroom.grade_class, [given], tmp_path / "out", progress=False)
    report = run(late_rule=late.rule("2026-10-24T20:00", "10%/day"))
    assert len(expected) == len(report.results) == class_layouts.STUDENTS and report.ok
    assert class_layouts.problems(tmp_path / "out", expected, made) == []
    other = {student: replace(want, points=1.0, reason="x") for student, want in expected.items()}
    assert len(class_layouts.problems(tmp_path / "out", other, made)) == class_layouts.STUDENTS


def test_one_student_of_each_kind_is_graded_for_real(tmp_path):
    row = class_layouts.measure(tmp_path, "nbgrader", len(class_layouts.KINDS))
    assert (row["first wrong"], row["exit code"], row["warning"]) == ("", 0, "")
    assert row["lines"] == row["students"] == len(class_layouts.KINDS)

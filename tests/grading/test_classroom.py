"""The files of a class: tables without formulas, file names that no student chooses, the rule for flagged answers."""

import csv

import pytest

from course_lib.grading import class_files, classroom
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission
from course_lib.grading.shortcut_detection import Flag, FlagKind, OnFlag
from tests.grading.conftest import EVIL, evil_result


@pytest.mark.parametrize("text", EVIL)
def test_no_cell_of_a_table_is_a_formula(tmp_path, text):
    class_files.write([evil_result(text)], tmp_path)
    for name in ("grades.csv", "flags.csv", "similar.csv"):
        with (tmp_path / name).open(newline="") as file:
            for row in csv.reader(file):
                assert not any(value.startswith(("=", "+", "-", "@", "\t")) for value in row)
    assert all(path.parent == tmp_path / "feedback" for path in tmp_path.rglob("*.html"))
    assert len(list((tmp_path / "feedback").iterdir())) == 2


def test_a_student_cannot_choose_a_path(tmp_path):
    class_files.write([evil_result("../../etc/passwd"), evil_result("/root/.bashrc")], tmp_path)
    names = sorted(path.name for path in (tmp_path / "feedback").glob("*.html"))
    assert all(name.startswith(("etcpasswd-", "rootbashrc-")) for name in names) and len(names) == 2


def test_the_rule_for_flags_can_take_points_off():
    def question(*flags):
        return GradedQuestion("01.1", 3.0, 3.0, Status.PASSED, flags=flags)

    solution, inspection = Flag(FlagKind.SOLUTION, "uses x"), Flag(FlagKind.INSPECTION, "imports os")
    questions = (question(inspection, solution), question(inspection), question())
    graded = GradedSubmission("anna", "bwrap", "k", questions=questions)
    ruled = graded.with_rule(OnFlag.ZERO)
    assert [one.points for one in ruled.questions] == [0.0, 3.0, 3.0] and ruled.max_points == 9.0
    assert ruled.questions[0].status is Status.SHORTCUT and ruled.questions[0].flags == (inspection, solution)
    assert graded.with_rule(OnFlag.REPORT) is graded


def test_an_unknown_rule_is_refused_before_anything_is_graded(tmp_path):
    with pytest.raises(ValueError, match="on_flag must be one of 'report', 'zero'; got 'maybe'"):
        classroom.grade_class([tmp_path], tmp_path / "out", on_flag="maybe")
    assert not (tmp_path / "out").exists()

"""nbgrader's gradebook gets the scores, and keeps what an instructor set by hand."""

import pytest

pytest.importorskip("nbgrader")
from nbgrader.api import Gradebook

from course_lib.grading import gradebook
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

NAME = "03_magnitude_pruning"


def result(student, *points, assignment=NAME):
    questions = tuple(
        GradedQuestion(f"03.{number}", value, 5.0, Status.PASSED) for number, value in enumerate(points, start=1)
    )
    return GradedSubmission(student, "bwrap", "k", assignment, questions=questions)


@pytest.fixture
def url(tmp_path):
    return gradebook.default_url(tmp_path)


def test_scores_are_recorded_per_question(url):
    gradebook.record([result("anna", 5.0, 0.0), result("ben", 5.0, 5.0), result("x", assignment="")], url)
    assert gradebook.scores(url, NAME) == {"anna": 5.0, "ben": 10.0}


def test_a_manual_score_survives_a_second_grading(url):
    gradebook.record([result("anna", 0.0, 0.0)], url)
    with Gradebook(url) as book:
        book.find_grade("check-03-1", NAME, NAME, "anna").manual_score = 4.0
        book.db.commit()
    gradebook.record([result("anna", 0.0, 5.0)], url)
    assert gradebook.scores(url, NAME) == {"anna": 9.0}


def test_a_late_penalty_is_taken_off_once(url):
    for _ in range(2):
        gradebook.record([result("anna", 5.0, 5.0)], url, {"anna": 0.2})
    assert gradebook.scores(url, NAME) == {"anna": 8.0}


@pytest.mark.parametrize("student", ["'; DROP TABLE grade; --", "<b>x</b>", "x" * 1000, "\u202eevil"])
def test_hostile_names_are_only_names(url, student):
    gradebook.record([result(student, 5.0), result("ben", 5.0)], url)
    assert sorted(gradebook.scores(url, NAME).values()) == [5.0, 5.0]

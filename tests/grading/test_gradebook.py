"""nbgrader's gradebook gets the scores, and keeps what an instructor set by hand."""

import sqlite3
from dataclasses import replace

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
        gradebook.record([replace(result("anna", 5.0, 5.0), late_penalty=0.2)], url)
    assert gradebook.scores(url, NAME) == {"anna": 8.0}


@pytest.mark.parametrize("student", ["'; DROP TABLE grade; --", "<b>x</b>", "x" * 1000, "\u202eevil"])
def test_hostile_names_are_only_names(url, student):
    gradebook.record([result(student, 5.0), result("ben", 5.0)], url)
    assert sorted(gradebook.scores(url, NAME).values()) == [5.0, 5.0]


LOCKED = "nobody was graded: gradebook sqlite:.* cannot be used: OperationalError: database is locked"


def test_a_locked_gradebook_is_known_before_grading(url, tmp_path):
    gradebook.record([result("anna", 5.0)], url)
    with sqlite3.connect(tmp_path / "gradebook.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(gradebook.GradebookError, match=LOCKED):
            gradebook.check(f"{url}?timeout=0.1")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("not a url", "ArgumentError"),
        ("nothing://host/book", "NoSuchModuleError"),
        ("postgresql+pg8000://anna:secret@localhost/book", "ModuleNotFoundError|NoSuchModuleError"),
        ("sqlite:////nowhere/at/all/gradebook.db", "unable to open database file"),
    ],
)
def test_a_gradebook_that_cannot_be_opened_is_one_line(bad, reason):
    with pytest.raises(gradebook.GradebookError, match=reason) as caught:
        gradebook.check(bad)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "gradebook.db").write_text("this is text, and not a database at all" * 50)
    with pytest.raises(gradebook.GradebookError, match="file is not a database"):
        gradebook.check(gradebook.default_url(tmp_path))


def test_an_old_schema_is_named_with_the_command_that_updates_it(url, tmp_path):
    gradebook.check(url)
    with sqlite3.connect(tmp_path / "gradebook.db") as other:
        other.execute("ALTER TABLE student DROP COLUMN lms_user_id")
    with pytest.raises(gradebook.GradebookError, match=r"\(student lacks lms_user_id\); run: nbgrader db upgrade"):
        gradebook.check(url)


def test_the_check_leaves_no_trace(url):
    gradebook.check(url)
    with Gradebook(url) as book:
        assert book.students == []


def test_last_years_gradebook_with_other_cells_counts_only_those_of_today(url):
    """One cell was removed since, with a score set by hand; one was added."""
    gradebook.record([result("anna", 5.0, 5.0, 5.0), result("old", 5.0, 5.0, 5.0)], url)
    with Gradebook(url) as book:
        book.find_grade("check-03-3", NAME, NAME, "anna").manual_score = 3.0
        book.db.commit()
    changed = replace(result("anna", 5.0, 0.0), questions=(
        *result("anna", 5.0, 0.0).questions, GradedQuestion("03.9", 4.0, 5.0, Status.PASSED)
    ))  # fmt: skip
    recorded = gradebook.record([changed, replace(changed, student="new")], url)
    assert recorded.problems == [] and recorded.scores == {("anna", ""): 9.0, ("new", ""): 9.0}
    with Gradebook(url) as book:
        assert book.find_submission(NAME, "anna").max_score == 15.0
        assert book.find_grade("check-03-9", NAME, NAME, "anna").auto_score == 4.0


def test_a_stale_record_does_not_stop_the_others(url, monkeypatch):
    real = gradebook._record_one

    def record_one(book, one):
        if one.student == "ben":
            raise sqlite3.OperationalError("stale")
        return real(book, one)

    monkeypatch.setattr(gradebook, "_record_one", record_one)
    recorded = gradebook.record([result("anna", 5.0), result("ben", 5.0), result("cleo", 3.0)], url)
    assert recorded.problems == [f"gradebook: ben, {NAME} was not written: OperationalError: stale"]
    assert gradebook.scores(url, NAME) == {"anna": 5.0, "cleo": 3.0}


def test_an_assignment_whose_notebook_has_another_name_gets_ours_too(url):
    with gradebook.open_gradebook(url) as book:
        book.add_assignment(NAME)
        book.add_notebook("problem set", NAME)
        book.add_student("anna")
        book.add_submission(NAME, "anna")
    recorded = gradebook.record([result("anna", 5.0)], url)
    assert recorded.problems == [] and list(recorded.scores.values()) == [5.0]


def test_points_set_by_hand_come_back(url):
    gradebook.record([result("anna", 0.0, 5.0)], url)
    with Gradebook(url) as book:
        book.find_grade("check-03-1", NAME, NAME, "anna").manual_score = 4.0
        book.find_grade("check-03-2", NAME, NAME, "anna").extra_credit = 1.0
        book.db.commit()
    recorded = gradebook.record([result("anna", 0.0, 5.0)], url)
    assert recorded.manual == {("anna", ""): {"03.1": 4.0, "03.2": 6.0}}


def test_the_instructors_terminal_shows_no_warnings(url, recwarn):
    gradebook.check(url)
    gradebook.record([result("anna", 5.0)], url)
    assert [str(one.message) for one in recwarn] == []

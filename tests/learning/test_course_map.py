"""The course map shows every lesson and where to continue."""

from __future__ import annotations

from html import unescape

import pytest

from course_lib.learning import course_map, lesson_done, lesson_opened, progress
from course_lib.learning.course_map import COURSE_QUIZ, LESSONS, lesson
from course_lib.learning.questions import in_lesson, lessons_with_exercises
from course_lib.learning.quiz_questions import names


def test_the_map_of_a_new_learner():
    shown = course_map()
    assert repr(shown).count("Not started") == len(LESSONS)
    assert shown.resume() is None and "Go on with" not in shown._repr_html_()


def test_the_map_shows_status_points_quiz_and_where_to_go_on():
    lesson_opened("01")
    assert repr(lesson_done("01")).startswith("Lesson 01 is done. Go on with exercise 01 or lesson 02")
    lesson_opened("03")
    progress.record_points("01.1", 3)
    progress.record_points("01.2", 5)
    progress.record_try("02.1", 4)
    progress.record_quiz("01", {}, 5, 8)
    shown = course_map()
    statuses = [shown.status(one.number) for one in LESSONS]
    assert statuses[:4] == ["Not started", "Done", "In progress", "In progress"]
    assert set(statuses[4:]) <= {"Not started"}
    assert shown.points("01") == 8 and shown.points("02") == 0 and shown.score("01") == "5 of 8"
    assert shown.resume().number == "03"
    page = unescape(shown._repr_html_())
    assert 'Go on with <a href="03_magnitude_pruning.ipynb">03 Magnitude pruning</a>' in page
    assert 'href="../exercises/01_compression_calculator.ipynb">8 of 20 points' in page
    total = sum(one.points for one in LESSONS)
    assert f"1 of {len(LESSONS)} lessons done, 8 of {total} points" in page


def test_after_the_last_lesson_the_map_points_to_what_is_left():
    for one in LESSONS:
        lesson_opened(one.number)
        lesson_done(one.number)
    assert course_map().resume() is None
    progress.reset()
    last = LESSONS[-1].number
    lesson_opened(last)
    assert f"Go on with exercise {last}." in repr(lesson_done(last))
    assert course_map().resume().number == "00"


def test_a_record_with_odd_entries_does_not_break_the_map(progress_file):
    progress_file.parent.mkdir()
    progress_file.write_text(
        '{"version": 1, "lessons": {"03": {"status": "flying"}, "77": {}}, "questions": {"03.1": {}},'
        ' "quizzes": {"03": {"best": 3}}, "last": {"lesson": ["03"], "file": 7}}'
    )
    shown = course_map()
    assert shown.status("03") == "In progress" and shown.score("03") == "–" and shown.resume() is None
    assert "77" not in repr(shown)


def test_the_list_of_lessons_agrees_with_what_is_shipped():
    for one in LESSONS:
        assert one.file.startswith(f"{one.number}_") and one.number in names() and one.minutes > 0
    assert COURSE_QUIZ in names()
    assert [one.number for one in LESSONS if one.exercise] == lessons_with_exercises()
    for one in LESSONS:
        if one.exercise:
            entries = in_lesson(one.number)
            assert sum(entry.points for entry in entries) == one.points
            assert abs(sum(entry.minutes for entry in entries) - one.exercise_minutes) <= 5


def test_an_unknown_lesson_is_refused():
    with pytest.raises(ValueError, match="number must be one of '00'"):
        lesson_opened("44")
    with pytest.raises(ValueError):
        lesson("3")

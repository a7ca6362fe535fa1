from __future__ import annotations

import math
from html import unescape

import pytest

from course_lib.learning import course_map, hint, lesson_done, lesson_opened, predict, progress, reveal
from course_lib.learning.course_map import COURSE_QUIZ, LESSONS, lesson
from course_lib.learning.predict import _asked
from course_lib.learning.questions import in_lesson, lessons_with_exercises
from course_lib.learning.quiz import names
from course_lib.learning.style import bare, rich

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def asked():
    yield lambda **changes: predict(
        "99.speed", "How much faster?", **({"low": 1, "high": 10, "step": 0.1, "unit": "×"} | changes)
    )
    _asked.pop("99.speed", None)


def test_hints_open_one_after_another_and_are_recorded(declare):
    panel = hint(declare(lambda answer: None))
    assert panel._shown.value.count("learn-line") == 0 and panel._more.description == "Hint 1 of 3"
    for opened, last in ((1, "look"), (2, "look closer"), (3, "nearly there")):
        panel._more.click()
        assert (
            panel.opened == opened and panel._shown.value.count("learn-line") == opened and last in panel._shown.value
        )
        assert progress.read()["hints"]["99.1"] == opened
    assert panel._more.disabled
    panel.open_next()
    assert panel.opened == 3


def test_hints_are_not_given_away_without_a_kernel(declare):
    panel = hint(declare(lambda answer: None))
    panel.open_next()
    bundle = panel._repr_mimebundle_()
    assert "nearly there" not in bundle["text/html"] and "look" not in bundle["text/plain"]
    assert "3 hints for 99.1 A trial" in bundle["text/html"] and VIEW in bundle


def test_a_hint_for_an_unknown_question_is_refused():
    with pytest.raises(ValueError, match="no exercise"):
        hint("98.1")


def test_a_guess_is_recorded_and_shown_beside_the_measured_value(asked):
    panel = asked()
    assert panel.guess is None and progress.read()["predictions"] == {}
    panel.slider.value = 6.5
    panel._lock.click()
    assert panel.guess == 6.5 and progress.read()["predictions"] == {"99.speed": 6.5}
    shown = reveal("99.speed", 1.02, "A zero still costs a multiplication.")
    assert repr(shown) == ("You guessed 6.5×, measured is 1.0×: 5.5× too high. A zero still costs a multiplication.")
    picture = shown._repr_html_()
    assert (
        "your guess 6.5×" in picture and "measured 1.0×" in picture and "<circle" in picture and "<polygon" in picture
    )


def test_a_guess_can_be_made_again(asked):
    panel = asked()
    panel._lock.click()
    first = panel.guess
    assert panel.slider.layout.display == "none" and panel._unlock.layout.display is None
    panel._unlock.click()
    assert panel.guess is None and progress.read()["predictions"] == {"99.speed": first}
    panel.slider.value = 2.0
    panel._lock.click()
    assert progress.read()["predictions"] == {"99.speed": 2.0}


def test_without_a_guess_the_measured_value_stands_alone(asked):
    asked()
    first, again = reveal("99.speed", 1.02), reveal("99.speed", 1.02)
    assert repr(first) == "Measured: 1.0× (no guess was locked in)."
    assert first._repr_html_() == again._repr_html_() and "your guess" not in first._repr_html_()


def test_reveal_works_when_the_question_was_asked_in_another_session():
    progress.record_prediction("99.elsewhere", 80)
    assert repr(reveal("99.elsewhere", 90.5)).startswith("You guessed 80.00, measured is 90.50: 10.50 too low.")


@pytest.mark.parametrize(
    ("guess", "measured", "said"),
    [(1.0, 1.04, "well guessed"), (3.0, 1.0, "2.0× too high"), (1.0, 3.0, "2.0× too low"), (5.0, 5.4, "well guessed")],
)
def test_how_far_off_a_guess_was(asked, guess, measured, said):
    panel = asked()
    panel.slider.value = guess
    panel.lock()
    assert said in reveal("99.speed", measured).verdict


def test_marks_stay_inside_the_picture_and_labels_apart(asked):
    panel = asked()
    for guess, measured in ((1.0, 250.0), (10.0, -40.0), (1.1, 1.0)):
        panel.unlock()
        panel.slider.value = guess
        panel.lock()
        picture = reveal("99.speed", measured)._picture()
        assert f"your guess {guess:.1f}×" in picture and f"measured {measured:.1f}×" in picture
    assert picture.count('y="14') + picture.count('y="30') >= 2, "labels that would overlap stand in two rows"


@pytest.mark.parametrize("measured", [math.nan, math.inf])
def test_a_measured_value_must_be_a_number(measured):
    with pytest.raises(ValueError, match="finite number"):
        reveal("99.speed", measured)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"low": 5, "high": 5}, "low must be below high"), ({"step": 0}, "step must be greater than 0")],
)
def test_a_prediction_without_a_range_is_refused(asked, changes, said):
    with pytest.raises(ValueError, match=said):
        asked(**changes)


@pytest.mark.parametrize(("low", "high", "step"), [(0, 100, 1), (1, 10, 0.1), (0.0, 1.0, 0.01)])
def test_the_step_fits_the_range_when_none_is_given(asked, low, high, step):
    assert asked(low=low, high=high, step=None).asked.step == pytest.approx(step)


def test_without_a_kernel_a_prediction_shows_its_question(asked):
    bundle = asked()._repr_mimebundle_()
    assert "How much faster?" in bundle["text/html"] and "from 1.0× to 10.0×" in bundle["text/html"]
    assert bundle["text/plain"] == "Predict first. How much faster?"


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
        assert one.file.startswith(f"{one.number}_") and one.quiz in names() and one.minutes > 0
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


def test_text_is_escaped_before_it_is_marked_up():
    assert rich("`a < b` and *so* on <b>") == "<code>a &lt; b</code> and <em>so</em> on &lt;b&gt;"
    assert rich("2 * 3 * 4") == "2 * 3 * 4"
    assert bare("`weight` is *the* one") == "weight is the one"

"""A guess is recorded and compared with the measured value."""

from __future__ import annotations

import math

import pytest

from course_lib.learning import predict, progress, reveal
from course_lib.learning.predict import _asked


@pytest.fixture
def asked():
    yield lambda **changes: predict(
        "99.speed", "How much faster?", **({"low": 1, "high": 10, "step": 0.1, "unit": "×"} | changes)
    )
    _asked.pop("99.speed", None)


def test_a_guess_is_recorded_and_shown_beside_the_measured_value(asked):
    panel = asked()
    assert panel.guess is None and progress.read()["predictions"] == {}
    panel.slider.value = 6.5
    panel._button.click()
    assert panel.guess == 6.5 and progress.read()["predictions"] == {"99.speed": 6.5}
    shown = reveal("99.speed", 1.02, "A zero still costs a multiplication.")
    assert repr(shown) == ("You guessed 6.5×, measured is 1.0×: 5.5× too high. A zero still costs a multiplication.")
    picture = shown._repr_html_()
    assert (
        "your guess 6.5×" in picture and "measured 1.0×" in picture and "<circle" in picture and "<polygon" in picture
    )


def test_a_guess_can_be_made_again(asked):
    panel = asked()
    panel._button.click()
    first = panel.guess
    assert panel.slider.layout.display == "none" and panel._button.description == "Guess again"
    panel._button.click()
    assert panel.guess is None and progress.read()["predictions"] == {"99.speed": first}
    panel.slider.value = 2.0
    panel._button.click()
    assert progress.read()["predictions"] == {"99.speed": 2.0}


def test_a_guess_is_shown_again_when_its_cell_is_run_again(asked):
    panel = asked()
    panel.slider.value = 6.5
    panel._button.click()
    again = asked()
    assert again.guess == 6.5 and again._button.description == "Guess again" and "6.5×" in again._said.value
    again._button.click()
    assert again.guess is None and again.slider.value == 6.5 and again.slider.layout.display is None
    assert asked(low=7).guess is None, "the question was changed, and the guess lies outside"
    assert "6.5" not in asked()._repr_mimebundle_()["text/html"], "what is stored holds no guess"


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

"""The panel of lesson 07: what the tiny layer does, and what is drawn beside it."""

from __future__ import annotations

import pytest

from course_lib.widgets import aware_panel
from course_lib.widgets.measured import Curve
from course_lib.widgets.qat import LEARNED, PLAIN, STEPS, STRAIGHT, training_runs

CURVES = (
    Curve("nearest, min-max", [2, 4, 8], [0.1, 0.8, 0.93]),
    Curve("AdaRound", [2, 4], [0.7, 0.93]),
    Curve("QAT", [2, 4, 8], [0.91, 0.93, 0.94]),
)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_plain_rounding_stays_and_a_learned_step_size_gets_better(bits):
    errors = training_runs(bits, 0).errors
    assert len(set(errors[PLAIN])) == 1
    assert len({one[0] for one in errors.values()}) == 1, "all start with the same error"
    assert errors[LEARNED][STEPS] < 0.8 * errors[PLAIN][STEPS]


def test_fewer_bits_lose_more():
    starts = [training_runs(bits, 0).errors[STRAIGHT][0] for bits in (2, 3, 4, 6, 8)]
    assert starts == sorted(starts, reverse=True)


def test_a_slider_changes_picture_and_numbers():
    panel = aware_panel(bits=3, step=10, measured=CURVES)
    before = panel.picture.value
    panel.controls["bits"].value = 2
    assert panel.error is None and panel.picture.value != before
    assert panel.result.bits == 2 and panel.result.step == 10
    assert "91.0 %" in panel.numbers.value and "measured" in panel.numbers.value
    panel.controls["bits"].value = 3
    assert "test accuracy" not in panel.numbers.value, "nothing is shown where nothing was measured"
    assert "ResNet18, measured" in panel.static_html()


def test_it_stands_alone_where_nothing_was_measured():
    panel = aware_panel(measured=())
    assert panel.error is None and "ResNet18" not in panel.picture.value

"""A value is measured at a point and estimated between two points, on all panels."""

import pytest

from course_lib.widgets.measured import Curve, Style, accuracy_number, draw_line


def test_between_two_points_a_value_is_estimated_on_a_straight_line():
    curve = Curve("accuracy", (0.9, 0.0, 0.5), (0.4, 0.93, 0.9))
    assert curve.at(0.9) == (0.4, "measured") and curve.at(0.9003) == (0.4, "measured")
    assert curve.at(0.7) == (pytest.approx(0.65), "estimated")


def test_a_logarithmic_curve_is_straight_in_the_logarithm():
    curve = Curve("perplexity", (2, 4), (100.0, 1.0), log=True)
    assert curve.at(3) == (pytest.approx(10.0), "estimated")
    assert curve.at(4) == (pytest.approx(1.0), "measured")


def test_a_line_has_the_style_and_the_factors():
    line = draw_line(Curve("a", (0.5,), (0.9,)), Style("kept", "kept", "square"), x_factor=100, y_factor=10)
    assert (line.name, list(line.x), list(line.y), line.marker) == ("kept", [50.0], [9.0], "square")


def test_an_accuracy_is_shown_only_for_a_row_that_was_measured():
    rows = [{"bits": 4, "method": "mse", "accuracy": 0.875}]
    (number,) = accuracy_number(rows, {"bits": 4, "method": "mse"}, "accuracy")
    assert str(number) == "87.5 % accuracy (measured)"
    assert accuracy_number(rows, {"bits": 3, "method": "mse"}, "accuracy") == []

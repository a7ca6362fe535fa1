"""The panel of lesson 08 over bits and group size."""

import pytest

from course_lib.widgets import few_bits_panel
from course_lib.widgets.bits_and_groups import look_up

ROWS = [
    {"method": method, "bits": bits, "group_size": None, "stored_bytes": 100 * bits, "before": 50.0, "test": test}
    for method, tests in {"rtn": (51.0, 80.0), "gptq": (50.5, 60.0)}.items()
    for bits, test in zip((4, 2), tests, strict=True)
]


def test_between_measured_bits_a_value_is_estimated_and_lies_between():
    measured, between = (look_up(ROWS, 1600, bits, None) for bits in (4, 3))
    assert measured.perplexity["gptq"].at(4) == (pytest.approx(50.5), "measured")
    value, tag = between.perplexity["gptq"].at(3)
    assert tag == "estimated" and 50.5 < value < 60 and between.stored["gptq"].at(3) == (300, "estimated")


def test_every_control_of_the_bits_panel_moves_the_picture(moves):
    panel = few_bits_panel()
    assert moves(panel, "bits", 2) and moves(panel, "group", panel.controls["group"].options[-1])
    assert "perplexity, GPTQ" in str(panel)

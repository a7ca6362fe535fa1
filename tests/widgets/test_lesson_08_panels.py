"""The panels of lesson 08: the GPTQ player, and bits against group size."""

import pytest

from course_lib.widgets import few_bits_panel, gptq_panel
from course_lib.widgets.bits_and_groups import look_up
from course_lib.widgets.gptq_player import APART, COLUMNS, TOGETHER, traces
from course_lib.widgets.panel import STRICT

ROWS = [
    {"method": method, "bits": bits, "group_size": None, "stored_bytes": 100 * bits, "before": 50.0, "test": test}
    for method, tests in {"rtn": (51.0, 80.0), "gptq": (50.5, 60.0)}.items()
    for bits, test in zip((4, 2), tests, strict=True)
]


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv(STRICT, "1")


def moves(panel, name, value) -> bool:
    before = panel.picture.value + panel.numbers.value
    panel.controls[name].value = value
    return panel.picture.value + panel.numbers.value != before


def test_every_control_of_the_player_moves_the_picture():
    panel = gptq_panel()
    for name, value in (("column", 9), ("bits", 2), ("inputs", APART)):
        assert moves(panel, name, value), name


@pytest.mark.parametrize("column", [0, 1, COLUMNS - 1, COLUMNS])
def test_the_player_draws_its_ends(column):
    panel = gptq_panel(column)
    assert panel.picture.value.count("<svg") == 2 and panel.error is None
    assert "nan" not in panel.picture.value and "inf" not in panel.picture.value


def test_rounded_columns_lie_on_the_grid_and_later_ones_only_take_over():
    gptq, _ = traces(3, TOGETHER)
    assert (gptq.correction(5)[:, :5] == 0).all() and gptq.correction(5)[:, 5:].abs().sum() > 0
    assert (gptq.states[7][:, :6] == gptq.states[6][:, :6]).all()
    assert (gptq.correction(0) == 0).all()


def test_where_inputs_move_together_gptq_wins_and_where_they_do_not_it_hardly_can():
    shares = {}
    for kind in (TOGETHER, APART):
        gptq, nearest = traces(3, kind)
        shares[kind] = gptq.errors[-1] / nearest.errors[-1]
    assert shares[TOGETHER] < 0.5 < 0.8 < shares[APART]


def test_between_measured_bits_a_value_is_estimated_and_lies_between():
    measured, between = (look_up(ROWS, 1600, bits, "a row", None) for bits in (4, 3))
    assert measured.perplexity("gptq") == (pytest.approx(50.5), "measured")
    value, tag = between.perplexity("gptq")
    assert tag == "estimated" and 50.5 < value < 60 and between.stored["gptq"] == 300


def test_every_control_of_the_bits_panel_moves_the_picture():
    panel = few_bits_panel()
    assert moves(panel, "bits", 2) and moves(panel, "group", panel.controls["group"].options[-1])
    assert "perplexity, GPTQ" in str(panel)

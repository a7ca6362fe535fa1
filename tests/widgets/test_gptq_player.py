"""The GPTQ player of lesson 08 against the traces of ``quantization``."""

import pytest

from course_lib.widgets import gptq_panel
from course_lib.widgets.gptq_player import APART, COLUMNS, TOGETHER, traces


def test_every_control_of_the_player_moves_the_picture(moves):
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

"""The figures of layers: shares and roofline."""

import pytest

from tests.plots.examples import PICTURES


def test_the_bars_of_a_column_add_up_to_the_whole():
    for axes in PICTURES["layers"]().axes:
        assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100)


def test_the_alternative_text_counts_the_layers_that_wait_for_memory():
    assert "2 of 3 layers lie left of the ridge" in PICTURES["roofline"]().alt

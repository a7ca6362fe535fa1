"""The roofline panel of lesson 02 against arithmetic by hand."""

from types import SimpleNamespace

import numpy
import pandas
import pytest

from course_lib.widgets import roofline_panel
from course_lib.widgets.roofline import Limits, layers_of, place


def frame() -> pandas.DataFrame:
    rows = [
        ("conv", 4_000_000, 40_000.0, 90_000.0, 30.0),
        ("big", 2_000_000, 8_000_000.0, 9_000.0, 20.0),
        ("(between layers)", 0, 0.0, 0.0, 0.0),
        ("untimed", 5_000, 20_000.0, 2_000.0, numpy.nan),
    ]
    return pandas.DataFrame(rows, columns=["name", "macs", "weight_bytes", "activation_bytes", "achieved_gflops"])


ONE = SimpleNamespace(peak_gflops=60.0, bandwidth_gbs=10.0, threads=1)
TWO = SimpleNamespace(peak_gflops=110.0, bandwidth_gbs=16.0, threads=2)


def test_every_control_of_the_roofline_panel_moves_the_picture(moves):
    panel = roofline_panel(frame(), [ONE, TWO], model="Tiny")
    assert moves(panel, "batch_size", 64) and moves(panel, "threads", 1)
    assert panel.result.limits.peak_gflops == 60.0 and panel.result.limits.measured


def test_a_larger_batch_reads_the_weights_once_and_waits_less_for_memory():
    _, layer, _ = layers_of(frame())
    one, many = (place(layer, batch, Limits(110.0, 16.0, True)) for batch in (1, 64))
    assert one.intensity == pytest.approx(4e6 / 8.009e6) and one.waits
    assert many.intensity == pytest.approx(64 * 4e6 / (8e6 + 64 * 9e3)) and not many.waits
    assert one.milliseconds == pytest.approx(8.009e6 / 16e9 * 1000)
    assert many.milliseconds == pytest.approx(64 * 4e6 / 110e9 * 1000)
    assert many.milliseconds / 64 < one.milliseconds


def test_measured_speeds_are_drawn_only_where_they_were_measured():
    panel = roofline_panel(frame(), TWO, model="Tiny")
    assert [layer.name for layer in panel.result.achieved] == ["conv", "big"]
    panel.controls["batch_size"].value = 8
    assert not panel.result.achieved


def test_between_measured_threads_the_peak_is_scaled_and_marked():
    panel = roofline_panel(frame(), TWO)
    panel.controls["threads"].value = 1
    assert panel.result.limits.peak_gflops == 55.0 and not panel.result.limits.measured
    assert "estimated" in panel.numbers.value and "measured" not in panel.numbers.value


def test_a_table_without_work_is_refused():
    with pytest.raises(ValueError, match="at least one layer with macs"):
        roofline_panel(frame().assign(macs=0), TWO)

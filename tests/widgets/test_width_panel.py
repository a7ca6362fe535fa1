"""The panel of lesson 04 shows which rows and columns go, and only claims what was measured."""

from __future__ import annotations

import pytest
import torch

from course_lib import models
from course_lib.widgets import width_panel


@pytest.fixture(scope="module")
def panel():
    torch.manual_seed(0)
    model = models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})
    return width_panel(model, torch.randn(1, 3, 32, 32))


def test_all_groups_at_once_shrink_the_work_with_the_square(panel):
    panel.controls["group"].value = "all groups"
    panel.controls["ratio"].value = 0.5
    assert panel.result.work == pytest.approx(0.25, abs=0.02)
    assert "21 of 21 layers" in panel.picture.value
    panel.controls["ratio"].value = 1.0
    assert panel.result.work == 1 and "0 of 21 layers" in panel.picture.value


def test_one_group_cuts_rows_here_and_columns_there(panel):
    panel.controls["ratio"].value = 0.5
    panel.controls["group"].value = "layer2.0.conv1"
    layers = {layer.name: layer for layer in panel.result.layers}
    assert (layers["layer2.0.conv1"].kept_outputs, layers["layer2.0.conv1"].kept_inputs) == (64, 64)
    assert (layers["layer2.0.conv2"].kept_outputs, layers["layer2.0.conv2"].kept_inputs) == (128, 64)
    assert "2 of 21 layers" in panel.picture.value


def test_the_smallest_ratio_leaves_a_channel_in_every_layer(panel):
    panel.controls["group"].value = "all groups"
    panel.controls["ratio"].value = 0.05
    assert all(layer.kept_outputs >= 1 and layer.kept_inputs >= 1 for layer in panel.result.layers)


def test_speed_is_only_shown_where_it_was_measured():
    measured = width_panel()
    assert "speed, ONNX Runtime" in str(measured)
    measured.controls["ratio"].value = 0.6
    assert "estimated" in str(measured)
    measured.controls["group"].value = "conv1"
    assert "speed" not in str(measured)

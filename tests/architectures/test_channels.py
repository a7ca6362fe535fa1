"""The channels of each kind of layer lie where they should, and can be reordered in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.architectures.channels import channel_tensors, reorder_channels


@pytest.mark.parametrize(
    ("layer", "side", "expected"),
    [
        (nn.Conv2d(3, 4, 3), "out", {"weight": 0, "bias": 0}),
        (nn.Conv2d(3, 4, 3), "in", {"weight": 1}),
        (nn.Linear(3, 4), "in", {"weight": 1}),
        (nn.BatchNorm2d(4), "out", {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0}),
        (nn.Embedding(5, 4), "out", {"weight": 1}),
    ],
)
def test_channels_lie_in_the_dimension_of_their_side(layer, side, expected):
    assert {name: dimension for name, _, dimension in channel_tensors(layer, side)} == expected


def test_reordering_outputs_moves_rows_and_bias_and_reordering_inputs_moves_columns():
    layer = nn.Linear(3, 4)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    positions, order = torch.tensor([0, 2]), torch.tensor([2, 0])
    reorder_channels(layer, "out", positions, order)
    assert torch.equal(layer.weight, weight[[2, 1, 0, 3]]) and torch.equal(layer.bias, bias[[2, 1, 0, 3]])
    reorder_channels(layer, "in", positions, order)
    assert torch.equal(layer.weight, weight[[2, 1, 0, 3]][:, [2, 1, 0]])

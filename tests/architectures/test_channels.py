"""Channels are reordered in every tensor in which they lie."""

import torch
from torch import nn

from course_lib.architectures.channels import channel_tensors, reorder_channels


def test_permuted_channels_between_two_layers_leave_the_function_unchanged():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)).eval()
    model[1].running_mean.normal_()
    x = torch.randn(2, 3, 8, 8)
    before, order = model(x), torch.randperm(6)
    for layer, side in ((model[0], "out"), (model[1], "out"), (model[3], "in")):
        reorder_channels(layer, side, torch.arange(6), order)
    assert torch.allclose(model(x), before, atol=1e-6)


def test_the_dimension_of_the_channels_depends_on_layer_and_side():
    assert [(name, dimension) for name, _, dimension in channel_tensors(nn.Linear(3, 2), "out")] == [
        ("weight", 0), ("bias", 0),
    ]  # fmt: skip
    assert [(name, dimension) for name, _, dimension in channel_tensors(nn.Linear(3, 2), "in")] == [("weight", 1)]
    assert [(name, dimension) for name, _, dimension in channel_tensors(nn.Embedding(5, 2), "out")] == [("weight", 1)]

"""A model that cannot be pruned, or channels that cannot be kept, are refused and nothing is changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib.architectures.input_quantizers import input_grids
from course_lib.pruning import prune_channels, remove_channels
from course_lib.quantization import post_training_quantization


def freeze(model: nn.Module) -> None:
    model.layer1[0].conv1.weight.requires_grad_(False)


def stride(model: nn.Module) -> None:
    weight = model.layer1[0].conv1.weight
    model.layer1[0].conv1.weight = nn.Parameter(weight.detach().transpose(2, 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: model.train(), "model is in training mode"),
        (freeze, r"layer1.0.conv1.weight is frozen"),
        (stride, r"layer1.0.conv1.weight is not contiguous"),
    ],
)
def test_a_model_that_cannot_be_pruned_is_refused_and_unchanged(resnet, damage, message):
    damage(resnet)
    before = copy.deepcopy(resnet.state_dict())
    with pytest.raises(ValueError, match=message):
        prune_channels(resnet, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in resnet.state_dict().items())


def test_a_model_in_channels_last_is_pruned_like_any_other(resnet):
    expected = prune_channels(resnet, 0.5).model(torch.ones(1, 3, 32, 32))
    found = prune_channels(resnet.to(memory_format=torch.channels_last), 0.5).model(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"layer1.0.conv1": torch.tensor([]).long()}, "leaves 0 of 64 channels"),
        ({"layer1.0.conv1": torch.tensor([0, 64])}, "indices from 0 to 63"),
        ({"layer1.0.conv1": torch.tensor([1, 1])}, "different indices"),
        ({"layer1.0.conv1": torch.tensor([0.5])}, "whole numbers"),
        ({"layer1.0.conv2": torch.tensor([1])}, "group must be one of"),
        ({"fc": torch.tensor([1])}, "has to stay whole: the answers"),
    ],
)
def test_bad_channels_are_named_and_the_original_is_untouched(resnet, kept, message):
    before = copy.deepcopy(resnet.state_dict())
    with pytest.raises(ValueError, match=message):
        remove_channels(resnet, kept)
    assert all(torch.equal(value, before[name]) for name, value in resnet.state_dict().items())


def test_a_quantized_layer_is_not_made_smaller(resnet, images):
    quantized = post_training_quantization(resnet, images).model
    with pytest.raises(ValueError, match=r"layer '.*' is quantized.*remove channels first and quantize then"):
        prune_channels(quantized, 0.5)
    assert len(input_grids(quantized)) == 21 and not quantized.training
    smaller = prune_channels(resnet, 0.5).model
    assert len(input_grids(post_training_quantization(smaller, images).model)) == 21

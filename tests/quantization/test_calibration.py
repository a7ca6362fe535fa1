"""Observers see the inputs of their layers, in eval mode, and no hook stays."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization import calibrate, quantizable_layers


def test_observers_see_the_inputs_of_their_layers_in_every_batch(small, split):
    running_mean = small.bn.running_mean.clone()
    observers = calibrate(small.train(), split, layers=["conv", "fc"], batch_size=10)
    assert list(observers) == ["conv", "fc"] and small.training and not small.conv._forward_hooks
    images = split.example(len(split))
    assert observers["conv"].seen == images.numel()
    assert observers["conv"].range() == (images.min().item(), images.max().item())
    assert torch.equal(small.bn.running_mean, running_mean)


def test_layers_are_convolutions_and_linear_layers_by_name(small):
    assert list(quantizable_layers(small)) == ["conv", "block.conv1", "block.conv2", "fc"]
    assert list(quantizable_layers(small, ["fc"])) == ["fc"]
    with pytest.raises(ValueError, match="layers names 'bn', which is not a convolution or linear layer"):
        quantizable_layers(small, ["bn"])


def test_an_unknown_method_is_refused(small, split):
    with pytest.raises(ValueError, match="method must be one of 'min-max', 'moving average'"):
        calibrate(small, split, "median")

"""Bias correction: rounding the weights shifts the mean of each channel, and the bias compensates for it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.weighted_layers import copy_model, spatial_dimensions
from course_lib.data import Split
from course_lib.models.hooks import forward_hooks
from course_lib.quantization.calibration import check_calibration, quantizable_layers


@torch.no_grad()
def correct_bias(
    quantized: nn.Module,
    exact: nn.Module,
    calibration: Split,
    *,
    layers: Collection[str] | None = None,
) -> nn.Module:
    """A copy of ``quantized`` whose biases give every output channel the mean that it has in ``exact``.

    Rounding errors of the weights do not average out: inputs that are mostly positive (after a ReLU) shift the mean of
    a channel. Layers are corrected in execution order, each after those before it, in one forward pass of all
    calibration examples. Layers without a bias, or called several times, are not changed.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if it is empty.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.2).
    """
    check_calibration(calibration)
    corrected = copy_model(quantized).eval()
    names = [name for name, layer in quantizable_layers(corrected, layers).items() if layer.bias is not None]
    inputs = calibration.example(len(calibration))
    means: dict[str, list[Tensor]] = {}
    recorders = {name: partial(_record_mean, means, name) for name in names}
    with models.evaluating(exact), forward_hooks(exact, recorders):
        models.call(exact, inputs)
    once = {name: found[0] for name, found in means.items() if len(found) == 1}
    with forward_hooks(corrected, {name: partial(_correct, mean) for name, mean in once.items()}):
        models.call(corrected, inputs)
    return corrected


def _record_mean(means: dict[str, list[Tensor]], name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
    means.setdefault(name, []).append(_channel_mean(layer, output))


def _correct(mean: Tensor, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    """Forward hook: change the bias so that ``output`` has ``mean`` in every channel, and return that output."""
    shift = mean - _channel_mean(layer, output)
    assert isinstance(layer.bias, Tensor)
    layer.bias.add_(shift)
    return output + shift.view(-1, *[1] * spatial_dimensions(layer))


def _channel_mean(layer: nn.Module, output: Tensor) -> Tensor:
    """Mean over all axes but the channels: (N, C, H, W) → (C,), or (…, C) → (C,)."""
    channels = output.movedim(-1 - spatial_dimensions(layer), -1)
    return channels.flatten(0, -2).mean(dim=0)

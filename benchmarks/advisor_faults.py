"""Planted faults for ``advisor.locate``: a quantized model in which one layer is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models, quantization
from course_lib.advisor.locating import INPUT
from course_lib.architectures.input_quantizers import input_grids
from course_lib.data import Split

Planter = Callable[[nn.Module, nn.Module, str], None]


@dataclass(frozen=True)
class Fault:
    """A fault and where it is planted.

    Args:
        plant: changes ``(compressed, exact, layer)`` in place; None where the inputs are the fault.
        position: of the layer among those that it can be planted in, from 0 to 1.
        folded: whether the model is quantized with BatchNorm folded and input grids.
    """

    plant: Planter | None
    position: float = 0.5
    folded: bool = True


def _weight(model: nn.Module, layer: str) -> Any:
    return model.get_submodule(layer).weight.data


def outlier_channel(compressed: nn.Module, exact: nn.Module, layer: str) -> None:
    """One scale for the whole layer, stretched by one channel that is 30 times as large as the others."""
    weight = _weight(exact, layer).clone()
    peak = 30 * weight.abs().max()
    scale = peak / 127
    _weight(compressed, layer).copy_((weight / scale).round() * scale)


def wrong_scale(compressed: nn.Module, _: nn.Module, layer: str) -> None:
    """All weights of the layer 1.6 times too large."""
    _weight(compressed, layer).mul_(1.6)


def shifted_scales(compressed: nn.Module, _: nn.Module, layer: str) -> None:
    """Each channel has the scale of its neighbour."""
    weight = _weight(compressed, layer)
    largest = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-6)
    ratio = (largest.roll(1) / largest).clamp(0.2, 5)
    weight.mul_(ratio.view(-1, *[1] * (weight.dim() - 1)))


def saturation(compressed: nn.Module, _: nn.Module, layer: str) -> None:
    """The range of the inputs was calibrated a tenth too small."""
    input_grids(compressed)[layer].scale.mul_(0.1)


def stale_norm(compressed: nn.Module, _: nn.Module, layer: str) -> None:
    """The running statistics of a BatchNorm are those of other weights."""
    norm: Any = compressed.get_submodule(layer)
    norm.running_var.mul_(4)
    norm.running_mean.add_(norm.running_var.sqrt())


def darker(split: Split) -> Split:
    """Images prepared in another way: values halved."""
    assert isinstance(split.inputs, Tensor)
    return replace(split, inputs=(split.inputs // 2) if split.inputs.dtype == torch.uint8 else split.inputs / 2)


FAULTS: dict[str, Fault] = {
    "outlier channel, early": Fault(outlier_channel, 0.2),
    "outlier channel, late": Fault(outlier_channel, 0.8),
    "wrong scale, early": Fault(wrong_scale, 0.3),
    "wrong scale, late": Fault(wrong_scale, 0.9),
    "shifted scales": Fault(shifted_scales, 0.5),
    "saturation, early": Fault(saturation, 0.1),
    "saturation, middle": Fault(saturation, 0.6),
    "stale BatchNorm, early": Fault(stale_norm, 0.2, folded=False),
    "stale BatchNorm, late": Fault(stale_norm, 0.7, folded=False),
    "other preprocessing": Fault(None),
}


def planted(model: nn.Module, calibration: Split, fault: Fault) -> tuple[nn.Module, str]:
    """A quantized copy of ``model`` with a fault, and the layer that has it."""
    if fault.folded:
        result = quantization.post_training_quantization(model, calibration, weights=quantization.Scheme(6))
        exact, compressed = result.exact, result.model
        candidates = [name for name in models.prunable_layers(compressed) if name in input_grids(compressed)]
    else:
        exact, compressed = model, quantization.quantize_weights(model, quantization.Scheme(6))
        candidates = [name for name, it in compressed.named_modules() if isinstance(it, nn.BatchNorm2d)]
    if fault.plant is None:
        return compressed, INPUT
    layer = candidates[round(fault.position * (len(candidates) - 1))]
    compressed = copy.deepcopy(compressed)
    fault.plant(compressed, exact, layer)
    return compressed, layer

"""Channels of a ResNet18 sorted by importance, so that the first ones are the ones to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.channels import reorder_channels
from course_lib.architectures.weighted_layers import copy_model


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are written by some layers and read by others, and must be reordered together.

    Args:
        written: pairs (convolution, BatchNorm on its output) by name.
        read: layers that have these channels as inputs, by name.
    """

    written: tuple[tuple[str, str], ...]
    read: tuple[str, ...]


def channel_groups(depths: tuple[int, ...]) -> list[ChannelGroup]:
    """The groups of a ResNet with basic blocks: one for each stage, and one inside each block."""
    groups = []
    for stage, depth in enumerate(depths, start=1):
        blocks = [f"layer{stage}.{number}" for number in range(depth)]
        entry = ("conv1", "bn1") if stage == 1 else (f"{blocks[0]}.downsample.0", f"{blocks[0]}.downsample.1")
        first = f"layer{stage + 1}.0"
        after = (f"{first}.conv1", f"{first}.downsample.0") if stage < len(depths) else ("fc",)
        inside = blocks if stage == 1 else blocks[1:]
        written = (entry, *((f"{block}.conv2", f"{block}.bn2") for block in blocks))
        groups.append(ChannelGroup(written, (*(f"{block}.conv1" for block in inside), *after)))
        groups += [ChannelGroup(((f"{block}.conv1", f"{block}.bn1"),), (f"{block}.conv2",)) for block in blocks]
    return groups


@torch.no_grad()
def channel_importance(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Sum of ``|γ| / σ · ‖W[c]‖₁`` over the layers that write channel ``c``, ``(channels,)``.

    This is the L1 norm of the filter with its BatchNorm folded in.

    Source: Li et al., Pruning Filters for Efficient ConvNets, 2016; Cai et al., Once-for-All, 2019 (channel sorting).
    """
    layers: dict[str, Any] = dict(model.named_modules())
    norms = []
    for convolution, batchnorm in group.written:
        norm = layers[batchnorm]
        gain = norm.weight.abs() * (norm.running_var + norm.eps).rsqrt()
        norms.append(gain * layers[convolution].weight.abs().flatten(1).sum(dim=1))
    return torch.stack(norms).sum(dim=0)


@torch.no_grad()
def sort_channels(model: nn.Module, depths: tuple[int, ...] = (2, 2, 2, 2)) -> nn.Module:
    """A copy of a ResNet18 whose channels are in order of falling importance; it computes the same.

    Args:
        depths: residual blocks of each stage.

    Raises:
        ValueError: if ``model`` lacks a layer of a ResNet of these depths, or recomputes a weight before each call.
    """
    model = copy_model(model)
    layers = dict(model.named_modules())
    groups = channel_groups(depths)
    for name in [name for group in groups for pair in group.written for name in pair]:
        if name not in layers:
            raise ValueError(f"model must be a ResNet with {depths} blocks, but {name} is missing")
    for group in groups:
        order = channel_importance(model, group).argsort(descending=True, stable=True)
        positions = torch.arange(len(order))
        for layer in [name for pair in group.written for name in pair]:
            reorder_channels(layers[layer], "out", positions, order)
        for layer in group.read:
            reorder_channels(layers[layer], "in", positions, order)
    return model

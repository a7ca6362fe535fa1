"""What exercise 03 is about, done right: the references that its checks compare with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.pruning import apply_masks, layer_weights, magnitude_mask

TrainEpoch = Callable[[nn.Module], None]


def global_masks(weights: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """One mask per layer, from one ranking of all weights in the order of the layers."""
    row = magnitude_mask(torch.cat([weight.flatten() for weight in weights.values()]), sparsity)
    parts = row.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}


def cubic_sparsity(step: int, total_steps: int, initial: float, final: float) -> float:
    """Sparsity at a step of the automated gradual schedule (Zhu and Gupta, 2017)."""
    remaining = 1 - min(max(step / total_steps, 0), 1)
    return final + (initial - final) * remaining**3


def storage_facts(weight: Tensor) -> dict[str, int | None]:
    """Bytes of a tensor dense and behind a bitmask, and the fewest zeros that make the bitmask smaller."""
    value, mask = weight.element_size(), math.ceil(weight.numel() / 8)
    break_even = mask // value + 1
    return {
        "dense": weight.numel() * value,
        "bitmask": mask + int(weight.count_nonzero()) * value,
        "break_even": break_even if break_even <= weight.numel() else None,
    }


def gradual_reference(model: nn.Module, train_epoch: TrainEpoch, initial: float, final: float, steps: int) -> nn.Module:
    """Prune a copy globally in rounds; each round trains, and its mask holds (Zhu and Gupta, 2017)."""
    pruned = copy.deepcopy(model)
    for step in range(steps):
        sparsity = cubic_sparsity(step, steps - 1, initial, final) if steps > 1 else final
        masks = global_masks(layer_weights(pruned), sparsity)
        apply_masks(pruned, masks)
        train_epoch(pruned)
        apply_masks(pruned, masks)
    return pruned

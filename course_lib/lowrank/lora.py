"""LoRA: a frozen weight with a trainable update of low rank."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.tracing import changes_values, replace_module
from course_lib.architectures.weighted_layers import copy_model, uncalled_layers
from course_lib.core.validation import check_positive


class LoraLinear(nn.Module):
    """A frozen linear layer plus a product of two thin matrices: ``y = W x + b + (alpha / r) · B A x``.

    A ``(r, in)`` is random and B ``(out, r)`` zero, so that the layer computes the same before training.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        place: Any = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.A = nn.Parameter(torch.randn(rank, base.in_features, **place) / rank)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, **place))

    def forward(self, values: Tensor) -> Tensor:
        """``(…, in)`` → ``(…, out)``."""
        return self.base(values) + self.scale * (values @ self.A.T) @ self.B.T

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One linear layer that computes the same."""
        layer = copy.deepcopy(self.base).requires_grad_(True)
        layer.weight += self.scale * self.B @ self.A
        return layer


def add_lora(
    model: nn.Module, rank: int, layers: Collection[str], *, alpha: float = 16.0, train_also: Collection[str] = ()
) -> nn.Module:
    """A copy of ``model`` in which only low-rank updates of ``layers`` are trainable.

    Args:
        layers: names of linear layers.
        train_also: names of further modules that stay trainable, for example a classifier.

    Raises:
        ValueError: if a name is unknown, a layer is not linear or could not be merged with its update, or ``rank`` is
            not from 1 to the layer's shorter side.
    """
    check_positive("alpha", alpha)
    adapted = copy_model(model).requires_grad_(False)
    modules = dict(adapted.named_modules())
    for name in layers:
        layer = modules.get(name)
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"layers must name linear layers of the model, got {name!r}")
        _check_is_called_as_it_is(model, name)
        limit = min(layer.in_features, layer.out_features)
        if type(rank) is not int or not 1 <= rank <= limit:
            raise ValueError(f"rank must be a whole number from 1 to {limit} for layer {name!r}, got {rank!r}")
        replace_module(adapted, name, LoraLinear(layer, rank, alpha))
    for name in train_also:
        if name not in modules:
            raise ValueError(f"train_also must name modules of the model, got {name!r}")
        adapted.get_submodule(name).requires_grad_(True)
    return adapted


def merge_lora(model: nn.Module) -> nn.Module:
    """A copy of ``model`` with every update added to its weight, and all parameters trainable."""
    merged = copy.deepcopy(model)
    adapters = {name: layer for name, layer in merged.named_modules() if isinstance(layer, LoraLinear)}
    for name, layer in adapters.items():
        replace_module(merged, name, layer.merged())
    return merged.requires_grad_(True)


def _check_is_called_as_it_is(model: nn.Module, name: str) -> None:
    """Refuse a linear layer whose output is more than its weight says, or that is never called."""
    layer = model.get_submodule(name)
    if name in uncalled_layers(model):
        raise ValueError(
            f"layer {name!r} is used by its attention module without being called, so no update reaches it"
        )
    if type(layer).forward is not nn.Linear.forward or changes_values(layer):
        raise ValueError(
            f"layer {name!r} of kind {type(layer).__name__} has a forward pass of its own, hooks or an input grid, so "
            "its weight and its update could not be merged; remove them first, or leave it out of layers"
        )

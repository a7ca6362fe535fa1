"""Weights that a panel shows: a tensor, the layers of a model, or the layers of the shipped ResNet18."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def weights_of(
    subject: nn.Module | Tensor | None, *, shipped: Callable[[], nn.Module] | None = None, dimensions: int = 2
) -> dict[str, Tensor]:
    """Name → weight of every convolution and linear layer that has one.

    Args:
        subject: a weight, a model, or None for the shipped model.
        shipped: returns the model for None; the trained ResNet18 when not given.
        dimensions: weights with fewer dimensions are left out.

    Raises:
        ValueError: if no weight remains.
    """
    import torch

    from course_lib import models

    if isinstance(subject, torch.Tensor):
        found = {"weight": subject}
    else:
        model = subject if subject is not None else shipped() if shipped else models.load("resnet18")
        layers = models.prunable_layers(model).items()
        found = {name or type(layer).__name__: layer.get_parameter("weight") for name, layer in layers}
    found = {name: weight for name, weight in found.items() if weight.numel() and weight.dim() >= dimensions}
    if not found:
        raise ValueError(f"subject must hold weights of convolutions or linear layers, got {type(subject).__name__}")
    return found

"""Inputs of exercise 03: weights of three layers, small models, and a stand-in for training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def three_layers(generator: torch.Generator, scales: tuple[float, ...]) -> dict[str, Tensor]:
    """Random weights of two convolutions and a linear layer, scaled by ``scales``; the names are in no sorted order."""
    shapes = {"stem": (4, 3, 3, 3), "block": (6, 4, 1, 1), "head": (5, 6)}
    pairs = zip(shapes.items(), scales, strict=True)
    return {name: scale * torch.randn(shape, generator=generator) for (name, shape), scale in pairs}


class Trainer:
    """Replaces training: it counts the zeros of the model, then changes every parameter so much that ranks change."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.zeros_seen: list[int] = []
        self.models: list[Any] = []

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        self.models.append(model)
        self.zeros_seen.append(sum(int((weight == 0).sum()) for weight in prunable(model).values()))
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=self.generator))


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """Name → weight of every Conv2d and Linear layer, in the order of ``named_modules()``."""
    layers = model.named_modules()
    return {name: one.weight.detach() for name, one in layers if isinstance(one, nn.Conv2d | nn.Linear)}


def small_cnn(seed: int) -> nn.Module:
    """Two convolutions, a norm, a layer that is not pruned, and a nested head."""
    others = [
        nn.ConvTranspose2d(2, 2, 1),
        nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)),
    ]
    return _filled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3), *others), seed)


def small_mlp(seed: int) -> nn.Module:
    """Two linear layers."""
    return _filled(nn.Sequential(nn.Flatten(), nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 4)), seed)


@torch.no_grad()
def _filled(model: nn.Module, seed: int) -> nn.Module:
    """Weights of different scale per layer, and biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    for index, parameter in enumerate(model.parameters()):
        parameter.copy_((0.2 + 0.3 * index) * torch.randn(parameter.shape, generator=generator))
    return model.eval()

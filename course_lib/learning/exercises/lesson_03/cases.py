"""Inputs of exercise 03: weights of three layers, small models, and a stand-in for training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models


def layer_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name → weight of every convolution and linear layer, detached, in the order of the model."""
    return {name: layer.weight.detach() for name, layer in models.prunable_layers(model).items()}  # type: ignore[operator]


def three_layers(generator: torch.Generator, scales: tuple[float, ...]) -> dict[str, Tensor]:
    """Random weights of two convolutions and a linear layer, scaled by ``scales``."""
    shapes = {"conv1": (4, 3, 3, 3), "conv2": (6, 4, 1, 1), "head": (5, 6)}
    pairs = zip(shapes.items(), scales, strict=True)
    return {name: scale * torch.randn(shape, generator=generator) for (name, shape), scale in pairs}


class Trainer:
    """Replaces training: it counts the zeros of the model, then changes every parameter a little."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.zeros_seen: list[int] = []
        self.models: list[Any] = []

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        self.models.append(model)
        self.zeros_seen.append(sum(int((weight == 0).sum()) for weight in layer_weights(model).values()))
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=self.generator))


def small_cnn(seed: int) -> nn.Module:
    """Two convolutions, a norm and a nested head."""
    head = nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))
    return _filled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3), head), seed)


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

"""Inputs of exercise 07: norms, tables of options, small networks with batches, and a loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Options = dict[str, dict[int, tuple[int, float]]]
Batches = list[tuple[Tensor, Tensor]]

UNEVEN: Options = {"conv1": {8: (800, 0.0), 4: (400, 0.3), 2: (200, 0.2)},
                   "conv2": {8: (400, 0.0), 4: (200, 0.15), 2: (100, 0.5)}}  # fmt: skip
"""Measured damages, in which fewer bits do not always do more damage."""


def random_norm(channels: int, generator: torch.Generator) -> nn.BatchNorm2d:
    """A BatchNorm in eval mode with random parameters and statistics."""
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    norm.weight.data = torch.randn(channels, generator=generator)
    norm.bias.data = torch.randn(channels, generator=generator)
    norm.running_mean = torch.randn(channels, generator=generator)
    norm.running_var = 0.1 + 2 * torch.rand(channels, generator=generator)
    return norm.eval()


def random_options(layers: int, generator: torch.Generator) -> Options:
    """Random sizes and damages; fewer bits are smaller and do more damage."""
    found = {}
    for index in range(layers):
        weights = int(torch.randint(20, 400, (), generator=generator))
        worst = float(torch.rand((), generator=generator)) + 0.01
        widths = (2, 3, 4, 8) if index % 2 == 0 else (2, 4, 6, 8)  # layers differ in what they offer
        found[f"layer{index + 1}"] = {bits: (weights * bits // 8, worst / 3.0**bits * 100) for bits in widths}
    return found


def budget_for(options: Options, share: float) -> int:
    """A share of the bytes of all layers at 8 bits."""
    return int(share * sum(widths[8][0] for widths in options.values()))


def bytes_and_damage(options: Options, chosen: dict[str, int]) -> tuple[int, float]:
    """Bytes and damage of a choice."""
    pairs = [options[layer][bits] for layer, bits in chosen.items()]
    return sum(size for size, _ in pairs), math.fsum(damage for _, damage in pairs)


def small_network(seed: int) -> nn.Module:
    """A convolution with a norm and a linear layer, in double precision, with statistics that are not the defaults."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
        model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), head).double()
        model.get_buffer("1.running_mean").normal_(0, 0.3)
        model.get_buffer("1.running_var").uniform_(0.5, 1.5)
    return model.eval()


def with_norms() -> nn.Module:
    """Four BatchNorms at different depths, another norm, and a dropout that stays in training mode."""
    inner = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(100, 6), nn.BatchNorm1d(6), nn.LayerNorm(6))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nested = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))
        layers = [nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nested, nn.BatchNorm2d(4, affine=False), inner]
        model = nn.Sequential(*layers)
        model.get_submodule("4.2").reset_parameters()  # type: ignore[operator]
    return model.eval()


def random_batches(generator: torch.Generator) -> Batches:
    """Three batches of random images with labels."""
    return [
        (torch.randn(5, 2, 6, 6, generator=generator, dtype=torch.float64),
         torch.randint(0, 3, (5,), generator=generator))
        for _ in range(3)
    ]  # fmt: skip


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """A loss other than cross entropy, so that an answer must use the loss that it is given."""
    return (outputs - nn.functional.one_hot(labels, 3)).square().mean()

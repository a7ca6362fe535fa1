"""Inputs of exercise 06: layers with a norm, integer layers, batches, and small residual networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def norm_case(generator: torch.Generator, shape: tuple[int, ...], bias: bool) -> tuple[Any, ...]:
    """Arguments of ``fold_norm``."""
    var = torch.rand(shape[0], generator=generator) * 2 + 0.05
    eps = 0.01 + 0.2 * torch.rand((), generator=generator).item()
    weight, vectors = torch.randn(shape, generator=generator), torch.randn(4, shape[0], generator=generator)
    return weight, vectors[0] if bias else None, *vectors[1:], var, eps


def integer_case(
    generator: torch.Generator, rows: int, inputs: int, outputs: int, zero_x: int, zero_y: int
) -> tuple[Any, ...]:
    """Arguments of ``integer_linear``."""

    def draw(low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high, size, generator=generator)

    x, weight = draw(0, 256, rows, inputs).to(torch.uint8), draw(-128, 128, outputs, inputs).to(torch.int8)
    bias = draw(-5000, 5000, outputs).int()
    spread = 128 * 74 * inputs**0.5
    factor = 60 / spread
    shift = 31
    while factor < 0.5:
        factor, shift = factor * 2, shift + 1
    return x, zero_x, weight, bias, int(factor * 2**31), shift, zero_y


EXACT = [
    (269305607, 70027593, 33), (1165647629, 28735547, 59), (363923597, 93586875, 60), (457968781, 146893243, 119),
    (110301409, 630312159, 123), (43070867, 1653395301, 126), (121933739, 897977597, 194), (1641943307, 80399709, 234),
]  # fmt: skip
"""Sum, multiplier and result for a shift of 49: the product is one below a half, which float64 rounds up."""
EXACT_SHIFT = 49


def exact_cases(which: int) -> list[tuple[Any, ...]]:
    """Arguments of ``integer_linear`` for which single and double precision give a wrong result."""
    nothing = torch.zeros(1, 2, dtype=torch.uint8), 0, torch.ones(1, 2, dtype=torch.int8)
    total, multiplier, _ = EXACT[which % len(EXACT)]
    beyond = 2**24 + 1 + 4 * which  # single precision rounds it down
    upper = -(-(2 * 127 + 1) * 2**46 // beyond)
    pairs = [(beyond, upper, 47), (total, multiplier, EXACT_SHIFT)]
    return [(*nothing, torch.tensor([bias], dtype=torch.int32), factor, shift, 0) for bias, factor, shift in pairs]


def random_batches(generator: torch.Generator, count: int) -> list[Tensor]:
    """Batches whose scale and mean change from one to the next."""
    return [torch.randn(4, 5, generator=generator) * (2, 3, 1)[index % 3] - 0.3 * index for index in range(count)]


def positive_values(generator: torch.Generator, tail: float) -> Tensor:
    """Random magnitudes and one value ``tail``."""
    values = torch.randn(400, generator=generator).abs()
    return torch.cat([values, torch.tensor([tail])])


def clip_candidates(values: Tensor) -> list[float]:
    """Forty clips up to the largest value, and one far above it."""
    return [values.max().item() * step / 40 for step in (*range(1, 41), 400)]


def random_images(generator: torch.Generator, count: int) -> list[Tensor]:
    """Image batches: the first holds the largest values, the second the smallest."""
    return [torch.randn(6, 2, 6, 6, generator=generator) + 3 * (-1) ** index for index in range(count)]


class Residual(nn.Module):
    """A residual block, as in ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the input plus the convolutions."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def residual_network(seed: int) -> nn.Module:
    """In training mode; with a nested block, dropout, a layer that is not quantized, and a channel of zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            Residual(4),
            nn.ConvTranspose2d(4, 4, 1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(64, 5),
        )
        first = model[0]
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight.mul_(torch.tensor([0.1, 1.0, 3.0, 0.5]).view(-1, 1, 1, 1))
            model.get_submodule("2.second").get_parameter("weight")[1] = 0
    return model.train()


def active_network(generator: torch.Generator, images: Tensor) -> nn.Module:
    """A ``residual_network`` in which no layer has only zeros as inputs for these images: such a range has no scale."""
    while True:
        model = residual_network(int(torch.randint(2, 2**31, (), generator=generator)))
        first, active, block = list(model.children())[:3]
        assert isinstance(block, Residual)
        with torch.no_grad():
            hidden = active(first(images))
            if hidden.any() and block.first(hidden).relu().any() and block(hidden).any():
                return model

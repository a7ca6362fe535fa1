"""Random inputs of exercise 12 whose right answers do not depend on rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def clusters(empty: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Values around three centres with two clear outliers, and centroids of which the last ``empty`` have no value."""
    centres = torch.tensor([-3.0, 0.0, 3.0])
    values = (centres[:, None] + 0.3 * (torch.rand(3, 7, generator=generator) - 0.5)).flatten()
    left, right = torch.rand(2, generator=generator).tolist()
    values = torch.cat([values, torch.tensor([-6.0 - 0.5 * left, 4.5 + 0.5 * right])])
    order = torch.randperm(len(values), generator=generator)
    near = centres + 0.4 * (torch.rand(3, generator=generator) - 0.5)
    return values[order], torch.cat([near, torch.tensor([40.0, 60.0])[:empty]])


def lengths_of_a_code(generator: torch.Generator) -> list[int]:
    """Lengths of a complete code in random order, and of some symbols that do not occur."""
    lengths = [1, 1]
    for _ in range(6):
        chosen = int(torch.randint(len(lengths), (), generator=generator))
        depth = lengths.pop(chosen) + 1
        lengths += [depth, depth]
    lengths += [0, 0]
    return [lengths[index] for index in torch.randperm(len(lengths), generator=generator).tolist()]


def message_and_counts(length: int, generator: torch.Generator) -> tuple[list[int], list[int]]:
    """A message of ``length`` symbols 0, 1 and 2, and counts."""
    counts = torch.randint(1, 40, (3,), generator=generator).tolist()
    return torch.randint(0, 3, (length,), generator=generator).tolist(), counts


def weights_and_bits(shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, float, float, Tensor]:
    """Weights that lie near no half step and no tie, a step, λ, and bits that are not symmetric."""
    step, lam, m = 0.5, 0.05, 3
    bits = 1 + 9 * torch.rand(2 * m + 1, generator=generator, dtype=torch.float64)
    weights: list[float] = []
    while len(weights) < torch.Size(shape).numel():
        weight = float(torch.randn((), generator=generator, dtype=torch.float64))
        nearest = max(-m, min(m, round(weight / step)))
        sign = (nearest > 0) - (nearest < 0)
        costs = sorted((weight - step * q) ** 2 + lam * float(bits[q + m]) for q in {0, nearest - sign, nearest})
        if abs(abs(weight / step) % 1 - 0.5) > 0.02 and (len(costs) == 1 or costs[1] - costs[0] > 1e-3):
            weights.append(weight)
    return torch.tensor(weights).view(shape), step, lam, bits.float()

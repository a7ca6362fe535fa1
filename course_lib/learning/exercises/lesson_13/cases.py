"""Inputs of the checks and probes of exercise 13."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from course_lib.learning.expect import draw

Block = tuple[int, int, int, int]


def layers_in_a_row(channels: int, kernel: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, bias and following weight; two channels have filters of equal importance, one of the other sign."""
    first = torch.randn(channels, 3, kernel, kernel, generator=generator)
    first[2], first[channels - 2] = -first[1], first[0]
    bias, second = (
        torch.randn(channels, generator=generator),
        torch.randn(4, channels, kernel, kernel, generator=generator),
    )
    return first, bias, second


def activations(sizes: tuple[int, ...], centre: float, generator: torch.Generator) -> list[Tensor]:
    """Batches ``(N, 3, 2, 4)`` of the given sizes, each with means of its own around ``centre``."""
    means = [centre + 2 * torch.randn(1, 3, 1, 1, generator=generator) for _ in sizes]
    return [mean + torch.randn(size, 3, 2, 4, generator=generator) for size, mean in zip(sizes, means, strict=True)]


def population(size: int, generator: torch.Generator) -> list[tuple[tuple[int, ...], float, float]]:
    """Nets with random scores and costs from 1 to 99, with equal scores, equal costs, and repetitions."""
    found: list[tuple[tuple[int, ...], float, float]] = []
    for number in range(size):
        genes = (*draw(generator, 0, 5, 3), number)
        score, cost = draw(generator, 1, 12, 1)[0] / 16, float(draw(generator, 1, 33, 1)[0] * 3)
        found.append((genes, score, cost))
    copied = draw(generator, 0, size - 1, size // 3)
    return [*found, *(found[place] for place in copied)]


def nets_with_ties(count: int, generator: torch.Generator) -> tuple[list[float], list[float]]:
    """Accuracies and latencies on coarse grids, rising together, so that the front is long and has ties."""
    quality = draw(generator, 1, 8, count)
    accuracy = [(one + extra) / 16 for one, extra in zip(quality, draw(generator, 0, 2, count), strict=True)]
    latency = [float(one + extra) for one, extra in zip(quality, draw(generator, 0, 2, count), strict=True)]
    return [*accuracy, max(accuracy), max(accuracy)], [*latency, 9.0, 9.0]


def random_table(widths: list[int], size: int, generator: torch.Generator) -> dict[Block, float]:
    """Random milliseconds of all blocks between these widths, for every size up to ``size`` and both strides."""
    channels = sorted({8, *widths})
    blocks = list(itertools.product(channels, channels, range(1, size + 1), (1, 2)))
    return dict(zip(blocks, (0.1 + torch.rand(len(blocks), generator=generator)).tolist(), strict=True))

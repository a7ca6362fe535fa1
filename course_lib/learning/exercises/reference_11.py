"""What exercise 11 is about, done right: the references that its checks compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.lowrank import break_even_rank, rank_for_energy

__all__ = ["break_even_rank", "energy", "lora_weight", "rank_for_energy", "singular_values", "tucker_cost", "whitened"]


def singular_values(weight: Tensor) -> Tensor:
    """Singular values of a weight as a matrix, from large to small, float64.

    Written out here, like ``energy``: a probe needs it, and with an import the whole room would lie in the sandbox.
    """
    return torch.linalg.svdvals(weight.detach().double().flatten(1))


def energy(values: Tensor) -> Tensor:
    """Share of the squared sum that the first 1, 2, … singular values keep, float64; of zeros all is kept."""
    squares = values.double().square()
    return squares.cumsum(0) / squares.sum() if squares.any() else torch.ones_like(squares)


def best_of_rank(weight: Tensor, rank: int) -> Tensor:
    """The best approximation ``(out, in)`` of a weight with this rank (Eckart and Young, 1936), float64."""
    left, values, right = torch.linalg.svd(weight.detach().double(), full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


def tucker_cost(
    out_channels: int, in_channels: int, kernel: int, rank_in: int, rank_out: int, height: int, width: int, stride: int
) -> dict[str, object]:
    """Shapes of the three weights, numbers, and multiply-accumulates of one image ``(in, height, width)``."""
    shapes = [
        (rank_in, in_channels, 1, 1), (rank_out, rank_in, kernel, kernel), (out_channels, rank_out, 1, 1),
    ]  # fmt: skip
    before, after = height * width, -(-height // stride) * -(-width // stride)
    sizes = [a * b * c * d for a, b, c, d in shapes]
    macs = sizes[0] * before + (sizes[1] + sizes[2]) * after
    return {"shapes": shapes, "parameters": sum(sizes), "macs": macs}


def whitened(weight: Tensor, inputs: Tensor, rank: int) -> Tensor:
    """The weight of this rank whose outputs on ``inputs (N, in)`` are closest, float64: PCA of the outputs."""
    weight, outputs = weight.detach().double(), inputs.double() @ weight.detach().double().T
    directions = torch.linalg.svd(outputs.T, full_matrices=False).U[:, :rank]
    return directions @ directions.T @ weight


def lora_weight(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The weight with its low-rank update added (Hu et al., 2021)."""
    return weight + alpha / a.shape[0] * b @ a

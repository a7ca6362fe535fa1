"""What the checks of exercise 01 compare with: reference formulas and cases."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.learning.exercises.plans import GROUP_SIZE, PLANS, relative_error

BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
ENCODINGS = ("dense", "bitmask", "csr")


def dense_bytes(shapes: list[tuple[int, ...]], dtype: str) -> int:
    """Bytes of tensors of these shapes, each rounded up to a whole byte."""
    return sum(math.ceil(math.prod(shape) * BITS[dtype] / 8) for shape in shapes)


def encoded_bytes(rows: int, columns: int, nonzeros: int, value_bytes: int) -> dict[str, int]:
    """Bytes of one sparse matrix in each encoding."""
    return {
        "dense": rows * columns * value_bytes,
        "bitmask": math.ceil(rows * columns / 8) + nonzeros * value_bytes,
        "csr": nonzeros * (value_bytes + 4) + (rows + 1) * 4,
    }


def bits_per_weight(
    rows: int, columns: int, bits: int, group_size: int, scale_bits: int = 16, zero_point_bits: int = 0
) -> float:
    """Average bits of a weight, with the scales and zero-points of its groups."""
    groups = rows * math.ceil(columns / group_size)
    return bits + groups * (scale_bits + zero_point_bits) / (rows * columns)


def pass_seconds(
    parameters: float, bits: float, batch_size: int, bandwidth_gbs: float, peak_gflops: float
) -> tuple[float, str]:
    """Seconds of one pass and what bounds it (Williams et al., Roofline, 2009)."""
    reading = parameters * bits / 8 / (bandwidth_gbs * 1e9)
    calculating = 2 * parameters * batch_size / (peak_gflops * 1e9)
    return max(reading, calculating), "memory" if reading > calculating else "compute"


def plan_gigabytes(plan: tuple[float, int], parameters: float = 175e9) -> float:
    """Gigabytes of a model under a plan: mask, values, and one 16-bit scale for each group of 128 values."""
    sparsity, bits = plan
    value_bits = bits + (16 / GROUP_SIZE if bits < 16 else 0)
    return parameters * ((1 if sparsity > 0 else 0) + (1 - sparsity) * value_bits) / 8e9


def best_plan(weight: Tensor, budget_gb: float, parameters: float = 175e9) -> tuple[float, int] | None:
    """The plan of smallest error that fits the budget; of equals the smaller one; None if nothing fits."""

    def cost(plan: tuple[float, int]) -> tuple[float, float]:
        return relative_error(weight, *plan), plan_gigabytes(plan, parameters)

    return min((plan for plan in PLANS if plan_gigabytes(plan, parameters) <= budget_gb), key=cost, default=None)


def encoding_cases() -> Iterator[tuple[int, int, int, int]]:
    """rows, columns, nonzeros, value_bytes."""
    for rows, columns in [(16, 16), (64, 576), (3, 5), (1000, 7), (1, 8)]:
        for nonzeros in (rows * columns // 2, rows * columns // 20, rows * columns, 1, 0):
            yield from ((rows, columns, nonzeros, value_bytes) for value_bytes in (1, 2, 4))
    yield from [(0, 5, 0, 4), (10, 40, 2, 4)]


def plan_weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Three kinds of weights, for which the best plans differ."""
    normal = torch.randn(48, 64, generator=generator)
    mostly_zero = normal * (torch.rand(48, 64, generator=generator) > 0.7)
    return {"normal": normal, "heavy-tailed": normal**3, "mostly-zero": mostly_zero}

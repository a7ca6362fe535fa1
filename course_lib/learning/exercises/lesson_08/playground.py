"""Round-to-nearest (08.3), and plans for one layer of the tiny Llama, measured on held-out inputs (08.6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from course_lib.core.validation import check_choice

METHODS = ("rtn", "gptq", "awq")
GROUP_SIZES = (None, 256, 128, 64, 32, 16)
MOST_BITS = 3.2
LARGEST_ERROR = 0.01
PLANS = Path(__file__).with_name("plans.json")


@dataclass(frozen=True)
class Measured:
    """Bits per weight with scales and zero-points, and the relative output error on held-out inputs."""

    bits_per_weight: float
    error: float

    def __str__(self) -> str:
        return f"{self.bits_per_weight:.3f} bits per weight, output error {self.error:.2%}"

    __repr__ = __str__


def try_plan(method: str, bits: int, group_size: int | None) -> Measured:
    """What the layer takes and what its outputs lose when it is quantized by this plan.

    Args:
        method: ``"rtn"``, ``"gptq"`` or ``"awq"``.
        bits: 2, 3 or 4.
        group_size: 256, 128, 64, 32 or 16 weights share a scale, or None for a whole row.

    Raises:
        ValueError: if an argument is not one of these.
    """
    check_choice("method", method, METHODS)
    check_choice("bits", bits, (2, 3, 4))
    check_choice("group_size", group_size, GROUP_SIZES)
    return _table()[method, bits, group_size]


@cache
def _table() -> dict[tuple[str, int, int | None], Measured]:
    """Every plan, measured by ``benchmarks/exercise_plans.py``."""
    rows = json.loads(PLANS.read_text(encoding="utf-8"))
    return {
        (row["method"], row["bits"], row["group_size"]): Measured(row["bits_per_weight"], row["error"]) for row in rows
    }


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """``weight`` ``(out, in)`` on an asymmetric grid of ``2**bits`` levels per row, between its extremes and zero."""
    low = weight.amin(dim=1, keepdim=True).clamp(max=0)
    high = weight.amax(dim=1, keepdim=True).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = (-low / scale).round()
    integers = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1)
    return (integers - zero_point) * scale

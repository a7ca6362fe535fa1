"""Thirty plans (sparsity, bits) for one weight, and the error of each, for exercise 01."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.core.validation import check_choice, check_fraction

SPARSITIES = (0.0, 0.5, 0.75, 0.9, 0.95)
WIDTHS = (16, 8, 6, 4, 3, 2)
PLANS = tuple((sparsity, bits) for sparsity in SPARSITIES for bits in WIDTHS)
GROUP_SIZE = 128


def relative_error(weight: Tensor, sparsity: float, bits: int) -> float:
    """Relative squared error of ``weight`` under a plan: squared error divided by squared weights.

    The smallest entries are set to zero. The others are rounded to the nearest of ``2**bits - 1`` levels, with one
    scale for each group of 128; with 16 bits they are kept as fp16.

    Args:
        weight: any shape, floating point, not all zero.
        sparsity: fraction that is set to zero, in [0, 1).
        bits: 16, 8, 6, 4, 3 or 2.
    """
    check_fraction("sparsity", sparsity)
    check_choice("bits", bits, WIDTHS)
    values = weight.flatten().clone()
    order = values.abs().argsort(stable=True)
    kept = order[round(sparsity * values.numel()) :].sort().values
    restored = torch.zeros_like(values)
    restored[kept] = round_to_nearest(values[kept], bits)
    return ((values - restored).double().square().sum() / values.double().square().sum()).item()


def round_to_nearest(values: Tensor, bits: int) -> Tensor:
    """``values`` ``(N,)`` after rounding to ``bits`` bits, with one scale for each group of 128."""
    if bits == 16:
        return values.half().to(values.dtype)
    qmax = 2 ** (bits - 1) - 1
    groups = F.pad(values, (0, -len(values) % GROUP_SIZE)).view(-1, GROUP_SIZE)
    scale = (groups.abs().amax(dim=1, keepdim=True) / qmax).clamp_min(1e-12)
    return ((groups / scale).round().clamp(-qmax, qmax) * scale).flatten()[: len(values)]

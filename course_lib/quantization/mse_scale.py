"""Which step size loses least: narrow steps cut large values off, wide steps round small ones away."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.quantization.affine import QuantParams, check_finite, integer_range

SMALLEST = 1e-8
CANDIDATES = 25
NARROWEST = 0.2


@torch.no_grad()
def best_step(values: Tensor, low: int, high: int) -> Tensor:
    """The step size ``[rows]`` with the least squared error for each row of ``values`` ``[rows, entries]``.

    Candidates are equal shares of the step size that cuts nothing off, from 20 % to 100 % of it.

    Args:
        low, high: first and last integer of the grid, ``low <= 0 < high``.

    Source: Nagel et al., A White Paper on Neural Network Quantization, 2021 (section 3.1).
    """
    check_finite("values", values)
    rows = values.detach().float()
    widest = torch.maximum(rows.amax(1) / high, rows.amin(1) / low if low else rows.new_zeros(())).clamp_min(SMALLEST)
    best, least = widest.clone(), torch.full_like(widest, torch.inf)
    for share in torch.linspace(NARROWEST, 1.0, CANDIDATES):
        step = (widest * share)[:, None]
        error = (rows / step).round_().clamp_(low, high).mul_(step).sub_(rows).square_().sum(1)
        best = torch.where(error < least, step[:, 0], best)
        least = torch.minimum(error, least)
    return best


def best_weight_params(weight: Tensor, bits: int) -> QuantParams:
    """Symmetric params of a weight ``(out, …)`` with the best step size for each output channel.

    Raises:
        ValueError: if the weight is empty or holds NaN or infinity, or ``bits`` is out of range.
    """
    check_finite("weight", weight)
    scale = best_step(weight.flatten(1), *integer_range(bits, symmetric=True))
    return QuantParams(scale, torch.zeros(len(scale), dtype=torch.int32), bits, symmetric=True, axis=0)

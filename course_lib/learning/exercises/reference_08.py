"""What exercise 08 is about, done right: the references that its checks compare with, and rounding to nearest."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """``weight`` ``(out, in)`` on a grid of ``2**bits`` steps per row that reaches from its smallest to its largest."""
    low = weight.amin(dim=1, keepdim=True).clamp(max=0)
    high = weight.amax(dim=1, keepdim=True).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = (-low / scale).round()
    integers = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1)
    return (integers - zero_point) * scale


def gptq_step(weight: Tensor, factor: Tensor, column: int, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Round one column and spread its error over the later ones (Frantar et al., GPTQ, 2022)."""
    changed = weight.clone()
    integers = ((weight[:, column] / scale).round() + zero_point).clamp(0, 2**bits - 1)
    rounded = (integers - zero_point) * scale
    error = (weight[:, column] - rounded) / factor[column, column]
    changed[:, column] = rounded
    changed[:, column + 1 :] -= torch.outer(error, factor[column, column + 1 :])
    return changed


def inverse_factor(rows: Tensor, damping: float) -> Tensor:
    """``U`` with ``UᵀU = (XᵀX + damping · mean(diag) · I)⁻¹``, fp64."""
    rows = rows.double()
    hessian = rows.T @ rows
    hessian = hessian + damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)
    lower, failed = torch.linalg.cholesky_ex(hessian)
    if failed:
        raise ValueError(f"the Hessian is singular with damping {damping}: more samples or more damping")
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def search_alpha(weight: Tensor, rows: Tensor, bits: int, alphas: list[float]) -> tuple[float, list[float]]:
    """The exponent with the smallest output error, and the error of each (Lin et al., AWQ, 2023)."""
    size = rows.abs().mean(dim=0)
    errors = []
    for alpha in alphas:
        scales = size**alpha
        change = round_to_nearest(weight * scales, bits) / scales - weight
        errors.append((rows @ change.T).square().sum(dim=1).mean().item())
    return alphas[errors.index(min(errors))], errors


def file_bytes(shape: tuple[int, int], bits: int, group_size: int | None, symmetric: bool) -> dict[str, float]:
    """Bytes of codes, scales and zero-points of a packed matrix, and bits per weight in all."""
    rows, columns = shape
    size = columns if group_size is None else group_size
    if columns % size:
        raise ValueError(f"group_size must divide the {columns} inputs, got {size}")
    groups = rows * (columns // size)
    codes, scales = math.ceil(rows * columns * bits / 8), 2 * groups
    zero_points = 0 if symmetric else math.ceil(groups * bits / 8)
    return {
        "codes": codes, "scales": scales, "zero_points": zero_points,
        "bits_per_weight": 8 * (codes + scales + zero_points) / (rows * columns),
    }  # fmt: skip


def smooth(weight: Tensor, rows: Tensor, gain: Tensor, shift: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, gain and shift after sharing the outliers between inputs and weights (Xiao et al., SmoothQuant, 2022)."""
    factors = rows.abs().amax(dim=0) ** alpha / weight.abs().amax(dim=0) ** (1 - alpha)
    return weight * factors, gain / factors, shift / factors

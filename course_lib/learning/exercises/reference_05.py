"""What exercise 05 is about, done right: the references that its checks compare with."""

from __future__ import annotations

import torch
from torch import Tensor


def symmetric_scale(weight: Tensor, bits: int) -> float:
    """Largest magnitude over the largest integer; 1 where everything is zero."""
    largest = weight.abs().max().item()
    return largest / (2 ** (bits - 1) - 1) if largest else 1.0


def asymmetric_params(low: float, high: float, bits: int) -> tuple[float, int]:
    """Scale and zero-point of a range that is widened to contain zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, min(max(round(-low / scale), 0), 2**bits - 1)


def quantize_affine(x: Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> Tensor:
    """Integers as int32."""
    return (torch.round(x.double() / scale) + zero_point).clamp(qmin, qmax).to(torch.int32)


def group_quantize(weight: Tensor, bits: int, group_size: int) -> tuple[Tensor, Tensor]:
    """Integers (int32) of a matrix and one scale for each run of ``group_size`` inputs of a row."""
    qmax = 2 ** (bits - 1) - 1
    groups = weight.double().reshape(len(weight), -1, group_size)
    largest = groups.abs().amax(dim=2)
    scale = torch.where(largest > 0, largest / qmax, 1.0)
    integers = torch.round(groups / scale[:, :, None]).clamp(-qmax - 1, qmax)
    return integers.reshape(weight.shape).to(torch.int32), scale.float()


def kmeans_step(values: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each value (the lower index of two equally near), and the mean of each cluster."""
    codes = (values.flatten()[:, None] - centroids[None]).abs().argmin(dim=1)
    moved = centroids.clone()
    for cluster in codes.unique().tolist():
        moved[cluster] = values.flatten()[codes == cluster].mean()
    return codes.view(values.shape), moved


def decibels(exact: Tensor, approximate: Tensor) -> float:
    """Signal-to-quantization-noise ratio."""
    signal, noise = exact.double().square().sum(), (exact.double() - approximate.double()).square().sum()
    return float("inf") if noise == 0 else float(10 * torch.log10(signal / noise))

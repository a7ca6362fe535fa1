"""Affine quantization: a real number x is stored as an integer q, with x ≈ scale * (q - zero_point).

    q = clamp(round(x / scale) + zero_point, qmin, qmax)

``round`` is ``torch.round``: to the nearest integer, halves to the even one (0.5 → 0, 1.5 → 2, 2.5 → 2). A scale is
shared by a whole tensor, a channel, or a group of consecutive inputs of a channel: its *block*.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018; Nagel et al., A White Paper on Neural Network Quantization, 2021 (section 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from course_lib.core.validation import check_choice

SMALLEST_BITS, LARGEST_BITS = 2, 8
GRANULARITIES = ("per_tensor", "per_channel", "group")
SCALE_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, eq=False)
class QuantParams:
    """Scales and zero-points of one tensor, and which entries share them.

    Args:
        scale: [blocks], fp32, greater than 0.
        zero_point: [blocks], int32, the integer that represents 0.0; all zeros where ``symmetric``.
        bits: 2 to 8.
        symmetric: integers are signed and the zero-point is 0; else they are unsigned.
        axis: None: one scale for the whole tensor; else the axis of the channels (0 for torch's linear, convolution
            and embedding weights, 1 for GPT-2's ``Conv1D``).
        group_size: None: one scale per channel; else the number of consecutive entries of a channel that share one.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int
    symmetric: bool
    axis: int | None = None
    group_size: int | None = None

    @property
    def range(self) -> tuple[int, int]:
        """(qmin, qmax)."""
        return integer_range(self.bits, self.symmetric)

    def blocks(self, x: Tensor) -> Tensor:
        """``x`` as [blocks, entries]: each row shares a scale. A view where possible."""
        moved = x if self.axis is None else x.movedim(self.axis, 0)
        if moved.numel() % self.scale.numel():
            raise ValueError(f"x has shape {tuple(x.shape)}, which {self.scale.numel()} scales do not divide evenly")
        return moved.reshape(self.scale.numel(), -1)

    def unblock(self, blocks: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """The inverse of ``blocks``, contiguous, for a tensor of this ``shape``."""
        if self.axis is None:
            return blocks.reshape(shape)
        order = [self.axis % len(shape), *(axis for axis in range(len(shape)) if axis != self.axis % len(shape))]
        return blocks.reshape([shape[axis] for axis in order]).movedim(0, self.axis).contiguous()


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """Integers (int8 or uint8, in the shape of the tensor) with their scales and zero-points."""

    integers: Tensor
    params: QuantParams

    def values(self) -> Tensor:
        """The dequantized values, fp32."""
        return dequantize(self.integers, self.params)


def integer_range(bits: int, symmetric: bool) -> tuple[int, int]:
    """(qmin, qmax): -128 … 127 for 8 symmetric bits, 0 … 255 for 8 asymmetric ones.

    Raises:
        ValueError: if ``bits`` is not an integer from 2 to 8.
    """
    if type(bits) is not int or not SMALLEST_BITS <= bits <= LARGEST_BITS:
        raise ValueError(f"bits must be an integer from {SMALLEST_BITS} to {LARGEST_BITS}, got {bits!r}")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)


def choose_params(
    low: Tensor,
    high: Tensor,
    bits: int,
    symmetric: bool = True,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    scale_dtype: str = "fp32",
) -> QuantParams:
    """Scales and zero-points for the range from ``low`` to ``high``, which represent 0.0 exactly.

    Symmetric: scale = max(abs(low), abs(high)) / qmax. Asymmetric: the range is widened to contain 0 and divided
    into 2^bits - 1 steps. An empty range (only zeros) gets scale 1.

    Args:
        low, high: [blocks] or 0-dimensional, the range of the values of each block.
        scale_dtype: ``"fp16"`` rounds the scales to fp16, so that they can be stored in it.

    Raises:
        ValueError: if a bound is NaN or infinite, ``low`` exceeds ``high``, or ``bits`` is out of range.
    """
    qmin, qmax = integer_range(bits, symmetric)
    check_choice("scale_dtype", scale_dtype, tuple(SCALE_DTYPES))
    low, high = low.detach().double().reshape(-1), high.detach().double().reshape(-1)
    if not (low.isfinite().all() and high.isfinite().all()):
        raise ValueError("the range to quantize holds NaN or infinity; look for a layer that diverged")
    if low.numel() == 0 or (low > high).any():
        raise ValueError(f"low must not exceed high, and there must be a range; got {low.numel()} ranges")
    if symmetric:
        scale = torch.maximum(low.abs(), high.abs()) / qmax
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low) / (qmax - qmin)
    stored = _storable(scale, SCALE_DTYPES[scale_dtype])
    zero_point = torch.zeros_like(stored) if symmetric else torch.round(-low / stored).clamp(qmin, qmax)
    return QuantParams(stored.float(), zero_point.to(torch.int32), bits, symmetric, axis, group_size)


def weight_params(
    weight: Tensor,
    bits: int,
    granularity: str = "per_channel",
    *,
    group_size: int | None = None,
    symmetric: bool = True,
    axis: int = 0,
    scale_dtype: str = "fp32",
) -> QuantParams:
    """Min-max scales: from the smallest and largest weight of each block.

    Args:
        weight: [channels, …], floating point.
        granularity: ``"per_tensor"``, ``"per_channel"``, or ``"group"``: ``group_size`` consecutive inputs of a
            channel.
        axis: of the channels, see ``QuantParams``.

    Raises:
        ValueError: if the weight is empty or holds NaN or infinity, ``bits`` is out of range, or ``group_size`` is
            missing, not allowed, or does not divide the inputs of a channel.
    """
    check_choice("granularity", granularity, GRANULARITIES)
    integer_range(bits, symmetric)
    check_finite("weight", weight)
    blocks = block_count(tuple(weight.shape), granularity, group_size, axis)
    shared = None if granularity == "per_tensor" else axis
    layout = QuantParams(torch.ones(blocks), torch.zeros(blocks), bits, symmetric, shared, group_size)
    low, high = layout.blocks(weight.detach()).aminmax(dim=1)
    return choose_params(low, high, bits, symmetric, axis=shared, group_size=group_size, scale_dtype=scale_dtype)


def block_count(shape: tuple[int, ...], granularity: str, group_size: int | None = None, axis: int = 0) -> int:
    """Number of scales of a tensor of this shape.

    Raises:
        ValueError: if ``group_size`` is missing, not allowed, or does not divide the inputs of a channel.
    """
    if (granularity == "group") != (group_size is not None):
        raise ValueError(f"group_size belongs to granularity 'group' only; got {group_size} with {granularity!r}")
    if granularity == "per_tensor":
        return 1
    channels = shape[axis]
    inputs = torch.Size(shape).numel() // channels
    if group_size is None:
        return channels
    if type(group_size) is not int or group_size < 1 or inputs % group_size:
        raise ValueError(f"group_size must be a divisor of the {inputs} inputs of a channel, got {group_size!r}")
    return channels * (inputs // group_size)


def quantize(x: Tensor, params: QuantParams) -> Tensor:
    """Integers of ``x``, int8 where symmetric and uint8 where not, in the shape of ``x``.

    Raises:
        ValueError: if ``x`` holds NaN or infinity, or does not fit ``params``.
    """
    check_finite("x", x, allow_empty=True)
    qmin, qmax = params.range
    blocks = params.blocks(x.detach().float())
    scale, zero_point = params.scale[:, None], params.zero_point[:, None]
    integers = (torch.round(blocks / scale) + zero_point).clamp(qmin, qmax)
    return params.unblock(integers.to(torch.int8 if params.symmetric else torch.uint8), x.shape)


def dequantize(integers: Tensor, params: QuantParams) -> Tensor:
    """scale * (integers - zero_point), fp32, in the shape of ``integers``."""
    blocks = params.blocks(integers).float()
    values = (blocks - params.zero_point[:, None].float()) * params.scale[:, None]
    return params.unblock(values, integers.shape)


def fake_quantize(x: Tensor, params: QuantParams) -> Tensor:
    """The nearest representable values of ``x``, fp32: ``dequantize(quantize(x))``, without gradient."""
    return dequantize(quantize(x, params), params)


def quantize_tensor(x: Tensor, params: QuantParams) -> QuantizedTensor:
    """The integers of ``x`` together with ``params``, on the CPU."""
    on_cpu = replace(params, scale=params.scale.cpu(), zero_point=params.zero_point.cpu())
    return QuantizedTensor(quantize(x.cpu(), on_cpu), on_cpu)


def check_finite(name: str, x: Tensor, *, allow_empty: bool = False) -> None:
    """Raise ``ValueError`` if ``x`` is empty, or holds NaN or infinity."""
    if x.numel() == 0 and not allow_empty:
        raise ValueError(f"{name} is empty (shape {tuple(x.shape)}), so it has no range to quantize")
    bad = x.numel() - int(x.isfinite().sum())
    if bad:
        raise ValueError(f"{name} holds NaN or infinity in {bad:,} of {x.numel():,} entries")


def _storable(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """``scale`` rounded to ``dtype``, in fp64; 1 where that is 0, because all values of the block are then nearly 0."""
    if (scale > torch.finfo(dtype).max).any():
        raise ValueError(f"a scale of {scale.max().item():.3g} cannot be stored as {dtype}; use scale_dtype='fp32'")
    stored = scale.to(dtype).double()
    return torch.where(stored > 0, stored, 1.0)

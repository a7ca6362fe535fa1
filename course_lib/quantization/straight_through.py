"""Rounding that can be trained through: the straight-through estimator, and a step size that is learned with it.

The derivative of ``round`` is zero almost everywhere, so nothing would ever be learned. In the backward pass both
functions pretend that rounding was not there: inside the range the gradient goes straight through, outside it is cut.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.arguments import check_positive

SMALLEST_SCALE = 1e-8


def round_straight_through(values: Tensor) -> Tensor:
    """``values.round()`` whose gradient is that of ``values`` themselves.

    Source: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.
    """
    return values + (values.round() - values).detach()


def quantize_straight_through(values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
    """``values`` rounded to the nearest of the grid points ``scale · [qmin … qmax]``, for a fixed scale.

    Args:
        values: any shape, floating point.
        scale: positive, of a shape that broadcasts to ``values``; it gets no gradient.
        qmin, qmax: first and last integer of the grid.

    Source: Jacob et al., Quantization and Training of Neural Networks for Integer-Arithmetic-Only Inference, 2018.
    """
    return _Quantize.apply(values, scale.detach(), qmin, qmax)


def quantize_learned_step(values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
    """As ``quantize_straight_through``, but ``scale`` (the step size) has a gradient and is trained with the weights.

    Each entry contributes to it how much its rounded value moves with the scale: ``round(v/s) - v/s`` inside the
    range, ``qmin`` or ``qmax`` outside. The sum is divided by ``sqrt(entries per scale · qmax)``, so that a step size
    learns about as fast as the weights.

    Source: Esser et al., Learned Step Size Quantization, 2020 (equations 3 and 5).
    """
    return _Quantize.apply(values, scale, qmin, qmax)


def integer_range(bits: int, signed: bool) -> tuple[int, int]:
    """First and last integer: ``-2**(bits-1) … 2**(bits-1) - 1`` with a sign, ``0 … 2**bits - 1`` without.

    Raises:
        ValueError: if ``bits`` is not a whole number from 2 to 8.
    """
    if bits not in range(2, 9):
        raise ValueError(f"bits must be a whole number from 2 to 8, got {bits!r}")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def first_step_size(values: Tensor, qmax: int, dims: tuple[int, ...] | None = None) -> Tensor:
    """Where LSQ starts: ``2 · mean(|v|) / sqrt(qmax)``, over ``dims`` or over everything (Esser et al., 2020)."""
    check_positive("qmax", qmax)
    sizes = values.detach().abs()
    mean = sizes.mean() if dims is None else sizes.mean(dim=dims, keepdim=True)
    return (2 * mean / math.sqrt(qmax)).clamp_min(SMALLEST_SCALE)


class _Quantize(torch.autograd.Function):
    """Quantize and dequantize in one step; nothing is kept but what the backward pass needs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
        steps = values / scale
        inside = (steps >= qmin) & (steps <= qmax)
        rounded = steps.round_().clamp_(qmin, qmax).mul_(scale)
        ctx.save_for_backward(values, scale, rounded, inside)
        ctx.rate = 1 / math.sqrt(max(1, values.numel() // scale.numel()) * qmax)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        values, scale, rounded, inside = ctx.saved_tensors
        passed = gradients[0] * inside
        if not ctx.needs_input_grad[1]:
            return passed, None, None, None
        # (rounded - value) / scale inside the range and rounded / scale outside are the two cases of the docstring
        moved = (gradients[0] * rounded).sub_(passed * values)
        return passed, moved.sum_to_size(scale.shape).float() * (ctx.rate / scale), None, None

"""The straight-through estimator (STE), and learned step size quantization (LSQ).

The derivative of ``round`` is zero almost everywhere, so nothing would be learned. In the backward pass both functions
ignore rounding: inside the range the gradient passes unchanged, outside it is zero.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def round_straight_through(values: Tensor) -> Tensor:
    """``values.round()`` whose gradient is that of ``values`` themselves.

    Source: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.
    """
    return values + (values.round() - values).detach()


def quantize_straight_through(values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
    """``values`` rounded to the nearest grid point of ``scale · [qmin … qmax]``, for a fixed scale.

    Args:
        values: any shape, floating point.
        scale: positive, of a shape that broadcasts to ``values``; it gets no gradient.
        qmin, qmax: first and last integer of the grid.

    Source: Jacob et al., Quantization and Training of Neural Networks for Integer-Arithmetic-Only Inference, 2018.
    """
    return _Quantize.apply(values, scale.detach(), qmin, qmax, 1)


def quantize_learned_step(values: Tensor, scale: Tensor, qmin: int, qmax: int, entries: int | None = None) -> Tensor:
    """As ``quantize_straight_through``, but ``scale`` (the step size) has a gradient and is trained with the weights.

    The gradient of each entry is the derivative of its rounded value: ``round(v/s) - v/s`` inside the range, ``qmin``
    or ``qmax`` outside. The sum is divided by ``sqrt(entries · qmax)``, so that a step size learns about as fast as the
    weights.

    Args:
        entries: number of values that share one scale; by default as many as do. For activations, of one example.

    Source: Esser et al., Learned Step Size Quantization, 2020 (equations 3 and 5).
    """
    shared = entries or max(1, values.numel() // scale.numel())
    return _Quantize.apply(values, scale, qmin, qmax, shared)


class _Quantize(torch.autograd.Function):
    """Quantize and dequantize in one step; only what the backward pass needs is saved."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, qmin: int, qmax: int, entries: int) -> Tensor:
        steps = values / scale
        inside = (steps >= qmin) & (steps <= qmax)
        rounded = steps.round_().clamp_(qmin, qmax).mul_(scale)
        ctx.save_for_backward(values, scale, rounded, inside)
        ctx.rate = 1 / math.sqrt(entries * qmax)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, scale, rounded, inside = ctx.saved_tensors
        passed = gradients[0] * inside
        if not ctx.needs_input_grad[1]:
            return passed, None, None, None, None
        # (rounded - value) / scale inside the range and rounded / scale outside are the two cases of the docstring
        moved = (gradients[0] * rounded).sub_(passed * values)
        return passed, moved.sum_to_size(scale.shape).float() * (ctx.rate / scale), None, None, None

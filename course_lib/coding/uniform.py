"""Uniform grids for an entropy coder: integer levels times a step size, without limits and without a zero-point.

An entropy coder makes frequent levels cheap, so a grid needs no few, well placed values: one step size decides about
error and bits together (Gish and Pierce, Asymptotically Efficient Quantizing, 1968: a uniform quantizer with an entropy
coder is within 0.25 bit of the best one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.architectures.weighted_layers import copy_model
from course_lib.core.validation import check_positive

STEP_MANTISSA_BITS = 4
SMALLEST_STEP, LARGEST_STEP = 2.0**-14, 2.0**15  # normal numbers of fp16, in which steps are stored


def quantize_levels(weight: Tensor, steps: Tensor) -> Tensor:
    """Integer levels (int32) of the nearest grid points.

    Args:
        weight: any shape.
        steps: one step, or one per row of ``weight``, ``(rows,)``.

    Raises:
        ValueError: if a weight is NaN or infinite, or a step is not a positive number.
    """
    if not weight.isfinite().all():
        raise ValueError("weight must be finite, got NaN or infinity")
    if not (steps.isfinite() & (steps > 0)).all():
        raise ValueError("steps must be positive, finite numbers")
    return (weight / per_row(steps, weight)).round().int()


def per_row(steps: Tensor, weight: Tensor) -> Tensor:
    """``steps`` shaped so that they broadcast over the rows (first axis) of ``weight``."""
    return steps.reshape(-1, *[1] * (weight.dim() - 1)) if steps.numel() > 1 else steps.reshape(())


def storable_steps(steps: Tensor, mantissa_bits: int = STEP_MANTISSA_BITS) -> Tensor:
    """Step sizes rounded to ``mantissa_bits`` bits behind the leading one, so that they are cheap to store in fp16."""
    return storage.coarse_steps(steps.clamp(SMALLEST_STEP, LARGEST_STEP), mantissa_bits).float()


def entropy_bits(levels: Tensor) -> float:
    """Bits of all ``levels`` at the entropy of their own histogram: what an order-0 code needs, without its table."""
    counts = levels.flatten().unique(return_counts=True)[1].double()
    return float((counts * (counts.sum() / counts).log2()).sum())


def high_rate_error(step: float) -> float:
    """Mean squared error of rounding to a grid that is fine against the spread of the weights, ``step² / 12``."""
    return step * step / 12


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameter name → weight of every convolution, linear layer and embedding."""
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    return {f"{name}.weight": module.weight.detach() for name, module in modules.items()}


def variance_steps(model: nn.Module, c: float) -> dict[str, Tensor]:
    """One step for each layer without any data: ``c`` times the standard deviation of its weights.

    Raises:
        ValueError: if ``c`` is not positive.
    """
    check_positive("c", c)
    spreads = {name: weight.float().std(correction=0) for name, weight in weights_of(model).items()}
    return {name: storable_steps(c * spread, mantissa_bits=10) for name, spread in spreads.items()}


def fisher_steps(fisher: Mapping[str, Tensor], c: float) -> dict[str, Tensor]:
    """One step for each layer, ``c / sqrt(mean Fisher information)``: a bit costs the same loss in every layer.

    Rounding to steps s raises the loss by ½ Σ F s² / 12 and saves log2 s bits a weight; both derivatives are equal in
    all layers if F s² is.

    Raises:
        ValueError: if ``c`` is not positive.
    """
    check_positive("c", c)
    means = {name: values.double().mean().clamp(min=torch.finfo().tiny) for name, values in fisher.items()}
    return {name: storable_steps((c / mean.sqrt()).float(), mantissa_bits=10) for name, mean in means.items()}


def quantize_uniform(model: nn.Module, steps: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``model`` whose named parameters lie on uniform grids, ready for ``storage.save``.

    Args:
        steps: parameter name → one step, or one per row.

    Raises:
        ValueError: as ``quantize_levels``, or if a name is unknown.
    """
    quantized = copy_model(model)
    state = quantized.state_dict()
    if unknown := sorted(set(steps) - set(state)):
        raise ValueError(f"steps names {unknown[0]!r}, which is no parameter of the model")
    levels = {name: quantize_levels(state[name], step) for name, step in steps.items()}
    return set_levels(quantized, levels, steps)


def set_levels(model: nn.Module, levels: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> nn.Module:
    """Put ``levels · steps`` into the named parameters of ``model``, in place, and attach their encodings."""
    encoded = {name: storage.encode_uniform(levels[name], steps[name]) for name in levels}
    parameters: dict[str, Any] = dict(model.named_parameters())
    for name, encoding in encoded.items():
        parameters[name].data.copy_(storage.decode(encoding))
    storage.set_encodings(model, storage.encodings_of(model) | encoded)
    return model


def levels_of(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Parameter name → levels and steps of what ``set_levels`` attached."""
    encodings = storage.encodings_of(model)
    return {n: (e.parts["levels"], e.parts["steps"]) for n, e in encodings.items() if e.encoding == "uniform"}

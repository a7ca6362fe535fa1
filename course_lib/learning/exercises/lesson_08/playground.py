"""Round-to-nearest (08.3), and one layer of the tiny Llama with calibration and held-out inputs (08.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course_lib.core.validation import check_choice

LAYER = "model.layers.1.mlp.down_proj"
METHODS = ("rtn", "gptq", "awq")
GROUP_SIZES = (None, 256, 128, 64, 32, 16)
MOST_BITS = 3.2
LARGEST_ERROR = 0.01
WINDOWS = 48


@dataclass(frozen=True)
class Measured:
    """Bits per weight with scales and zero-points, and the relative output error on held-out inputs."""

    bits_per_weight: float
    error: float

    def __str__(self) -> str:
        return f"{self.bits_per_weight:.3f} bits per weight, output error {self.error:.2%}"

    __repr__ = __str__


def try_plan(method: str, bits: int, group_size: int | None) -> Measured:
    """Quantize the layer and measure it; the model itself is unchanged.

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
    return _measured(method, bits, group_size)


@cache
def _measured(method: str, bits: int, group_size: int | None) -> Measured:
    from course_lib.quantization import (
        WeightScheme,
        clipped_params,
        gptq_matrix,
        pack,
        quantize_scaled,
        quantize_tensor,
        search_scales,
    )

    matrix, calibration, held_out = _layer()
    scheme, scales = WeightScheme(bits, group_size), torch.ones(matrix.shape[1])
    if method == "rtn":
        quantized = quantize_tensor(matrix, scheme.params(matrix))
    elif method == "gptq":
        quantized = gptq_matrix(matrix, calibration.hessian, clipped_params(matrix, scheme, calibration.hessian))
    else:
        scales = search_scales(matrix, calibration, scheme).scales
        quantized = quantize_scaled(matrix, scales, calibration, scheme)
    error = held_out.output_error(quantized.values() / scales - matrix) / held_out.output_error(matrix)
    extra = 2 * len(scales) if method == "awq" else 0
    return Measured(8 * (pack(quantized).bytes + extra) / matrix.numel(), error)


@cache
def _layer() -> tuple[Tensor, Any, Any]:
    """The matrix, and the statistics of its inputs on windows of train (calibration) and of validation (held out)."""
    from course_lib import models
    from course_lib.data import text_windows
    from course_lib.models.hooks import capture_inputs
    from course_lib.quantization import LayerInputs

    model, splits = models.load("tiny_llama"), text_windows.load()
    layer = model.get_submodule(LAYER)
    found = []
    for split in (splits.train, splits.validation):
        inputs = LayerInputs.empty(layer.in_features)  # type: ignore[arg-type]
        with torch.no_grad(), capture_inputs(model, [LAYER]) as captured:
            models.forward(model, {"input_ids": split.subset(WINDOWS).inputs["input_ids"]})  # type: ignore[index]
        inputs.add(captured[LAYER].flatten(0, -2))
        found.append(inputs)
    return layer.weight.detach(), found[0], found[1]  # type: ignore[operator]


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """``weight`` ``(out, in)`` on an asymmetric grid of ``2**bits`` levels per row, between its extremes and zero."""
    low = weight.amin(dim=1, keepdim=True).clamp(max=0)
    high = weight.amax(dim=1, keepdim=True).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = (-low / scale).round()
    integers = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1)
    return (integers - zero_point) * scale

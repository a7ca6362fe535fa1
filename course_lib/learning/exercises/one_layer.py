"""The layer of exercise 08.6: one matrix of the tiny Llama, with inputs to calibrate on and others to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course_lib.core.validation import check_choice
from course_lib.learning.expect import expect

LAYER = "model.layers.1.mlp.down_proj"
METHODS = ("rtn", "gptq", "awq")
GROUP_SIZES = (None, 256, 128, 64, 32, 16)
MOST_BITS = 3.2
LARGEST_ERROR = 0.01
WINDOWS = 48


@dataclass(frozen=True)
class Measured:
    """Bits per weight with scales and zero-points, and the error of the output on inputs that nobody calibrated on."""

    bits_per_weight: float
    error: float

    def __str__(self) -> str:
        return f"{self.bits_per_weight:.3f} bits per weight, output error {self.error:.2%}"

    __repr__ = __str__


def try_plan(method: str, bits: int, group_size: int | None) -> Measured:
    """Quantize the layer in one way and measure it; the model itself stays whole.

    Args:
        method: ``"rtn"``, ``"gptq"`` or ``"awq"``.
        bits: 2, 3 or 4.
        group_size: 256, 128, 64, 32 or 16 weights share a scale, or None for a whole row.

    Raises:
        ValueError: if an argument is none of these.
    """
    check_choice("method", method, METHODS)
    check_choice("bits", bits, (2, 3, 4))
    check_choice("group_size", group_size, GROUP_SIZES)
    return _measured(method, bits, group_size)


def check_plan(plan: Any) -> tuple[str, int, int | None]:
    """A learner's choice, or the reason why it is none."""
    good = isinstance(plan, list | tuple) and len(plan) == 3
    expect(good, f"return three things: method, bits and group size; got {plan!r}")
    method, bits, group_size = plan
    expect(method in METHODS, f"the method is one of {', '.join(METHODS)}; got {method!r}")
    expect(type(bits) is int and bits in (2, 3, 4), f"bits are 2, 3 or 4; got {bits!r}")
    expect(group_size in GROUP_SIZES, f"the group size is one of {GROUP_SIZES}; got {group_size!r}")
    return method, bits, group_size


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
    """The matrix, and the sums over what goes into it on some windows of train and of validation."""
    from course_lib import models
    from course_lib.data import text_windows
    from course_lib.quantization import LayerInputs

    model, splits = models.load("tiny_llama"), text_windows.load()
    layer = model.get_submodule(LAYER)
    found = []
    for split in (splits.train, splits.validation):
        inputs = LayerInputs.empty(layer.in_features)  # type: ignore[arg-type]
        handle = layer.register_forward_pre_hook(lambda module, args, inputs=inputs: inputs.add(args[0].flatten(0, -2)))
        with torch.no_grad():
            models.forward(model, {"input_ids": split.subset(WINDOWS).inputs["input_ids"]})  # type: ignore[index]
        handle.remove()
        found.append(inputs)
    return layer.weight.detach(), found[0], found[1]  # type: ignore[operator]

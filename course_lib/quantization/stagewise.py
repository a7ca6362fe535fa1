"""The loop around GPTQ, AWQ and SmoothQuant: quantize stage after stage, on inputs from the quantized stages before.

A stage is a set of linear layers with the same input, such as query, key and value; their matrices are stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.architectures.weighted_layers import copy_model
from course_lib.data import Split
from course_lib.quantization.affine import QuantizedTensor
from course_lib.quantization.scale_folding import fold_divisor
from course_lib.quantization.weight_only import PackedWeights, WeightOnly, WeightScheme, pack_matrix
from course_lib.storage import Encoded
from course_lib.training.input_statistics import LayerInputs
from course_lib.training.sequential_calibration import (
    Stage,
    calibration_batches,
    linear_layers,
    set_weight_matrix,
    walk,
    weight_matrix,
)

SMALLEST_OUTPUT = 1e-12


@dataclass(frozen=True)
class Choice:
    """What a method decides for the stacked matrices of a stage.

    Args:
        quantized: integers of the matrix, ``(out, in)``; of ``matrix * divisor`` where there is a divisor.
        divisor: ``(in,)``, exact in fp16: what the inputs of the integers are divided by.
        facts: further columns of the report.
    """

    quantized: QuantizedTensor
    divisor: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> Tensor:
        """The effective weights, for inputs that are not divided."""
        values = self.quantized.values()
        return values if self.divisor is None else values / self.divisor


Method = Callable[[Stage, Tensor, LayerInputs], Choice]


def quantize_by_stage(
    model: nn.Module,
    calibration: Split,
    scheme: WeightScheme,
    method: Method,
    *,
    name: str,
    embedding_bits: int | None,
    fold: bool = True,
    correct: bool = False,
) -> WeightOnly:
    """Apply ``method`` to each stage of a copy of ``model``, in execution order.

    A divisor is folded into the layer before if that is possible and ``fold`` is set, else stored with the matrix.
    With ``correct``, biases compensate for the mean error of their layers, and ``method`` gets centred inputs.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if there is no example or no linear layer, or a layer does not fit the scheme.
    """
    packed, batches = PackedWeights(scheme), calibration_batches(calibration)
    scheme.check(linear_layers(model))
    changed = copy_model(model)

    def at_stage(stage: Stage, inputs: LayerInputs) -> None:
        matrix = torch.cat([weight_matrix(layer).float().cpu() for layer in stage.layers.values()])
        correctable = correct and all(layer.bias is not None for layer in stage.layers.values())
        output = max(inputs.output_error(matrix), SMALLEST_OUTPUT)
        inputs = inputs.centred() if correctable else inputs
        choice = method(stage, matrix, inputs)
        error = inputs.output_error(choice.values() - matrix) / output
        folded = choice.divisor is not None and fold and fold_divisor(changed, stage, choice.divisor, packed.tensors)
        shift = (matrix - choice.values()) @ inputs.mean if correctable else None
        for layer, weight in _write_back(stage, choice.quantized, None if folded else choice.divisor, shift):
            packed.add(layer, weight, output_error=error, **choice.facts)

    walk(changed, batches, at_stage)
    return packed.finish(changed, name, embedding_bits)


def _write_back(
    stage: Stage, quantized: QuantizedTensor, divisor: Tensor | None, shift: Tensor | None
) -> Iterator[tuple[str, Encoded]]:
    """Write the stacked matrices into the layers of a stage and ``shift`` into their biases; yield packed weights."""
    counts = [len(weight_matrix(layer)) for layer in stage.layers.values()]
    shifts = [None] * len(counts) if shift is None else shift.split(counts)
    parts = split_rows(quantized, counts)
    for (name, layer), part, bias_shift in zip(stage.layers.items(), parts, shifts, strict=True):
        if bias_shift is not None:
            add_to_bias(layer, bias_shift)
        set_weight_matrix(layer, part.values() if divisor is None else part.values() / divisor)
        weight = pack_matrix(part, layer)
        yield name, weight if divisor is None else storage.encode_columns(weight, divisor=divisor)


def add_to_bias(layer: nn.Module, shift: Tensor) -> None:
    """Add ``shift`` to the bias of a layer in place, rounded to fp16, in which it is stored.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.2).
    """
    bias: Any = layer.bias
    bias.data.copy_((bias.data + shift.to(bias.device)).half())


def split_rows(quantized: QuantizedTensor, counts: Sequence[int]) -> list[QuantizedTensor]:
    """A stacked matrix ``(sum of counts, in)`` as one quantized matrix per count."""
    params, rows = quantized.params, len(quantized.integers)
    per_row = (params.scale.view(rows, -1), params.zero_point.view(rows, -1))
    scales, zero_points = (part.split(list(counts)) for part in per_row)
    return [
        QuantizedTensor(integers, replace(params, scale=scale.flatten(), zero_point=zero_point.flatten()))
        for integers, scale, zero_point in zip(quantized.integers.split(list(counts)), scales, zero_points, strict=True)
    ]

"""SmoothQuant: weights and activations in 8 bits, with the outliers of the activations moved into the weights.

A few input channels of a transformer are far larger than the others. One scale for all inputs must reach the largest,
and leaves few steps for the rest. Dividing channel ``j`` by ``s_j = max|x_j| ** alpha / max|w_j| ** (1 - alpha)`` and
multiplying its weights by ``s_j`` shares the difficulty between the two.

Source: Xiao, Lin, Seznec, Wu, Demouth and Han, SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models, 2022.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures import input_quantizers
from course_lib.core.validation import check_fraction
from course_lib.data import Split
from course_lib.quantization.affine import integer_range, quantize_tensor
from course_lib.quantization.folding import previous_layer
from course_lib.quantization.weight_only import Choice, WeightOnly, WeightScheme, quantize_by_stage
from course_lib.training.input_statistics import LayerInputs
from course_lib.training.sequential_calibration import Stage


def smoothquant(
    model: nn.Module,
    calibration: Split,
    *,
    alpha: float | None = 0.5,
    bits: int = 8,
    activation_bits: int = 8,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """A copy of ``model`` with symmetric integer weights (one scale per output) and static symmetric activations.

    Factors go into the norm or linear layer before, where that feeds nothing else. Elsewhere they stay with the layer:
    its grid has one step per channel, and the factors are stored beside the integers.

    Args:
        calibration: train or validation; it gives the ranges of the activations.
        alpha: how much of the difficulty moves to the weights, in [0, 1]; None: nothing is smoothed.
        bits, activation_bits: 2 to 8.
        embedding_bits: as in ``rtn``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or there is no linear layer or no example.
    """
    if alpha is not None:
        check_fraction("alpha", alpha, below_one=False)
    scheme = WeightScheme(bits, None, symmetric=True)
    ends = integer_range(activation_bits, True)
    steps: dict[str, Tensor] = {}
    source = models.describe(model)

    def choose(stage: Stage, matrix: Tensor, inputs: LayerInputs) -> Choice:
        factors = None if alpha is None else smoothing_factors(inputs.max_abs, matrix.abs().amax(dim=0), alpha)
        largest = inputs.max_abs if factors is None else inputs.max_abs / factors
        step = (largest.max().clamp(min=1e-4) / ends[1]).half().float()
        scaled = matrix if factors is None else matrix * factors
        if factors is not None and previous_layer(model, stage) is None:
            steps.update(dict.fromkeys(stage.layers, (step * factors).half().float()))
        else:
            steps.update(dict.fromkeys(stage.layers, step))
        return Choice(quantize_tensor(scaled, scheme.params(scaled)), factors, {"step": step.item()})

    result = quantize_by_stage(model, calibration, scheme, choose, name="smoothquant", embedding_bits=embedding_bits)
    return _with_grids(result, source, steps, ends)


def smoothing_factors(largest_input: Tensor, largest_weight: Tensor, alpha: float) -> Tensor:
    """``max|x| ** alpha / max|w| ** (1 - alpha)`` per input ``(in,)``, with a geometric mean of 1, exact in fp16.

    Inputs or weights that are always zero count as the smallest that are not.
    """
    smallest = torch.finfo(torch.float16).tiny
    inputs, weights = (
        part.clamp(min=max(smallest, 1e-4 * part.max().item())) for part in (largest_input, largest_weight)
    )
    logarithm = alpha * inputs.log() - (1 - alpha) * weights.log()
    return (logarithm - logarithm.mean()).exp().half().float()


def _with_grids(
    result: WeightOnly, source: Mapping[str, Any], steps: Mapping[str, Tensor], ends: tuple[int, int]
) -> WeightOnly:
    """The grids of all layers, in the model and in its description."""
    described = copy.deepcopy(dict(source))
    noted = described.setdefault("arguments", {}).setdefault("input_grids", {})
    for name, step in steps.items():
        input_quantizers.add_input_grid(result.model.get_submodule(name), input_quantizers.InputGrid(*ends, step))
        noted[name] = [*ends, len(step)] if step.dim() else list(ends)
    setattr(result.model, models.ARCHITECTURE_ATTRIBUTE, described)
    return result

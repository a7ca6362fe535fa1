"""SmoothQuant: weights and activations in 8 bits, with the outliers of the activations moved into the weights.

A few input channels of a transformer are far larger than the others. One scale for all inputs must reach the largest,
and leaves few steps for the rest. Dividing channel ``j`` by ``s_j = max|x_j| ** alpha / max|w_j| ** (1 - alpha)`` and
multiplying its weights by ``s_j`` shares the difficulty between the two.

Source: Xiao, Lin, Seznec, Wu, Demouth and Han, SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models, 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.input_quantizers import InputGrid
from course_lib.core.validation import check_fraction
from course_lib.data import Split
from course_lib.quantization.affine import integer_range, quantize_tensor
from course_lib.quantization.ptq import add_input_grids
from course_lib.quantization.scale_folding import previous_layer
from course_lib.quantization.stagewise import Choice, quantize_by_stage
from course_lib.quantization.weight_only import WeightOnly, WeightScheme
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

    Factors are folded into the norm or linear layer before, where that feeds nothing else. Elsewhere the input of the
    layer gets one scale per channel, and the factors are stored with the integers.

    Args:
        calibration: train or validation; it gives the ranges of the activations.
        alpha: migration strength in [0, 1], the share of the difficulty that moves to the weights; None: no smoothing.
        bits, activation_bits: 2 to 8.
        embedding_bits: as in ``rtn``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or there is no linear layer or no example.
    """
    if alpha is not None:
        check_fraction("alpha", alpha, below_one=False)
    models.describe(model)  # a model without a description cannot be stored with its input grids
    scheme = WeightScheme(bits, None, symmetric=True)
    qmin, qmax = integer_range(activation_bits, True)
    grids: dict[str, InputGrid] = {}

    def choose(stage: Stage, matrix: Tensor, inputs: LayerInputs) -> Choice:
        W, x_max, s = matrix, inputs.max_abs, None
        if alpha is not None:
            s = smoothing_factors(x_max, W.abs().amax(dim=0), alpha)
            W, x_max = W * s, x_max / s
        step = (x_max.max().clamp(min=1e-4) / qmax).half().float()
        folded = previous_layer(model, stage) is not None
        scale = step if s is None or folded else (step * s).half().float()
        grids.update({name: InputGrid(qmin, qmax, scale) for name in stage.layers})
        return Choice(quantize_tensor(W, scheme.params(W)), s, {"step": step.item()})

    result = quantize_by_stage(model, calibration, scheme, choose, name="smoothquant", embedding_bits=embedding_bits)
    add_input_grids(result.model, grids)
    return result


def smoothing_factors(largest_input: Tensor, largest_weight: Tensor, alpha: float) -> Tensor:
    """``s = max|x| ** alpha / max|w| ** (1 - alpha)`` per input ``(in,)``, with a geometric mean of 1, exact in fp16.

    Inputs or weights that are always zero count as the smallest that are not.
    """
    smallest = torch.finfo(torch.float16).tiny
    x_max, w_max = (part.clamp(min=max(smallest, 1e-4 * part.max().item())) for part in (largest_input, largest_weight))
    logarithm = alpha * x_max.log() - (1 - alpha) * w_max.log()
    return (logarithm - logarithm.mean()).exp().half().float()

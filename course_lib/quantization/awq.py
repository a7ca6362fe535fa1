"""AWQ: scale up the weights of large inputs before rounding, so that their rounding error shrinks.

Multiplying an input's column of weights by ``s > 1`` and dividing the input by ``s`` changes nothing, but the rounding
error of that column shrinks by about ``s``. AWQ takes ``s = mean|x| ** alpha`` per input and searches ``alpha`` in
[0, 1] for the smallest error of the layer's output; ``alpha = 0`` is round-to-nearest.

Source: Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan and Han, AWQ: Activation-aware Weight Quantization for LLM
Compression and Acceleration, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.quantization.affine import QuantizedTensor, fake_quantize, quantize_tensor
from course_lib.quantization.mse_scale import clipped_params
from course_lib.quantization.stagewise import Choice, quantize_by_stage
from course_lib.quantization.weight_only import WeightOnly, WeightScheme
from course_lib.training.input_statistics import LayerInputs
from course_lib.training.sequential_calibration import Stage

ALPHAS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class ScaleSearch:
    """Result of the search over ``alpha``: the chosen scales ``(in,)``, and the error of each candidate."""

    scales: Tensor
    alpha: float
    alphas: tuple[float, ...]
    errors: tuple[float, ...]


def awq(
    model: nn.Module,
    calibration: Split,
    bits: int = 4,
    *,
    group_size: int | None = 64,
    symmetric: bool = False,
    clip: bool = True,
    fold: bool = True,
    correct: bool = True,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """A copy of ``model`` with linear layers scaled by the search over ``alpha`` and rounded to nearest.

    The scales are folded into the norm or linear layer before, where that feeds nothing else; otherwise they are stored
    with the integers, 16 bits per input (see ``scale_folding`` and ``storage.columns``).

    Args:
        calibration: train or validation.
        clip: shrink the ranges of the scaled weights where that lowers the error; else min-max.
        correct: let biases compensate for the mean error of their layer, where there are any.
        embedding_bits: as in ``rtn``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or there is no linear layer or no example.
    """
    scheme = WeightScheme(bits, group_size, symmetric)

    def choose(stage: Stage, matrix: Tensor, inputs: LayerInputs) -> Choice:
        search = search_scales(matrix, inputs, scheme)
        quantized = quantize_scaled(matrix, search.scales, inputs, scheme, clip=clip)
        return Choice(quantized, search.scales, {"alpha": search.alpha})

    return quantize_by_stage(
        model, calibration, scheme, choose, name="awq", embedding_bits=embedding_bits, fold=fold, correct=correct
    )


def search_scales(
    matrix: Tensor, inputs: LayerInputs, scheme: WeightScheme, alphas: tuple[float, ...] = ALPHAS
) -> ScaleSearch:
    """Round ``W = matrix`` ``(out, in)`` to nearest with the scales of every ``alpha``, and keep the best.

    The error is the mean of ``‖Q(W · s)(x / s) - W x‖²`` over the calibration rows.
    """
    W, errors = matrix, []
    for alpha in alphas:
        s = activation_scales(inputs.mean_abs, alpha)
        Q = fake_quantize(W * s, scheme.params(W * s))
        errors.append(inputs.output_error(Q / s - W))
    best = alphas[errors.index(min(errors))]
    return ScaleSearch(activation_scales(inputs.mean_abs, best), best, alphas, tuple(errors))


def activation_scales(mean_abs: Tensor, alpha: float) -> Tensor:
    """``s = mean|x| ** alpha`` ``(in,)``, normalized so that the largest and the smallest are each other's inverse.

    Rounded to fp16, in which they are stored; inputs that are always zero count as the smallest that is not.
    """
    if not (mean_abs > 0).any():
        return torch.ones_like(mean_abs)
    floor = max(mean_abs[mean_abs > 0].min().item(), 1e-4 * mean_abs.max().item())
    s = mean_abs.clamp(min=floor) ** alpha
    return (s / (s.max() * s.min()).sqrt()).half().float()


def quantize_scaled(
    matrix: Tensor, scales: Tensor, inputs: LayerInputs, scheme: WeightScheme, *, clip: bool = True
) -> QuantizedTensor:
    """Integers of ``matrix * scales``, with ranges shrunk where that lowers the error of the output."""
    scaled = matrix * scales
    if not clip:
        return quantize_tensor(scaled, scheme.params(scaled))
    hessian = inputs.hessian / scales / scales[:, None]  # the inputs of the scaled weights are divided by the scales
    return quantize_tensor(scaled, clipped_params(scaled, scheme, hessian))

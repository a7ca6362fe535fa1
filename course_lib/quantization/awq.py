"""AWQ: protect the weights that meet large inputs, by making them larger before they are rounded.

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
from course_lib.quantization.weight_only import Choice, WeightOnly, WeightScheme, clipped_params, quantize_by_stage
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
    """A copy of ``model`` whose linear layers were scaled by the search over ``alpha`` and rounded to nearest.

    The scales go into the norm or linear layer before, where that feeds nothing else; otherwise they are stored beside
    the integers, 16 bits per input (see ``folding`` and ``storage.columns``).

    Args:
        calibration: train or validation.
        clip: shrink the ranges of the scaled weights where that lowers the error; else min-max.
        fold: move scales into the layer before.
        correct: let each bias take over the mean of its layer's error, where there is one (see ``add_to_bias``).
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
    """Try every ``alpha``, round ``matrix`` ``(out, in)`` to nearest with its scales, and keep the best.

    The error is the mean over the calibration rows of ``‖(Ŵ - W) x‖²``.
    """
    errors = []
    for alpha in alphas:
        scales = activation_scales(inputs.mean_abs, alpha)
        scaled = matrix * scales
        errors.append(inputs.output_error(fake_quantize(scaled, scheme.params(scaled)) / scales - matrix))
    best = min(range(len(alphas)), key=errors.__getitem__)
    return ScaleSearch(activation_scales(inputs.mean_abs, alphas[best]), alphas[best], alphas, tuple(errors))


def activation_scales(mean_abs: Tensor, alpha: float) -> Tensor:
    """``mean|x| ** alpha`` ``(in,)``, normalized so that the largest and the smallest are each other's inverse.

    Rounded to fp16, in which they are stored; inputs that are always zero count as the smallest that is not.
    """
    if not (mean_abs > 0).any():
        return torch.ones_like(mean_abs)
    floor = max(mean_abs[mean_abs > 0].min().item(), 1e-4 * mean_abs.max().item())
    scales = mean_abs.clamp(min=floor) ** alpha
    return (scales / (scales.max() * scales.min()).sqrt()).half().float()


def quantize_scaled(
    matrix: Tensor, scales: Tensor, inputs: LayerInputs, scheme: WeightScheme, *, clip: bool = True
) -> QuantizedTensor:
    """Integers of ``matrix * scales``, with ranges shrunk where that lowers the error of the output."""
    scaled = matrix * scales
    if not clip:
        return quantize_tensor(scaled, scheme.params(scaled))
    hessian = inputs.hessian / scales / scales[:, None]  # the inputs of the scaled weights are divided by the scales
    return quantize_tensor(scaled, clipped_params(scaled, scheme, hessian))

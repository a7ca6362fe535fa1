"""Scales with the least squared error: small steps clip large values, large steps round small ones to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.quantization.affine import QuantParams, check_finite, choose_params, fake_quantize, integer_range
from course_lib.quantization.calibration import check_calibration, watch_inputs
from course_lib.quantization.weight_only import WeightScheme

SMALLEST = 1e-8
CANDIDATES = 25
NARROWEST = 0.2
CLIP_RATIOS = tuple(1 - 0.05 * step for step in range(13))
SAMPLE = 200_000  # values of a layer's input that its step size is chosen from


@torch.no_grad()
def best_step(values: Tensor, low: int, high: int) -> Tensor:
    """The step size ``[rows]`` with the least squared error for each row of ``values`` ``[rows, entries]``.

    Candidates are equally spaced from 20 % to 100 % of the smallest step size that clips nothing.

    Args:
        low, high: smallest and largest integer, ``low <= 0 < high``.

    Source: Nagel et al., A White Paper on Neural Network Quantization, 2021 (section 3.1).
    """
    check_finite("values", values)
    rows = values.detach().float()
    widest = torch.maximum(rows.amax(1) / high, rows.amin(1) / low if low else rows.new_zeros(())).clamp_min(SMALLEST)
    best, least = widest.clone(), torch.full_like(widest, torch.inf)
    for share in torch.linspace(NARROWEST, 1.0, CANDIDATES):
        step = (widest * share)[:, None]
        error = (rows / step).round_().clamp_(low, high).mul_(step).sub_(rows).square_().sum(1)
        best = torch.where(error < least, step[:, 0], best)
        least = torch.minimum(error, least)
    return best


def best_weight_params(weight: Tensor, bits: int, axis: int = 0) -> QuantParams:
    """Symmetric params of a weight ``(out, …)`` with the best step size for each output channel.

    Args:
        axis: along which the output channels lie; 1 for transposed layers.

    Raises:
        ValueError: if the weight is empty or holds NaN or infinity, or ``bits`` is out of range.
    """
    check_finite("weight", weight)
    scale = best_step(weight.movedim(axis, 0).flatten(1), *integer_range(bits, symmetric=True))
    return QuantParams(scale, torch.zeros(len(scale), dtype=torch.int32), bits, symmetric=True, axis=axis)


def best_input_params(
    model: nn.Module, calibration: Split, bits: Mapping[str, int], examples: int = 256
) -> dict[str, QuantParams]:
    """Layer → params of its input with the best step size; unsigned where no input is negative (after ReLU).

    Layers that are never used are left out.

    Args:
        calibration: train or validation examples, of which ``examples`` are drawn.
        bits: layer → bits of its input.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty, or an input holds NaN or infinity.
    """
    check_calibration(calibration)
    examples_drawn = calibration.subset(examples)
    samples: dict[str, list[Tensor]] = {name: [] for name in bits}
    generator = torch.Generator().manual_seed(0)

    def sample(name: str, values: Tensor) -> None:
        check_finite("values", values)
        flat = values.detach().float().flatten()
        count = max(1, SAMPLE * len(values) // len(examples_drawn))
        samples[name].append(flat[torch.randint(len(flat), (count,), generator=generator)])

    watch_inputs(model, examples_drawn, {name: partial(sample, name) for name in bits})
    return {name: _best_params(torch.cat(values), bits[name]) for name, values in samples.items() if values}


def _best_params(values: Tensor, bits: int) -> QuantParams:
    symmetric = bool((values < 0).any())
    scale = best_step(values[None], *integer_range(bits, symmetric))
    return QuantParams(scale, torch.zeros(1, dtype=torch.int32), bits, symmetric)


def clipped_params(matrix: Tensor, scheme: WeightScheme, hessian: Tensor) -> QuantParams:
    """Like ``scheme.params``, with the range of each group shrunk by the ratio that gives the least output error.

    A smaller range means smaller steps for most weights and a larger error for the few that are clipped. 13 ratios from
    1 to 0.4 are tried; the error of a group is ``δ H δᵀ`` with the block of ``hessian`` that belongs to its inputs.

    Args:
        matrix: ``(out, in)``.
        hessian: ``(in, in)``.
    """
    best = scheme.params(matrix)
    size = scheme.group_size or matrix.shape[1]
    starts = range(0, matrix.shape[1], size)
    H = torch.stack([hessian[start : start + size, start : start + size] for start in starts])
    low, high = best.blocks(matrix).aminmax(dim=1)
    least = torch.full_like(low, torch.inf)
    for ratio in CLIP_RATIOS:
        params = choose_params(
            low * ratio, high * ratio, scheme.bits, scheme.symmetric, axis=0, group_size=scheme.group_size,
            scale_dtype="fp16",
        )  # fmt: skip
        delta = (fake_quantize(matrix, params) - matrix).view(len(matrix), len(starts), size).transpose(0, 1)
        error = ((delta @ H) * delta).sum(dim=2).T.reshape(-1)
        better = error < least
        least = torch.where(better, error, least)
        best = replace(
            best,
            scale=torch.where(better, params.scale, best.scale),
            zero_point=torch.where(better, params.zero_point, best.zero_point),
        )
    return best

"""Saturation: on processors without VNNI, int8 kernels clamp sums of two products to 16 bits.

The instruction ``vpmaddubsw`` multiplies uint8 by int8 and adds two neighbouring products in int16, where
2 · 255 · 127 does not fit. A fake-quantized graph does not show the loss. Here it is emulated, on any processor.

Source: Intel, Lower Numerical Precision Deep Learning Inference and Training, 2018.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.architectures.input_quantizers import input_grids
from course_lib.models.hooks import forward_hooks
from course_lib.quantization.integer import im2col
from course_lib.quantization.packing import quantized_weights

LOW, HIGH = -(2**15), 2**15 - 1
LARGEST_INPUT = 255
PAIRS_AT_ONCE = 256


def saturating_sums(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T in int32, except that each pair of neighbouring products is clamped to 16 bits first.

    Only pairs of large weights can overflow, so only these are computed one by one.

    Args:
        x: uint8 values [n, k] (the zero-point is not subtracted).
        weight: int8 values [channels, k].
    """
    odd = x.shape[1] % 2
    pairs_x = F.pad(x.float(), (0, odd)).T.contiguous().unflatten(0, (-1, 2))
    pairs_w = F.pad(weight.float(), (0, odd)).unflatten(1, (-1, 2))
    sums = weight.double() @ x.T.double()
    channels, pairs = (pairs_w.abs().sum(2) * LARGEST_INPUT > HIGH).nonzero(as_tuple=True)
    for channel, pair in zip(channels.split(PAIRS_AT_ONCE), pairs.split(PAIRS_AT_ONCE), strict=True):
        factors = pairs_w[channel, pair]
        products = pairs_x[pair, 0] * factors[:, :1] + pairs_x[pair, 1] * factors[:, 1:]
        sums.index_add_(0, channel, (products.clamp(LOW, HIGH) - products).double())
    return sums.T.to(torch.int32)


@contextlib.contextmanager
def saturating_layers(model: nn.Module) -> Iterator[None]:
    """Context in which the layers of a quantized model compute as on a processor without VNNI (emulated).

    Args:
        model: made by ``post_training_quantization``: symmetric weights, unsigned inputs of 8 bits.
    """
    weights, grids = quantized_weights(model), input_grids(model)

    def hook_for(name: str) -> Callable[..., Tensor]:
        grid, weight = grids[name], weights[f"{name}.weight"]
        integers = weight.integers.flatten(1)
        if weight.integers.dim() == 4:  # channels innermost, as the kernels of ONNX Runtime read them
            integers = weight.integers.permute(0, 2, 3, 1).flatten(1)
        weight_sums = integers.sum(1, dtype=torch.int32)

        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            zero_point = -grid.low
            x = torch.round(inputs[0] / grid.scale) + zero_point
            rows, size = (x.flatten(0, -2), None) if isinstance(layer, nn.Linear) else _rows(x, layer, zero_point)
            sums = saturating_sums(rows, integers) - zero_point * weight_sums
            values = sums * (grid.scale * weight.params.scale)
            if isinstance(layer.bias, Tensor):
                values = values + layer.bias
            return values.view(output.shape) if size is None else values.view(len(x), *size, -1).movedim(-1, 1)

        return hook

    with forward_hooks(model, {name: hook_for(name) for name in grids}):
        yield


def _rows(x: Tensor, layer: Any, zero_point: int) -> tuple[Tensor, tuple[int, int]]:
    """``im2col`` with the channels innermost."""
    rows, size = im2col(x, layer, zero_point)
    kh, kw = layer.kernel_size
    return rows.view(len(rows), -1, kh * kw).transpose(1, 2).flatten(1), size

"""Integer-only inference: int8 operands, int32 accumulators, and one multiplication and shift at the end.

    y = s_x s_w Σ (x - z_x) w + b,   and then   y_q = clamp(round(y / s_y) + z_y)

The sum is exact in 32 bits. The bias is an integer of the same scale s_x s_w and is added to it. The remaining factor
M = s_x s_w / s_y is a real number below 1; it becomes an integer of 31 bits and a shift to the right.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018 (section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.quantization.affine import QuantizedTensor, QuantParams

MULTIPLIER_BITS = 31
LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A convolution or linear layer in integers.

    Args:
        weight: int8, symmetric, one scale per output channel or one for all.
        bias: int32 [channels], in units of input scale times weight scale.
        inputs, outputs: params of input and output, one scale for the whole tensor.
        multiplier, shift: M = multiplier / 2^shift for each channel; see ``requantization``.
        convolution: gives stride and padding; None for a linear layer.
    """

    weight: QuantizedTensor
    bias: Tensor
    inputs: QuantParams
    outputs: QuantParams
    multiplier: Tensor
    shift: Tensor
    convolution: nn.Conv2d | None = None

    def accumulate(self, x: Tensor) -> Tensor:
        """int32 sums of the integers ``x``, bias included: (N, channels) or (N, channels, H, W)."""
        rows, size = (x, None) if self.convolution is None else im2col(x, self.convolution, self._zero)
        matrix = self.weight.integers.flatten(1).int()
        sums = (rows.int() - self._zero) @ matrix.T + self.bias
        return sums if size is None else sums.unflatten(0, (len(x), *size)).movedim(-1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Integers of the output for integers of the input."""
        sums = self.accumulate(x)
        shape = (1, -1, 1, 1) if self.convolution is not None else (-1,)
        scaled = requantize(sums, self.multiplier.view(shape), self.shift.view(shape))
        qmin, qmax = self.outputs.range
        integers = (scaled + int(self.outputs.zero_point)).clamp(qmin, qmax)
        return integers.to(torch.int8 if self.outputs.symmetric else torch.uint8)

    @property
    def _zero(self) -> int:
        return int(self.inputs.zero_point)


def integer_layer(layer: nn.Module, weight: QuantizedTensor, inputs: QuantParams, outputs: QuantParams) -> IntegerLayer:
    """The integer form of ``layer``, from which bias, stride and padding are taken.

    Raises:
        ValueError: if the weight is not symmetric or has scales for groups, or the convolution has groups or dilation.
    """
    if not weight.params.symmetric or weight.params.group_size is not None:
        raise ValueError("weight must be symmetric with one scale, or one per output channel: a sum has one factor")
    convolution = layer if isinstance(layer, nn.Conv2d) else None
    if convolution is not None and (convolution.groups != 1 or convolution.dilation != (1, 1)):
        raise ValueError(f"convolution has groups={convolution.groups}, dilation={convolution.dilation}; allowed is 1")
    channels = len(weight.integers)
    unit = (inputs.scale * weight.params.scale).expand(channels)
    bias = layer.bias.detach() if isinstance(layer.bias, Tensor) else torch.zeros(channels)
    multiplier, shift = requantization(unit.double() / outputs.scale.double())
    return IntegerLayer(weight, quantize_bias(bias, unit), inputs, outputs, multiplier, shift, convolution)


def quantize_bias(bias: Tensor, unit: Tensor) -> Tensor:
    """int32 bias in units of s_x s_w per channel: round(b / unit).

    Raises:
        ValueError: if it does not fit into 32 bits.
    """
    integers = torch.round(bias.double() / unit.double())
    if (integers.abs() > LARGEST_INT32).any():
        raise ValueError(f"a bias of {bias.abs().max():.3g} does not fit into 32 bits at scale {unit.min():.3g}")
    return integers.to(torch.int32)


def requantization(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Integers ``multiplier`` (below 2^31) and ``shift`` with factor ≈ multiplier / 2^shift, to 30 bits or better.

    Raises:
        ValueError: if a factor is not positive and finite, or too large or small for a shift from 1 to 62.
    """
    if not (factor.isfinite().all() and (factor > 0).all()):
        raise ValueError("a factor to requantize with must be positive and finite")
    mantissa, exponent = torch.frexp(factor.double())
    multiplier = torch.round(mantissa * 2**MULTIPLIER_BITS).long()
    shift = MULTIPLIER_BITS - exponent.long()
    if (shift < 1).any() or (shift > 62).any():
        raise ValueError(f"a factor of {factor.max():.3g} or {factor.min():.3g} cannot be written as a shift")
    return multiplier, shift


def requantize(sums: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """round(sums · multiplier / 2^shift) in 64-bit integers; halves are rounded up."""
    half = torch.ones_like(shift) << (shift - 1)
    return (sums.long() * multiplier + half) >> shift


def im2col(x: Tensor, convolution: nn.Conv2d, zero_point: int) -> tuple[Tensor, tuple[int, int]]:
    """The patch of each output pixel as rows (N · H' · W', C · kh · kw), and (H', W'); padded with ``zero_point``."""
    if isinstance(convolution.padding, str):
        raise ValueError(f"convolution has padding {convolution.padding!r}; numbers are needed")
    (ph, pw), (kh, kw), (sh, sw) = convolution.padding, convolution.kernel_size, convolution.stride
    padded = F.pad(x.int(), (pw, pw, ph, ph), value=zero_point)
    windows = padded.unfold(2, kh, sh).unfold(3, kw, sw)
    height, width = windows.shape[2:4]
    return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * kh * kw), (height, width)

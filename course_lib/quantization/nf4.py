"""NF4: a 4-bit codebook of quantiles of the normal distribution, with scales that are quantized as well.

Source: Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs, 2023 (section 3 and appendix E).
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import storage
from course_lib.quantization.affine import block_count, check_finite, choose_params, quantize_tensor
from course_lib.quantization.packing import pack
from course_lib.storage import Encoded

NF4_BITS = 4
OUTERMOST = 0.9677083  # mean of 1 - 1/30 and 1 - 1/32: the outermost quantile
SCALES_PER_BLOCK = 256


def nf4_table() -> Tensor:
    """The sixteen values, ascending from -1 to 1: quantiles of a normal distribution, eight below 0, and 0 itself."""
    quantile = torch.distributions.Normal(0.0, 1.0).icdf
    positive = quantile(torch.linspace(OUTERMOST, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -quantile(torch.linspace(OUTERMOST, 0.5, 8, dtype=torch.float64)[:-1])
    table = torch.cat([negative, torch.zeros(1, dtype=torch.float64), positive.flip(0)])
    return (table / table.max()).float()


def nf4(weight: Tensor, group_size: int = 64, *, double: bool = True) -> Encoded:
    """``weight`` as 4-bit codes into the NF4 table, each group divided by its largest magnitude.

    Args:
        weight: [channels, …]; ``group_size`` must divide the inputs of a channel.
        double: quantize the scales as well, to 8 bits in blocks of 256 (about 0.13 instead of 0.5 bits per weight);
            else they are stored in fp32.

    Raises:
        ValueError: if the weight is empty or holds NaN or infinity, or ``group_size`` does not divide.
    """
    check_finite("weight", weight)
    groups = block_count(tuple(weight.shape), "group", group_size)
    blocks = weight.detach().cpu().float().reshape(groups, group_size)
    largest = blocks.abs().amax(dim=1)
    scales, stored = _quantize_scales(largest) if double else (largest, largest)
    table = nf4_table()
    edges = (table[1:] + table[:-1]) / 2
    codes = torch.bucketize(blocks / torch.where(scales > 0, scales, 1.0)[:, None], edges)
    return storage.encode_codebook(
        codes.to(torch.uint8).view(weight.shape), table, stored, bits=NF4_BITS, group=group_size
    )


def _quantize_scales(scales: Tensor) -> tuple[Tensor, Encoded]:
    """Scales after rounding to 8 bits in blocks of 256 (the last may be shorter), and how they are stored."""
    padding = -len(scales) % SCALES_PER_BLOCK
    padded = torch.cat([scales, scales[-1:].expand(padding)]) if len(scales) > SCALES_PER_BLOCK else scales
    rows = padded.view(-1, min(SCALES_PER_BLOCK, len(padded)))
    params = choose_params(rows.new_zeros(len(rows)), rows.amax(dim=1), 8, symmetric=False, axis=0)
    rounded = quantize_tensor(rows, params)
    packed = pack(rounded)
    codes, factors, zero_points = storage.packed_parts(packed)
    stored = storage.encode_packed(codes.flatten()[: len(scales)], factors, zero_points, bits=8, group=rows.shape[1])
    return storage.decode(stored), stored

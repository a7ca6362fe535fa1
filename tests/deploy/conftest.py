"""Small packed models, and random packed matrices."""

from __future__ import annotations

import torch

from course_lib import quantization

GROUPS = (16, 32, 64, 128, 256)


def packed(bits=4, group=16, symmetric=False, shape=(24, 512), granularity="group", seed=0):
    """A random matrix, packed with scales that fp16 holds."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    params = quantization.weight_params(
        matrix, bits, granularity, group_size=group if granularity == "group" else None, symmetric=symmetric,
        scale_dtype="fp16",
    )  # fmt: skip
    return quantization.pack(quantization.quantize_tensor(matrix, params))


def relative_error(found, expected):
    """Largest difference as a share of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()

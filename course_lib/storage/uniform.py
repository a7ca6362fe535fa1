"""Integer levels on a uniform grid in a stored file: ``uniform``, value = level * step.

Parts: ``levels`` (the narrowest signed integers that hold them) and ``steps`` (fp32 or fp16), one for the tensor or one
for each output row. Products are computed in fp32, so a quantized weight comes back bit for bit. Levels may have any
size; without a coder they take 1, 2 or 4 bytes each, with one (``save(..., coder="arithmetic")``) about their entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.storage.encodings import DTYPE_NAMES, DTYPES, Encoded, FormatError, register

LARGEST_LEVEL = 2**31 - 1
LEVEL_DTYPES = {"int8": 2**7 - 1, "int16": 2**15 - 1, "int32": LARGEST_LEVEL}
STEP_DTYPES = ("fp32", "fp16")


def encode_uniform(levels: Tensor, steps: Tensor) -> Encoded:
    """A tensor of integer levels with its steps, as ``uniform``; steps keep their dtype.

    Args:
        levels: integers in the shape of the tensor, between -(2^31 - 1) and 2^31 - 1.
        steps: one value, or one for each output row (``levels.shape[0]``); fp32 or fp16, positive and finite.

    Raises:
        ValueError: if levels are no integers or too large, or steps have another number, dtype or sign.
    """
    if levels.is_floating_point() or levels.is_complex() or levels.dtype == torch.bool:
        raise ValueError(f"levels must be integers, got {levels.dtype}; round them first: (W / step).round().int()")
    if (largest := largest_level(levels)) > LARGEST_LEVEL:
        raise ValueError(f"levels must lie between -{LARGEST_LEVEL} and {LARGEST_LEVEL}, got one of ±{largest}")
    flat = steps.detach().flatten().cpu()
    rows = levels.shape[0] if levels.dim() else 1
    if DTYPE_NAMES.get(flat.dtype) not in STEP_DTYPES or flat.numel() not in (1, rows):
        raise ValueError(f"steps must be 1 or {rows} values of fp32 or fp16, got {flat.numel()} of {flat.dtype}")
    if not _positive(flat):
        raise ValueError("steps must be positive, finite numbers; one is zero, negative, infinite or NaN")
    narrow = levels.detach().cpu().to(narrowest(levels)).contiguous()
    parts = {"levels": narrow, "steps": flat.contiguous()}
    return Encoded("uniform", "fp32", tuple(levels.shape), parts)


def coarse_steps(steps: Tensor, mantissa_bits: int = 2) -> Tensor:
    """Steps rounded to fp16 numbers of few mantissa bits, which an entropy coder stores in 4 to 6 bits instead of 16.

    With 2 bits a step changes by at most one eighth; choose the levels afterwards.

    Args:
        steps: positive numbers that fp16 can hold.
        mantissa_bits: from 0 (powers of two) to 10 (fp16).

    Raises:
        ValueError: if a rounded step is zero or infinite in fp16.
    """
    mantissa, exponent = torch.frexp(steps.detach().float())
    scale = 2 ** (mantissa_bits + 1)
    rounded = torch.ldexp((mantissa * scale).round() / scale, exponent).half()
    if not _positive(rounded):
        raise ValueError("steps must be positive numbers in the range of fp16, about 6e-8 to 65504")
    return rounded


def largest_level(levels: Tensor) -> int:
    """The largest magnitude of integers, 0 if there are none."""
    return max(abs(int(end)) for end in torch.aminmax(levels)) if levels.numel() else 0


def narrowest(levels: Tensor) -> torch.dtype:
    """The narrowest signed integers that hold ``levels`` and their negatives."""
    largest = largest_level(levels)
    return DTYPES[next(name for name, limit in LEVEL_DTYPES.items() if largest <= limit)]


def decode_uniform(encoded: Encoded) -> Tensor:
    """The values of ``uniform``, fp32.

    Raises:
        FormatError: if the parts do not fit the shape, or a step is not a positive number.
    """
    part = encoded.parts.get("levels")
    name = DTYPE_NAMES.get(part.dtype, "") if part is not None else ""
    levels = encoded.part("levels", dtype=name if name in LEVEL_DTYPES else "int8", size=encoded.elements)
    half = encoded.parts.get("steps", torch.empty(0)).dtype == torch.float16
    steps = encoded.part("steps", dtype="fp16" if half else "fp32")
    rows = encoded.shape[0] if encoded.shape else 1
    if steps.numel() not in (1, rows):
        raise FormatError(f"it has {steps.numel():,} steps; allowed are 1 or {rows:,}")
    if not _positive(steps):
        raise FormatError("its steps must be positive, finite numbers")
    per_row = steps.float().view(-1, *[1] * (len(encoded.shape) - 1)) if encoded.shape else steps.float()[0]
    return levels.view(encoded.shape).float() * per_row


def _positive(steps: Tensor) -> bool:
    return bool((steps.isfinite() & (steps > 0)).all())


register("uniform", decode=decode_uniform, elements_per_byte=1)

"""What an entropy coder sees of each encoding: integer levels around zero, and plain values beside them.

==================  ============================================================================================
``uniform``         its levels
``packed``          codes minus their zero-points; also those of ``packed_columns``
``codebook``        ranks of the codes among the sorted table, counted from the value nearest to zero
``bitmask``         its bits
==================  ============================================================================================

All other parts (scales, steps, tables, nonzero values, dense tensors) are coded as plain values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy
import torch
from torch import Tensor

from course_lib.storage.encodings import Encoded, FormatError
from course_lib.storage.level_order import Integers
from course_lib.storage.packed import (
    pack_ranked_codes,
    pack_signed_codes,
    part_sizes,
    ranked_codes,
    signed_codes,
)
from course_lib.storage.uniform import narrowest

Sizes = dict[str, int]


class PartCoder(Protocol):
    """Encodes or decodes the parts of tensors in order; what is given is encoded, ``None`` is decoded."""

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Code integers around zero, in ``shape``; returns them."""

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """Code a vector of plain values; returns it."""


class LevelPart(NamedTuple):
    """The part of an encoding that is coded as levels, and how it becomes levels and is made from them again."""

    name: str
    to_levels: Callable[[Encoded], Tensor]
    from_levels: Callable[[Encoded, Tensor], Tensor]
    sizes: Callable[[Encoded], Sizes]


def code_parts(coder: PartCoder, encoded: Encoded) -> Encoded:
    """Encode all parts of ``encoded``; returns it."""
    level_part = LEVEL_PARTS.get(encoded.encoding)
    for name in sorted(encoded.parts):
        if level_part is None or name != level_part.name:
            part = encoded.parts[name].flatten()
            coder.values(part.dtype, part.numel(), part)
    if level_part is not None:
        coder.levels(encoded.shape, level_part.to_levels(encoded).numpy())
    return encoded


def decode_parts(coder: PartCoder, encoded: Encoded) -> Encoded:
    """``encoded``, whose parts have the right dtypes and shapes, with the values that follow in the stream.

    The part that is coded as levels is not in it yet.
    """
    parts: dict[str, Tensor] = {}
    for name in sorted(encoded.parts):
        claimed = encoded.parts[name]
        parts[name] = coder.values(claimed.dtype, claimed.numel(), None).view(claimed.shape)
    found = replace(encoded, parts=parts)
    level_part = LEVEL_PARTS.get(encoded.encoding)
    if level_part is not None:
        levels = torch.from_numpy(numpy.ascontiguousarray(coder.levels(encoded.shape, None)))
        parts[level_part.name] = level_part.from_levels(found, levels)
    return found


def natural_sizes(encoded: Encoded) -> Sizes:
    """Entries of the parts of an encoding whose number follows from its shape and facts."""
    level_part = LEVEL_PARTS.get(encoded.encoding)
    return level_part.sizes(encoded) if level_part else {"": encoded.elements}


def _mask_levels(encoded: Encoded) -> Tensor:
    packed = encoded.part("mask", dtype="uint8", size=math.ceil(encoded.elements / 8))
    bits = numpy.unpackbits(packed.numpy(), bitorder="little")[: encoded.elements]
    return torch.from_numpy(bits).view(encoded.shape)


def _pack_mask(encoded: Encoded, levels: Tensor) -> Tensor:
    flat = levels.flatten().numpy()
    if flat.size and not 0 <= flat.min() <= flat.max() <= 1:
        raise FormatError("it decodes to a mask of other numbers than 0 and 1")
    return torch.from_numpy(numpy.packbits(flat.astype(bool), bitorder="little"))


LEVEL_PARTS = {
    "uniform": LevelPart(
        "levels",
        lambda encoded: encoded.parts["levels"].view(encoded.shape),
        lambda encoded, levels: levels.to(narrowest(levels)),
        lambda encoded: {"steps": encoded.shape[0] if encoded.shape else 1},
    ),
    "packed": LevelPart("codes", signed_codes, pack_signed_codes, part_sizes),
    "packed_columns": LevelPart("codes", signed_codes, pack_signed_codes, part_sizes),
    "codebook": LevelPart("codes", ranked_codes, pack_ranked_codes, part_sizes),
    "bitmask": LevelPart("mask", _mask_levels, _pack_mask, lambda encoded: {}),
}

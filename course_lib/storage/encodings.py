"""Encodings of one tensor: the registry, and the two encodings that every tensor can have, dense and bitmask.

An encoding turns a tensor into named *parts* (plain tensors, which the container stores as they are) and *facts*
(JSON), and back. A package with another layout (packed integers, a codebook) registers it::

    register("packed", decode=unpack, elements_per_byte=8)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

DTYPES = {
    "fp32": torch.float32, "fp16": torch.float16, "int64": torch.int64, "int32": torch.int32,
    "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class FormatError(ValueError):
    """A stored file is damaged, hostile, or newer than this package."""


@dataclass(frozen=True)
class Encoded:
    """One tensor as it is stored.

    Args:
        encoding: a registered name.
        dtype: name of the dtype of the decoded tensor, one of ``DTYPES``.
        shape: of the decoded tensor.
        parts: the tensors that go into the file; a single part may have the empty name.
        facts: further values for decoding, JSON-able (bits, axis, …).
    """

    encoding: str
    dtype: str
    shape: tuple[int, ...]
    parts: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of all parts (the container's header comes on top)."""
        return sum(part.numel() * part.element_size() for part in self.parts.values())

    @property
    def elements(self) -> int:
        """Entries of the decoded tensor; a Python integer, so that a forged shape cannot overflow."""
        return math.prod(self.shape)

    def part(self, name: str, *, dtype: str, size: int | None = None) -> Tensor:
        """The part called ``name``, flattened.

        Raises:
            FormatError: if it is missing, or has another dtype or number of entries than asked for.
        """
        if name not in self.parts:
            raise FormatError(f"its part {name!r} is missing")
        part = self.parts[name]
        if part.dtype != DTYPES[dtype] or (size is not None and part.numel() != size):
            found = f"{part.numel()} × {DTYPE_NAMES.get(part.dtype, part.dtype)}"
            raise FormatError(f"its part {name!r} should be {'n' if size is None else size} × {dtype}, found {found}")
        return part.flatten()


@dataclass(frozen=True)
class Encoding:
    """A pair of functions; ``encode`` is None if only a technique can make the parts.

    ``elements_per_byte`` is an upper limit: a file that claims more decoded entries per stored byte is refused.
    """

    encode: Callable[[Tensor], Encoded] | None
    decode: Callable[[Encoded], Tensor]
    elements_per_byte: float


ENCODINGS: dict[str, Encoding] = {}


def register(
    name: str,
    *,
    decode: Callable[[Encoded], Tensor],
    encode: Callable[[Tensor], Encoded] | None = None,
    elements_per_byte: float = 8.0,
) -> None:
    """Make an encoding known to ``storage`` under ``name``."""
    ENCODINGS[name] = Encoding(encode, decode, elements_per_byte)


def decode(encoded: Encoded) -> Tensor:
    """The tensor that was encoded, contiguous, in its stored dtype.

    Raises:
        FormatError: if the encoding is unknown, or the parts do not fit the facts, shape and dtype.
    """
    if encoded.encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise FormatError(f"its encoding {encoded.encoding!r} is unknown here (known: {known})")
    encoding = ENCODINGS[encoded.encoding]
    if encoded.elements > encoded.bytes * encoding.elements_per_byte:
        raise FormatError(f"it claims {encoded.elements:,} entries, more than its {encoded.bytes:,} bytes can hold")
    tensor = encoding.decode(encoded)
    if tuple(tensor.shape) != encoded.shape or tensor.dtype != DTYPES[encoded.dtype]:
        raise FormatError(f"it decodes to {tuple(tensor.shape)} {tensor.dtype}, not to what its header says")
    return tensor


def encode_dense(tensor: Tensor) -> Encoded:
    """All values, bit for bit."""
    return Encoded("dense", DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), {"": tensor.contiguous()})


def decode_dense(encoded: Encoded) -> Tensor:
    """The inverse of ``encode_dense``."""
    return encoded.part("", dtype=encoded.dtype, size=encoded.elements).reshape(encoded.shape)


def encode_bitmask(tensor: Tensor) -> Encoded:
    """One bit per entry (1 for a nonzero), row-major, low bit first, and the nonzero values in order.

    ``-0.0`` (from ``weight * mask``) is decoded as ``0.0``; products with either are zero, so logits compare equal.
    """
    flat = tensor.flatten()
    kept = flat != 0
    mask = torch.from_numpy(numpy.packbits(kept.numpy(), bitorder="little"))
    return Encoded("bitmask", DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), {"mask": mask, "values": flat[kept]})


def decode_bitmask(encoded: Encoded) -> Tensor:
    """The inverse of ``encode_bitmask``; the number of set bits must be the number of values."""
    packed = encoded.part("mask", dtype="uint8", size=math.ceil(encoded.elements / 8))
    values = encoded.part("values", dtype=encoded.dtype)
    bits = torch.from_numpy(numpy.unpackbits(packed.numpy(), bitorder="little").view(bool))
    kept = int(bits.count_nonzero())
    if kept != values.numel() or bits[encoded.elements :].any():
        raise FormatError(f"its mask keeps {kept:,} entries but {values.numel():,} values are stored")
    tensor = torch.zeros(encoded.elements, dtype=values.dtype)
    return tensor.masked_scatter_(bits[: encoded.elements], values).reshape(encoded.shape)


register("dense", encode=encode_dense, decode=decode_dense, elements_per_byte=1)
register("bitmask", encode=encode_bitmask, decode=decode_bitmask, elements_per_byte=8)

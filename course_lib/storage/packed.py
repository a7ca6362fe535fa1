"""Integers of few bits in a stored file: ``packed`` (a scale for each group) and ``codebook`` (a table of values).

A tensor is read along one axis (``axis`` first, the others in order, row-major), and every ``group`` consecutive
entries share a scale: per tensor, per channel and per group are the same layout with another ``group``. Entries are
unsigned codes of ``bits`` bits, one after another, low bit first, without gaps:

* ``packed``: value = (code - zero_point) * scale. Parts: ``codes``, ``scales`` (fp32 or fp16), and ``zero_points``
  (codes of as many bits); without zero-points the zero-point is 2^(bits-1), so that codes are signed integers.
* ``codebook``: value = table[code], times the scale of its group if there are scales. Parts: ``codes``, ``table``
  (fp32 or fp16), and ``scales``, or ``scales.codes``, ``scales.scales`` … where the scales are themselves packed.

Products are computed in fp32, in exactly this order, so a quantized weight comes back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

from course_lib.storage.encodings import DTYPE_NAMES, Encoded, FormatError, register

LARGEST_BITS = 8
SCALES_PREFIX = "scales."


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Unsigned codes [n] (uint8, each below 2^bits) as uint8 [ceil(n * bits / 8)], low bit first.

    Eight codes fill ``bits`` bytes exactly: they are shifted into one 64-bit word, whose low bytes are kept.
    """
    flat = codes.flatten().cpu().numpy().astype(numpy.uint8)
    padded = numpy.pad(flat, (0, -len(flat) % 8)).reshape(-1, 8)
    words = numpy.zeros(len(padded), dtype="<u8")
    for position in range(8):
        words |= padded[:, position].astype("<u8") << numpy.uint64(bits * position)
    content = words.view(numpy.uint8).reshape(-1, 8)[:, :bits]
    return torch.from_numpy(content.reshape(-1)[: math.ceil(len(flat) * bits / 8)].copy())


def unpack_codes(content: Tensor, bits: int, count: int) -> Tensor:
    """The inverse of ``pack_codes``: uint8 [count].

    Raises:
        FormatError: if the number of bytes does not fit ``count`` codes, or bits after the last code are set.
    """
    size = math.ceil(count * bits / 8)
    if content.numel() != size:
        raise FormatError(f"{count:,} codes of {bits} bits take {size:,} bytes, found {content.numel():,}")
    rows = math.ceil(count / 8)
    flat = numpy.pad(content.numpy(), (0, rows * bits - size)).reshape(rows, bits)
    words = numpy.pad(flat, ((0, 0), (0, 8 - bits))).view("<u8")
    shifts = numpy.arange(8, dtype="<u8") * numpy.uint64(bits)
    codes = numpy.empty((rows, 8), dtype=numpy.uint8)
    for position, shift in enumerate(shifts):
        codes[:, position] = (words[:, 0] >> shift) & numpy.uint64(2**bits - 1)
    used = count * bits % 8
    if used and int(content[-1]) >> used:
        raise FormatError("it has bits behind its last code")
    return torch.from_numpy(codes.reshape(-1)[:count])


def encode_packed(
    codes: Tensor, scales: Tensor, zero_points: Tensor | None, *, bits: int, group: int, axis: int = 0
) -> Encoded:
    """A tensor of unsigned codes with its scales, as ``packed``; scales keep their dtype.

    Args:
        codes: uint8, in the shape of the tensor.
        scales: [groups], fp32 or fp16, positive.
        zero_points: [groups] uint8 codes, or None where the zero-point is 2^(bits-1).
        group: consecutive entries that share a scale.
        axis: the axis that is read first.
    """
    parts = {"codes": pack_codes(_read_along(codes, axis), bits), "scales": scales.flatten()}
    if zero_points is not None:
        parts["zero_points"] = pack_codes(zero_points, bits)
    return Encoded("packed", "fp32", tuple(codes.shape), parts, {"bits": bits, "group": group, "axis": axis})


def packed_parts(encoded: Encoded) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes (uint8, in the tensor's shape), scales [groups] fp32 and zero-points [groups] uint8 of ``packed``.

    Raises:
        FormatError: if the parts do not fit each other or the shape, or a scale is not a positive number.
    """
    bits, _, axis, groups = _layout(encoded)
    codes = unpack_codes(encoded.part("codes", dtype="uint8"), bits, encoded.elements)
    scales = _floats(encoded, "scales", groups)
    if not (scales > 0).all():
        raise FormatError("its scales must be greater than 0")
    zero_points = None
    if "zero_points" in encoded.parts:
        zero_points = unpack_codes(encoded.part("zero_points", dtype="uint8"), bits, groups)
    return _restore(codes, encoded.shape, axis), scales, zero_points


def signed_codes(encoded: Encoded) -> Tensor:
    """Codes of ``packed`` minus their zero-points: int32, in the tensor's shape."""
    codes, _, zero_points = packed_parts(encoded)
    return codes.int() - _zero_levels(encoded, zero_points)


def pack_signed_codes(encoded: Encoded, levels: Tensor) -> Tensor:
    """The part ``codes`` of ``packed`` for ``levels`` (codes minus zero-points); the other parts are in ``encoded``.

    Raises:
        FormatError: if a code would not fit its bits.
    """
    bits, _, axis, groups = _layout(encoded)
    zero_points = None
    if "zero_points" in encoded.parts:
        zero_points = unpack_codes(encoded.part("zero_points", dtype="uint8"), bits, groups)
    return _pack_checked(levels.int() + _zero_levels(encoded, zero_points), bits, axis)


def _zero_levels(encoded: Encoded, zero_points: Tensor | None) -> Tensor:
    """The zero-point of each entry, int32, in the tensor's shape."""
    bits, group, axis, groups = _layout(encoded)
    zeros = torch.full((groups,), 2 ** (bits - 1)) if zero_points is None else zero_points
    return _restore(_spread(zeros.int(), group, encoded.elements), encoded.shape, axis)


def _pack_checked(codes: Tensor, bits: int, axis: int) -> Tensor:
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < 2**bits:
        raise FormatError(f"it decodes to a code that does not fit {bits} bits")
    return pack_codes(_read_along(codes.to(torch.uint8), axis), bits)


def decode_packed(encoded: Encoded) -> Tensor:
    """The values of ``packed``, fp32."""
    bits, group, axis, _ = _layout(encoded)
    codes, scales, zero_points = packed_parts(encoded)
    flat = _read_along(codes, axis)
    zeros = torch.full_like(scales, 2 ** (bits - 1)) if zero_points is None else zero_points.float()
    values = (flat.float() - _spread(zeros, group, flat.numel())) * _spread(scales, group, flat.numel())
    return _restore(values, encoded.shape, axis)


def encode_codebook(
    codes: Tensor,
    table: Tensor,
    scales: Tensor | Encoded | None = None,
    *,
    bits: int,
    group: int | None = None,
    axis: int = 0,
) -> Encoded:
    """A tensor of codes into ``table``, as ``codebook``.

    Args:
        codes: uint8, in the shape of the tensor.
        table: [at most 2^bits] values, fp32 or fp16.
        scales: none, [groups] fp32 or fp16, or a ``packed`` vector [groups] (double quantization).
        group: consecutive entries that share a scale; the whole tensor if there are no scales.
    """
    parts = {"codes": pack_codes(_read_along(codes, axis), bits), "table": table.flatten()}
    facts: dict[str, Any] = {"bits": bits, "group": group or max(codes.numel(), 1), "axis": axis}
    if isinstance(scales, Encoded):
        parts |= {SCALES_PREFIX + part: value for part, value in scales.parts.items()}
        facts["scales"] = dict(scales.facts)
    elif scales is not None:
        parts["scales"] = scales.flatten()
    return Encoded("codebook", "fp32", tuple(codes.shape), parts, facts)


def decode_codebook(encoded: Encoded) -> Tensor:
    """The values of ``codebook``, fp32.

    Raises:
        FormatError: if the parts do not fit each other or the shape, or a code is beyond the end of the table.
    """
    bits, group, axis, groups = _layout(encoded, smallest_bits=1)
    codes = unpack_codes(encoded.part("codes", dtype="uint8"), bits, encoded.elements)
    table = _floats(encoded, "table")
    if codes.numel() and int(codes.max()) >= table.numel():
        raise FormatError(f"it has a code {int(codes.max())}, but its table has {table.numel()} values")
    values = table.index_select(0, codes.int())
    if "scales" in encoded.facts:
        values *= _spread(decode_packed(_packed_scales(encoded, groups)), group, len(values))
    elif "scales" in encoded.parts:
        values *= _spread(_floats(encoded, "scales", groups), group, len(values))
    return _restore(values, encoded.shape, axis)


def ranked_codes(encoded: Encoded) -> Tensor:
    """Codes of ``codebook`` as levels: ranks among the sorted table, counted from the value nearest to zero; int32."""
    bits, _, axis, _ = _layout(encoded, smallest_bits=1)
    codes = unpack_codes(encoded.part("codes", dtype="uint8"), bits, encoded.elements)
    ranks, zero = _ranks(encoded)
    if codes.numel() and int(codes.max()) >= ranks.numel():
        raise FormatError(f"it has a code {int(codes.max())}, but its table has {ranks.numel()} values")
    return _restore(ranks[codes.long()] - zero, encoded.shape, axis)


def pack_ranked_codes(encoded: Encoded, levels: Tensor) -> Tensor:
    """The part ``codes`` of ``codebook`` for ``levels`` (see ``ranked_codes``); the table is in ``encoded``.

    Raises:
        FormatError: if a level has no entry in the table.
    """
    bits, _, axis, _ = _layout(encoded, smallest_bits=1)
    ranks, zero = _ranks(encoded)
    found = levels.long() + zero
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < ranks.numel():
        raise FormatError("it decodes to a code beyond its table")
    return _pack_checked(ranks.argsort().int()[found], bits, axis)


def _ranks(encoded: Encoded) -> tuple[Tensor, int]:
    """Rank of each value of the table among all, int32, and the rank of the value nearest to zero."""
    table = _floats(encoded, "table")
    order = table.argsort(stable=True)
    ranks = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    return ranks.int(), int(ranks[table.abs().argmin()]) if len(table) else 0


def part_sizes(encoded: Encoded) -> dict[str, int]:
    """Number of entries of each part that follows from the shape and the facts of ``packed`` or ``codebook``."""
    bits, _, _, groups = _layout(encoded, smallest_bits=1)
    return {"scales": groups, "zero_points": math.ceil(groups * bits / 8)}


def _packed_scales(encoded: Encoded, groups: int) -> Encoded:
    facts = encoded.facts["scales"]
    if not isinstance(facts, Mapping):
        raise FormatError("what it says about its scales is not a table")
    length = len(SCALES_PREFIX)
    parts = {name[length:]: part for name, part in encoded.parts.items() if name.startswith(SCALES_PREFIX)}
    return Encoded("packed", "fp32", (groups,), parts, facts)


def _layout(encoded: Encoded, smallest_bits: int = 2) -> tuple[int, int, int, int]:
    """Bits, group, axis and number of groups, or ``FormatError`` where the facts are impossible."""
    bits, group, axis = (encoded.facts.get(name) for name in ("bits", "group", "axis"))
    if type(bits) is not int or not smallest_bits <= bits <= LARGEST_BITS:
        raise FormatError(f"it has {bits!r} bits per code; allowed are {smallest_bits} to {LARGEST_BITS}")
    if type(group) is not int or not 1 <= group <= max(encoded.elements, 1):
        raise FormatError(f"its group size is {group!r}, with {encoded.elements:,} entries")
    if type(axis) is not int or not 0 <= axis < max(len(encoded.shape), 1):
        raise FormatError(f"its axis is {axis!r}, with {len(encoded.shape)} dimensions")
    return bits, group, axis, math.ceil(encoded.elements / group)


def _floats(encoded: Encoded, name: str, size: int | None = None) -> Tensor:
    part = encoded.parts.get(name)
    dtype = DTYPE_NAMES[torch.float16] if part is not None and part.dtype == torch.float16 else "fp32"
    values = encoded.part(name, dtype=dtype, size=size).float()
    if not values.isfinite().all():
        raise FormatError(f"its part {name!r} holds NaN or infinity")
    return values


def _spread(per_group: Tensor, group: int, count: int) -> Tensor:
    """One value for each entry: [groups] → [count]; the last group may be shorter."""
    return per_group.repeat_interleave(group)[:count] if len(per_group) != 1 else per_group.expand(count)


def _read_along(tensor: Tensor, axis: int) -> Tensor:
    return (tensor.movedim(axis, 0) if tensor.dim() > 1 else tensor).flatten()


def _restore(flat: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    if len(shape) < 2:
        return flat.reshape(shape)
    moved = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
    return flat.reshape(moved).movedim(0, axis).contiguous()


register("packed", decode=decode_packed, elements_per_byte=8 / 2)
register("codebook", decode=decode_codebook, elements_per_byte=8)

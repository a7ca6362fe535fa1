"""Packed integers with column scales or unquantized columns: ``packed_columns``.

A weight matrix is stored as ``packed`` (see ``packed``) with optional parts:

* ``divisor`` (fp16, one per input): the packed values are divided by it column by column. Scales of AWQ and
  SmoothQuant that cannot be folded into an earlier layer are stored so, exactly, at 16 bits per column.
* ``kept`` (fp16, rows × columns) and ``kept_index`` (int16 or int32): unquantized columns, in place of the packed
  values.

Quotients are computed in fp32, so a matrix comes back bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from course_lib.storage.encodings import Encoded, FormatError, register
from course_lib.storage.packed import decode_packed

COLUMN_PARTS = ("divisor", "kept", "kept_index")


def encode_columns(
    packed: Encoded, *, divisor: Tensor | None = None, kept: Tensor | None = None, kept_index: Tensor | None = None
) -> Encoded:
    """A packed matrix with column parts, as ``packed_columns``.

    Args:
        packed: encoded as ``packed``, two dimensions; its ``axis`` is that of the outputs.
        divisor: [inputs], values that fp16 holds exactly.
        kept: [outputs, columns], values that fp16 holds exactly, in the order of ``kept_index``.
        kept_index: [columns], numbers of input columns, ascending.

    Raises:
        ValueError: if a value is not exact in fp16, or only one of ``kept`` and ``kept_index`` is given.
    """
    if (kept is None) != (kept_index is None):
        raise ValueError("kept and kept_index belong together; got only one of them")
    parts: dict[str, Tensor] = dict(packed.parts)
    for name, values in (("divisor", divisor), ("kept", kept)):
        if values is not None:
            if not torch.equal(values.half().float(), values.float()):
                raise ValueError(f"{name} must hold values that fp16 holds exactly; round it with .half() first")
            parts[name] = values.half().contiguous()
    if kept_index is not None:
        parts["kept_index"] = kept_index.to(torch.int16 if packed.shape[1] < 2**15 > packed.shape[0] else torch.int32)
    return replace(packed, encoding="packed_columns", parts=parts)


def decode_columns(encoded: Encoded) -> Tensor:
    """The values of ``packed_columns``, fp32.

    Raises:
        FormatError: if the parts do not fit the shape, a divisor is not positive, or an index is out of range.
    """
    if len(encoded.shape) != 2:
        raise FormatError(f"its columns need two dimensions, found {len(encoded.shape)}")
    inner = {name: part for name, part in encoded.parts.items() if name not in COLUMN_PARTS}
    values = decode_packed(replace(encoded, encoding="packed", parts=inner))
    transposed = encoded.facts["axis"] == 1
    matrix = values.T if transposed else values
    if "divisor" in encoded.parts:
        divisor = encoded.part("divisor", dtype="fp16", size=matrix.shape[1]).float()
        if not (divisor.isfinite() & (divisor > 0)).all():
            raise FormatError("its divisors must be positive, finite numbers")
        matrix = matrix / divisor
    if "kept" in encoded.parts or "kept_index" in encoded.parts:
        matrix = _with_kept(encoded, matrix.clone())
    return (matrix.T if transposed else matrix).contiguous()


def _with_kept(encoded: Encoded, matrix: Tensor) -> Tensor:
    narrow = encoded.parts.get("kept_index", torch.empty(0)).dtype == torch.int16
    index = encoded.part("kept_index", dtype="int16" if narrow else "int32").long()
    kept = encoded.part("kept", dtype="fp16", size=index.numel() * matrix.shape[0]).float()
    ascending = bool((index[1:] > index[:-1]).all())
    if not ascending or (index.numel() and not 0 <= int(index[0]) <= int(index[-1]) < matrix.shape[1]):
        raise FormatError(f"its kept columns must ascend from 0 to {matrix.shape[1] - 1}")
    matrix[:, index] = kept.view(matrix.shape[0], -1)
    return matrix


register("packed_columns", decode=decode_columns, elements_per_byte=8 / 2)

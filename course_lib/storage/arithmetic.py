"""Arithmetic coding of the parts of tensors: levels by ``level_coding``, plain values byte by byte.

Values are coded one byte plane after another, the highest first, each with an adaptive table of its own: signs and
exponents of floating-point numbers cost about their entropy, mantissas eight bits a byte.

Source: Zhang et al., 70 % Size, 100 % Accuracy (DFloat11), 2025; Hershcovitch et al., ZipNN, 2024.
"""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from course_lib.storage.level_coding import LevelModel
from course_lib.storage.level_order import Integers
from course_lib.storage.range_coding import SymbolCoder, frequencies

SMALLEST_PIECE, LARGEST_PIECE = 8, 4096
COUNT = 24  # units in which a byte is counted; each byte begins with one


class ArithmeticCoder:
    """A ``PartCoder`` over a symbol coder; its tables are shared by all tensors of a file."""

    def __init__(self, coder: SymbolCoder) -> None:
        self._coder = coder
        self._levels = LevelModel()
        self._tables: dict[tuple[torch.dtype, int], Integers] = {}

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Code integers around zero."""
        return self._levels.code(self._coder, shape, levels)

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """Code plain values of any dtype."""
        width = torch.empty(0, dtype=dtype).element_size()
        known = None if values is None else values.contiguous().view(torch.uint8).numpy().reshape(count, width)
        planes = numpy.zeros((count, width), numpy.uint8)
        for plane in reversed(range(width)):
            table = self._tables.setdefault((dtype, plane), numpy.ones(256, numpy.int64))
            planes[:, plane] = self._plane(table, count, None if known is None else known[:, plane])
        return torch.from_numpy(planes.reshape(-1)).view(dtype)

    def _plane(self, table: Integers, count: int, known: Integers | None) -> Integers:
        coded = numpy.empty(count, numpy.int64)
        start = 0
        while start < count:
            seen = int(table.sum() - len(table)) // COUNT
            end = min(start + min(max(seen // 8, SMALLEST_PIECE), LARGEST_PIECE), count)
            symbols = None if known is None else known[start:end].astype(numpy.int64)
            coded[start:end] = self._coder.code(frequencies(table[None])[0], end - start, symbols)
            table += COUNT * numpy.bincount(coded[start:end], minlength=256)
            start = end
        return coded

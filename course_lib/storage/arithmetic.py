"""Arithmetic coding of the parts of tensors: levels by ``level_coding``, plain values byte by byte.

Values are coded one byte plane after another, the highest first, each with an adaptive table of its own: signs and
exponents of floating-point numbers cost about their entropy, mantissas eight bits a byte.

Source: Zhang et al., 70 % Size, 100 % Accuracy (DFloat11), 2025; Hershcovitch et al., ZipNN, 2024.
"""

from __future__ import annotations

import copy

import numpy
import torch
from torch import Tensor

from course_lib.storage.adaptive_tables import AdaptiveTables
from course_lib.storage.level_coding import LevelModel
from course_lib.storage.level_order import Integers
from course_lib.storage.range_coding import Decoder, Encoder, LengthCounter, SymbolCoder

SMALLEST_PIECE, LARGEST_PIECE = 8, 2**14
KNOWN_PER_PIECE = 8  # a piece has at most one eighth of the bytes of its plane that were coded before
WEIGHT, RECENT_BYTES = 24, 2**20
TRIED_BYTES = 2**15  # of a plane, to decide whether a table pays


class BytePlane:
    """One byte of the values of a dtype: its table, and how many were coded.

    Each vector begins with a flag: bytes that a table would not shorten (mantissas) are coded without one.
    """

    def __init__(self) -> None:
        self._table = AdaptiveTables(numpy.ones((1, 256)), WEIGHT, RECENT_BYTES)
        self._flags = AdaptiveTables(numpy.ones((1, 2)), 1, RECENT_BYTES)
        self._coded = 0

    def code(self, coder: SymbolCoder, count: int, known: Integers | None) -> Integers:
        """Encode the bytes ``known`` or decode as many; returns them."""
        flag = None if known is None else numpy.array([self._table_pays(known[:TRIED_BYTES])])
        if self._flags.code(coder, numpy.zeros(1, numpy.uint8), flag)[0]:
            return self._adaptively(coder, count, known)
        coded = coder.raw(8, count, known).astype(numpy.uint8)
        self._table.learn(numpy.zeros(count, numpy.uint8), coded)
        self._coded += count
        return coded

    def _table_pays(self, known: Integers) -> bool:
        length = LengthCounter()
        copy.deepcopy(self)._adaptively(length, len(known), known)
        return length.bits < 8 * len(known)

    def _adaptively(self, coder: SymbolCoder, count: int, known: Integers | None) -> Integers:
        coded = numpy.empty(count, numpy.uint8)
        start = 0
        while start < count:
            end = min(start + min(max(self._coded // KNOWN_PER_PIECE, SMALLEST_PIECE), LARGEST_PIECE), count)
            contexts = numpy.zeros(end - start, numpy.uint8)
            coded[start:end] = self._table.code(coder, contexts, None if known is None else known[start:end])
            self._coded += end - start
            start = end
        return coded


class ArithmeticCoder:
    """A ``PartCoder`` over a symbol coder; its tables are shared by all tensors of a file."""

    def __init__(self, coder: SymbolCoder) -> None:
        self._coder = coder
        self._levels = LevelModel()
        self._planes: dict[tuple[torch.dtype, int], BytePlane] = {}

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Code integers around zero."""
        return self._levels.code(self._coder, shape, levels)

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """Code plain values of any dtype."""
        width = dtype.itemsize
        known = None if values is None else values.contiguous().view(torch.uint8).numpy().reshape(count, width)
        coded = numpy.zeros((count, width), numpy.uint8)
        for place in reversed(range(width)):
            plane = self._planes.setdefault((dtype, place), BytePlane())
            coded[:, place] = plane.code(self._coder, count, None if known is None else known[:, place])
        return torch.from_numpy(coded.reshape(-1)).view(dtype)


class ArithmeticWriter(ArithmeticCoder):
    """Encodes; ``finish`` gives the stream."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        super().__init__(self._encoder)

    def finish(self) -> bytes:
        """The whole stream."""
        return self._encoder.finish()


class ArithmeticReader(ArithmeticCoder):
    """Decodes a stream; if it is ``measured``, ``bits`` is the ideal code length of what was decoded."""

    def __init__(self, stream: bytes, measured: bool) -> None:
        self._decoder = Decoder(stream)
        self._length = LengthCounter(self._decoder)
        super().__init__(self._length if measured else self._decoder)

    @property
    def bits(self) -> float:
        """Ideal code length of what was decoded so far."""
        return self._length.bits

    @property
    def ideal_bits(self) -> float:
        """The same: the probabilities of the coder are those of its model."""
        return self._length.bits

    def finish(self) -> None:
        """Raise ``FormatError`` if the stream goes on."""
        self._decoder.finish()

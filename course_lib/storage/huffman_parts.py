"""Huffman coding of the parts of tensors: a table for the levels of each tensor, and one for each byte of other values.

A level is a symbol of its own (0, -1, 1, -2, …) if its magnitude is below 128, and else the symbol ``ESCAPE`` and 32
bits. The stream has, little-endian: the tables (number of symbols, then symbol and code length of each), the pieces
(table, number of symbols), the bits of each block of at most 4,096 symbols of a piece, the codes, the escaped levels.

Source: Han et al., Deep Compression, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from course_lib.storage.encodings import FormatError
from course_lib.storage.huffman import (
    LONGEST_CODE,
    SYMBOLS,
    Blocks,
    canonical_codes,
    code_lengths,
    look_up_table,
    read_blocks,
    write_bits,
)  # fmt: skip
from course_lib.storage.level_order import Integers

ESCAPE = 255
BLOCK = 4096
MOST_LEVEL_TABLES, MOST_TABLES = 1024, 1100
PIECE = [("table", "<u2"), ("count", "<u4")]


class HuffmanWriter:
    """A ``PartCoder`` that collects symbols; ``finish`` makes the stream."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._pieces: list[tuple[int, Integers]] = []
        self._escaped: list[Integers] = []

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Add integers around zero, with a table of their own."""
        assert levels is not None
        flat = levels.ravel().astype(numpy.int64)
        folded = numpy.where(flat < 0, -2 * flat - 1, 2 * flat)
        self._add(min(len(self._pieces), MOST_LEVEL_TABLES), numpy.minimum(folded, ESCAPE))
        self._escaped.append(flat[folded >= ESCAPE].astype("<i4"))
        return levels

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """Add plain values of any dtype, byte plane by byte plane."""
        assert values is not None
        width = values.element_size()
        planes = values.contiguous().view(torch.uint8).numpy().reshape(count, width)
        for plane in range(width):
            self._add((dtype, plane), planes[:, plane])
        return values

    def _add(self, key: Any, symbols: Integers) -> None:
        self._pieces.append((self._numbers.setdefault(key, len(self._numbers)), symbols))

    def finish(self) -> bytes:
        """The whole stream."""
        counts = numpy.zeros((len(self._numbers), SYMBOLS), numpy.int64)
        for number, symbols in self._pieces:
            counts[number] += numpy.bincount(symbols, minlength=SYMBOLS)
        counts[counts.sum(1) == 0, 0] = 1  # the table of an empty tensor
        lengths = [code_lengths(row).astype(numpy.uint8) for row in counts]
        codes = [canonical_codes(row).astype(numpy.uint16) for row in lengths]
        bits = [lengths[number][symbols] for number, symbols in self._pieces]
        coded = [codes[number][symbols] for number, symbols in self._pieces]
        sizes = [int(piece[start : start + BLOCK].sum()) for piece in bits for start in range(0, len(piece), BLOCK)]
        pieces = numpy.array([(number, len(symbols)) for number, symbols in self._pieces], PIECE)
        return b"".join(
            [
                _bytes([len(lengths)], "<u2"), *(_table_bytes(row) for row in lengths),
                _bytes([len(pieces)], "<u4"), pieces.tobytes(), _bytes(sizes, "<u2"),
                write_bits(_joined(coded), _joined(bits)), *(piece.tobytes() for piece in self._escaped),
            ]
        )  # fmt: skip


class HuffmanReader:
    """A ``PartCoder`` that decodes a whole stream at once and then returns its pieces in order.

    ``bits`` are those of the pieces that were returned; ``ideal_bits``, if it is ``measured``, is what all symbols
    would take if each cost -log2(its frequency).

    Raises:
        FormatError: if the tables, pieces or codes of the stream are impossible.
    """

    def __init__(self, stream: bytes, measured: bool = False) -> None:
        self.bits = 0.0
        reader = _Reader(stream)
        if (number := reader.integer("<u2")) > MOST_TABLES:
            raise FormatError(f"it has {number:,} Huffman tables; allowed are {MOST_TABLES:,}")
        tables = [reader.table() for _ in range(number)]
        pieces = reader.array(PIECE, reader.integer("<u4"))
        numbers, counts = pieces["table"].astype(numpy.int64), pieces["count"].astype(numpy.int64)
        if (numbers >= len(tables)).any() or counts.sum() > 8 * len(reader.rest):
            raise FormatError("its Huffman codes are more symbols than bits, or use a table that is missing")
        blocks, lengths = _blocks(reader, numbers, counts)
        content = bytes(reader.array("u1", -(-int(lengths.sum()) // 8)))
        symbols = _joined(read_blocks(content, blocks, _joined(tables)))
        self._pieces = iter(numpy.split(symbols, numpy.cumsum(counts)[:-1]) if len(counts) else [])
        of_piece = numpy.repeat(numpy.arange(len(counts)), -(-counts // BLOCK))
        self._bits = iter(numpy.bincount(of_piece, lengths, len(counts)).tolist())
        self._escaped = reader.array("<i4", len(reader.rest) // 4)
        self._has_rest = len(reader.rest) > 0
        entropy = _entropy_bits(symbols, numpy.repeat(numbers, counts)) if measured else math.nan
        self.ideal_bits = 32.0 * len(self._escaped) + entropy

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """The next integers."""
        symbols = self._next(math.prod(shape)).astype(numpy.int32)
        coded = numpy.where(symbols & 1, -(symbols >> 1) - 1, symbols >> 1)
        escaped = (symbols == ESCAPE).nonzero()[0]
        if len(escaped) > len(self._escaped):
            raise FormatError("its escaped levels are missing")
        coded[escaped], self._escaped = self._escaped[: len(escaped)], self._escaped[len(escaped) :]
        self.bits += 32 * len(escaped)
        return coded.reshape(shape)

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """The next plain values."""
        planes = numpy.stack([self._next(count) for _ in range(dtype.itemsize)], axis=1)
        return torch.from_numpy(planes.reshape(-1)).view(dtype)

    def finish(self) -> None:
        """Raise ``FormatError`` if something is left."""
        if next(self._pieces, None) is not None or len(self._escaped) or self._has_rest:
            raise FormatError("its Huffman codes go on behind the last symbol")

    def _next(self, count: int) -> Integers:
        symbols = next(self._pieces, None)
        if symbols is None or len(symbols) != count:
            raise FormatError(f"it should have {count:,} Huffman codes here, and has another number")
        self.bits += next(self._bits)
        return symbols


class _Reader:
    """Bytes that are taken from the front."""

    def __init__(self, content: bytes) -> None:
        self.rest = memoryview(content)

    def array(self, dtype: Any, count: int) -> Integers:
        size = numpy.dtype(dtype).itemsize * count
        if size > len(self.rest):
            raise FormatError("its Huffman codes end too early")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return numpy.frombuffer(taken, dtype)

    def integer(self, dtype: str) -> int:
        return int(self.array(dtype, 1)[0])

    def table(self) -> Integers:
        """A look-up table."""
        count = self.integer("u1") + 1
        symbols, lengths = self.array("u1", count), numpy.zeros(SYMBOLS, numpy.int64)
        lengths[symbols] = self.array("u1", count)
        if (lengths[symbols] == 0).any() or len(numpy.unique(symbols)) != count:
            raise FormatError("a Huffman table has a code of 0 bits, or a symbol twice")
        return look_up_table(lengths)


def _blocks(reader: _Reader, numbers: Integers, counts: Integers) -> tuple[Blocks, Integers]:
    """Where the blocks of the pieces lie, and the bits of each."""
    in_pieces = -(-counts // BLOCK)
    total = int(in_pieces.sum())
    place = numpy.arange(total) - numpy.repeat(numpy.cumsum(in_pieces) - in_pieces, in_pieces)
    left = numpy.minimum(numpy.repeat(counts, in_pieces) - BLOCK * place, BLOCK)
    lengths = reader.array("<u2", total).astype(numpy.int64)
    ends = numpy.cumsum(lengths)
    return Blocks(ends - lengths, ends, left, numpy.repeat(numbers, in_pieces) << LONGEST_CODE), lengths


def _entropy_bits(symbols: Integers, tables: Integers) -> float:
    """Symbols × the entropy of their frequencies, summed over the tables."""
    used = int(tables.max(initial=0)) + 1
    counts = numpy.bincount(tables * SYMBOLS + symbols, minlength=used * SYMBOLS).reshape(used, SYMBOLS)
    shares = counts / numpy.maximum(counts.sum(1, keepdims=True), 1)
    return float(-(counts * numpy.log2(numpy.where(counts > 0, shares, 1))).sum())


def _table_bytes(lengths: Integers) -> bytes:
    """Number of symbols less one, the symbols, and their code lengths."""
    used = lengths.nonzero()[0]
    return _bytes([len(used) - 1, *used, *lengths[used]], "u1")


def _bytes(values: Sequence[int], dtype: str) -> bytes:
    return numpy.array(values, dtype).tobytes()


def _joined(pieces: Sequence[Integers]) -> Integers:
    return numpy.concatenate(pieces) if pieces else numpy.zeros(0, numpy.uint8)

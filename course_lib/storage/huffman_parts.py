"""Huffman coding of the parts of tensors: a table for the levels of each tensor, and one for each byte of other values.

A level is a symbol of its own (0, -1, 1, -2, …) if its magnitude is below 128, and else the symbol ``ESCAPE`` and 32
bits. The stream has, little-endian: the number of tables; each table (number of symbols less one, the symbols, their
code lengths) and how often it is used; the bits of each block of at most 4,096 symbols; the codes, table by table; the
escaped levels.

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


class _Tables:
    """Numbers of the tables, in the order in which writer and reader first need them."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._levels = 0

    def of_levels(self) -> int:
        """The table of the next tensor of levels; after the first 1,024 all share one."""
        self._levels += 1
        return self._number(min(self._levels, MOST_LEVEL_TABLES))

    def of_plane(self, dtype: torch.dtype, plane: int) -> int:
        """The table of one byte of the values of a dtype."""
        return self._number((dtype, plane))

    def _number(self, key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


class HuffmanWriter:
    """A ``PartCoder`` that collects symbols; ``finish`` makes the stream."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._symbols: list[list[Integers]] = []
        self._escaped: list[Integers] = []

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Add integers around zero, with a table of their own."""
        assert levels is not None
        flat = levels.ravel().astype(numpy.int64)
        folded = numpy.where(flat < 0, -2 * flat - 1, 2 * flat)
        self._add(self._tables.of_levels(), numpy.minimum(folded, ESCAPE).astype(numpy.uint8))
        self._escaped.append(flat[folded >= ESCAPE].astype("<i4"))
        return levels

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """Add plain values of any dtype, byte plane by byte plane."""
        assert values is not None
        planes = values.contiguous().view(torch.uint8).numpy().reshape(count, dtype.itemsize)
        for plane in range(dtype.itemsize):
            self._add(self._tables.of_plane(dtype, plane), planes[:, plane])
        return values

    def _add(self, table: int, symbols: Integers) -> None:
        if table == len(self._symbols):
            self._symbols.append([])
        self._symbols[table].append(symbols)

    def finish(self) -> bytes:
        """The whole stream."""
        tables, sizes, codes, bits = [], [], [], []
        for symbols in map(_joined, self._symbols):
            counts = numpy.bincount(symbols, minlength=SYMBOLS)
            lengths = code_lengths(counts if len(symbols) else numpy.eye(1, SYMBOLS, dtype=int)[0]).astype(numpy.uint8)
            tables.append(_table_bytes(lengths) + _bytes([len(symbols)], "<u4"))
            bits.append(lengths[symbols])
            codes.append(canonical_codes(lengths).astype(numpy.uint16)[symbols])
            sizes += [int(bits[-1][start : start + BLOCK].sum()) for start in range(0, len(symbols), BLOCK)]
        head = [_bytes([len(tables)], "<u2"), *tables, _bytes(sizes, "<u2")]
        return b"".join([*head, write_bits(_joined(codes), _joined(bits)), *(one.tobytes() for one in self._escaped)])


class HuffmanReader:
    """A ``PartCoder`` that decodes a whole stream at once and then returns its symbols in order.

    If it is ``measured``, ``bits`` are those of what was returned, and ``ideal_bits`` is what all symbols would take if
    each cost -log2(its frequency in its table).

    Raises:
        FormatError: if the tables or codes of the stream are impossible.
    """

    def __init__(self, stream: bytes, measured: bool = False) -> None:
        self.bits, self._measured = 0.0, measured
        self._tables = _Tables()
        reader = _Reader(stream)
        if (number := reader.integer("<u2")) > MOST_TABLES:
            raise FormatError(f"it has {number:,} Huffman tables; allowed are {MOST_TABLES:,}")
        tables = [(reader.table(), reader.integer("<u4")) for _ in range(number)]
        self._lengths = [lengths for lengths, _ in tables]
        counts = numpy.array([count for _, count in tables], numpy.int64)
        if counts.sum() > 8 * len(reader.rest):
            raise FormatError(f"its Huffman codes should be {counts.sum():,} symbols, more than it has bits")
        blocks, bits = _blocks(reader, counts)
        content = bytes(reader.array("u1", -(-bits // 8)))
        look_up = _joined([look_up_table(lengths) for lengths in self._lengths])
        symbols = _joined(read_blocks(content, blocks, look_up))
        self._symbols = numpy.split(symbols, numpy.cumsum(counts)[:-1]) if number else []
        self._escaped = reader.array("<i4", len(reader.rest) // 4)
        self._has_rest = len(reader.rest) > 0
        entropy = sum(map(_entropy_bits, self._symbols)) if measured else math.nan
        self.ideal_bits = 32 * len(self._escaped) + entropy

    def levels(self, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """The next integers."""
        symbols = self._next(self._tables.of_levels(), math.prod(shape)).astype(numpy.int32)
        coded = numpy.where(symbols & 1, -(symbols >> 1) - 1, symbols >> 1)
        escaped = (symbols == ESCAPE).nonzero()[0]
        if len(escaped) > len(self._escaped):
            raise FormatError("its escaped levels are missing")
        coded[escaped], self._escaped = self._escaped[: len(escaped)], self._escaped[len(escaped) :]
        self.bits += 32 * len(escaped)
        return coded.reshape(shape)

    def values(self, dtype: torch.dtype, count: int, values: Tensor | None) -> Tensor:
        """The next plain values."""
        planes = [self._next(self._tables.of_plane(dtype, plane), count) for plane in range(dtype.itemsize)]
        return torch.from_numpy(numpy.stack(planes, axis=1).reshape(-1)).view(dtype)

    def finish(self) -> None:
        """Raise ``FormatError`` if something is left."""
        if any(len(symbols) for symbols in self._symbols) or len(self._escaped) or self._has_rest:
            raise FormatError("its Huffman codes go on behind the last symbol")

    def _next(self, table: int, count: int) -> Integers:
        if table >= len(self._symbols) or len(self._symbols[table]) < count:
            raise FormatError(f"it should have {count:,} more Huffman codes of table {table}")
        symbols, self._symbols[table] = self._symbols[table][:count], self._symbols[table][count:]
        if self._measured:
            self.bits += float(self._lengths[table][symbols].sum())
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
        """The code lengths [256] of a table."""
        count = self.integer("u1") + 1
        symbols, lengths = self.array("u1", count), numpy.zeros(SYMBOLS, numpy.int64)
        lengths[symbols] = self.array("u1", count)
        if (lengths[symbols] == 0).any() or len(numpy.unique(symbols)) != count:
            raise FormatError("a Huffman table has a code of 0 bits, or a symbol twice")
        return lengths


def _blocks(reader: _Reader, counts: Integers) -> tuple[Blocks, int]:
    """Where the blocks of the tables lie, and the bits of all together."""
    in_tables = -(-counts // BLOCK)
    total = int(in_tables.sum())
    place = numpy.arange(total) - numpy.repeat(numpy.cumsum(in_tables) - in_tables, in_tables)
    left = numpy.minimum(numpy.repeat(counts, in_tables) - BLOCK * place, BLOCK)
    lengths = reader.array("<u2", total).astype(numpy.int64)
    ends = numpy.cumsum(lengths)
    tables = numpy.repeat(numpy.arange(len(counts)), in_tables)
    return Blocks(ends - lengths, ends, left, tables << LONGEST_CODE), int(lengths.sum())


def _entropy_bits(symbols: Integers) -> float:
    """The number of symbols × the entropy of their frequencies."""
    counts = numpy.bincount(symbols, minlength=SYMBOLS)
    shares = counts[counts > 0] / max(len(symbols), 1)
    return float(-(shares * numpy.log2(shares)).sum() * len(symbols))


def _table_bytes(lengths: Integers) -> bytes:
    """Number of symbols less one, the symbols, and their code lengths."""
    used = lengths.nonzero()[0]
    return _bytes([len(used) - 1, *used, *lengths[used]], "u1")


def _bytes(values: Sequence[int], dtype: str) -> bytes:
    return numpy.array(values, dtype).tobytes()


def _joined(pieces: Sequence[Integers]) -> Integers:
    return numpy.concatenate(pieces) if pieces else numpy.zeros(0, numpy.uint8)

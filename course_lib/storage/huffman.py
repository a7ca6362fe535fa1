"""Canonical Huffman codes: lengths from counts, codes from lengths, and decoding of many blocks at once.

Sources: Huffman, A method for the construction of minimum-redundancy codes, 1952; Schwartz and Kallick, Generating a
canonical prefix encoding, 1964.
"""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

import numpy

from course_lib.storage.encodings import FormatError
from course_lib.storage.level_order import Integers

SYMBOLS = 256
LONGEST_CODE = 15


def code_lengths(counts: Integers) -> Integers:
    """Bits of the code of each symbol [symbols]; 0 for one that never occurs, and 1 for one that alone occurs.

    Where a code would be longer than 15 bits, the counts are halved until none is, so that a table stays small.
    """
    counts = numpy.asarray(counts, numpy.int64)
    while (lengths := _huffman(counts)).max(initial=0) > LONGEST_CODE:
        counts = (counts + 1) >> 1
    return lengths


def _huffman(counts: Integers) -> Integers:
    """Depths of the leaves when the two least frequent trees are joined again and again."""
    lengths = numpy.zeros(len(counts), numpy.int64)
    ties = itertools.count()
    trees = [(int(counts[symbol]), next(ties), [int(symbol)]) for symbol in counts.nonzero()[0]]
    if len(trees) == 1:
        lengths[trees[0][2]] = 1
    heapq.heapify(trees)
    while len(trees) > 1:
        (count, _, left), (more, _, right) = heapq.heappop(trees), heapq.heappop(trees)
        lengths[left + right] += 1
        heapq.heappush(trees, (count + more, next(ties), left + right))
    return lengths


def canonical_codes(lengths: Integers) -> Integers:
    """The code of each symbol: codes of one length count upwards in the order of the symbols, shorter ones first."""
    codes = numpy.zeros(len(lengths), numpy.int64)
    code = 0
    for length in range(1, LONGEST_CODE + 1):
        symbols = (lengths == length).nonzero()[0]
        codes[symbols] = code + numpy.arange(len(symbols))
        code = (code + len(symbols)) << 1
    return codes


def look_up_table(lengths: Integers) -> Integers:
    """For each window of 15 bits, the symbol that it begins with and, in the high byte, the length of its code.

    Raises:
        FormatError: if a length is over 15, or the lengths are not those of a full binary tree.
    """
    used = lengths.nonzero()[0]
    longest = int(lengths.max(initial=0))
    space = sum(2 ** (LONGEST_CODE - int(length)) for length in lengths[used]) if longest <= LONGEST_CODE else 0
    alone = len(used) == 1 and longest == 1
    if space != 2**LONGEST_CODE and not alone:
        raise FormatError(
            f"its code lengths (up to {longest} bits) are no full prefix code of up to {LONGEST_CODE} bits"
        )
    order = used[numpy.lexsort((used, lengths[used]))]
    entries = (order | (lengths[order] << 8)).astype(numpy.uint16)
    widths = (1 << (LONGEST_CODE - lengths[order])) << int(alone)
    return numpy.repeat(entries, widths)


def write_bits(codes: Integers, lengths: Integers) -> bytes:
    """Codes of up to 15 bits, one after another, high bit first."""
    ends = numpy.cumsum(lengths, dtype=numpy.int64)
    bits = numpy.zeros(int(ends[-1]) if len(ends) else 0, numpy.uint8)
    for place in range(LONGEST_CODE):
        here = lengths > place
        bits[ends[here] - 1 - place] = (codes[here] >> place) & 1
    return numpy.packbits(bits).tobytes()


class Blocks(NamedTuple):
    """Blocks of codes that can be decoded independently: vectors with an entry for each block."""

    starts: Integers
    """The first bit."""
    ends: Integers
    """The bit after the last."""
    counts: Integers
    """Number of symbols."""
    tables: Integers
    """Where its look-up table begins."""


def read_blocks(content: bytes, blocks: Blocks, tables: Integers) -> list[Integers]:
    """Symbols (uint8) of each block; all are decoded side by side, one symbol of each at a time.

    Args:
        content: the bits.
        tables: look-up tables, one after another.

    Raises:
        FormatError: if a block does not end where it should.
    """
    order = numpy.argsort(-blocks.counts, kind="stable")
    position, counts, offsets = blocks.starts[order], blocks.counts[order], blocks.tables[order]
    first = numpy.cumsum(counts) - counts
    windows = _windows(content)
    symbols = numpy.empty(int(counts.sum()), numpy.uint8)
    for step in range(int(counts.max(initial=0))):
        active = int(numpy.searchsorted(-counts, -step))
        here = position[:active]
        byte = numpy.minimum(here >> 3, len(windows) - 1)
        window = (windows[byte] >> (9 - (here & 7))) & (2**LONGEST_CODE - 1)
        entry = tables[offsets[:active] + window]
        symbols[first[:active] + step] = entry & 0xFF
        here += entry >> 8
    if (position != blocks.ends[order]).any():
        raise FormatError("a block of its Huffman codes does not end where it should")
    pieces = numpy.split(symbols, first[1:])
    return [pieces[place] for place in numpy.argsort(order)] if len(order) else []


def _windows(content: bytes) -> Integers:
    """The 24 bits that begin at each byte, and zeros behind the end."""
    padded = numpy.frombuffer(content + bytes(4), numpy.uint8).astype(numpy.int64)
    return (padded[:-2] << 16) | (padded[1:-1] << 8) | padded[2:]

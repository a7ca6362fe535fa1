"""Huffman codes in canonical form: the code lengths say everything.

Source: Huffman, A Method for the Construction of Minimum-Redundancy Codes, 1952; canonical codes: Schwartz and Kallick,
Generating a Canonical Prefix Encoding, 1964.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LONGEST = 32


@dataclass(frozen=True)
class Node:
    """A node of the tree: a symbol, or two branches."""

    count: int
    symbol: int | None = None
    zero: Node | None = None
    one: Node | None = None


def huffman_tree(counts: Sequence[int]) -> Node:
    """The tree of the symbols that occur; the two rarest nodes are joined until one is left.

    Raises:
        ValueError: if a count is negative, or no symbol occurs.
    """
    if any(count < 0 for count in counts) or not any(counts):
        raise ValueError(f"counts must be at least 0, and one of them above, got {list(counts)}")
    heap: list[tuple[int, int, Node]] = [
        (count, symbol, Node(count, symbol)) for symbol, count in enumerate(counts) if count
    ]
    heapq.heapify(heap)
    order = len(counts)
    while len(heap) > 1:
        (a, _, zero), (b, _, one) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (a + b, order, Node(a + b, None, zero, one)))
        order += 1
    return heap[0][2]


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Bits of the code word of each symbol; 0 for one that does not occur, 1 for one that is alone.

    Raises:
        ValueError: as ``huffman_tree``, or if a code word would be longer than 32 bits.
    """
    lengths = [0] * len(counts)
    stack = [(huffman_tree(counts), 0)]
    while stack:
        node, depth = stack.pop()
        if node.symbol is not None:
            lengths[node.symbol] = max(depth, 1)
        else:
            stack += [(branch, depth + 1) for branch in (node.zero, node.one) if branch is not None]
    if max(lengths) > LONGEST:
        raise ValueError(f"counts give a code word of {max(lengths)} bits; allowed are {LONGEST}")
    return lengths


def canonical_codes(lengths: Sequence[int]) -> dict[int, str]:
    """Symbol → code word: within a length in the order of the symbols, each the one before plus 1.

    Raises:
        ValueError: if a length is negative or above 32, or the lengths break Kraft's inequality.
    """
    if any(not 0 <= length <= LONGEST for length in lengths):
        raise ValueError(f"lengths must lie from 0 to {LONGEST}, got {list(lengths)}")
    if sum(2.0**-length for length in lengths if length) > 1:
        raise ValueError(f"no prefix code has the lengths {list(lengths)}: the sum of 2^-length is above 1")
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        codes[symbol] = format(code, f"0{length}b")
        code, before = code + 1, length
    return codes


def encode(symbols: Sequence[int], codes: Mapping[int, str]) -> str:
    """The code words of ``symbols``, one after another, as text of 0 and 1."""
    return "".join(codes[symbol] for symbol in symbols)


def decode(bits: str, codes: Mapping[int, str]) -> list[int]:
    """The symbols whose code words stand in ``bits``.

    Raises:
        ValueError: if the last code word is incomplete.
    """
    symbol_of, symbols, word = {code: symbol for symbol, code in codes.items()}, [], ""
    for bit in bits:
        word += bit
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
    if word:
        raise ValueError(f"bits end with {word!r}, which is no code word")
    return symbols


def entropy(counts: Any) -> float:
    """Entropy of a distribution in bits per symbol, from counts or probabilities (Shannon, 1948)."""
    p = torch.as_tensor(counts, dtype=torch.float64)
    p = p[p > 0] / p.sum()
    return float(-(p * p.log2()).sum())


def code_bits(counts: Sequence[int], lengths: Sequence[int]) -> int:
    """Bits of a sequence in which each symbol occurs ``counts`` times."""
    return sum(count * length for count, length in zip(counts, lengths, strict=True))


def gaps(nonzero: Tensor, bits: int) -> Tensor:
    """Distances between nonzeros in ``bits`` bits, as Deep Compression stores them.

    A gap counts the zeros before a nonzero. One that does not fit is split: ``2^bits - 1`` stands for that many zeros
    and a zero that is stored as if it were a nonzero.

    Args:
        nonzero: boolean, any shape, read row by row.

    Source: Han et al., Deep Compression, 2016 (figure 2).
    """
    places = nonzero.flatten().nonzero().flatten()
    between = torch.diff(places, prepend=torch.tensor([-1])) - 1
    size = 2**bits
    fillers = between // size
    result = torch.full((int(fillers.sum()) + len(between),), size - 1, dtype=torch.int64)
    result[(fillers + 1).cumsum(0) - 1] = between % size
    return result


def huffman_bits_per_symbol(counts: Sequence[int]) -> float:
    """Mean code length, at least the entropy and less than the entropy plus 1."""
    lengths = code_lengths(counts)
    return code_bits(counts, lengths) / math.fsum(counts)

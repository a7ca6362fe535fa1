"""Arithmetic coding in exact fractions: a message is an interval that narrows with each symbol.

It is here to be read, and for short messages. Files use the range coder of ``storage.range_coding``, which does the
same with integers of fixed width.

Sources: Rissanen, Generalized Kraft Inequality and Arithmetic Coding, 1976; Witten, Neal and Cleary, Arithmetic Coding
for Data Compression, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` up to, but not including, ``low + width``."""

    low: Fraction = Fraction(0)
    width: Fraction = Fraction(1)

    @property
    def bits(self) -> float:
        """Ideal code length, ``-log2(width)``."""
        return math.log2(self.width.denominator) - math.log2(self.width.numerator)

    def part(self, symbol: int, counts: Sequence[int]) -> Interval:
        """The part of ``symbol``; parts follow one another in the order of the symbols, as wide as their counts."""
        total = sum(counts)
        return Interval(
            self.low + self.width * Fraction(sum(counts[:symbol]), total), self.width * Fraction(counts[symbol], total)
        )


def narrowing_intervals(message: Sequence[int], counts: Sequence[int]) -> list[Interval]:
    """The interval before the first symbol and after each symbol of ``message``.

    Args:
        counts: how often each symbol is expected, integers.

    Raises:
        ValueError: if a symbol of the message is unknown or has count 0.
    """
    if bad := [symbol for symbol in message if not 0 <= symbol < len(counts) or counts[symbol] <= 0]:
        raise ValueError(f"message must hold symbols with a positive count, got {bad[0]} with counts {list(counts)}")
    intervals = [Interval()]
    for symbol in message:
        intervals.append(intervals[-1].part(symbol, counts))
    return intervals


def shortest_bits(interval: Interval) -> str:
    """The shortest bits after ``0.`` such that every number that begins with them lies in the interval.

    Of several it is the lowest; there are at most ``ceil(-log2(width)) + 1`` bits.
    """
    length = 0
    while True:
        first = math.ceil(interval.low * 2**length)
        if Fraction(first + 1, 2**length) <= interval.low + interval.width:
            return format(first, f"0{length}b") if length else ""
        length += 1


def arithmetic_encode(message: Sequence[int], counts: Sequence[int]) -> str:
    """The code of ``message`` as text of 0 and 1.

    Raises:
        ValueError: as ``narrowing_intervals``.
    """
    return shortest_bits(narrowing_intervals(message, counts)[-1])


def arithmetic_decode(bits: str, counts: Sequence[int], length: int) -> list[int]:
    """The ``length`` symbols whose code begins with ``bits``: in each step, the part that holds the number."""
    number, interval, message = Fraction(int(bits or "0", 2), 2 ** len(bits)), Interval(), []
    for _ in range(length):
        parts = [interval.part(symbol, counts) for symbol in range(len(counts))]
        symbol = max(s for s, part in enumerate(parts) if counts[s] and part.low <= number)
        interval = parts[symbol]
        message.append(symbol)
    return message

"""Adaptive coding of symbols: one frequency table for each context, learned from the symbols that were coded.

Source: Rissanen and Langdon, Universal modeling and coding, 1981.
"""

from __future__ import annotations

import numpy

from course_lib.storage.level_order import Integers
from course_lib.storage.range_coding import SymbolCoder, frequencies


class AdaptiveTables:
    """Counts [contexts, symbols] of what was coded.

    Args:
        counts: first counts, integers of at least 1.
        weight: units in which a symbol is counted.
        limit: number of symbols after which the counts of a context are halved, so that recent ones weigh more.
    """

    def __init__(self, counts: Integers, weight: int, limit: int) -> None:
        self._counts, self._weight, self._limit = counts.astype(numpy.int64), weight, weight * limit

    def code(self, coder: SymbolCoder, contexts: Integers, symbols: Integers | None) -> Integers:
        """Encode ``symbols`` [n] (or decode as many), the symbols of one context after the other; returns them."""
        order = numpy.argsort(contexts, kind="stable")
        known = None if symbols is None else symbols[order]
        sizes = numpy.bincount(contexts, minlength=len(self._counts))
        used = sizes.nonzero()[0]
        pieces, start = [], 0
        for table, size in zip(frequencies(self._counts[used]), sizes[used].tolist(), strict=True):
            pieces.append(coder.code(table, size, None if known is None else known[start : start + size]))
            start += size
        coded = numpy.empty(len(contexts), numpy.int64)
        coded[order] = numpy.concatenate(pieces) if pieces else 0
        self.learn(contexts, coded)
        return coded

    def learn(self, contexts: Integers, symbols: Integers) -> None:
        """Count symbols [n] of these contexts."""
        rows, columns = self._counts.shape
        cells = contexts.astype(numpy.int64) * columns + symbols
        self._counts += self._weight * numpy.bincount(cells, minlength=rows * columns).reshape(rows, columns)
        full = (self._counts.sum(1) > self._limit).nonzero()[0]
        if len(full):
            self._counts[full] = (self._counts[full] + 1) >> 1

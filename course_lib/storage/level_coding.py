"""Adaptive coding of integer levels: one frequency table for each expected magnitude, learned from what was coded.

A level is coded as the magnitude without its ``shift`` lowest bits (the larger the expected magnitude, the more),
those bits, and a sign. Magnitudes of ``ESCAPE`` and more follow in an Exp-Golomb code. Tables begin with geometric
frequencies and are shared by all tensors of a file.

Source: Rissanen and Langdon, Universal modeling and coding, 1981; Teuhola (Exp-Golomb), 1978.
"""

from __future__ import annotations

import numpy

from course_lib.storage.encodings import FormatError
from course_lib.storage.level_contexts import (
    BINS_PER_OCTAVE,
    CONTEXTS,
    LOWEST_OCTAVE,
    Integers,
    MagnitudeContexts,
    blocks,
    from_planes,
    plane_shape,
    to_planes,
)
from course_lib.storage.range_coding import SymbolCoder, frequencies

SYMBOLS = 18
ESCAPE = SYMBOLS - 1
CLASSES = 32  # numbers of bits of an escaped magnitude
UNSHIFTED_OCTAVES = 2  # magnitudes expected above 2^2 lose their lowest bits
PRIOR_COUNT, COUNT = 24, 64  # levels that the first frequencies weigh; units in which a level is counted
LARGEST_LEVEL = 2**31 - 1


class LevelModel:
    """Counts of the magnitudes in each context, and of the classes of escaped ones."""

    def __init__(self) -> None:
        self.coded = 0
        self._counts = numpy.stack([_geometric(context) for context in range(CONTEXTS)])
        self._classes = numpy.ones(CLASSES, numpy.int64)
        self._signs = numpy.ones(2, numpy.int64)

    def code(self, coder: SymbolCoder, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Encode ``levels`` (int64, in ``shape``) or decode as many; returns them.

        Raises:
            FormatError: if a decoded level is impossible.
        """
        planes = plane_shape(shape)
        known = None if levels is None else to_planes(levels)
        coded = numpy.zeros(planes, numpy.int32)
        magnitudes = MagnitudeContexts(*planes[1:])
        self._signs[:] = 8 * COUNT
        for plane, rows, columns in blocks(planes, self.coded):
            contexts = magnitudes.contexts(rows, columns)
            block = self._code_block(coder, contexts.ravel(), known if known is None else known[plane, rows, columns])
            coded[plane, rows, columns] = block.reshape(contexts.shape)
            magnitudes.update(rows, columns, numpy.abs(coded[plane, rows, columns]))
            self.coded += block.size
        return from_planes(coded, shape)

    def _code_block(self, coder: SymbolCoder, contexts: Integers, levels: Integers | None) -> Integers:
        """Code the levels of a block context by context, in the order of the contexts."""
        order = numpy.argsort(contexts, kind="stable")
        sizes = numpy.bincount(contexts, minlength=CONTEXTS)
        used = sizes.nonzero()[0]
        known = None if levels is None else levels.ravel()[order].astype(numpy.int64)
        sorted_levels = numpy.empty(len(contexts), numpy.int64)
        start = 0
        for context, table in zip(used, frequencies(self._counts[used]), strict=True):
            end = start + int(sizes[context])
            magnitudes = None if known is None else numpy.abs(known[start:end])
            sorted_levels[start:end] = self._code_magnitudes(coder, int(context), table, end - start, magnitudes)
            start = end
        if sorted_levels.max() > LARGEST_LEVEL:
            raise FormatError(f"it decodes to a level beyond {LARGEST_LEVEL}")
        self._code_signs(coder, sorted_levels, known)
        result = numpy.empty_like(sorted_levels)
        result[order] = sorted_levels
        return result

    def _code_magnitudes(
        self, coder: SymbolCoder, context: int, table: Integers, count: int, magnitudes: Integers | None
    ) -> Integers:
        shift = _shift(context)
        high = None if magnitudes is None else magnitudes >> shift
        symbols = coder.code(table, count, None if high is None else numpy.minimum(high, ESCAPE))
        self._counts[context] += COUNT * numpy.bincount(symbols, minlength=SYMBOLS)
        coded = symbols.astype(numpy.int64)
        escaped = (coded == ESCAPE).nonzero()[0]
        if len(escaped):
            coded[escaped] += self._code_escaped(coder, len(escaped), None if high is None else high[escaped] - ESCAPE)
        if shift:
            low = coder.raw(shift, count, None if magnitudes is None else magnitudes & (2**shift - 1))
            coded = (coded << shift) | low
        return coded

    def _code_escaped(self, coder: SymbolCoder, count: int, values: Integers | None) -> Integers:
        """Exp-Golomb: the number of bits of value + 1, then all of them but the first."""
        lengths = None if values is None else numpy.frexp(values + 1.0)[1] - 1
        lengths = coder.code(frequencies(self._classes), count, lengths)
        self._classes += numpy.bincount(lengths, minlength=CLASSES)
        coded = numpy.int64(1) << lengths.astype(numpy.int64)
        for bits in numpy.unique(lengths[lengths > 0]):
            where = lengths == bits
            low = None if values is None else (values[where] + 1) & ((1 << int(bits)) - 1)
            coded[where] |= coder.raw(int(bits), int(where.sum()), low)
        return coded - 1

    def _code_signs(self, coder: SymbolCoder, levels: Integers, known: Integers | None) -> None:
        """Give ``levels``, which are magnitudes so far, their signs, in place."""
        where = levels.nonzero()[0]
        if len(where):
            signs = None if known is None else (known[where] < 0).astype(numpy.int64)
            signs = coder.code(frequencies(self._signs), len(where), signs)
            self._signs += COUNT * numpy.bincount(signs, minlength=2)
            levels[where[signs != 0]] *= -1


def _shift(context: int) -> int:
    """Bits of a magnitude that are coded without a model in this context."""
    return max(LOWEST_OCTAVE + context // BINS_PER_OCTAVE - UNSHIFTED_OCTAVES, 0)


def _geometric(context: int) -> Integers:
    """First counts of the magnitudes of a context: a geometric distribution with the expected magnitude as mean.

    Counts are integers with a common unit; each symbol has at least one.
    """
    octave, bin_ = divmod(context, BINS_PER_OCTAVE)
    mean = (2 ** (octave + LOWEST_OCTAVE + 20) * (BINS_PER_OCTAVE + bin_) // BINS_PER_OCTAVE) >> _shift(context)
    unit, counts = PRIOR_COUNT * COUNT * 2**20, []
    for _ in range(ESCAPE):
        counts.append(unit * 2**20 // (2**20 + mean))
        unit -= counts[-1]
    return numpy.maximum(numpy.array([*counts, unit]) >> 20, 1)

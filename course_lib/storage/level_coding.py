"""Adaptive coding of integer levels, with a frequency table for each expected magnitude and each expected sign.

A magnitude is coded without its ``shift`` lowest bits (the larger the expected magnitude, the more), which follow as
they are; ``ESCAPE`` and more is followed by the rest in an Exp-Golomb code. Tables begin with geometric frequencies and
are shared by all tensors of a file.

Source: Teuhola, A compression method for clustered bit-vectors, 1978 (Exp-Golomb); Wiedemann et al., DeepCABAC, 2019.
"""

from __future__ import annotations

import numpy

from course_lib.storage.adaptive_tables import AdaptiveTables
from course_lib.storage.encodings import FormatError
from course_lib.storage.level_contexts import (
    BINS_PER_OCTAVE,
    LOWEST_OCTAVE,
    MAGNITUDE_CONTEXTS,
    SIGN_BINS,
    SIGN_CONTEXTS,
    SIGN_STEPS,
    LevelContexts,
)
from course_lib.storage.level_order import Integers, blocks, from_planes, plane_shape, to_planes
from course_lib.storage.range_coding import SymbolCoder

SYMBOLS = 18
ESCAPE = SYMBOLS - 1
ESCAPE_CLASSES = 32  # numbers of bits of an escaped magnitude
UNSHIFTED_OCTAVES = 2  # magnitudes expected above 2^2 lose their lowest bits
WEIGHT = 64  # units in which a symbol is counted
PRIOR_SYMBOLS, PRIOR_SIGNS = 24, 8  # symbols that the first counts of a context weigh
RECENT_SYMBOLS = 2000
LARGEST_LEVEL = 2**31 - 1


class LevelModel:
    """What was learned of the levels of a file."""

    def __init__(self) -> None:
        magnitudes = numpy.stack([_geometric(context) for context in range(MAGNITUDE_CONTEXTS)])
        signs = numpy.stack([_balanced(context) for context in range(SIGN_CONTEXTS)])
        self._magnitudes = AdaptiveTables(magnitudes, WEIGHT, RECENT_SYMBOLS)
        self._signs = AdaptiveTables(signs, WEIGHT, RECENT_SYMBOLS)
        self._classes = AdaptiveTables(numpy.ones((1, ESCAPE_CLASSES)), 1, RECENT_SYMBOLS)

    def code(self, coder: SymbolCoder, shape: tuple[int, ...], levels: Integers | None) -> Integers:
        """Encode ``levels`` (integers in ``shape``) or decode as many; returns them.

        Raises:
            FormatError: if a decoded level is impossible.
        """
        if 0 in shape:
            return numpy.zeros(shape, numpy.int32)
        planes = plane_shape(shape)
        known = None if levels is None else to_planes(levels)
        coded = numpy.zeros(planes, numpy.int32)
        contexts = LevelContexts(*planes[1:])
        for plane, rows, columns in blocks(planes):
            block = None if known is None else known[plane, rows, columns].ravel().astype(numpy.int64)
            of_magnitudes = contexts.magnitude(plane, rows, columns)
            magnitudes = self._code_magnitudes(coder, of_magnitudes.ravel(), None if block is None else abs(block))
            of_signs = contexts.sign(rows, columns).ravel()
            signed = self._code_signs(coder, of_signs, magnitudes, block).reshape(of_magnitudes.shape)
            coded[plane, rows, columns] = signed
            contexts.add(rows, columns, signed)
        return from_planes(coded, shape)

    def _code_magnitudes(self, coder: SymbolCoder, contexts: Integers, magnitudes: Integers | None) -> Integers:
        shifts = SHIFTS[contexts]
        high = None if magnitudes is None else magnitudes >> shifts
        coded = self._magnitudes.code(coder, contexts, None if high is None else numpy.minimum(high, ESCAPE))
        escaped = (coded == ESCAPE).nonzero()[0]
        if len(escaped):
            coded[escaped] += self._code_escaped(coder, len(escaped), None if high is None else high[escaped] - ESCAPE)
        for shift in numpy.unique(shifts[shifts > 0]).tolist():
            where = shifts == shift
            low = None if magnitudes is None else magnitudes[where] & (2**shift - 1)
            coded[where] = (coded[where] << shift) | coder.raw(shift, int(where.sum()), low)
        if coded.max() > LARGEST_LEVEL:
            raise FormatError(f"it decodes to a level beyond {LARGEST_LEVEL}")
        return coded

    def _code_escaped(self, coder: SymbolCoder, count: int, values: Integers | None) -> Integers:
        """Exp-Golomb: the number of bits of value + 1, then all of them but the first."""
        lengths = None if values is None else numpy.frexp(values + 1.0)[1] - 1
        lengths = self._classes.code(coder, numpy.zeros(count, numpy.int64), lengths)
        coded = numpy.int64(1) << lengths
        for bits in numpy.unique(lengths[lengths > 0]).tolist():
            where = lengths == bits
            low = None if values is None else (values[where] + 1) & ((1 << bits) - 1)
            coded[where] |= coder.raw(bits, int(where.sum()), low)
        return coded - 1

    def _code_signs(
        self, coder: SymbolCoder, contexts: Integers, magnitudes: Integers, levels: Integers | None
    ) -> Integers:
        """The magnitudes with their signs."""
        where = magnitudes.nonzero()[0]
        negative = self._signs.code(coder, contexts[where], None if levels is None else levels[where] < 0)
        signed = magnitudes.copy()
        signed[where[negative != 0]] *= -1
        return signed


def _shift(context: int) -> int:
    """Bits of a magnitude that are coded without a model in this context."""
    return max(LOWEST_OCTAVE + context // BINS_PER_OCTAVE - UNSHIFTED_OCTAVES, 0)


def _geometric(context: int) -> Integers:
    """First counts of the magnitudes of a context: a geometric distribution with the expected magnitude as mean."""
    octave, bin_ = divmod(context, BINS_PER_OCTAVE)
    mean = (2 ** (octave + LOWEST_OCTAVE + 20) * (BINS_PER_OCTAVE + bin_) // BINS_PER_OCTAVE) >> _shift(context)
    rest, counts = PRIOR_SYMBOLS * WEIGHT * 2**20, []
    for _ in range(ESCAPE):
        counts.append(rest * 2**20 // (2**20 + mean))
        rest -= counts[-1]
    return numpy.maximum(numpy.array([*counts, rest]) >> 20, 1)


def _balanced(context: int) -> Integers:
    """First counts of the signs of a context, positive and negative: the mean balance of the row and the column."""
    balance = context - SIGN_BINS  # in units of 1 / (2 * SIGN_STEPS)
    unit = PRIOR_SIGNS * WEIGHT // (4 * SIGN_STEPS)
    return numpy.maximum(unit * numpy.array([2 * SIGN_STEPS + balance, 2 * SIGN_STEPS - balance]), 1)


SHIFTS = numpy.array([_shift(context) for context in range(MAGNITUDE_CONTEXTS)])

"""Contexts of integer levels: the expected magnitude and the expected sign, from what was coded before.

* Magnitude: (mean of the row so far) × (mean of the column so far) / (mean so far), drawn towards the mean of the
  kernel positions of the same input and output that are known. Its logarithm, cut into bins, is the context.
* Sign: the balance of the signs in the row so far, plus that in the column.

All of it is integer arithmetic, so that every platform finds the same contexts.

Source: Marpe et al., Context-Based Adaptive Binary Arithmetic Coding, 2003; Wiedemann et al., DeepCABAC, 2019.
"""

from __future__ import annotations

import numpy

from course_lib.storage.level_order import Integers

FRACTION_BITS = 16  # of a mean magnitude in fixed point
LOG_BITS = 5  # fraction bits of a logarithm to the base 2
BINS_PER_OCTAVE = 3
LOWEST_OCTAVE, HIGHEST_OCTAVE = -6, 13
MAGNITUDE_CONTEXTS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE + 1
LARGEST_MAGNITUDE = 2**15 - 1  # larger ones count as this in a mean
PRIOR_LEVELS = 16  # levels with the overall mean that a row or column is thought to begin with
PRIOR_POSITIONS = 32  # positions with the expected magnitude that a kernel is thought to begin with
SIGN_STEPS, SIGN_BINS, PRIOR_SIGNS = 8, 16, 8  # bins are 1 / SIGN_STEPS wide; a balance lies between -1 and 1
SIGN_CONTEXTS = 2 * SIGN_BINS + 1


class LineSums:
    """Sums and counts of the rows and columns of a plane."""

    def __init__(self, rows: int, columns: int) -> None:
        self.sums = numpy.zeros(rows, numpy.int64), numpy.zeros(columns, numpy.int64)
        self.counts = numpy.zeros(rows, numpy.int64), numpy.zeros(columns, numpy.int64)

    def add(self, rows: slice, columns: slice, values: Integers, counted: Integers | None = None) -> None:
        """Add the values [rows, columns] of a block; those where ``counted`` is False do not count."""
        for axis, where in ((0, rows), (1, columns)):
            self.sums[axis][where] += values.sum(1 - axis)
            self.counts[axis][where] += values.shape[1 - axis] if counted is None else counted.sum(1 - axis)


class LevelContexts:
    """Contexts of the blocks of one tensor [planes, rows, columns]."""

    def __init__(self, rows: int, columns: int) -> None:
        self._magnitudes, self._signs = LineSums(rows, columns), LineSums(rows, columns)
        self._kernels = numpy.zeros((rows, columns), numpy.int64)
        self._sum, self._count = 0, 0

    def magnitude(self, plane: int, rows: slice, columns: slice) -> Integers:
        """Context of the magnitude of each level of a block, uint8 [rows, columns]."""
        mean = ((self._sum << FRACTION_BITS) + (1 << FRACTION_BITS >> 2)) // (self._count + 1) + 1
        lines = zip(self._magnitudes.sums, self._magnitudes.counts, (rows, columns), strict=True)
        of_rows, of_columns = (
            ((sums[where] << FRACTION_BITS) + PRIOR_LEVELS * mean) // (counts[where] + PRIOR_LEVELS) + 1
            for sums, counts, where in lines
        )
        expected = of_rows[:, None] * of_columns // mean
        if plane:
            known = self._kernels[rows, columns] << FRACTION_BITS
            expected = (known + PRIOR_POSITIONS * expected) // (plane + PRIOR_POSITIONS)
        logarithm = _log2(expected + 1) - ((FRACTION_BITS + LOWEST_OCTAVE) << LOG_BITS)
        bins = (logarithm * BINS_PER_OCTAVE + (1 << LOG_BITS >> 1)) >> LOG_BITS
        return bins.clip(0, MAGNITUDE_CONTEXTS - 1).astype(numpy.uint8)

    def sign(self, rows: slice, columns: slice) -> Integers:
        """Context of the sign of each level of a block, uint8 [rows, columns]."""
        lines = zip(self._signs.sums, self._signs.counts, (rows, columns), strict=True)
        of_rows, of_columns = (
            sums[where] * SIGN_STEPS * SIGN_STEPS // (counts[where] + PRIOR_SIGNS) for sums, counts, where in lines
        )
        bins = (of_rows[:, None] + of_columns + SIGN_STEPS // 2) // SIGN_STEPS
        return (bins + SIGN_BINS).astype(numpy.uint8)

    def add(self, rows: slice, columns: slice, levels: Integers) -> None:
        """Count the levels [rows, columns] of a block that was coded."""
        magnitudes = numpy.minimum(numpy.abs(levels), LARGEST_MAGNITUDE)
        self._magnitudes.add(rows, columns, magnitudes)
        self._signs.add(rows, columns, numpy.sign(levels), magnitudes != 0)
        self._kernels[rows, columns] += magnitudes
        self._sum += int(magnitudes.sum())
        self._count += magnitudes.size


def _log2(values: Integers) -> Integers:
    """Logarithm to the base 2 of integers from 1 to 2^52, in fixed point, piecewise linear: exact on every platform.

    It is read from the exponent and the first bits of the mantissa of the same number as float64.
    """
    return (values.astype("<f8").view("<i8") >> (52 - LOG_BITS)) - (1023 << LOG_BITS)

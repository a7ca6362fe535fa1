"""The context of an integer level: its expected magnitude, from the magnitudes of its row and column coded so far.

A tensor is coded as planes [rows, columns], one for each kernel position of a convolution, from the centre outwards,
and a plane block by block, so that encoder and decoder know the same levels before each block. The expected magnitude
of a level is (mean of its row so far) × (mean of its column so far) / (mean so far); its logarithm, cut into bins, is
the context. All of it is integer arithmetic, so that every platform finds the same contexts.

Source: Wiegand and Schwarz, Source Coding, 2011 (conditional and adaptive coding).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

Integers = NDArray[Any]

FRACTION_BITS = 16  # of a mean magnitude in fixed point
LOG_BITS = 5  # fraction bits of a logarithm to the base 2
BINS_PER_OCTAVE = 3
LOWEST_OCTAVE, HIGHEST_OCTAVE = -6, 13
CONTEXTS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE + 1
LARGEST_MAGNITUDE = 2**15 - 1  # larger ones count as this in a mean
PRIOR_LEVELS = 4  # levels with the overall mean that a row or column is thought to begin with
SMALLEST_BLOCK, LARGEST_BLOCK = 128, 4096
KNOWN_PER_BLOCK = 8  # a block is at most one eighth of what was coded before


def to_planes(levels: Integers) -> Integers:
    """[planes, rows, columns] of a tensor: kernel positions from the centre outwards, outputs, inputs."""
    rows, columns, kernel = _geometry(levels.shape)
    return levels.reshape(rows, columns, math.prod(kernel)).transpose(2, 0, 1)[_from_the_centre(kernel)]


def from_planes(planes: Integers, shape: tuple[int, ...]) -> Integers:
    """The inverse of ``to_planes``."""
    _, _, kernel = _geometry(shape)
    positions = numpy.argsort(_from_the_centre(kernel))
    return planes[positions].transpose(1, 2, 0).reshape(shape)


def plane_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Planes, rows and columns of a tensor of this shape."""
    rows, columns, kernel = _geometry(shape)
    return math.prod(kernel), rows, columns


def _geometry(shape: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    if len(shape) < 2:
        return 1, math.prod(shape), ()
    return shape[0], shape[1], tuple(shape[2:])


def _from_the_centre(kernel: tuple[int, ...]) -> Integers:
    """Flat kernel positions by their distance from the centre."""
    distances = sum(
        ((2 * position - (size - 1)) ** 2 for position, size in zip(numpy.indices(kernel), kernel, strict=True)),
        start=numpy.zeros(kernel, numpy.int64),
    )
    return numpy.argsort(distances.ravel(), kind="stable")


class MagnitudeContexts:
    """Contexts of the blocks of one tensor, from sums of the magnitudes that were coded before."""

    def __init__(self, rows: int, columns: int) -> None:
        self._sums = numpy.zeros(rows, numpy.int64), numpy.zeros(columns, numpy.int64)
        self._counts = numpy.zeros(rows, numpy.int64), numpy.zeros(columns, numpy.int64)
        self._sum, self._count = 0, 0

    def contexts(self, rows: slice, columns: slice) -> Integers:
        """Context of each level of a block, 0 to ``CONTEXTS - 1``, uint8 [rows, columns]."""
        mean = ((self._sum << FRACTION_BITS) + (1 << FRACTION_BITS >> 2)) // (self._count + 1) + 1
        of_rows, of_columns = (
            _log2(((sums[where] << FRACTION_BITS) + PRIOR_LEVELS * mean) // (counts[where] + PRIOR_LEVELS) + 1)
            for sums, counts, where in zip(self._sums, self._counts, (rows, columns), strict=True)
        )
        zero = _log2(numpy.array([mean])) + ((FRACTION_BITS + LOWEST_OCTAVE) << LOG_BITS)
        logarithm = (of_rows - zero)[:, None] + of_columns
        bins = (logarithm * BINS_PER_OCTAVE + (1 << LOG_BITS >> 1)) >> LOG_BITS
        return bins.clip(0, CONTEXTS - 1).astype(numpy.uint8)

    def update(self, rows: slice, columns: slice, magnitudes: Integers) -> None:
        """Count the magnitudes [rows, columns] of a block that was coded."""
        magnitudes = numpy.minimum(magnitudes, LARGEST_MAGNITUDE)
        for axis, where in ((0, rows), (1, columns)):
            self._sums[axis][where] += magnitudes.sum(1 - axis)
            self._counts[axis][where] += magnitudes.shape[1 - axis]
        self._sum += int(magnitudes.sum())
        self._count += magnitudes.size


def blocks(shape: tuple[int, int, int], coded: int) -> Iterator[tuple[int, slice, slice]]:
    """(Plane, rows, columns) of the blocks of a tensor in the order of coding.

    Blocks are about square, so that the next ones know something of their rows and of their columns, and grow with the
    number of levels ``coded`` before this tensor and in it.
    """
    planes, rows, columns = shape
    for plane in range(planes):
        left = 0
        while left < columns and rows:
            width = _piece(columns - left, math.isqrt(_block_size(coded)))
            top = 0
            while top < rows:
                height = _piece(rows - top, max(_block_size(coded) // width, 1))
                yield plane, slice(top, top + height), slice(left, left + width)
                coded += height * width
                top += height
            left += width


def _block_size(coded: int) -> int:
    return min(max(coded // KNOWN_PER_BLOCK, SMALLEST_BLOCK), LARGEST_BLOCK)


def _piece(left: int, wanted: int) -> int:
    """``wanted`` of what is left, or all of it if the rest would be less than half a piece."""
    return left if left - wanted < wanted // 2 else wanted


def _log2(values: Integers) -> Integers:
    """Logarithm to the base 2 of integers from 1 to 2^52, in fixed point, piecewise linear: exact on every platform.

    It is read from the exponent and the first bits of the mantissa of the same number as float64.
    """
    return (values.astype("<f8").view("<i8") >> (52 - LOG_BITS)) - (1023 << LOG_BITS)

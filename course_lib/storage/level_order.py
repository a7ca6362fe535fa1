"""The order in which the integer levels of a tensor are coded: planes, and blocks of them.

A tensor is coded as planes [rows, columns], one for each kernel position of a convolution, from the centre outwards,
and a plane block by block. Encoder and decoder know the same levels before each block. Blocks are about square, so
that later ones know something of their rows and of their columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

Integers = NDArray[Any]

SMALLEST_BLOCK, LARGEST_BLOCK = 16, 4096
SMALLEST_PLANE = 64
KNOWN_PER_BLOCK = 16  # a block has at most one sixteenth of the levels of the tensor that were coded before


def to_planes(levels: Integers) -> Integers:
    """[planes, rows, columns] of a tensor: kernel positions from the centre outwards, outputs, inputs."""
    planes, rows, columns = plane_shape(levels.shape)
    return levels.reshape(rows, columns, planes).transpose(2, 0, 1)[_positions(planes, levels.shape)]


def from_planes(planes: Integers, shape: tuple[int, ...]) -> Integers:
    """The inverse of ``to_planes``."""
    positions = numpy.argsort(_positions(len(planes), shape))
    return planes[positions].transpose(1, 2, 0).reshape(shape)


def plane_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Planes, rows and columns of a tensor of this shape.

    A vector is one row, and a tensor whose planes would be tiny is one plane.
    """
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    kernel = math.prod(shape[2:])
    if shape[0] * shape[1] < SMALLEST_PLANE:
        return 1, shape[0], shape[1] * kernel
    return kernel, shape[0], shape[1]


def blocks(shape: tuple[int, int, int]) -> Iterator[tuple[int, slice, slice]]:
    """(Plane, rows, columns) of the blocks in the order of coding; they grow with the number of levels before them."""
    planes, rows, columns = shape
    coded = 0
    for plane in range(planes):
        left = 0
        while left < columns and rows:
            size = _block_size(coded)
            width = _piece(columns - left, max(math.isqrt(size), size // rows))
            top = 0
            while top < rows:
                height = _piece(rows - top, max(_block_size(coded) // width, 1))
                yield plane, slice(top, top + height), slice(left, left + width)
                coded += height * width
                top += height
            left += width


def _positions(planes: int, shape: tuple[int, ...]) -> Integers:
    """Flat kernel positions in the order of the planes: by their distance from the centre."""
    kernel = shape[2:] if planes != 1 else ()
    distances = numpy.zeros(kernel, numpy.int64)
    for position, size in zip(numpy.indices(kernel), kernel, strict=True):
        distances += (2 * position - (size - 1)) ** 2
    return numpy.argsort(distances.ravel(), kind="stable")


def _block_size(coded: int) -> int:
    return min(max(coded // KNOWN_PER_BLOCK, SMALLEST_BLOCK), LARGEST_BLOCK)


def _piece(left: int, wanted: int) -> int:
    """``wanted`` of what is left, or all of it if the rest would be less than half a piece."""
    return left if left - wanted < wanted // 2 else wanted

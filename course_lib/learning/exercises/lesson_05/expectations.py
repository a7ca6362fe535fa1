"""What the checks of exercise 05 expect of scales, zero-points, integers and codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.exercises.lesson_05 import reference
from course_lib.learning.expect import (
    as_float,
    expect_close,
    expect_equal,
    expect_parts,
    expect_tensor,
    likely_mistake,
)


def expect_symmetric(given: Any, weight: Tensor, bits: int) -> None:
    """The integers of a tensor and its one scale."""
    integers, scale = expect_parts(given, 2, "the integers and the scale")
    expected, expected_scale = reference.quantize_symmetric(weight, bits)
    advice = "the scale is max(abs(weight)) divided by the largest integer, 2**(bits-1) - 1; for zeros it is 1"
    expect_close("scale", as_float(scale), expected_scale, rtol=1e-5, hint=advice)
    _expect_integers(integers, expected, f"bits={bits}")


def _expect_integers(integers: Any, expected: Tensor, where: str) -> None:
    advice = "round first, then `.to(torch.int32)`: the cast alone truncates"
    if isinstance(integers, Tensor) and not (integers == integers.round()).all():
        advice = "return the integers, not the rounded values"
    expect_tensor("the integers", integers, dtype=torch.int32, hint=advice)
    advice = "round to the nearest integer (torch.round, halves to even)"
    expect_equal("integers", integers, expected, given=where, hint=advice)


def expect_params(given: Any, low: float, high: float, bits: int) -> None:
    """Scale and zero-point of a range that is widened to contain zero."""
    scale, zero_point = expect_parts(given, 2, "scale and zero-point")
    expected_scale, expected_zero = reference.scale_and_zero_point(low, high, bits)
    where = f"low={low:g}, high={high:g}, bits={bits}"
    mistakes = {
        "the range must contain zero: widen it first": (high - low) / (2**bits - 1),
        "between 2**bits levels there are 2**bits - 1 steps": (max(high, 0) - min(low, 0)) / 2**bits,
    }
    advice = likely_mistake(as_float(scale), mistakes, "scale is the width of the range divided by the number of steps")
    expect_close("scale", as_float(scale), expected_scale, rtol=1e-6, given=where, hint=advice)
    advice = "it is round(-low / scale) of the widened range, a number from 0 to 2**bits - 1"
    expect_equal("zero-point", zero_point, expected_zero, given=where, hint=advice)


def expect_groups(given: Any, weight: Tensor, bits: int, group_size: int) -> None:
    """The integers of a matrix and one scale for each group."""
    integers, scale = expect_parts(given, 2, "the integers and the scales")
    expected, scales = reference.group_quantize(weight, bits, group_size)
    where = f"a {tuple(weight.shape)} matrix, bits={bits}, group_size={group_size}"
    advice = "scales have the shape [rows, columns // group_size]; groups are neighbours in a row"
    expect_close("scales", scale, scales, rtol=1e-5, given=where, hint=advice)
    _expect_integers(integers, expected, where)


def expect_kmeans(given: Any, weight: Tensor, start: Tensor, steps: int) -> None:
    """Codes and centroids after some rounds of k-means."""
    codes, centroids = expect_parts(given, 2, "the codes and the centroids")
    expected_codes, expected = reference.kmeans(weight, start, steps)
    where = f"{weight.numel()} values, {len(start)} centroids, steps={steps}"
    advice = "each centroid moves to the mean of its nearest values; a centroid without values does not move"
    expect_close("centroids", centroids, expected, given=where, hint=advice)
    advice = "return the codes, not the values: argmin gives them, as int64"
    expect_tensor("the codes", codes, dtype=torch.int64, hint=advice)
    advice = "codes belong to the returned centroids: assign again after the last update"
    expect_equal("codes", codes, expected_codes, given=where, hint=advice)

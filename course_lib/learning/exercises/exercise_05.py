"""Checks and probes of exercise 05, quantization from scratch: scales, zero-points, groups, k-means, and a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.reference_05 import (
    asymmetric_params,
    group_quantize,
    kmeans_step,
    quantize_affine,
    symmetric_scale,
)
from course_lib.learning.exercises.rounded_network import TARGET_ACCURACY, TARGET_BITS, try_bits
from course_lib.learning.expect import cases, expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question


@question(
    "05.1",
    points=4,
    minutes=10,
    difficulty=2,
    title="Symmetric integers",
    hints=(
        "The largest magnitude of the whole tensor must land on the largest integer. That gives the scale.",
        "For `bits` bits the integers end at 2**(bits-1) - 1 on one side, and one further on the other.",
        "Divide, `torch.round`, `clamp`, then make it `torch.int32`. What scale does a tensor of zeros get, so that "
        "nothing is divided by zero?",
    ),
)
def check_symmetric(answer: Answer) -> None:
    """Shapes, bits, halves to even, zeros, half precision, and an input that must not change."""
    for weight, bits in cases(shapes=[(8, 16), (4, 3, 3, 3), (5,)], bits=[2, 3, 4, 8]):
        _expect_symmetric(answer(weight, bits), weight, bits)
    for weight in (torch.zeros(3, 4), torch.tensor([7.0, 0.5, 1.5, 2.5, -0.5, -1.5]), torch.tensor([[-3.0, 1.0]])):
        _expect_symmetric(answer(weight, 4), weight, 4)
    tall = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    _expect_symmetric(answer(tall.T, 8), tall.T, 8)
    expect_unchanged(answer, tall, 8)


@probe("05.1")
def probe_symmetric(answer: Answer, generator: torch.Generator) -> Any:
    """Integers and scales of random tensors, of halves, of zeros; and the tensors afterwards."""
    values = []
    for bits in (2, 3, 5, 8):
        weight = torch.randn((5, 7), generator=generator) * (1 + 3 * torch.rand(1, generator=generator))
        values += [answer.in_place(weight, bits), weight]
    halves = torch.cat([torch.arange(-13, 14) / 2, torch.tensor([7.0])])
    return [*values, answer(halves, 4), answer(torch.zeros(4), 8)]


@question(
    "05.2",
    points=4,
    minutes=12,
    difficulty=2,
    title="Scale and zero-point",
    hints=(
        "How many steps are there between the smallest and the largest integer? One less than there are integers.",
        "Zero has to be one of the stairs. So first widen the range until it contains zero.",
        "The zero-point is the number of the stair on which 0.0 lies, counted from the low end of the range. It is an "
        "integer of the same range as all others.",
    ),
)
def check_asymmetric(answer: Answer) -> None:
    """Ranges around zero, on one side of it, without width, and narrow ones."""
    ranges = [(-1.0, 3.0), (0.0, 6.0), (-2.5, 2.5), (2.0, 3.0), (-5.0, -4.0), (0.0, 0.0)]
    for low, high in [*ranges, (-0.001, 10.0), (-10.0, 0.001)]:
        for bits in (8, 4, 2):
            given = answer(low, high, bits)
            _expect_params(given, low, high, bits)


@probe("05.2")
def probe_asymmetric(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Scale and zero-point of random ranges."""
    values = []
    for shift in (-1.5, -0.5, 0.0, 1.5):
        low, width = (torch.rand(2, generator=generator) * torch.tensor([1.0, 4.0])).tolist()
        for bits in (2, 5, 8):
            scale, zero_point = answer(shift - low, shift - low + width + 0.1, bits)
            values.append([float(scale), zero_point])
    for _ in range(8):
        low, high = (torch.rand(2, generator=generator) + 0.2).tolist()
        values.append(answer(-low, high, 8)[1])
    return [*values, answer(0.0, 0.0, 8)[1]]


@question(
    "05.3",
    points=4,
    minutes=15,
    difficulty=3,
    title="One scale for each group",
    hints=(
        "Give the matrix a third dimension: rows, groups of a row, weights of a group. Now a group is a row of 05.1.",
        "`reshape(rows, -1, group_size)`, and the largest magnitude along the last dimension, with `amax`.",
        "To divide a [rows, groups, size] tensor by [rows, groups] scales, the scales need a last dimension of 1. "
        "Groups of zeros get the scale 1.",
    ),
)
def check_groups(answer: Answer) -> None:
    """Several group sizes, one group of zeros, a transposed matrix."""
    generator = torch.Generator().manual_seed(0)
    for rows, columns, group_size in [(6, 16, 4), (3, 12, 12), (5, 8, 1), (1, 20, 5), (4, 6, 3)]:
        for bits in (4, 3):
            weight = torch.randn(rows, columns, generator=generator) * torch.linspace(0.2, 3, columns)
            _expect_groups(answer(weight, bits, group_size), weight, bits, group_size)
    weight = torch.randn(4, 8, generator=generator)
    weight[1, 4:] = 0
    _expect_groups(answer(weight, 4, 4), weight, 4, 4)
    _expect_groups(answer(weight.T, 4, 2), weight.T, 4, 2)
    expect_unchanged(answer, weight, 4, 4)


@probe("05.3")
def probe_groups(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Integers and scales of random matrices."""
    values = []
    for rows, columns, group_size, bits in [(4, 12, 3, 4), (3, 8, 8, 8), (2, 10, 5, 3), (5, 6, 2, 2)]:
        weight = torch.randn(rows, columns, generator=generator) * torch.logspace(-1, 1, columns)
        weight[0, :group_size] = 0
        values.append(answer(weight, bits, group_size))
    return values


@question(
    "05.4",
    points=4,
    minutes=20,
    difficulty=3,
    title="Stairs where the weights are",
    hints=(
        "Two steps that take turns: everybody goes to the nearest centroid, then each centroid goes to the middle of "
        "those who came.",
        "The distances are a table [values, centroids]: `values[:, None] - centroids[None, :]`. `argmin` of their "
        "absolute values gives the codes, and the lower index where two are equally near.",
        "A centroid to which nobody came stays where it is; the mean of nothing is not a number. Do not forget to "
        "assign once more after the last move.",
    ),
)
def check_kmeans(answer: Answer) -> None:
    """Codes and centroids after some rounds, a centroid without values, ties, and no round at all."""
    generator = torch.Generator().manual_seed(0)
    for shape, clusters, steps in [((8, 8), 4, 3), ((30,), 2, 1), ((5, 4, 2), 8, 6), ((12,), 3, 0), ((40,), 16, 2)]:
        weight = torch.randn(shape, generator=generator)
        start = torch.linspace(-2, 2, clusters)
        _expect_kmeans(answer(weight, start, steps), weight, start, steps)
    lonely = (torch.tensor([0.0, 0.1, 1.0]), torch.tensor([0.0, 1.0, 9.0]), 2)
    _expect_kmeans(answer(*lonely), *lonely)
    ties = (torch.tensor([0.5, 1.5, 0.0, 2.0]), torch.tensor([0.0, 1.0, 2.0]), 1)
    _expect_kmeans(answer(*ties), *ties)
    expect_unchanged(answer, torch.randn(10, generator=generator), torch.tensor([-1.0, 0.0, 1.0]), 2)


@probe("05.4")
def probe_kmeans(answer: Answer, generator: torch.Generator) -> Any:
    """Codes and centroids of random values, and the centroids that were handed in, afterwards."""
    values: list[Any] = []
    for size, clusters, steps in [(20, 4, 3), (16, 3, 0), (200, 6, 1), (9, 8, 2)]:
        weight = torch.randn(size, generator=generator)
        start = torch.cat([torch.linspace(-1.5, 1.5, clusters - 1), torch.tensor([7.0])])
        values += [answer.in_place(weight, start, steps), start]
    return values


@question(
    "05.5",
    points=4,
    minutes=15,
    difficulty=3,
    title="Spend the bits where they count",
    hints=(
        "Which layer holds most of the weights? Its bits decide the average almost alone.",
        "A layer with very few weights can have all the bits that it wants: it hardly shows in the average.",
        "Change one number at a time and watch both results. Which of the first two layers is hurt less by 2 bits?",
    ),
)
def check_bits(answer: Answer) -> None:
    """The average and the validation accuracy that the learner's choice really gives."""
    choice = _choice(answer())
    measured = try_bits(choice)
    where = f"your choice {choice}"
    advice = "the first layer holds most of the weights; one bit less there saves more than all others together"
    size = f"{measured.bits:.2f} bits per weight, the target is at most {TARGET_BITS}"
    expect(measured.bits <= TARGET_BITS, size, given=where, hint=advice)
    advice = "which layer suffers although its bits cost little? Give it more of them"
    right = f"validation accuracy is {measured.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    expect(measured.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("05.5")
def probe_bits(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """What the choice reaches, cut off at the targets, so that all choices that reach them give the same."""
    measured = try_bits(_choice(answer()))
    return [max(measured.bits, TARGET_BITS), min(measured.accuracy, TARGET_ACCURACY)]


def _pair(given: Any, names: str) -> tuple[Any, Any]:
    good = isinstance(given, list | tuple) and len(given) == 2
    expect(good, f"return two things, {names}; got {type(given).__name__}")
    return given[0], given[1]


def _expect_symmetric(given: Any, weight: Tensor, bits: int) -> None:
    integers, scale = _pair(given, "the integers and the scale")
    expected = symmetric_scale(weight, bits)
    advice = "the scale is max(abs(weight)) divided by the largest integer, 2**(bits-1) - 1; of zeros it is 1"
    expect_close("scale", float(scale), expected, rtol=1e-5, hint=advice)
    qmax = 2 ** (bits - 1) - 1
    _expect_integers(integers, quantize_affine(weight, expected, 0, -qmax - 1, qmax), f"bits={bits}")


def _expect_integers(integers: Any, expected: Tensor, where: str) -> None:
    expect(isinstance(integers, Tensor), f"the integers should be a tensor, yours are {type(integers).__name__}")
    kind = f"the integers should be torch.int32, yours are {integers.dtype}"
    expect(integers.dtype == torch.int32, kind, hint="round first, then `.to(torch.int32)`: the cast alone cuts off")
    advice = "round to the nearest (torch.round, halves to even) and clamp to the range of the integers"
    expect_equal("integers", integers, expected, given=where, hint=advice)


def _expect_params(given: Any, low: float, high: float, bits: int) -> None:
    scale, zero_point = _pair(given, "scale and zero-point")
    expected_scale, expected_zero = asymmetric_params(low, high, bits)
    where = f"low={low:g}, high={high:g}, bits={bits}"
    hints = {
        (high - low) / (2**bits - 1): "the range must contain zero: widen it first",
        (max(high, 0) - min(low, 0)) / 2**bits: "between 2**bits stairs there are 2**bits - 1 steps",
    }
    found = [hint for value, hint in hints.items() if math.isclose(float(scale), value, rel_tol=1e-6)]
    advice = found[0] if found else "scale is the width of the range divided by the number of steps"
    expect_close("scale", float(scale), expected_scale, rtol=1e-6, given=where, hint=advice)
    expect(type(zero_point) is int, f"the zero-point should be a Python int, got {type(zero_point).__name__}")
    advice = "it is round(-low / scale) of the widened range, a number from 0 to 2**bits - 1"
    expect_equal("zero-point", zero_point, expected_zero, given=where, hint=advice)


def _expect_groups(given: Any, weight: Tensor, bits: int, group_size: int) -> None:
    integers, scale = _pair(given, "the integers and the scales")
    expected, scales = group_quantize(weight, bits, group_size)
    where = f"a {tuple(weight.shape)} matrix, bits={bits}, group_size={group_size}"
    advice = "scales have the shape [rows, columns // group_size]; groups are neighbours in a row"
    expect_close("scales", scale, scales, rtol=1e-5, given=where, hint=advice)
    _expect_integers(integers, expected, where)


def _expect_kmeans(given: Any, weight: Tensor, start: Tensor, steps: int) -> None:
    codes, centroids = _pair(given, "the codes and the centroids")
    expected = start
    for _ in range(steps):
        expected = kmeans_step(weight, expected)[1]
    expected_codes = kmeans_step(weight, expected)[0]
    where = f"{weight.numel()} values, {len(start)} centroids, steps={steps}"
    advice = "each centroid moves to the mean of the values that are nearest to it; one without values stays"
    expect_close("centroids", centroids, expected, given=where, hint=advice)
    advice = "codes belong to the centroids that are returned: assign again after the last move"
    expect(isinstance(codes, Tensor) and codes.dtype == torch.int64, "the codes should be an int64 tensor (argmin)")
    expect_equal("codes", codes, expected_codes, given=where, hint=advice)


def _choice(given: Any) -> tuple[int, ...]:
    """The learner's three numbers, checked."""
    good = isinstance(given, list | tuple) and len(given) == 3
    expect(good, f"return three numbers of bits, first layer first, such as (4, 4, 4); got {given!r}")
    expect(all(type(value) is int for value in given), f"bits are whole numbers; got {given!r}")
    expect(all(2 <= value <= 8 for value in given), f"bits lie between 2 and 8; got {given!r}")
    return tuple(given)

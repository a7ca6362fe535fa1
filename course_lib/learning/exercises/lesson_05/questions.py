"""Checks and probes of exercise 05, quantization from scratch: scales, zero-points, groups, k-means, and a budget."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_05.expectations import (
    expect_groups,
    expect_kmeans,
    expect_params,
    expect_symmetric,
)
from course_lib.learning.exercises.lesson_05.playground import TARGET_ACCURACY, TARGET_BITS, try_bits
from course_lib.learning.expect import as_float, as_whole, cases, expect, expect_parts, expect_unchanged
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe_any

FEWEST_BITS = 2
EXCLUDED = ("course_lib.quantization",)


@question("05.1")
def check_symmetric(answer: Answer) -> None:
    """Shapes, bits, halves to even, zeros, half precision, and an input that must not change."""
    for weight, bits in cases(shapes=[(8, 16), (4, 3, 3, 3), (5,)], bits=[2, 3, 4, 8]):
        expect_symmetric(answer(weight, bits), weight, bits)
    halves = [[7.0, 0.5, 1.5, 2.5, -0.5, -1.5], [7.0, -3.5, 1.2], [-3.0, 1.0], [0.0, 0.0]]
    for weight in map(torch.tensor, halves):
        expect_symmetric(answer(weight, 4), weight, 4)
    tall = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    expect_symmetric(answer(tall.T, 8), tall.T, 8)
    expect_unchanged(answer, tall, 8)


@probe("05.1")
def probe_symmetric(answer: Answer, generator: torch.Generator) -> Any:
    """Integers and scales of random tensors, of halves, of zeros; and the tensors afterwards."""
    for bits in (2, 3, 5, 8):
        weight = torch.randn((5, 7), generator=generator) * (1 + 3 * torch.rand(1, generator=generator))
        yield from [_with_scale(answer.in_place(weight, bits)), weight]
    halves = torch.cat([torch.arange(-13, 14) / 2, torch.tensor([7.0])])
    yield from [_with_scale(answer(halves, 4)), _with_scale(answer(torch.zeros(4), 8))]


def _with_scale(given: Any) -> list[Any]:
    integers, scale = given
    return [integers, as_float(scale)]


@question("05.2")
def check_asymmetric(answer: Answer) -> None:
    """Ranges around zero, on one side of it, of width zero, nearly one-sided; no zero-point at a rounding edge."""
    ranges = [(0.0, 6.0), (-1.0, 3.0), (-2.5, 2.6), (2.0, 3.0), (-5.0, -4.0), (0.0, 0.0)]
    for low, high in [*ranges, (-0.001, 10.0), (-10.0, 0.001)]:
        for bits in (8, 4, 2):
            expect_params(answer(low, high, bits), low, high, bits)


@probe("05.2")
def probe_asymmetric(answer: Answer, generator: torch.Generator) -> Any:
    """Scale and zero-point of random ranges."""
    for shift in (-1.5, -0.5, 0.0, 1.5):
        low, width = (torch.rand(2, generator=generator) * torch.tensor([1.0, 4.0])).tolist()
        for bits in (2, 5, 8):
            scale, zero_point = answer(shift - low, shift - low + width + 0.1, bits)
            yield [as_float(scale), zero_point]
    for _ in range(8):
        low, high = (torch.rand(2, generator=generator) + 0.2).tolist()
        yield answer(-low, high, 8)[1]
    yield from [answer(0.0, 0.0, 8)[1]]


@question("05.3")
def check_groups(answer: Answer) -> None:
    """Several group sizes, one group of zeros, a transposed matrix."""
    generator = torch.Generator().manual_seed(0)
    for rows, columns, group_size in [(6, 16, 4), (3, 12, 12), (5, 8, 1), (1, 20, 5), (4, 6, 3)]:
        for bits in (4, 3):
            weight = torch.randn(rows, columns, generator=generator) * torch.linspace(0.2, 3, columns)
            expect_groups(answer(weight, bits, group_size), weight, bits, group_size)
    example = torch.tensor([[7.0, 1.0, 0.7, 0.1]])
    expect_groups(answer(example, 4, 2), example, 4, 2)
    weight = torch.randn(4, 8, generator=generator)
    weight[1, 4:] = 0
    expect_groups(answer(weight, 4, 4), weight, 4, 4)
    expect_groups(answer(weight.T, 4, 2), weight.T, 4, 2)
    expect_unchanged(answer, weight, 4, 4)


@probe("05.3")
def probe_groups(answer: Answer, generator: torch.Generator) -> Any:
    """Integers and scales of random matrices."""
    for rows, columns, group_size, bits in [(4, 12, 3, 4), (3, 8, 8, 8), (2, 10, 5, 3), (5, 6, 2, 2)]:
        weight = torch.randn(rows, columns, generator=generator) * torch.logspace(-1, 1, columns)
        weight[0, :group_size] = 0
        yield answer(weight, bits, group_size)


@question("05.4")
def check_kmeans(answer: Answer) -> None:
    """Codes and centroids after some rounds, a centroid without values, ties, and zero rounds."""
    example = (torch.tensor([0.0, 0.2, 1.0]), torch.tensor([0.0, 2.0]), 1)
    expect_kmeans(answer(*example), *example)
    generator = torch.Generator().manual_seed(0)
    for shape, clusters, steps in [((8, 8), 4, 3), ((30,), 2, 1), ((5, 4, 2), 8, 6), ((12,), 3, 0), ((40,), 16, 2)]:
        weight = torch.randn(shape, generator=generator)
        start = torch.linspace(-2, 2, clusters)
        expect_kmeans(answer(weight, start, steps), weight, start, steps)
    unused = (torch.tensor([0.0, 0.1, 1.0]), torch.tensor([0.0, 1.0, 9.0]), 2)
    expect_kmeans(answer(*unused), *unused)
    ties = (torch.tensor([0.5, 1.5, 0.0, 2.0]), torch.tensor([0.0, 1.0, 2.0]), 1)
    expect_kmeans(answer(*ties), *ties)
    expect_unchanged(answer, torch.randn(10, generator=generator), torch.tensor([-1.0, 0.0, 1.0]), 2)


@probe("05.4")
def probe_kmeans(answer: Answer, generator: torch.Generator) -> Any:
    """Codes and centroids of random values, and the original centroids afterwards."""
    for size, clusters, steps in [(20, 4, 3), (16, 3, 0), (200, 6, 1), (9, 8, 2)]:
        weight = torch.randn(size, generator=generator)
        start = torch.cat([torch.linspace(-1.5, 1.5, clusters - 1), torch.tensor([7.0])])
        yield from [answer.in_place(weight, start, steps), start]


@question("05.5")
def check_bits(answer: Answer) -> None:
    """The measured mean bits and validation accuracy of the learner's choice."""
    choice = _choice(answer())
    measured = try_bits(choice)
    where = f"your choice {choice}"
    advice = "the first layer holds most of the weights; one bit less there saves more than all others together"
    size = f"{measured.bits:.2f} bits per weight, the target is at most {TARGET_BITS}"
    expect(measured.bits <= TARGET_BITS, size, given=where, hint=advice)
    advice = "which small layer loses much accuracy? Give it more bits"
    if choice[0] == FEWEST_BITS:
        advice = "2 bits are too few for the first layer; save in the second"
    right = f"validation accuracy is {measured.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    expect(measured.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("05.5")
def probe_bits(answer: Answer, generator: torch.Generator) -> Any:
    """The measurement, clamped to the targets, so that all choices that reach them print the same."""
    measured = try_bits(_choice(answer()))
    return [max(measured.bits, TARGET_BITS), min(measured.accuracy, TARGET_ACCURACY)]


def _choice(given: Any) -> tuple[int, ...]:
    """The learner's three numbers, validated."""
    choice = expect_parts(given, 3, "the bits of each layer such as (4, 4, 4)")
    bits = tuple(map(as_whole, choice))
    expect(all(2 <= value <= 8 for value in bits), f"bits are whole numbers from 2 to 8; got {describe_any(given)}")
    return bits

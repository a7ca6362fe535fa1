"""Checks and probes of exercise 08, quantizing transformers: GPTQ's step, its factor, AWQ, bytes, SmoothQuant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_08.expectations import (
    expect_bytes,
    expect_factor,
    expect_search,
    expect_smooth,
    expect_step,
)
from course_lib.learning.exercises.lesson_08.playground import GROUP_SIZES, LARGEST_ERROR, METHODS, MOST_BITS, try_plan
from course_lib.learning.expect import as_float, as_whole, expect, expect_parts, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe_any

EXCLUDED = ("course_lib.quantization",)


@question("08.1")
def check_gptq_step(answer: Answer) -> None:
    """First, middle and last column, several bits, codes that have to be clamped, and an unchanged input."""
    for column in (0, 3, 6):
        for bits in (2, 3, 4):
            for squeeze in (1.0, 0.4):
                given = _step_inputs(torch.Generator().manual_seed(10 * column + bits), column, bits, squeeze)
                expect_step(answer(*given), *given)
    example = (torch.tensor([[0.8, 1.0]]), torch.tensor([[2.0, 1.0], [0.0, 1.0]]), 0, torch.ones(1), torch.zeros(1), 2)
    expect_step(answer(*example), *example)
    expect_unchanged(answer, *_step_inputs(torch.Generator().manual_seed(5), 2, 3, 1.0))


@probe("08.1")
def probe_gptq_step(answer: Answer, generator: torch.Generator) -> Any:
    """Weights after a step, for every column of random matrices, and the original weights afterwards."""
    for bits in (2, 3, 4):
        for squeeze in (1.0, 0.4):
            for column in (0, 2, 5, 6):
                given = _step_inputs(generator, column, bits, squeeze)
                yield from [answer.in_place(*given), given[0]]


@question("08.2")
def check_inverse_factor(answer: Answer) -> None:
    """Many and few samples, inputs that are always zero, several dampings, and matrices that cannot be inverted."""
    for count, width, damping in [(40, 6, 0.01), (40, 6, 0.0), (3, 8, 0.1), (100, 4, 1.0), (1, 1, 0.5), (12, 5, 0.3)]:
        rows = _inputs(torch.Generator().manual_seed(count), count, width)
        expect_factor(answer, rows, damping)
    example = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expect_factor(answer, example, 0.0)
    skewed = _skewed(torch.Generator().manual_seed(6))
    expect_factor(answer, skewed, 0.0)
    dead = _inputs(torch.Generator().manual_seed(2), 20, 5)
    dead[:, 2] = 0
    expect_factor(answer, dead, 0.05)
    singular = [torch.tensor([[2.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])]
    for rows in singular:
        advice = "without damping this matrix has no inverse: raise a ValueError that names samples or damping"
        expect_raises(ValueError, answer, rows, 0.0, hint=advice)


@probe("08.2")
def probe_inverse_factor(answer: Answer, generator: torch.Generator) -> Any:
    """Factors for random inputs, and whether singular matrices are refused."""
    for count, width in ((30, 5), (4, 7), (64, 3)):
        rows = _inputs(generator, count, width)
        for damping in (0.02, 0.5):
            yield answer(rows, damping)
    yield answer(_skewed(generator), 0.0)
    for rows in (torch.tensor([[3.0, 3.0], [0.0, 0.0]]), torch.zeros(4, 3)):
        yield answer.refuses(rows, 0.0)


@question("08.3")
def check_search_alpha(answer: Answer) -> None:
    """Inputs of very different size, several grids of exponents, and ties."""
    for seed, bits, alphas in [(0, 3, [0.0, 0.25, 0.5, 0.75, 1.0]), (1, 2, [0.5]), (2, 4, [1.0, 0.0, 0.4])]:
        generator = torch.Generator().manual_seed(seed)
        weight, rows = torch.randn(6, 12, generator=generator), _inputs(generator, 50, 12)
        expect_search(answer(weight, rows, bits, alphas), weight, rows, bits, alphas)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    expect_search(answer(weight, rows, 4, [0.3, 0.0, 0.6]), weight, rows, 4, [0.3, 0.0, 0.6])


@probe("08.3")
def probe_search_alpha(answer: Answer, generator: torch.Generator) -> Any:
    """The chosen exponent and all errors, for random layers."""
    for bits in (2, 3, 4):
        weight, rows = torch.randn(5, 10, generator=generator), _inputs(generator, 40, 10)
        alpha, errors = answer(weight, rows, bits, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        yield [as_float(alpha), [as_float(error) for error in errors]]
    signs = torch.randn(8, 5, generator=generator).sign()
    alpha, errors = answer(torch.randn(3, 5, generator=generator), signs, 3, [0.6, 0.2, 0.9])
    yield from [[as_float(alpha), [as_float(error) for error in errors]]]


@question("08.4")
def check_file_bytes(answer: Answer) -> None:
    """Odd sizes, several bits, groups and rows, and sizes that do not divide."""
    for shape, group_size in [
        ((2, 8), 4),
        ((8, 16), 4),
        ((3, 5), None),
        ((384, 1536), 64),
        ((7, 9), 3),
        ((1, 6), 6),
        ((5, 7), 1),
    ]:
        for bits in (2, 3, 4, 8):
            for symmetric in (False, True):
                expect_bytes(answer(shape, bits, group_size, symmetric), shape, bits, group_size, symmetric)
    expect_raises(ValueError, answer, (4, 10), 4, 3, True, hint="3 does not divide 10: raise a ValueError")


@probe("08.4")
def probe_file_bytes(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes of random matrices, and whether a group size that does not divide is refused."""
    for _ in range(6):
        rows, groups, size, bits = (int(torch.randint(low, 9, (), generator=generator)) for low in (1, 1, 1, 2))
        for symmetric in (True, False):
            for shape, width, group_size in (
                ((rows, groups * size), bits, size), ((rows, groups * size), bits, None), ((2 * rows + 1, 3), 3, 3),
            ):  # fmt: skip
                found = answer(shape, width, group_size, symmetric)
                yield {**found, "bits_per_weight": as_float(found["bits_per_weight"])}
    yield from [answer.refuses((4, 11), 4, 2, True)]


@question("08.5")
def check_smooth(answer: Answer) -> None:
    """Several exponents at both ends and between, and the output must not change."""
    for alpha in (0.3, 0.0, 0.5, 0.8, 1.0):
        given = _smooth_inputs(torch.Generator().manual_seed(int(10 * alpha)), alpha)
        expect_smooth(answer(*given), *given)
    one = torch.ones(1)
    example = (torch.tensor([[1.0]]), torch.tensor([[100.0], [-3.0]]), one, one, 0.5)
    expect_smooth(answer(*example), *example)
    expect_unchanged(answer, *_smooth_inputs(torch.Generator().manual_seed(3), 0.5))


@probe("08.5")
def probe_smooth(answer: Answer, generator: torch.Generator) -> Any:
    """Weight, gain and shift of random layers, and the original tensors afterwards."""
    for alpha in (0.0, 0.25, 0.5, 0.9, 1.0):
        given = _smooth_inputs(generator, alpha)
        yield from [list(answer.in_place(*given)), *given[:4]]


@question("08.6")
def check_plan_answer(answer: Answer) -> None:
    """The measured bits per weight and held-out error of the learner's choice."""
    choice = _choice(answer())
    measured = try_plan(*choice)
    where = f"your choice {choice}"
    bits = f"it takes {measured.bits_per_weight:.3f} bits per weight, the budget is {MOST_BITS}"
    advice = "a smaller group has more scales; which group size fits with these bits?"
    expect(measured.bits_per_weight <= MOST_BITS, bits, given=where, hint=advice)
    error = f"its output error is {measured.error:.2%}, the target is at most {LARGEST_ERROR:.1%}"
    advice = "one method compensates each error with the weights that are not quantized yet"
    if choice[:2] == ("gptq", 2):
        advice = "2 bits are too few, even with small groups"
    expect(measured.error <= LARGEST_ERROR, error, given=where, hint=advice)


@probe("08.6")
def probe_plan(answer: Answer, generator: torch.Generator) -> Any:
    """The measurement, clamped to the targets, so that all choices that reach them print the same."""
    measured = try_plan(*_choice(answer()))
    return [max(measured.bits_per_weight, MOST_BITS), max(measured.error, LARGEST_ERROR)]


def _inputs(generator: torch.Generator, count: int, width: int) -> Tensor:
    """Correlated inputs whose channels differ in scale."""
    mixed = torch.randn(count, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return mixed * torch.logspace(-1, 1, width)


def _skewed(generator: torch.Generator) -> Tensor:
    """Inputs whose Hessian single precision cannot invert."""
    direction = torch.randn(30, 1, generator=generator)
    return direction @ torch.ones(1, 4) + 5e-3 * torch.randn(30, 4, generator=generator)


def _step_inputs(generator: torch.Generator, column: int, bits: int, squeeze: float) -> tuple[Any, ...]:
    """Arguments of ``gptq_step``; with ``squeeze`` below 1 codes have to be clamped."""
    weight = torch.randn(5, 7, generator=generator)
    factor = 0.4 * torch.randn(7, 7, generator=generator).triu(1) + torch.diag(0.5 + torch.rand(7, generator=generator))
    low, high = weight[:, column].min() - 0.5, weight[:, column].max() + 0.5
    spread = 0.5 + torch.rand(5, generator=generator)
    scale = squeeze * spread * (high - low) / (2**bits - 1)
    zero_point = (-low * squeeze / scale).round().clamp(0, 2**bits - 1)
    return weight, factor, column, scale, zero_point, bits


def _smooth_inputs(generator: torch.Generator, alpha: float) -> tuple[Any, ...]:
    weight, rows = torch.randn(4, 6, generator=generator), _inputs(generator, 20, 6)
    gain, shift = (0.5 + torch.rand(6, generator=generator), torch.randn(6, generator=generator))
    return weight, rows, gain, shift, alpha


def _choice(given: Any) -> tuple[str, int, int | None]:
    """The learner's method, bits and group size, validated."""
    method, bits, group_size = expect_parts(given, 3, "method, bits and group size")
    expect(method in METHODS, f"the method is one of {', '.join(METHODS)}; got {describe_any(method)}")
    bits, group_size = as_whole(bits), None if group_size is None else as_whole(group_size)
    expect(bits in (2, 3, 4), f"bits are 2, 3 or 4; got {bits!r}")
    expect(group_size in GROUP_SIZES, f"the group size is one of {GROUP_SIZES}; got {group_size!r}")
    return method, bits, group_size

"""Checks and probes of exercise 08, quantizing transformers: GPTQ's step, its factor, AWQ, bytes, SmoothQuant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.one_layer import LARGEST_ERROR, MOST_BITS, check_plan, try_plan
from course_lib.learning.exercises.reference_08 import (
    file_bytes,
    gptq_step,
    inverse_factor,
    search_alpha,
    smooth,
)
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question


@question(
    "08.1",
    points=4,
    minutes=15,
    difficulty=3,
    title="One column of GPTQ",
    hints=(
        "Three things happen, one after the other: the column is rounded, the error is measured, the columns to its "
        "right are corrected. What lies to the left is done and stays.",
        "The error of a row is what rounding took away, divided by the entry of the factor on the diagonal. Each later "
        "column loses that error times its entry in the same row of the factor.",
        "Start from `weight.clone()`. The correction is a table with a row per output and a column per later input, "
        "which is what `torch.outer` makes of two vectors.",
    ),
)
def check_gptq_step(answer: Answer) -> None:
    """First, middle and last column, several bits, codes that have to be clamped, and an input that stays."""
    for column in (0, 3, 6):
        for bits in (2, 3, 4):
            for squeeze in (1.0, 0.4):
                given = _step_inputs(torch.Generator().manual_seed(10 * column + bits), column, bits, squeeze)
                _expect_step(answer(*given), *given)
    expect_unchanged(answer, *_step_inputs(torch.Generator().manual_seed(5), 2, 3, 1.0))


@probe("08.1")
def probe_gptq_step(answer: Answer, generator: torch.Generator) -> Any:
    """Weights after a step, for every column of random matrices, and the weights that were handed in."""
    values = []
    for bits in (2, 3, 4):
        for squeeze in (1.0, 0.4):
            for column in (0, 2, 5, 6):
                given = _step_inputs(generator, column, bits, squeeze)
                values += [answer.in_place(*given), given[0]]
    return values


@question(
    "08.2",
    points=4,
    minutes=15,
    difficulty=3,
    title="The Hessian, damped and factored",
    hints=(
        "Build it in the order of the formula: products of the inputs first, then a little on the diagonal, then the "
        "inverse, then its factor.",
        "The mean is taken over the diagonal before anything is added to it, and only the diagonal grows.",
        "`torch.linalg.cholesky` raises an error of torch's own where the matrix is singular; catch it and raise a "
        "`ValueError` instead. Which triangle does it return, and which one is asked for?",
    ),
)
def check_inverse_factor(answer: Answer) -> None:
    """Many and few samples, dead inputs, several dampings, and matrices that cannot be inverted."""
    for count, width, damping in [(40, 6, 0.01), (40, 6, 0.0), (3, 8, 0.1), (100, 4, 1.0), (1, 1, 0.5), (12, 5, 0.3)]:
        rows = _inputs(torch.Generator().manual_seed(count), count, width)
        _expect_factor(answer(rows, damping), rows, damping)
    dead = _inputs(torch.Generator().manual_seed(2), 20, 5)
    dead[:, 2] = 0
    _expect_factor(answer(dead, 0.05), dead, 0.05)
    singular = [torch.tensor([[2.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])]
    for rows in singular:
        advice = "without damping this one has no inverse: say so with a ValueError that names samples or damping"
        expect_raises(ValueError, answer, rows, 0.0, hint=advice)


@probe("08.2")
def probe_inverse_factor(answer: Answer, generator: torch.Generator) -> Any:
    """Factors for random inputs, and what happens where there is none."""
    values: list[Any] = []
    for count, width in ((30, 5), (4, 7), (64, 3)):
        rows = _inputs(generator, count, width)
        for damping in (0.02, 0.5):
            values.append(answer(rows, damping))
    for rows in (torch.tensor([[3.0, 3.0], [0.0, 0.0]]), torch.zeros(4, 3)):
        try:
            values.append(answer.raw(rows, 0.0))
        except ValueError:
            values.append("refused")
    return values


@question(
    "08.3",
    points=4,
    minutes=15,
    difficulty=3,
    title="AWQ's search",
    hints=(
        "For each exponent: scale the columns up, round, scale them down again, and see how far the outputs moved.",
        "The size of an input channel is the mean of its absolute values, one number per column of `rows`.",
        "The outputs move by `rows @ change.T`. Square, sum over the outputs, mean over the rows. Then look for the "
        "smallest number in your list, and remember which exponent made it.",
    ),
)
def check_search_alpha(answer: Answer) -> None:
    """Inputs of very different size, several grids of exponents, and ties."""
    for seed, bits, alphas in [(0, 3, [0.0, 0.25, 0.5, 0.75, 1.0]), (1, 2, [0.5]), (2, 4, [1.0, 0.0, 0.4])]:
        generator = torch.Generator().manual_seed(seed)
        weight, rows = torch.randn(6, 12, generator=generator), _inputs(generator, 50, 12)
        _expect_search(answer(weight, rows, bits, alphas), weight, rows, bits, alphas)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    _expect_search(answer(weight, rows, 4, [0.3, 0.0, 0.6]), weight, rows, 4, [0.3, 0.0, 0.6])


@probe("08.3")
def probe_search_alpha(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """The chosen exponent and all errors, for random layers."""
    values = []
    for bits in (2, 3, 4):
        weight, rows = torch.randn(5, 10, generator=generator), _inputs(generator, 40, 10)
        alpha, errors = answer(weight, rows, bits, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        values.append([float(alpha), [float(error) for error in errors]])
    alike = torch.randn(8, 5, generator=generator).sign()
    alpha, errors = answer(torch.randn(3, 5, generator=generator), alike, 3, [0.6, 0.2, 0.9])
    return [*values, [float(alpha), [float(error) for error in errors]]]


@question(
    "08.4",
    points=3,
    minutes=10,
    difficulty=2,
    title="What a group costs",
    hints=(
        "Count three things apart: codes, scales, zero-points. How many groups does one row have?",
        "A scale takes two bytes. A zero-point takes as many bits as a code, and all zero-points are packed together.",
        "Round up to whole bytes once for all codes and once for all zero-points, not row by row.",
    ),
)
def check_file_bytes(answer: Answer) -> None:
    """Odd sizes, several bits, groups and rows, and sizes that do not divide."""
    for shape, group_size in [((8, 16), 4), ((3, 5), None), ((384, 1536), 64), ((7, 9), 3), ((1, 6), 6), ((5, 7), 1)]:
        for bits in (2, 3, 4, 8):
            for symmetric in (True, False):
                _expect_bytes(answer(shape, bits, group_size, symmetric), shape, bits, group_size, symmetric)
    expect_raises(ValueError, answer, (4, 10), 4, 3, True, hint="3 does not divide 10: refuse it with a ValueError")


@probe("08.4")
def probe_file_bytes(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes of random matrices, and what happens to a group that does not divide."""
    values: list[Any] = []
    for _ in range(6):
        rows, groups, size, bits = (int(torch.randint(low, 9, (), generator=generator)) for low in (1, 1, 1, 2))
        for symmetric in (True, False):
            values += [answer((rows, groups * size), bits, size, symmetric)]
            values += [answer((rows, groups * size), bits, None, symmetric)]
            values += [answer((2 * rows + 1, 3), 3, 3, symmetric)]
    try:
        values.append(answer.raw((4, 11), 4, 2, True))
    except ValueError:
        values.append("refused")
    return values


@question(
    "08.5",
    points=2,
    minutes=10,
    difficulty=2,
    title="SmoothQuant's migration",
    hints=(
        "One factor per input channel. What makes the weights of a channel larger must make its inputs smaller.",
        "The inputs come out of the norm: what does `gain * z + shift` have to become, so that it puts out less?",
        "The largest weight of a channel is taken over the outputs, so over the first dimension of `weight`.",
    ),
)
def check_smooth(answer: Answer) -> None:
    """Several exponents at both ends and between, and the layer must compute what it did."""
    for alpha in (0.0, 0.3, 0.5, 0.8, 1.0):
        given = _smooth_inputs(torch.Generator().manual_seed(int(10 * alpha)), alpha)
        _expect_smooth(answer(*given), *given)
    expect_unchanged(answer, *_smooth_inputs(torch.Generator().manual_seed(3), 0.5))


@probe("08.5")
def probe_smooth(answer: Answer, generator: torch.Generator) -> Any:
    """Weight, gain and shift of random layers, and what was handed in."""
    values: list[Any] = []
    for alpha in (0.0, 0.25, 0.5, 0.9, 1.0):
        given = _smooth_inputs(generator, alpha)
        values += [list(answer.in_place(*given)), *given[:4]]
    return values


@question(
    "08.6",
    points=3,
    minutes=15,
    difficulty=3,
    title="A real layer on a budget",
    hints=(
        "First find out which settings the budget of bits allows at all. Your `file_bytes` knows without trying.",
        "Fewer bits with small groups, or more bits with large ones? Both can weigh the same. Try a pair.",
        "Keep bits and group size, and compare the three methods: only the error changes.",
    ),
)
def check_plan_answer(answer: Answer) -> None:
    """Bits per weight and held-out error that the learner's choice really gives."""
    choice = check_plan(answer())
    measured = try_plan(*choice)
    where = f"your choice {choice}"
    bits = f"it takes {measured.bits_per_weight:.3f} bits per weight, the budget is {MOST_BITS}"
    advice = "a smaller group has more scales; which group size fits with these bits?"
    expect(measured.bits_per_weight <= MOST_BITS, bits, given=where, hint=advice)
    error = f"its output error is {measured.error:.2%}, the target is at most {LARGEST_ERROR:.1%}"
    advice = "one method passes its errors on to weights that can still make up for them"
    expect(measured.error <= LARGEST_ERROR, error, given=where, hint=advice)


@probe("08.6")
def probe_plan(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """What the choice reaches, cut off at the targets, so that all choices that reach them give the same."""
    measured = try_plan(*check_plan(answer()))
    return [max(measured.bits_per_weight, MOST_BITS), max(measured.error, LARGEST_ERROR)]


def _inputs(generator: torch.Generator, count: int, width: int) -> Tensor:
    """Inputs whose channels differ in size and move together."""
    mixed = torch.randn(count, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return mixed * torch.logspace(-1, 1, width)


def _step_inputs(generator: torch.Generator, column: int, bits: int, squeeze: float) -> tuple[Any, ...]:
    """Arguments of ``gptq_step``; with ``squeeze`` below 1 the grid is too narrow, and codes have to be clamped."""
    weight = torch.randn(5, 7, generator=generator)
    factor = 0.4 * torch.randn(7, 7, generator=generator).triu(1) + torch.diag(0.5 + torch.rand(7, generator=generator))
    low, high = weight[:, column].min() - 0.5, weight[:, column].max() + 0.5
    spread = 0.5 + torch.rand(5, generator=generator)
    scale = squeeze * spread * (high - low) / (2**bits - 1)
    zero_point = (-low * squeeze / scale).round().clamp(0, 2**bits - 1)
    return weight, factor, column, scale, zero_point, bits


def _expect_step(
    got: Any, weight: Tensor, factor: Tensor, column: int, scale: Tensor, zero_point: Tensor, bits: int
) -> None:
    expect(isinstance(got, Tensor), f"return the changed weights as a tensor, yours is {type(got).__name__}")
    expect(got.shape == weight.shape, f"your weights have shape {tuple(got.shape)}, expected {tuple(weight.shape)}")
    expected = gptq_step(weight, factor, column, scale, zero_point, bits)
    given = f"a 5 × 7 weight, column {column}, {bits} bits"
    expect_equal("columns before", got[:, :column], weight[:, :column], given=given, hint="they are done; leave them")
    advice = "(code - zero_point) * scale, with code = round(w / scale) + zero_point, clamped to 0 … 2**bits - 1"
    expect_close("the rounded column", got[:, column], expected[:, column], given=given, hint=advice)
    later = slice(column + 1, None)
    expect_close("later columns", got[:, later], expected[:, later], given=given, rtol=1e-3, atol=1e-5,
                 hint=_step_hint(got[:, later], weight, factor, column, expected))  # fmt: skip


def _step_hint(got: Tensor, weight: Tensor, factor: Tensor, column: int, expected: Tensor) -> str:
    later = slice(column + 1, None)
    before, move = weight[:, later], expected[:, later] - weight[:, later]
    mistakes = {
        "the later columns have not moved; they take over the error": before,
        "the sign is wrong: what was rounded down must be made good, not doubled": before - move,
        "divide the error by the factor's entry on the diagonal": before + move * factor[column, column],
    }
    for advice, value in mistakes.items():
        if torch.allclose(got, value, rtol=1e-3, atol=1e-5):
            return advice
    return "w_k -= e * U_jk with e = (w_j - q_j) / U_jj: row j of the factor, later columns only"


def _expect_factor(got: Any, rows: Tensor, damping: float) -> None:
    width, given = rows.shape[1], f"inputs of shape {tuple(rows.shape)} and damping {damping}"
    expect(isinstance(got, Tensor), f"return the factor as a tensor, yours is {type(got).__name__}")
    expect(got.shape == (width, width), f"your factor has shape {tuple(got.shape)}, expected {(width, width)}")
    lower = got.tril(-1).abs().sum().item() if width > 1 else 0.0
    expect(lower < 1e-9, "everything below the diagonal of the factor should be 0", given=given,
           hint="torch.linalg.cholesky gives the lower triangle unless it is told `upper=True`")  # fmt: skip
    expected = inverse_factor(rows, damping)
    advice = "H = XᵀX + damping · mean(diag XᵀX) · I, then UᵀU = H⁻¹"
    expect_close("the factor", got.double(), expected, given=given, rtol=1e-3, atol=1e-8, hint=advice)


def _expect_search(got: Any, weight: Tensor, rows: Tensor, bits: int, alphas: list[float]) -> None:
    good = isinstance(got, list | tuple) and len(got) == 2
    expect(good, f"return two things, the best alpha and the list of errors; got {got!r}")
    alpha, errors = search_alpha(weight, rows, bits, alphas)
    given = f"a {tuple(weight.shape)} weight, {bits} bits and the exponents {alphas}"
    plain = [float(error) for error in got[1]]
    expect_equal("number of errors", len(plain), len(alphas), given=given, hint="one for each exponent, in order")
    advice = "mean over the rows of the squared change of the output; scale up by mean|x| ** alpha, round, scale down"
    expect_close("errors", plain, errors, given=given, rtol=1e-3, atol=1e-7, hint=advice)
    expect_close("the best alpha", got[0], alpha, given=given, hint="the exponent itself; of equal errors the first")


def _expect_bytes(got: Any, shape: tuple[int, int], bits: int, group_size: int | None, symmetric: bool) -> None:
    expected = file_bytes(shape, bits, group_size, symmetric)
    keys = got.keys() if isinstance(got, dict) else None
    expect(keys == expected.keys(), f"return a dictionary with the keys {', '.join(expected)}; got {got!r}")
    grid = "symmetric" if symmetric else "asymmetric"
    given = f"a {shape[0]} × {shape[1]} weight, {bits} bits, group_size {group_size}, {grid}"
    hints = {
        "codes": "bits for every weight, rounded up to whole bytes at the end",
        "scales": "two bytes for every group; without a group size a row is one group",
        "zero_points": "none where symmetric; else `bits` bits for every group, rounded up to whole bytes at the end",
        "bits_per_weight": "all bytes together, times 8, divided by the number of weights",
    }
    for key, advice in hints.items():
        expect_close(key, got[key], expected[key], given=given, hint=advice)


def _smooth_inputs(generator: torch.Generator, alpha: float) -> tuple[Any, ...]:
    weight, rows = torch.randn(4, 6, generator=generator), _inputs(generator, 20, 6)
    gain, shift = (0.5 + torch.rand(6, generator=generator), torch.randn(6, generator=generator))
    return weight, rows, gain, shift, alpha


def _expect_smooth(got: Any, weight: Tensor, rows: Tensor, gain: Tensor, shift: Tensor, alpha: float) -> None:
    good = isinstance(got, list | tuple) and len(got) == 3 and all(isinstance(part, Tensor) for part in got)
    expect(good, "return three tensors: weight, gain and shift")
    given = f"alpha = {alpha}"
    normed = torch.linspace(-1, 1, 12).view(2, 6)
    before = (gain * normed + shift) @ weight.T
    after = (got[1] * normed + got[2]) @ got[0].T
    advice = "what the weights are multiplied by, gain and shift must both be divided by"
    expect_close("output of norm and layer together", after, before, given=given, rtol=1e-3, atol=1e-4, hint=advice)
    expected = smooth(weight, rows, gain, shift, alpha)
    for name, found, right in zip(("weight", "gain", "shift"), got, expected, strict=True):
        advice = "factors are max|x| ** alpha / max|w| ** (1 - alpha), one per input channel"
        expect_close(name, found, right, given=given, rtol=1e-3, atol=1e-5, hint=advice)

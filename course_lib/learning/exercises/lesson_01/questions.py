"""Checks and probes of exercise 01, the compression calculator: bytes, bits per weight, seconds, and a budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_01 import reference
from course_lib.learning.exercises.lesson_01.expectations import (
    as_plan,
    encoded_bytes,
    expect_plan,
    pass_hint,
    size_hint,
)
from course_lib.learning.expect import as_float, draw, expect, expect_close, expect_equal, expect_parts, expect_whole
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe

BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
HEADLINE_ANSWER = {"A", "B"}
NOT_ABOUT_BYTES = {
    "C": "C is about time, not about bytes",
    "D": "D only says how the zeros are spread over the layers; their number is the same",
    "E": "E is about accuracy, not about bytes",
    "F": "F is about time, not about bytes",
}
MISSING = {
    "A": "17.5 billion weights are 70 GB only if one knows how many bytes a remaining weight has",
    "B": "the weights alone take 70 GB; could a program use them without knowing which weights remain?",
}
ENCODING_CASES = [
    (rows, columns, nonzeros, value_bytes)
    for rows, columns in [(16, 16), (64, 576), (3, 5), (1000, 7), (1, 8)]
    for nonzeros in (rows * columns // 2, rows * columns // 20, rows * columns, 1, 0)
    for value_bytes in (1, 2, 4)
] + [(0, 5, 0, 4), (10, 40, 2, 4), (8, 40, 1, 2)]


@question("01.1")
def check_dense_bytes(answer: Answer) -> None:
    """Every dtype on no tensor, scalars, empty tensors, and 4-bit tensors of odd length."""
    cases: list[list[tuple[int, ...]]] = [[], [(10,)], [(64, 3, 7, 7), (64,)], [()], [(0, 7), (2, 3)], [(3,), (2, 2)]]
    advice = "does a tensor of shape () hold one value, and are eight bits a byte?"
    for shapes in cases:
        for dtype in BITS:
            expect_whole("bytes", answer(shapes, dtype), reference.dense_bytes(shapes, dtype), hint=advice)
    odd: list[tuple[int, ...]] = [(5,), (3,), (1,)]
    advice = "each tensor starts on a byte of its own: round up per tensor, not once for the sum"
    expect_whole("bytes", answer(odd, "int4"), reference.dense_bytes(odd, "int4"), hint=advice)


@probe("01.1")
def probe_dense_bytes(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes of random shapes."""
    shapes = [tuple(draw(generator, 1, 12, size)) for size in (0, 1, 2, 4, 3)]
    lists = [[], shapes[:2], shapes, [(5,), (3,), (1,), (0, 4)]]
    return [[answer(some, dtype) for dtype in BITS] for some in lists]


@question("01.2")
def check_cheapest_encoding(answer: Answer) -> None:
    """Sizes and names from dense to empty, with ties."""
    for case in ENCODING_CASES:
        name, size = expect_parts(answer(*case), 2, "encoding and bytes")
        sizes, (best, least) = encoded_bytes(*case), reference.cheapest_encoding(*case)
        expect_whole("bytes", size, least, hint=size_hint(sizes, size))
        tie = [encoding for encoding in sizes if sizes[encoding] == least]
        advice = f"{' and '.join(tie)} are equally small: the first in the order dense, bitmask, csr wins"
        expect_equal("encoding", name, best, hint=advice if tie[1:] else "pair each size with its own name")


@probe("01.2")
def probe_cheapest_encoding(answer: Answer, generator: torch.Generator) -> Any:
    """Encodings of random matrices, and ties."""
    for sparsity in (0.0, 0.02, 0.1, 0.5, 0.9, 0.97, 0.995, 1.0):
        rows, columns = draw(generator, 5, 90, 2)
        nonzeros = round((1 - sparsity) * rows * columns)
        yield from [list(answer(rows, columns, nonzeros, value_bytes)) for value_bytes in (1, 2, 4)]
    for tie in [(1, 8, 8, 1), (0, 5, 0, 4), (4, 8, 0, 2), (8, 40, 1, 2), (10, 40, 2, 4)]:
        yield list(answer(*tie))


@question("01.3")
def check_headline_assumptions(answer: Answer) -> None:
    """The two assumptions that the number of gigabytes depends on."""
    given = answer()
    expect(isinstance(given, set), f"return a set of letters such as {{'C', 'E'}}; you returned {describe(given)}")
    expect(given <= set("ABCDEF"), "choose among the capital letters A to F, each a string of its own")
    for letter in sorted(given - HEADLINE_ANSWER):
        expect(False, f"{letter} is not needed for the 70 GB", hint=NOT_ABOUT_BYTES[letter])
    for letter in sorted(HEADLINE_ANSWER - given):
        expect(False, "right so far, but something is missing", hint=MISSING[letter])


@probe("01.3")
def probe_headline_assumptions(answer: Answer, generator: torch.Generator) -> Any:
    """The letters."""
    given = answer()
    return sorted(given) if isinstance(given, set) else given


@question("01.4")
def check_bits_per_weight(answer: Answer) -> None:
    """Full groups, groups that end early, and groups wider than a row."""
    layouts = [(4, 128, 4, 128), (2, 128, 4, 64), (8, 256, 4, 32), (3, 10, 2, 4), (5, 7, 8, 64), (1, 1, 3, 1)]
    for rows, columns, bits, group_size in layouts:
        for scale_bits, zero_point_bits in [(16, 0), (16, 4), (32, 8)]:
            arguments = (rows, columns, bits, group_size, scale_bits, zero_point_bits)
            advice = "count one scale and one zero-point for every group, and divide the sum by the number of weights"
            if columns % group_size:
                advice = "the last group of a row is not full, but it has a scale too; did you round up per row?"
            expect_close("bits per weight", answer(*arguments), reference.bits_per_weight(*arguments), hint=advice)


@probe("01.4")
def probe_bits_per_weight(answer: Answer, generator: torch.Generator) -> Any:
    """Bits of random layouts."""
    for _ in range(8):
        rows, columns, group_size = (*draw(generator, 2, 200, 2), draw(generator, 2, 64, 1)[0])
        bits, scale_bits, zero_point_bits = (
            draw(generator, low, high, 1)[0] for low, high in [(2, 8), (8, 32), (0, 8)]
        )
        yield as_float(answer(rows, columns, bits, group_size, scale_bits, zero_point_bits))


@question("01.5")
def check_pass_seconds(answer: Answer) -> None:
    """Memory-bound, compute-bound and a tie, from 1 million to 175 billion weights."""
    cases: list[tuple[float, float, int, float, float]] = [
        (7e9, 16, 1, 50, 200),
        (7e9, 4, 1, 60, 200),
        (7e9, 16, 64, 50, 200),
        (11e6, 32, 1, 20, 100),
        (1e9, 16, 1, 20, 100),
        (7e9, 4.15625, 1, 50, 200),
        (7e9, 16, 64, 25.6, 102.4),
        (7e9, 16, 1, 25.6, 102.4),
    ]
    cases += [(175e9, 3.5, 8, 1000, 4000), (2**20, 8, 4, 16, 128)]
    for parameters, bits, batch_size, bandwidth, peak in cases:
        arguments = (parameters, bits, batch_size, bandwidth, peak)
        given_seconds, given_bound = expect_parts(answer(*arguments), 2, "seconds and bound")
        seconds, bound = reference.pass_seconds(*arguments)
        advice = pass_hint(*arguments, given_seconds)
        expect_close("seconds", given_seconds, seconds, rtol=1e-6, hint=advice)
        advice = "the longer of the two times decides, and a tie counts as 'compute'"
        expect_equal("bound", given_bound, bound, hint=advice)


@probe("01.5")
def probe_pass_seconds(answer: Answer, generator: torch.Generator) -> Any:
    """Seconds and bounds of random models and machines."""
    cases: list[tuple[float, ...]] = [(2**20, 8, 4, 16, 128)]
    for batch_size in (1, 2, 8, 64, 256):
        parameters, bandwidth, peak = draw(generator, 10**6, 10**9, 1)[0], *draw(generator, 10, 900, 2)
        cases += [(parameters, bits, batch_size, bandwidth, peak) for bits in (4, 16, 32)]
    width, speed = (torch.rand(2, generator=generator) * torch.tensor([4.0, 40.0]) + 2.25).tolist()
    cases += [(7e9, width, 1, speed, 1e4), (7e9, width, 64, 1e4, 10 + speed)]
    for case in cases:
        seconds, bound = answer(*case)
        yield [as_float(seconds), bound]


@question("01.6")
def check_best_plan(answer: Answer) -> None:
    """The measured error must be the smallest that the budget allows, on three kinds of weights."""
    for label, weight in _plan_weights(torch.Generator().manual_seed(0)).items():
        for budget_gb in (90.0, 360.0, 352.0, 350.0, 60.0, 48.0, 30.0):
            where = f"{label} weights and a budget of {budget_gb:g} GB"
            expect_plan(where, answer(weight.clone(), budget_gb), weight, budget_gb)
    weight = torch.randn(96, 40, generator=torch.Generator().manual_seed(1)).T
    expect_plan("a transposed weight and 48 GB", answer(weight, 48.0), weight, 48.0)
    expect_plan("7 billion parameters and 2 GB", answer(weight, 2.0, 7e9), weight, 2.0, 7e9)
    given = answer(weight, 3.0)
    expect(given is None, f"no plan fits 175 billion weights into 3 GB, so return None; you returned {describe(given)}")


@probe("01.6")
def probe_best_plan(answer: Answer, generator: torch.Generator) -> Any:
    """Plans for random weights and budgets."""
    plans: list[Any] = [answer(torch.ones(4, 4), 1.0), answer(torch.eye(40) + 0.1, 2.0, 7e9)]
    for weight in _plan_weights(generator).values():
        budgets = [20 + 60 * torch.rand(1, generator=generator).item() for _ in range(3)]
        plans += [answer(weight.clone(), budget) for budget in (350.0, 90.0, 68.0, *budgets)]
    return [plan if plan is None else as_plan(plan) for plan in plans]


def _plan_weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Three kinds of weights, for which the best plans differ."""
    normal = torch.randn(48, 64, generator=generator)
    mostly_zero = normal * (torch.rand(48, 64, generator=generator) > 0.7)
    return {"normal": normal, "heavy-tailed": normal**3, "mostly-zero": mostly_zero}

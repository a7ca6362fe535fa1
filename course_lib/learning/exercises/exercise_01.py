"""Checks and probes of exercise 01, the compression calculator: bytes, bits per weight, seconds, and a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.learning.exercises.plans import PLANS, relative_error
from course_lib.learning.exercises.reference_01 import (
    BITS,
    ENCODINGS,
    best_plan,
    bits_per_weight,
    dense_bytes,
    encoded_bytes,
    encoding_cases,
    pass_seconds,
    plan_gigabytes,
    plan_weights,
)
from course_lib.learning.expect import expect, expect_close, expect_equal
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe

HEADLINE_ANSWER = {"A", "B"}


@question(
    "01.1",
    points=3,
    minutes=5,
    difficulty=1,
    title="Bytes of a dense model",
    hints=(
        "How many values does a tensor of shape (3, 4, 5) hold? And one of shape (), which is a single number?",
        "`math.prod(shape)` counts the values, also for () and for (0, 7). Eight bits make a byte.",
        "Five 4-bit values are 20 bits. A file holds whole bytes, so each tensor is rounded up on its own.",
    ),
)
def check_dense_bytes(answer: Callable[..., Any]) -> None:
    """Every dtype on no tensor, scalars, empty tensors, and 4-bit tensors of odd length."""
    cases: list[list[tuple[int, ...]]] = [[], [(10,)], [(64, 3, 7, 7), (64,)], [()], [(0, 7), (2, 3)]]
    advice = "does a tensor of shape () hold one value, and are eight bits a byte?"
    for shapes in cases:
        for dtype in BITS:
            _expect_whole("bytes", answer(shapes, dtype), dense_bytes(shapes, dtype), advice)
    odd: list[tuple[int, ...]] = [(5,), (3,), (1,)]
    advice = "each tensor starts on a byte of its own: round up per tensor, not once for the sum"
    _expect_whole("bytes", answer(odd, "int4"), dense_bytes(odd, "int4"), advice)


@probe("01.1")
def probe_dense_bytes(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Bytes of random shapes."""
    shapes = [tuple(_draw(generator, 1, 12, size)) for size in (0, 1, 2, 4, 3)]
    lists = [[], shapes[:2], shapes, [(5,), (3,), (1,), (0, 4)]]
    return [[answer(some, dtype) for dtype in BITS] for some in lists]


@question(
    "01.2",
    points=4,
    minutes=12,
    difficulty=2,
    title="The cheapest way to store zeros",
    hints=(
        "Write down the three sizes first, as three separate lines, and compare them afterwards.",
        "A bitmask spends one bit on every entry, zero or not. CSR spends four bytes on every entry that is not zero, "
        "and four more for each row and one extra.",
        "Python's `min(pairs, key=...)` keeps the first of equals, so the order of the pairs settles a tie.",
    ),
)
def check_cheapest_encoding(answer: Callable[..., Any]) -> None:
    """Sizes and names from dense to empty, with ties."""
    for rows, columns, nonzeros, value_bytes in encoding_cases():
        name, size = _pair(answer(rows, columns, nonzeros, value_bytes), "(encoding, bytes)")
        sizes = encoded_bytes(rows, columns, nonzeros, value_bytes)
        best = min(ENCODINGS, key=lambda encoding: sizes[encoding])
        tie = [encoding for encoding in ENCODINGS if sizes[encoding] == sizes[best]]
        _expect_whole("bytes", size, sizes[best], _size_hint(sizes, size))
        advice = f"{' and '.join(tie)} are equally small: the first in the order dense, bitmask, csr wins"
        expect_equal("encoding", name, best, hint=advice if tie[1:] else "pair each size with its own name")


@probe("01.2")
def probe_cheapest_encoding(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Encodings of random matrices, and ties."""
    values: list[Any] = []
    for sparsity in (0.0, 0.02, 0.1, 0.5, 0.9, 0.97, 0.995, 1.0):
        rows, columns = _draw(generator, 5, 90, 2)
        nonzeros = round((1 - sparsity) * rows * columns)
        values += [list(answer(rows, columns, nonzeros, value_bytes)) for value_bytes in (1, 2, 4)]
    ties = [(1, 8, 8, 1), (0, 5, 0, 4), (4, 8, 0, 2), (8, 40, 1, 2), (10, 40, 2, 4)]
    return values + [list(answer(*case)) for case in ties]


@question(
    "01.3",
    points=2,
    minutes=4,
    difficulty=2,
    title="What the 70 GB take for granted",
    hints=(
        "Work backwards: 70 GB for the weights that are left. How many bytes is that for each of them?",
        "Those bytes hold a value. What else does a file need so that the values can be put back in their places?",
        "Ask of each statement: if it were false, would the number of gigabytes change? Speed and accuracy do not.",
    ),
)
def check_headline_assumptions(answer: Callable[..., Any]) -> None:
    """The two assumptions that the number of gigabytes depends on."""
    given = answer()
    expect(isinstance(given, set), f"return a set of letters such as {{'C', 'E'}}; you returned {describe(given)}")
    expect(given <= set("ABCDEF"), "choose among the capital letters A to F, each a string of its own")
    extra, missing = given - HEADLINE_ANSWER, HEADLINE_ANSWER - given
    expect(
        not extra,
        f"{len(extra)} of your {len(given)} letters would not change the 70 GB: "
        "size is only about the bits that are stored, not about speed or accuracy",
    )
    expect(not missing, f"right so far, but the 70 GB need {len(missing)} more assumption(s) than you chose")


@probe("01.3")
def probe_headline_assumptions(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """The letters."""
    given = answer()
    return sorted(given) if isinstance(given, set) else given


@question(
    "01.4",
    points=4,
    minutes=8,
    difficulty=2,
    title="The real bits of a 4-bit model",
    hints=(
        "Count all the bits of the matrix first: the weights, the scales, the zero-points. Divide at the end.",
        "How many groups does one row of 10 weights have when a group holds 4? The last one is only half full.",
        "Groups never reach into the next row, so count the groups of one row with `math.ceil` and multiply by rows.",
    ),
)
def check_bits_per_weight(answer: Callable[..., Any]) -> None:
    """Full groups, groups that end early, and groups wider than a row."""
    layouts = [(4, 128, 4, 128), (8, 256, 4, 32), (3, 10, 2, 4), (5, 7, 8, 64), (1, 1, 3, 1)]
    for rows, columns, bits, group_size in layouts:
        for scale_bits, zero_point_bits in [(16, 0), (16, 4), (32, 8)]:
            arguments = (rows, columns, bits, group_size, scale_bits, zero_point_bits)
            advice = "does every group pay for one scale and one zero-point, and is the sum divided by all weights?"
            if columns % group_size:
                advice = "the last group of a row is not full but pays like any other; did you round up per row?"
            expect_close("bits per weight", answer(*arguments), bits_per_weight(*arguments), hint=advice)


@probe("01.4")
def probe_bits_per_weight(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Bits of random layouts."""
    values = []
    for _ in range(8):
        rows, columns, group_size = (*_draw(generator, 2, 200, 2), _draw(generator, 2, 64, 1)[0])
        bits, scale_bits, zero_point_bits = (
            _draw(generator, low, high, 1)[0] for low, high in [(2, 8), (8, 32), (0, 8)]
        )
        values.append(answer(rows, columns, bits, group_size, scale_bits, zero_point_bits))
    return values


@question(
    "01.5",
    points=4,
    minutes=10,
    difficulty=3,
    title="Seconds of one pass, and what limits it",
    hints=(
        "Two clocks run side by side: one for bringing the weights, one for calculating. The slower one decides.",
        "The weights are read once for the whole batch, however large it is. The calculation is done for each input.",
        "A multiply-accumulate is two operations. Giga means 1e9, and eight bits make a byte.",
    ),
)
def check_pass_seconds(answer: Callable[..., Any]) -> None:
    """Memory-bound, compute-bound and a tie, from 1 million to 175 billion weights."""
    cases: list[tuple[float, float, int, int, int]] = [
        (7e9, 16, 1, 50, 200),
        (7e9, 4, 1, 60, 200),
        (7e9, 16, 64, 50, 200),
        (11e6, 32, 1, 20, 100),
    ]
    cases += [(175e9, 3.5, 8, 1000, 4000), (2**20, 8, 4, 16, 128)]
    for parameters, bits, batch_size, bandwidth, peak in cases:
        arguments = (parameters, bits, batch_size, bandwidth, peak)
        given_seconds, given_bound = _pair(answer(*arguments), "(seconds, bound)")
        seconds, bound = pass_seconds(*arguments)
        advice = _pass_hint(*arguments, given_seconds)
        expect_close("seconds", given_seconds, seconds, rtol=1e-6, hint=advice)
        advice = "the slower of the two clocks is the bound, and a tie counts as 'compute'"
        expect_equal("bound", given_bound, bound, hint=advice)


@probe("01.5")
def probe_pass_seconds(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Seconds and bounds of random models and machines."""
    values = [list(answer(2**20, 8, 4, 16, 128))]
    for batch_size in (1, 2, 8, 64, 256):
        parameters, bandwidth, peak = _draw(generator, 10**6, 10**9, 1)[0], *_draw(generator, 10, 900, 2)
        values += [list(answer(parameters, bits, batch_size, bandwidth, peak)) for bits in (4, 16, 32)]
    return values


@question(
    "01.6",
    points=3,
    minutes=20,
    difficulty=4,
    title="The best model that fits",
    hints=(
        "First make one plan's size right: what does a single weight cost, in bits, under (0.75, 4)?",
        "There are only 30 plans, and `relative_error` measures any of them. Nothing forbids trying them all.",
        "Filter by size first. A plan without zeros has no mask, and a 16-bit plan has no scales: neither pays.",
    ),
)
def check_best_plan(answer: Callable[..., Any]) -> None:
    """The measured error must be the smallest that the budget allows, on three kinds of weights."""
    for label, weight in plan_weights(torch.Generator().manual_seed(0)).items():
        for budget_gb in (90.0, 350.5, 60.0, 48.0, 30.0):
            where = f"{label} weights and a budget of {budget_gb:g} GB"
            _expect_plan(where, answer(weight.clone(), budget_gb), weight, budget_gb)
    weight = torch.randn(96, 40, generator=torch.Generator().manual_seed(1)).T
    _expect_plan("a transposed weight and 48 GB", answer(weight, 48.0), weight, 48.0)
    _expect_plan("7 billion parameters and 2 GB", answer(weight, 2.0, 7e9), weight, 2.0, 7e9)
    given = answer(weight, 3.0)
    expect(given is None, f"no plan fits 175 billion weights into 3 GB, so return None; you returned {describe(given)}")


@probe("01.6")
def probe_best_plan(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Plans for random weights and budgets."""
    plans: list[Any] = [answer(torch.ones(4, 4), 1.0), answer(torch.eye(40) + 0.1, 2.0, 7e9)]
    for weight in plan_weights(generator).values():
        budgets = [20 + 60 * torch.rand(1, generator=generator).item() for _ in range(3)]
        plans += [answer(weight.clone(), budget) for budget in (350.5, 90.0, 68.0, *budgets)]
    return [list(plan) if isinstance(plan, tuple) else plan for plan in plans]


def _expect_whole(what: str, got: Any, expected: int, hint: str) -> None:
    expect(type(got) is not float, f"{what}: count in whole numbers and return an int, not {describe(got)}")
    expect_equal(what, got, expected, hint=hint)


def _pair(result: Any, names: str) -> tuple[Any, Any]:
    is_pair = type(result) is tuple and len(result) == 2
    expect(is_pair, f"expected a pair {names}, got {describe(result)}")
    return result


def _size_hint(sizes: dict[str, int], given: Any) -> str:
    if given in sizes.values():
        named = next(name for name, size in sizes.items() if size == given)
        return f"you returned the size of {named}, which is not the smallest here"
    return f"the three sizes should be {', '.join(f'{size} ({name})' for name, size in sizes.items())}"


def _pass_hint(parameters: float, bits: float, batch: int, bandwidth: float, peak: float, given: Any) -> str:
    reading, calculating = parameters * bits / 8e9 / bandwidth, 2 * parameters * batch / 1e9 / peak
    mistakes = {
        "you added the two clocks; they run at the same time": reading + calculating,
        "that is the faster clock: the pass waits for the slower one, and calculates for every input of the batch": min(
            reading, calculating
        ),
        "that looks like one operation for each weight; a multiply-accumulate is two": calculating / 2,
        "that looks like bits divided by the bandwidth, which is in bytes": reading * 8,
        "that looks like weights read once per input; one reading serves the whole batch": reading * batch,
    }
    for advice, value in mistakes.items():
        if isinstance(given, int | float) and math.isclose(given, value, rel_tol=1e-6):
            return advice
    return "recompute the bytes over the bandwidth, the operations over the peak, and compare"


def _expect_plan(where: str, given: Any, weight: Tensor, budget_gb: float, parameters: float = 175e9) -> None:
    expect(given in PLANS, f"expected one of PLANS, a pair (sparsity, bits), got {describe(given)}", given=where)
    best = best_plan(weight, budget_gb, parameters)
    assert best is not None, "the check asks only for budgets that some plan fits"
    size, smallest = plan_gigabytes(given, parameters), plan_gigabytes(best, parameters)
    expect(size <= budget_gb, f"{given} needs {size:.2f} GB", given=where, hint="was every bit of a weight counted?")
    reached, possible = relative_error(weight, *given), relative_error(weight, *best)
    advice = "are all 30 plans tried, and is no plan charged for a mask or for scales that it does not have?"
    lost = f"{given} has an error of {reached:.2g}; another plan that fits has {possible:.2g}"
    expect(reached <= possible, lost, given=where, hint=advice)
    expect(size <= smallest, f"{given} is not the smallest of the plans that lose as little", given=where)


def _draw(generator: torch.Generator, low: int, high: int, count: int) -> list[int]:
    return torch.randint(low, high + 1, (count,), generator=generator).tolist()

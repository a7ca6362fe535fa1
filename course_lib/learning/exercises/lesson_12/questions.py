"""Checks and probes of exercise 12, coding: k-means, canonical codes, entropy, arithmetic coding, RDOQ, bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_12 import reference
from course_lib.learning.exercises.lesson_12.cases import (
    clusters,
    lengths_of_a_code,
    message_and_counts,
    weights_and_bits,
)
from course_lib.learning.expect import (
    as_float,
    draw,
    expect,
    expect_close,
    expect_equal,
    expect_parts,
    expect_raises,
    expect_tensor,
    expect_unchanged,
)
from course_lib.learning.questions import probe, question

EXCLUDED = ("course_lib.coding", "course_lib.storage")
EXAMPLE = torch.tensor([0.9, 2.2, -1.4]), 1.0, 0.5, torch.tensor([9.0, 4.0, 1.0, 4.0, 9.0])
TIE = torch.tensor([0.75, -0.75]), 1.0, 0.125, torch.tensor([5.0, 1.0, 5.0])
ZERO_IS_BEST = torch.tensor([1.6, -2.0]), 1.0, 0.5, torch.tensor([9.0, 9.0, 1.0, 9.0, 9.0])


@question("12.1")
def check_kmeans_step(answer: Answer) -> None:
    """The printed example, ties, no, one and two empty clusters, and unchanged arguments."""
    generator = torch.Generator().manual_seed(0)
    cases = [
        ([0.5, 1.5, 4.0, 6.0], [0.0, 5.0]), ([1.0, 3.0, 0.0, 4.5], [0.0, 2.0, 4.0]),
        ([0.0, 1.0, 2.0, 10.0], [0.0, 5.0, 10.0]), ([1.0, 2.0, 6.0], [2.5, 40.0, 50.0]),
    ]  # fmt: skip
    pairs = [(torch.tensor(values), torch.tensor(centroids)) for values, centroids in cases]
    for values, centroids in [*pairs, *(clusters(empty, generator) for empty in (0, 1, 2))]:
        expected = reference.kmeans_step(values, centroids)
        given = f"{len(values)} values and centroids {_shown(centroids)}"
        given = f"values {_shown(values)}, centroids {_shown(centroids)}" if len(values) < 8 else given
        indices, moved = expect_parts(answer(values, centroids), 2, "indices and centroids", given=given)
        advice = "each value belongs to the nearest of the given centroids, equally near: the lower index"
        expect_tensor("the indices", indices, shape=values.shape, dtype=torch.int64, given=given)
        expect_equal("indices", indices, expected[0], given=given, hint=advice)
        expect_tensor("the centroids", moved, shape=centroids.shape, given=given)
        advice = (
            "the mean of the cluster; an empty one moves to the value that is farthest from the mean of its cluster"
        )
        expect_close("centroids", moved, expected[1], atol=1e-5, given=given, hint=advice)
    expect_unchanged(answer, *clusters(1, generator))


@probe("12.1")
def probe_kmeans_step(answer: Answer, generator: torch.Generator) -> Any:
    """Indices and centroids for random clusters, and ties."""
    for empty in (0, 1, 2):
        values, centroids = clusters(empty, generator)
        yield from [*answer.in_place(values, centroids), values, centroids]
    yield from [*answer(torch.tensor([1.0, 3.0, 0.0]), torch.tensor([0.0, 2.0, 4.0]))]
    yield from [*answer(torch.tensor([0.0, 1.0, 2.0, 10.0]), torch.tensor([0.0, 5.0, 10.0]))]


@question("12.2")
def check_canonical_codes(answer: Answer) -> None:
    """The printed example, equal lengths, gaps, one symbol, incomplete codes, and impossible ones."""
    generator = torch.Generator().manual_seed(0)
    known = [[1, 2, 3, 3], [2, 2, 2, 2], [2, 3, 0, 1, 3], [3, 3, 1], [0, 1, 0], [2, 6, 2], [5], []]
    for lengths in [*known, *(lengths_of_a_code(generator) for _ in range(4))]:
        possible, advice = (
            not answer.refuses(list(lengths)),
            "a sum below 1 is allowed: not every word needs to be used",
        )
        expect(possible, "expected code words, got a ValueError", given=f"lengths {lengths}", hint=advice)
        advice = "shorter words first, then the order of the symbols; the word before plus 1, shifted to its length"
        expect_equal("code words", answer(lengths), reference.canonical_codes(lengths), hint=advice)
    for lengths in ([1, 1, 2], [2, 2, 2, 2, 9], [1, 2, 3, 0, 3, 3]):
        expect_raises(ValueError, answer, lengths, hint="a sum of 2^-length above 1 must raise ValueError")


@probe("12.2")
def probe_canonical_codes(answer: Answer, generator: torch.Generator) -> Any:
    """Codes of random lengths, and whether impossible lengths are refused."""
    for _ in range(4):
        lengths = lengths_of_a_code(generator)
        codes = answer(lengths)
        yield [[symbol, codes[symbol]] for symbol in sorted(codes)]
        yield answer.refuses([*lengths, 9])
    yield [answer.refuses([1, 1, 1]), sorted(answer([0, 1, 0, 3]).items()), sorted(answer([]))]


@question("12.3")
def check_entropy_and_length(answer: Answer) -> None:
    """The printed examples, flat and skewed counts, one symbol, and symbols that do not occur."""
    known = [[2, 1, 1], [8, 1, 1], [1, 1, 1, 1], [1, 1, 1], [3, 1], [97, 1, 1, 1], [5, 0, 0, 3, 2], [7], [0, 4, 0]]
    known += [[1, 1, 2, 3, 5, 8, 13], [40, 30, 20, 9, 1], [6, 6, 5, 5, 4, 4, 3, 3, 2]]
    for counts in known:
        entropy, length = expect_parts(answer(counts), 2, "the entropy and the mean length", given=f"counts {counts}")
        expected = reference.entropy_and_length(counts)
        advice = "the mean of log2(1 / probability), without symbols that do not occur"
        expect_close("entropy", as_float(entropy), expected[0], given=f"counts {counts}", hint=advice, atol=1e-6)
        advice = "join the two rarest nodes until one is left; each joining adds the sum of their counts to the bits"
        expect_close("mean length", as_float(length), expected[1], given=f"counts {counts}", hint=advice)


@probe("12.3")
def probe_entropy_and_length(answer: Answer, generator: torch.Generator) -> Any:
    """Both numbers for random counts."""
    for size, largest in ((3, 50), (5, 9), (9, 400), (6, 30)):
        counts = draw(generator, 1, largest, size)
        yield list(map(as_float, answer([*counts, 0, 7 * largest])))
    yield [list(map(as_float, answer(counts))) for counts in ([7], [0, 4, 0], [1, 1, 2, 4])]


@question("12.4")
def check_arithmetic_encode(answer: Answer) -> None:
    """The printed example, short messages, an empty one, skewed counts, and messages that a float cannot hold."""
    generator = torch.Generator().manual_seed(0)
    known = [
        ([0], [1, 1, 1]),
        ([1], [1, 1, 1]),
        ([1], [1, 6, 1]),
        ([2], [1, 1, 2]),
        ([0, 2, 1], [2, 1, 1]),
        ([], [1, 1, 1]),
    ]
    known += [([2, 2, 0], [1, 1, 2]), ([0, 0, 0, 1], [98, 1, 1])]
    for message, counts in [*known, *(message_and_counts(length, generator) for length in (4, 9, 30, 80))]:
        expected, got = reference.arithmetic_encode(message, counts), answer(message, counts)
        expect(isinstance(got, str), "the digits should be a str", given=f"message {message} and counts {counts}")
        advice = "narrow to the part of each symbol; all numbers that begin with the digits must lie in the interval"
        expect_equal("number of digits", len(got), len(expected), hint=advice)
        expect_equal("digits", got, expected, hint=advice)


@probe("12.4")
def probe_arithmetic_encode(answer: Answer, generator: torch.Generator) -> Any:
    """Codes of random messages."""
    random = [message_and_counts(length, generator) for length in (0, 1, 2, 3, 5, 8, 13, 60)]
    return [answer(message, counts) for message, counts in [*random, ([1], [1, 1, 1]), ([2], [1, 1, 2])]]


@question("12.5")
def check_rdoq(answer: Answer) -> None:
    """The printed example, no λ, ties, weights beyond the last level, and random weights of two shapes."""
    generator = torch.Generator().manual_seed(0)
    example, *_, table = EXAMPLE
    known: list[tuple[Tensor, float, float, Tensor]] = [
        (example, 1.0, 0.0, table),
        (torch.tensor([0.6]), 1.0, 1.0, torch.tensor([1.0, 5.0, 2.0])),
        (example, 1.0, 0.1, table),
        EXAMPLE,
        TIE,
        (torch.tensor([7.0, -9.0, 2.6]), 1.0, 0.01, table),
        ZERO_IS_BEST,
        (torch.tensor([1.2, 0.6]), 0.5, 0.3, torch.tensor([1.0, 9.0, 0.5, 9.0, 1.0])),
    ]
    for case in [*known, *(weights_and_bits(shape, generator) for shape in ((40,), (5, 3, 2)))]:
        got = answer(*case)
        expect_tensor("the levels", got, shape=case[0].shape, dtype=torch.int64)
        advice = "three candidates: the nearest level within −m … m, the one nearer to zero, and zero"
        expect_equal("levels", got, reference.rdoq(*case), hint=advice)
    expect_unchanged(answer, *known[0])


@probe("12.5")
def probe_rdoq(answer: Answer, generator: torch.Generator) -> Any:
    """Levels of random weights, some beyond the last level, of a tie, and where zero is best."""
    for shape in ((30,), (4, 3), (25,)):
        yield answer(*weights_and_bits(shape, generator))
    yield from [answer(*EXAMPLE), answer(*TIE), answer(*ZERO_IS_BEST)]


@question("12.6")
def check_layer_bytes(answer: Answer) -> None:
    """The printed example, one value, sizes that are powers of two and others, and parts that end within a byte."""
    for case in [
        ([25, 4], [1, 1], 2), ([5, 2, 1], [1, 2, 2], 4), ([16], [1], 2), ([300, 100, 60, 40], [1, 2, 3, 3], 4),
        ([1, 1, 1, 1, 1], [3, 3, 2, 2, 2], 4), ([1000, 10, 1, 0], [1, 2, 2, 0], 2), ([3] * 17, [4] * 15 + [5, 5], 4),
        ([7000, 500, 400, 100], [1, 2, 3, 3], 4),
    ]:  # fmt: skip
        got = answer(*case)
        expected = reference.layer_bytes(*case)
        for part in expected:
            advice = "indices (or words and their table) and the codebook, each rounded up to whole bytes"
            named = {part: got.get(part)} if isinstance(got, dict) and part in got else got
            expect_equal("bytes", named, {part: expected[part]}, hint=advice)
        expect_equal("keys", sorted(got), sorted(expected))


@probe("12.6")
def probe_layer_bytes(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes of random layers."""
    for k, value_bytes in ((1, 4), (2, 2), (5, 4), (8, 2), (13, 4), (33, 2)):
        counts, lengths = draw(generator, 1, 4000, k), draw(generator, 1, 9, k)
        found = answer(counts, lengths, value_bytes)
        yield [found["fixed"], found["huffman"]]


def _shown(values: Tensor) -> str:
    return str([round(value, 2) for value in values.tolist()])

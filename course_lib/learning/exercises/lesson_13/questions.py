"""Checks and probes of exercise 13: compound scaling, sorted channels, BatchNorm, survivors, front, latency table."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_13 import reference
from course_lib.learning.exercises.lesson_13.cases import (
    activations,
    layers_in_a_row,
    nets_with_ties,
    population,
    random_table,
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

EXCLUDED = ("course_lib.search",)
IMPORTANCES = torch.tensor([2.0, -6.0, 2.0, 3.0])
Candidates = list[tuple[tuple[int, ...], float, float]]


@question("13.1")
def check_compound_scaling(answer: Answer) -> None:
    """The printed example, EfficientNet's bases, exact limits, no room to grow, few and many channels."""
    known: list[tuple[Any, ...]] = [
        ([2, 11], [3, 12], 65, 300.0, 1.1, 1.2, 1.15),
        ([1, 3], [10, 40], 100, 20, 1.5, 1.25, 1.1),
        ([2, 3, 4], [16, 24, 320], 224, 17.0, 1.2, 1.1, 1.15),
        ([2], [12], 64, 8.0, 2.0, 1.0, 1.0),
        ([4, 1], [24, 64], 65, 5.0625, 1.0, 1.5, 1.0),
        ([3, 5], [11, 3, 100], 32, 1.5, 1.3, 1.1, 1.15),
        ([1], [90, 19, 12], 33, 3.1, 1.0, 1.0, 1.3),
        ([7, 1], [48], 10, 1000.0, 1.1, 1.3, 1.05),
    ]
    for case in known:
        expected, got = reference.compound_scaling(*case), answer(*case)
        expect(isinstance(got, dict), f"return a dictionary, yours is {type(got).__name__}")
        expect_equal("keys", sorted(got), sorted(expected))
        advice = "the largest phi for which the work, (alpha · beta² · gamma²) to the power of phi, is at most times"
        expect_equal("phi", got["phi"], expected["phi"], hint=advice)
        expect_equal("layers", got["layers"], expected["layers"], hint="layers · alpha^phi, rounded up")
        advice = "channels · beta^phi, to the nearest multiple of 8, at least 8, and not below 90 % of it"
        expect_equal("channels", got["channels"], expected["channels"], hint=advice)
        expect_equal("resolution", got["resolution"], expected["resolution"], hint="resolution · gamma^phi, rounded")


@probe("13.1")
def probe_compound_scaling(answer: Answer, generator: torch.Generator) -> Any:
    """Scaled nets for random bases and limits."""
    for times in (2.0, 5.0, 9.0, 20.0, 40.0, 90.0) * 2:
        alpha, beta, gamma = (1.05 + 0.3 * torch.rand(3, generator=generator)).tolist()
        layers, channels = draw(generator, 1, 12, 6), [*draw(generator, 3, 40, 9), *draw(generator, 30, 400, 3)]
        found = answer(layers, channels, draw(generator, 60, 300, 1)[0], times, alpha, beta, gamma)
        yield [found["phi"], *found["layers"], *found["channels"], found["resolution"]]
    yield [answer([2], [12], 64, 8.0, 2.0, 1.0, 1.0)["phi"], answer([1], [9], 64, 5.0625, 1.0, 1.5, 1.0)["phi"]]


@question("13.2")
def check_first_channels(answer: Answer) -> None:
    """The printed example, signs, ties, kernels of two sizes, all channels and few, and unchanged arguments."""
    generator = torch.Generator().manual_seed(0)
    example = IMPORTANCES.view(4, 1, 1, 1), torch.arange(4.0), torch.arange(8.0).view(2, 4, 1, 1)
    sizes = ((7, 3, 4), (6, 3, 6), (12, 1, 5), (5, 3, 1))
    random = [(*layers_in_a_row(channels, kernel, generator), keep) for channels, kernel, keep in sizes]
    cases = [random[0], (*example, 3), (*example, 4), *random[1:]]
    for first, bias, second, keep in cases:
        given = f"weights {tuple(first.shape)} and {tuple(second.shape)}, keep {keep}"
        parts = expect_parts(answer(first, bias, second, keep), 3, "first, bias and second", given=given)
        names = "new first weight", "new bias", "new second weight"
        for name, got, expected in zip(names, parts, reference.first_channels(first, bias, second, keep), strict=True):
            expect_tensor(
                name, got, shape=expected.shape, given=given, hint="the channels are (C, ...) or (out, C, ...)"
            )
            advice = "one order for all three: importance from large to small, equal ones in their old order"
            expect_equal(name, got, expected, given=given, hint=advice)
    expect_unchanged(answer, *layers_in_a_row(6, 3, generator), 4)


@probe("13.2")
def probe_first_channels(answer: Answer, generator: torch.Generator) -> Any:
    """All three tensors for random layers with ties, and the given ones afterwards."""
    for channels, kernel, keep in ((8, 3, 5), (6, 1, 6), (9, 3, 2)):
        layers = layers_in_a_row(channels, kernel, generator)
        yield from [*answer.in_place(*layers, keep), *layers]
    flat = torch.tensor([[2.0, 2.0], [3.0, 0.0], [1.0, -2.5]]).view(3, 2, 1, 1)
    yield answer(flat, torch.arange(3.0), torch.ones(1, 3, 1, 1), 2)[1]


@question("13.3")
def check_batchnorm_statistics(answer: Answer) -> None:
    """The printed example, batches of different sizes and means, one batch, and large means beside a small spread."""
    generator = torch.Generator().manual_seed(0)
    example = [torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), torch.tensor([8.0]).view(1, 1, 1, 1)]
    cases = [example, *(activations(sizes, 0.0, generator) for sizes in ((4, 7, 2), (5,), (1, 1, 6)))]
    for batches in [*cases, activations((6, 3), 3000.0, generator)]:
        given = f"batches of {', '.join(str(len(batch)) for batch in batches)} images"
        mean, var = expect_parts(answer(batches), 2, "the mean and the variance", given=given)
        expected = reference.batchnorm_statistics(batches)
        for name, got, right in (("mean", mean, expected[0]), ("variance", var, expected[1])):
            expect_tensor(name, got, shape=right.shape, given=given, hint="one number for each channel")
            advice = "over all images, rows and columns of all batches together; the variance around the common mean"
            if right.abs().max() > 1000 or (name == "variance" and expected[0].abs().max() > 1000):
                advice = "the mean is large beside the spread: subtract it before squaring, in double precision"
            expect_close(name, got, right, rtol=1e-3, atol=1e-5, given=given, hint=advice)
    expect_unchanged(answer, activations((3, 2), 1.0, generator))


@probe("13.3")
def probe_batchnorm_statistics(answer: Answer, generator: torch.Generator) -> Any:
    """Statistics of random batches, some far from zero."""
    for sizes, centre in (((5, 2), 0.0), ((3, 1, 4), 0.0), ((2, 6), 3000.0)):
        yield from [one.detach().float() for one in answer(activations(sizes, centre, generator))]


@question("13.4")
def check_survivors(answer: Answer) -> None:
    """The printed example, exactly the limit, nobody within it, everybody, equal scores, repetitions, short lists."""
    generator = torch.Generator().manual_seed(0)
    example: Candidates = [((0,), 0.9, 7), ((1,), 0.6, 5), ((2,), 0.7, 3), ((3,), 0.8, 6)]
    equal: Candidates = [
        ((2, 1), 0.5, 2.0),
        ((0, 3), 0.5, 1.0),
        ((1, 1), 0.5, 3.0),
        ((9, 0), 0.1, 9.0),
        ((4, 4), 0.7, 9),
    ]
    repeated: Candidates = [((1,), 0.2, 1.0), ((2,), 0.4, 1.0), ((2,), 0.4, 1.0), ((3,), 0.1, 4.0), ((3,), 0.1, 4.0)]
    first: Candidates = [
        ((0, 1), 0.6, 4), ((1, 1), 0.9, 7), ((2, 0), 0.7, 3), ((3, 3), 0.5, 6), ((0, 2), 0.8, 5), ((5, 0), 0.3, 8),
    ]  # fmt: skip
    cases: list[tuple[Candidates, float, int]] = [
        (first, 5.5, 4),
        (example, 5, 3), (example, 5, 4), (example, 2, 2), (example, 100, 2), (equal, 3.0, 4), (equal, 3.0, 5),
        (repeated, 2.0, 3), (repeated, 2.0, 5), ([], 1.0, 3), (example, 5, 1),
    ]  # fmt: skip
    for candidates, limit, count in [
        *cases,
        (population(20, generator), 50.0, 9),
        (population(20, generator), 90.0, 30),
    ]:
        expected = reference.survivors(candidates, limit, count)
        advice = "within the limit by falling score, then the others by growing cost; equal genes once"
        given = f"limit {limit}, count {count} and {candidates}"
        expect_equal("survivors", answer(candidates, limit, count), expected, given=given, hint=advice)
    expect_unchanged(answer, population(8, generator), 40.0, 3)


@probe("13.4")
def probe_survivors(answer: Answer, generator: torch.Generator) -> Any:
    """Survivors of random populations with repetitions, few and many within the limit."""
    for limit, count in ((20.0, 13), (60.0, 14), (90.0, 40), (50.0, 5)):
        yield answer(population(16, generator), limit, count)
    (genes, score, cost), *_ = population(1, generator)
    yield answer([(genes, score, cost), ((0,), score / 2, cost), ((7,), score, cost)], cost, 3)


@question("13.5")
def check_pareto_front(answer: Answer) -> None:
    """The printed example, equal nets on and behind the front, equal in one number, one net, none, random nets."""
    generator = torch.Generator().manual_seed(0)
    many = (
        [0.7, 0.9, 0.8, 0.8, 0.9, 0.75, 0.72, 0.5, 0.4, 0.6, 0.3, 0.45],
        [2.0, 4.0, 3.0, 3.0, 5.0, 3.0, 3.0, 6.0, 7.0, 8.0, 9.0, 9.0],
    )
    known: list[tuple[list[float], list[float]]] = [
        many,
        ([0.90, 0.92, 0.92, 0.91, 0.90], [1, 3, 2, 2, 1]), ([0.5], [9.0]), ([], []), ([0.5, 0.5, 0.5], [2.0, 2.0, 2.0]),
        ([0.9, 0.5, 0.5], [1.0, 2.0, 2.0]), ([0.7, 0.7], [1.0, 2.0]), ([0.7, 0.8], [2.0, 2.0]),
        ([0.9, 0.8, 0.7, 0.6], [1.0, 2.0, 3.0, 4.0]), ([0.6, 0.7, 0.8, 0.9], [1.0, 2.0, 3.0, 4.0]),
    ]  # fmt: skip
    for accuracy, latency in [*known, *(nets_with_ties(15, generator) for _ in range(4))]:
        advice = "dominated means: another net is at least as accurate and at most as slow, and not equal in both"
        got = answer(accuracy, latency)
        expect_equal("front", got, reference.pareto_front(accuracy, latency), hint=advice)


@probe("13.5")
def probe_pareto_front(answer: Answer, generator: torch.Generator) -> Any:
    """Fronts of random nets with ties, and of equal ones."""
    for count in (12, 15, 25):
        yield answer(*nets_with_ties(count, generator))
    yield [answer([0.5, 0.5, 0.4], [1.0, 1.0, 1.0]), answer([0.9, 0.5, 0.5], [1.0, 2.0, 2.0])]
    yield [answer([0.7, 0.7], [1.0, 2.0]), answer([0.7, 0.8], [2.0, 2.0]), answer([], [])]


@question("13.6")
def check_table_latency(answer: Answer) -> None:
    """The printed example, one stage, odd sizes, several depths, scale and offset, and a missing block."""
    generator = torch.Generator().manual_seed(0)
    example = {(16, 16, 7, 1): 1.0, (16, 32, 7, 2): 2.0, (32, 32, 4, 1): 3.0}
    nets: list[tuple[list[int], list[int], int]] = [
        ([16, 32], [1, 2], 7), ([16, 24, 48, 96], [2, 2, 1, 2], 13), ([16], [3], 8), ([8, 8, 8], [2, 2, 2], 14),
    ]  # fmt: skip
    random = [(random_table(net[0], net[2], generator), *net, 0.8, 0.3) for net in nets[1:]]
    cases = [*random, (example, *nets[0], 0.5, 0.25), (example, *nets[0], 1.0, 0.0)]
    for table, widths, depths, size, scale, offset in cases:
        expected = reference.table_latency(table, widths, depths, size, scale, offset)
        given = f"widths {widths}, depths {depths}, size {size}, scale {scale} and offset {offset}"
        advice = (
            "stride 2 for the first block of each stage but the first; the size of a block's input; halves rounded up"
        )
        got = as_float(answer(table, widths, depths, size, scale, offset))
        expect_close("milliseconds", got, expected, given=given, hint=advice)
    for missing in ((16, 32, 7, 2), (32, 32, 4, 1)):
        table = {block: ms for block, ms in example.items() if block != missing}
        given = f"a table without the block {missing}"
        advice = "a block that was not measured must raise ValueError, not count as 0"
        expect_raises(ValueError, answer, table, [16, 32], [1, 2], 7, 0.5, 0.25, given=given, hint=advice)


@probe("13.6")
def probe_table_latency(answer: Answer, generator: torch.Generator) -> Any:
    """Latencies of random nets, and whether a missing block is refused."""
    for stages in (2, 3, 4):
        widths, depths = [8 * width for width in draw(generator, 1, 9, stages)], draw(generator, 2, 3, stages)
        size, (scale, offset) = 2 * draw(generator, 6, 14, 1)[0] + 1, torch.rand(2, generator=generator).tolist()
        table = random_table(widths, size, generator)
        yield as_float(answer(table, widths, depths, size, 0.5 + scale, offset))
        less = {block: ms for block, ms in table.items() if block[1] != widths[-1]}
        yield answer.refuses(less, widths, depths, size, 1.0, 0.0)

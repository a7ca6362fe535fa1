"""Checks and probes of exercise 04, structured pruning: scores, counts, coupled channels, heads, 2:4, and a budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_04.expectations import (
    expect_heads,
    expect_kept,
    expect_scores,
    expect_state,
    expect_two_four,
)
from course_lib.learning.exercises.lesson_04.playground import (
    NEURONS,
    TARGET_ACCURACY,
    TARGET_WORK,
    ResidualNet,
    try_widths,
)
from course_lib.learning.expect import as_whole, cases, expect, expect_parts, expect_unchanged
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe_any

HEADS, WIDTH = 4, 8
EXCLUDED = ("course_lib.pruning",)


@question("04.1")
def check_channel_scores(answer: Answer) -> None:
    """Convolutions and linear layers of several shapes and scales, a layer of zeros, and unchanged inputs."""
    for scale, (shape, next_shape) in cases(scales=[1.0, 0.01], pairs=_PAIRS):
        generator = torch.Generator().manual_seed(7)
        producer = torch.randn(shape, generator=generator)
        consumer = scale * torch.randn(next_shape, generator=generator)
        expect_scores(answer(producer, consumer), producer, consumer)
    example = torch.tensor([[3.0, 4.0], [0.0, 5.0], [6.0, 8.0]]), torch.tensor([[1.0, 2.0, 0.0]])
    expect_scores(answer(*example), *example)
    zeros, some = torch.zeros(4, 3, 3, 3), torch.arange(8.0).reshape(2, 4, 1, 1)
    pairs = [(zeros, some), (some.transpose(0, 1), torch.zeros(2, 4)), (zeros, torch.zeros(2, 4, 1, 1))]
    for producer, consumer in pairs:
        expect_scores(answer(producer, consumer), producer, consumer)
    expect_unchanged(answer, torch.randn(6, 3, 3, 3), torch.randn(5, 6, 3, 3))


@probe("04.1")
def probe_channel_scores(answer: Answer, generator: torch.Generator) -> Any:
    """Scores of random pairs of layers, also where one of the two is zero."""
    for shape, next_shape in _PAIRS:
        scale = 10 ** (2 * torch.rand((), generator=generator).item() - 1)
        producer = scale * torch.randn(shape, generator=generator)
        consumer = torch.randn(next_shape, generator=generator)
        yield from [answer(producer, consumer), answer(producer, 0 * consumer), answer(0 * producer, consumer)]


@question("04.2")
def check_channels_to_keep(answer: Answer) -> None:
    """Numbers that fall between multiples, ratios near 0 and 1, groups smaller than a multiple, and ties."""
    ratios = [0.01, 0.3, 0.5, 0.77, 1.0]
    for size, ratio, multiple in cases(sizes=[5, 12, 64, 100], ratios=ratios, multiples=[1, 8, 16]):
        scores = torch.rand(size, generator=torch.Generator().manual_seed(size))
        expect_kept(answer(scores, ratio, multiple), scores, ratio, multiple)
    halves = torch.rand(12, generator=torch.Generator().manual_seed(3))
    expect_kept(answer(halves, 0.5, 4), halves, 0.5, 4)
    ties = torch.tensor([1.0, 2.0, 2.0, 1.0, 2.0, 1.0])
    for ratio in (1 / 3, 0.5, 2 / 3):
        expect_kept(answer(ties, ratio, 1), ties, ratio, 1)
    expect_unchanged(answer, torch.rand(20), 0.4, 4)


@probe("04.2")
def probe_channels_to_keep(answer: Answer, generator: torch.Generator) -> Any:
    """Indices for random scores, some of them equal."""
    for multiple in (1, 1, 4, 8, 8):
        size = int(torch.randint(3, 90, (), generator=generator))
        scores, ratio = torch.rand(size, generator=generator), torch.rand((), generator=generator).item()
        yield from [answer(scores, ratio, multiple), answer((4 * scores).round(), ratio, multiple)]
    halves, twenty = torch.rand(12, generator=generator), torch.rand(20, generator=generator)
    for edge in [(halves, 0.5, 4), (halves, 0.01, 8), (halves, 1.0, 8), (twenty, 0.5, 4), (twenty, 0.125, 1)]:
        yield answer(*edge)


@question("04.3")
def check_shrink(answer: Answer) -> None:
    """Names, shapes and values of the smaller network, for several choices of channels."""
    kept = [([0, 2, 3, 7], [1, 4]), ([0, 2], [1]), ([5], [0, 1, 2, 3, 4, 5]), (list(range(8)), [3]), ([1, 6], [0, 5])]
    for seed, (stem, inner) in enumerate(kept):
        state = _network(seed).state_dict()
        small = answer(dict(state), stem, inner)
        expect_state(small, state, stem, inner)
    expect_unchanged(answer, dict(_network(4).state_dict()), [0, 1], [2, 3])


@probe("04.3")
def probe_shrink(answer: Answer, generator: torch.Generator) -> Any:
    """All tensors of small networks with random channels kept."""
    for _ in range(3):
        state = dict(_network(int(torch.randint(0, 2**31, (), generator=generator))).state_dict())
        stem, inner = _some(3, 8, generator), _some(4, 6, generator)
        yield sorted(answer(state, stem, inner).items())


@question("04.4")
def check_keep_heads(answer: Answer) -> None:
    """Several sizes, one of them square as in BERT; the output layer keeps its width and its bias."""
    cases_tried = [(0, 4, 3, [1, 2]), (1, 2, 5, [0]), (2, 6, 4, [0, 3, 5]), (3, 3, 1, [0, 1, 2]), (5, 3, 2, [0, 2])]
    for seed, heads, size, keep in [*cases_tried, (4, 4, WIDTH // 4, [1, 2])]:
        layer = _attention(torch.Generator().manual_seed(seed), heads, size)
        expect_heads(answer(layer, heads, keep), layer, heads, keep)
    expect_unchanged(answer, _attention(torch.Generator().manual_seed(9), HEADS, 3), HEADS, [0, 2])


@probe("04.4")
def probe_keep_heads(answer: Answer, generator: torch.Generator) -> Any:
    """All tensors of random attention layers with random heads kept."""
    for heads, size in ((4, 3), (5, 2), (3, 4), (4, WIDTH // 4)):
        keep = _some(2, heads, generator)
        yield sorted(answer(_attention(generator, heads, size), heads, keep).items())


@question("04.5")
def check_two_four_mask(answer: Answer) -> None:
    """Many shapes, equal magnitudes, negative weights, transposed memory, and an unchanged input."""
    for (weight,) in cases(shapes=[(1, 4), (8, 16), (3, 40), (64, 8)]):
        expect_two_four(answer(weight), weight)
    example = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.0, 0.0, 0.0, 5.0]])
    expect_two_four(answer(example), example)
    ties = torch.tensor([[1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [2.0, -3.0, 3.0, -2.0, 0.0, -1.0, 0.0, 1.0]])
    expect_two_four(answer(ties), ties)
    turned = torch.randn(12, 6, generator=torch.Generator().manual_seed(2)).T
    expect_two_four(answer(turned), turned)
    expect_unchanged(answer, torch.randn(4, 8))


@probe("04.5")
def probe_two_four_mask(answer: Answer, generator: torch.Generator) -> Any:
    """Masks of random weights, with and without equal magnitudes, one of them transposed."""
    for shape in ((5, 8), (2, 32), (16, 4)):
        weight = torch.randn(shape, generator=generator)
        yield from [answer(weight), answer((weight * 1.5).round())]
    yield from [answer(torch.randn(8, 3, generator=generator).T)]


@question("04.6")
def check_widths(answer: Answer) -> None:
    """The measured work and validation accuracy of the learner's choice."""
    choice = _choice(answer())
    found = try_widths(choice)
    where = f"your choice {choice}"
    left = f"{found.work:.1%} of the work remains, the target is at most {TARGET_WORK:.0%}"
    expect(found.work <= TARGET_WORK, left, given=where, hint="the first layer has most of the work: make it narrower")
    right = f"validation accuracy is {found.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    advice = "which layer lost neurons that save almost no work?"
    if choice[0] < choice[1]:
        advice = "the first layer lost too many neurons; the second can give up some"
    expect(found.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("04.6")
def probe_widths(answer: Answer, generator: torch.Generator) -> Any:
    """The measurement, clamped to the targets, so that all choices that reach them print the same."""
    found = try_widths(_choice(answer()))
    return [max(found.work, TARGET_WORK), min(found.accuracy, TARGET_ACCURACY)]


_PAIRS = [((8, 3, 3, 3), (6, 8, 3, 3)), ((5, 4, 1, 1), (7, 5, 3, 3)), ((12, 6), (4, 12)), ((1, 2, 3, 3), (3, 1, 1, 1))]


def _some(count: int, size: int, generator: torch.Generator) -> list[int]:
    """``count`` random indices below ``size``, in increasing order."""
    return torch.randperm(size, generator=generator)[:count].sort().values.tolist()


def _network(seed: int) -> ResidualNet:
    """A small network with BatchNorm statistics that are not the defaults; torch's global generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResidualNet().eval()
        for name, tensor in network.state_dict().items():
            if "bn" in name and tensor.dim():
                tensor.uniform_(0.5, 1.5)
        return network


def _attention(generator: torch.Generator, heads: int, size: int) -> dict[str, Tensor]:
    """Weights and biases of an attention layer of width ``WIDTH``."""
    width, inside = WIDTH, heads * size
    shapes = dict.fromkeys(("query", "key", "value"), (inside, width)) | {"output": (width, inside)}
    layer = {}
    for name, shape in shapes.items():
        layer[f"{name}.weight"] = torch.randn(shape, generator=generator)
        layer[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return layer


def _choice(given: Any) -> tuple[int, int]:
    """The learner's two numbers, validated."""
    first, second = expect_parts(given, 2, "the neurons of each hidden layer such as (150, 50)")
    first, second = as_whole(first), as_whole(second)
    for count, limit in zip((first, second), NEURONS, strict=True):
        good = 1 <= count <= limit
        problem = f"the layers have {NEURONS[0]} and {NEURONS[1]} neurons; got {describe_any(given)}"
        expect(good, problem, hint="first layer first")
    return first, second

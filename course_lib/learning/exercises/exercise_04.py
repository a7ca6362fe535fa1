"""Checks and probes of exercise 04, structured pruning: scores, counts, coupled channels, heads, 2:4, and a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.narrow_network import NEURONS, TARGET_ACCURACY, TARGET_WORK, try_widths
from course_lib.learning.exercises.reference_04 import (
    ResidualNet,
    channel_scores,
    channels_to_keep,
    keep_heads,
    shrink,
    two_four_mask,
)
from course_lib.learning.expect import cases, expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question

HEADS = 4


@question(
    "04.1",
    points=3,
    minutes=12,
    difficulty=2,
    title="How important is a channel?",
    hints=(
        "A channel is made by one filter of the first layer, and read by one slice of every filter of the second. "
        "Which dimension counts these slices?",
        "`flatten(1)` turns each filter into a row, and `norm(dim=1)` gives one number for each row. For the second "
        "layer bring the input channels to the front first: `transpose(0, 1)`.",
        "Divide each of the two vectors by its own mean before you average them. A mean of zero is a case of its own.",
    ),
)
def check_channel_scores(answer: Answer) -> None:
    """Convolutions and linear layers of several shapes and scales, a silent layer, and untouched inputs."""
    for scale, (shape, next_shape) in cases(scales=[1.0, 0.01], pairs=_PAIRS):
        generator = torch.Generator().manual_seed(7)
        producer = torch.randn(shape, generator=generator)
        consumer = scale * torch.randn(next_shape, generator=generator)
        _expect_scores(answer(producer, consumer), producer, consumer)
    silent = torch.zeros(4, 3, 3, 3)
    _expect_scores(answer(silent, torch.ones(2, 4, 1, 1)), silent, torch.ones(2, 4, 1, 1))
    expect_unchanged(answer, torch.randn(6, 3, 3, 3), torch.randn(5, 6, 3, 3))


@probe("04.1")
def probe_channel_scores(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Scores of random pairs of layers, one of them silent."""
    values = []
    for shape, next_shape in _PAIRS:
        scale = 10 ** (2 * torch.rand((), generator=generator).item() - 1)
        producer = scale * torch.randn(shape, generator=generator)
        consumer = torch.randn(next_shape, generator=generator)
        values += [answer(producer, consumer), answer(producer, 0 * consumer)]
    return values


@question(
    "04.2",
    points=2,
    minutes=8,
    difficulty=2,
    title="Which channels stay?",
    hints=(
        "Settle the count first. The nearest multiple of m to a number x is m times the whole number nearest to x / m.",
        "`math.floor(x + 0.5)` rounds halves up, which Python's own `round` does not always do. Then hold the number "
        "between one multiple and all channels.",
        "Sort the channels by falling score, with a stable sort, take the first ones, and sort their indices again.",
    ),
)
def check_channels_to_keep(answer: Answer) -> None:
    """Numbers that fall between multiples, ratios near 0 and 1, groups smaller than a multiple, and ties."""
    ratios = [0.01, 0.3, 0.5, 0.77, 1.0]
    for size, ratio, multiple in cases(sizes=[5, 12, 64, 100], ratios=ratios, multiples=[1, 8, 16]):
        scores = torch.rand(size, generator=torch.Generator().manual_seed(size))
        _expect_kept(answer(scores, ratio, multiple), scores, ratio, multiple)
    ties = torch.tensor([1.0, 2.0, 2.0, 1.0, 2.0, 1.0])
    for ratio in (1 / 3, 0.5, 2 / 3):
        _expect_kept(answer(ties, ratio, 1), ties, ratio, 1)
    expect_unchanged(answer, torch.rand(20), 0.4, 4)


@probe("04.2")
def probe_channels_to_keep(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Indices for random scores, some of them equal."""
    values = []
    for multiple in (1, 1, 4, 8, 8):
        size = int(torch.randint(3, 90, (), generator=generator))
        scores, ratio = torch.rand(size, generator=generator), torch.rand((), generator=generator).item()
        values += [answer(scores, ratio, multiple), answer((4 * scores).round(), ratio, multiple)]
    halves = torch.rand(12, generator=generator)
    twenty = torch.rand(20, generator=generator)
    edges = [(halves, 0.5, 4), (halves, 0.01, 8), (halves, 1.0, 8), (twenty, 0.5, 4), (twenty, 0.125, 1)]
    return values + [answer(*edge) for edge in edges]


@question(
    "04.3",
    points=5,
    minutes=25,
    difficulty=4,
    title="Coupled channels by hand",
    hints=(
        "Go through the layers and ask twice for each of them: whose channels come in, and whose go out? What is added "
        "to the stream belongs to the stream.",
        "A convolution loses rows (`weight[rows]`) for what goes out and columns (`weight[:, columns]`) for what comes "
        "in. BatchNorm has four vectors with an entry for each channel, and one number without any.",
        "After the flatten every channel takes 4 places in a row in the inputs of `fc`: channel c has 4c to 4c + 3.",
    ),
)
def check_shrink(answer: Answer) -> None:
    """The small network computes what the large one does when the removed channels are silent; names, shapes, order."""
    kept = [([0, 2, 3, 7], [1, 4]), ([5], [0, 1, 2, 3, 4, 5]), (list(range(8)), [3]), ([1, 6], [0, 5])]
    for seed, (stem, inner) in enumerate(kept):
        state = _network(seed).state_dict()
        small = answer(dict(state), stem, inner)
        _expect_state(small, state, stem, inner)
    expect_unchanged(answer, dict(_network(4).state_dict()), [0, 1], [2, 3])


@probe("04.3")
def probe_shrink(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """All tensors of small networks with random channels left."""
    values = []
    for _ in range(3):
        state = dict(_network(int(torch.randint(0, 2**31, (), generator=generator))).state_dict())
        stem = torch.randperm(8, generator=generator)[:3].sort().values.tolist()
        inner = torch.randperm(6, generator=generator)[:4].sort().values.tolist()
        small = answer(state, stem, inner)
        values.append([[name, small[name]] for name in sorted(small)])
    return values


@question(
    "04.4",
    points=4,
    minutes=15,
    difficulty=3,
    title="Fewer heads",
    hints=(
        "The rows of `query.weight` come in blocks, one block for each head. How many rows does a block have?",
        "Make a list of all row numbers that stay. The same numbers serve for weights and biases of query, key and "
        "value.",
        "The output layer reads what the heads wrote, so it loses columns, not rows, and its bias stays as it is.",
    ),
)
def check_keep_heads(answer: Answer) -> None:
    """Several sizes and choices, checked tensor by tensor; the output layer keeps its width and its bias."""
    for seed, heads, size, keep in [(0, 4, 3, [1, 2]), (1, 2, 5, [0]), (2, 6, 4, [0, 3, 5]), (3, 3, 1, [0, 1, 2])]:
        layer = _attention(torch.Generator().manual_seed(seed), heads, size)
        _expect_heads(answer(layer, heads, keep), layer, heads, keep)
    expect_unchanged(answer, _attention(torch.Generator().manual_seed(9), HEADS, 3), HEADS, [0, 2])


@probe("04.4")
def probe_keep_heads(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """All tensors of random attention layers with random heads left."""
    values = []
    for heads, size in ((4, 3), (5, 2), (3, 4)):
        keep = torch.randperm(heads, generator=generator)[:2].sort().values.tolist()
        small = answer(_attention(generator, heads, size), heads, keep)
        values.append([[name, small[name]] for name in sorted(small)])
    return values


@question(
    "04.5",
    points=3,
    minutes=10,
    difficulty=2,
    title="Two of four",
    hints=(
        "Cut every row into fours: `reshape(rows, -1, 4)` does it, as long as the row is a multiple of 4 long.",
        "`argsort(dim=-1, descending=True, stable=True)` puts the largest of each four first, and of equals the left.",
        "`scatter` writes True at the first two positions of that order, along the last dimension.",
    ),
)
def check_two_four_mask(answer: Answer) -> None:
    """Many shapes, equal magnitudes, negative weights, transposed memory, and an untouched input."""
    for (weight,) in cases(shapes=[(1, 4), (8, 16), (3, 40), (64, 8)]):
        _expect_two_four(answer(weight), weight)
    ties = torch.tensor([[1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [2.0, -3.0, 3.0, -2.0, 0.0, -1.0, 0.0, 1.0]])
    _expect_two_four(answer(ties), ties)
    turned = torch.randn(12, 6, generator=torch.Generator().manual_seed(2)).T
    _expect_two_four(answer(turned), turned)
    expect_unchanged(answer, torch.randn(4, 8))


@probe("04.5")
def probe_two_four_mask(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Masks of random weights, with and without equal magnitudes, one of them transposed."""
    values = []
    for shape in ((5, 8), (2, 32), (16, 4)):
        weight = torch.randn(shape, generator=generator)
        values += [answer(weight), answer((weight * 1.5).round())]
    return [*values, answer(torch.randn(8, 3, generator=generator).T)]


@question(
    "04.6",
    points=3,
    minutes=12,
    difficulty=3,
    title="Choose the widths",
    hints=(
        "Which of the three layers does most of the work, and which of your two numbers makes it smaller?",
        "Work it out before you try: 784 · a + a · b + 10 · b multiplications are left of 266,200.",
        "Few neurons in the second layer save next to nothing and cost a lot. Spend the budget the other way round.",
    ),
)
def check_widths(answer: Answer) -> None:
    """The work and the validation accuracy that the learner's choice really gives."""
    choice = _choice(answer())
    found = try_widths(choice)
    where = f"your choice {choice}"
    left = f"{found.work:.1%} of the work is left, the target is at most {TARGET_WORK:.0%}"
    expect(found.work <= TARGET_WORK, left, given=where, hint="the first layer does most of the work: make it narrower")
    right = f"validation accuracy is {found.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    advice = "which layer lost neurons that save next to no work?"
    expect(found.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("04.6")
def probe_widths(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """What the choice reaches, cut off at the targets, so that all choices that reach them give the same."""
    found = try_widths(_choice(answer()))
    return [max(found.work, TARGET_WORK), min(found.accuracy, TARGET_ACCURACY)]


_PAIRS = [((8, 3, 3, 3), (6, 8, 3, 3)), ((5, 4, 1, 1), (7, 5, 3, 3)), ((12, 6), (4, 12)), ((1, 2, 3, 3), (3, 1, 1, 1))]


def _expect_scores(scores: Any, producer: Tensor, consumer: Tensor) -> None:
    where = f"layers of shape {tuple(producer.shape)} and {tuple(consumer.shape)}"
    good = isinstance(scores, Tensor) and scores.shape == (len(producer),)
    got = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
    problem = f"the scores should be a tensor with one number for each of {len(producer)} channels, yours is {got}"
    expect(good, problem, given=where)
    advice = "divide both norms by the mean of their own layer, then average; without any weight every score is 1"
    expect_close("scores", scores, channel_scores(producer, consumer), given=where, hint=advice)


def _expect_kept(kept: Any, scores: Tensor, ratio: float, multiple: int) -> None:
    expected = channels_to_keep(scores, ratio, multiple)
    where = f"{len(scores)} channels, a ratio of {ratio:.3g} and a multiple of {multiple}"
    expect(isinstance(kept, list), f"return a list of indices, yours is a {type(kept).__name__}", given=where)
    advice = "the nearest multiple (halves go up), at least one multiple, at most all channels"
    expect_equal("number of channels that stay", len(kept), len(expected), given=where, hint=advice)
    advice = "the highest scores stay, of equals the one with the lower index; the indices come in increasing order"
    expect_equal("channels that stay", kept, expected, given=where, hint=advice)


def _network(seed: int) -> ResidualNet:
    """A small network whose BatchNorm has seen something, without a trace in torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResidualNet().eval()
        for name, tensor in network.state_dict().items():
            if "bn" in name and tensor.dim():
                tensor.uniform_(0.5, 1.5)
        return network


def _expect_state(small: Any, state: dict[str, Tensor], stem: list[int], inner: list[int]) -> None:
    expect(isinstance(small, dict), f"return a dictionary of tensors, yours is a {type(small).__name__}")
    where = f"stem={stem}, inner={inner}"
    expect_equal("names of the tensors", sorted(small), sorted(state), given=where, hint="every name of `state` stays")
    for name, expected in shrink(state, stem, inner).items():
        found = small[name]
        good = isinstance(found, Tensor) and found.shape == expected.shape
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        advice = f"it had {tuple(state[name].shape)}: which channels belong to the stream, and which to the block?"
        expect(good, f"{name} should have shape {tuple(expected.shape)}, yours has {got}", given=where, hint=advice)
        expect_equal(name, found, expected, given=where, hint="the shape is right, but these are other channels")


def _attention(generator: torch.Generator, heads: int, size: int) -> dict[str, Tensor]:
    """Weights and biases of an attention layer whose stream is 8 wide."""
    width, inside = 8, heads * size
    shapes = dict.fromkeys(("query", "key", "value"), (inside, width)) | {"output": (width, inside)}
    layer = {}
    for name, shape in shapes.items():
        layer[f"{name}.weight"] = torch.randn(shape, generator=generator)
        layer[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return layer


def _expect_heads(small: Any, layer: dict[str, Tensor], heads: int, keep: list[int]) -> None:
    expect(isinstance(small, dict), f"return a dictionary of tensors, yours is a {type(small).__name__}")
    where = f"{heads} heads, of which {keep} stay"
    expect_equal("names of the tensors", sorted(small), sorted(layer), given=where)
    for name, expected in keep_heads(layer, heads, keep).items():
        found = small[name]
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        advice = "query, key and value lose blocks of rows; the output layer loses the same blocks of columns"
        good = isinstance(found, Tensor) and found.shape == expected.shape
        expect(good, f"{name} should have shape {tuple(expected.shape)}, yours has {got}", given=where, hint=advice)
        advice = "head h has the rows h·size up to h·size + size - 1, all in one block"
        expect_equal(name, found, expected, given=where, hint=advice)


def _expect_two_four(mask: Any, weight: Tensor) -> None:
    good = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == weight.shape
    got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    expect(good, f"the mask should be boolean of shape {tuple(weight.shape)}, yours is {got}")
    counts = mask.reshape(len(weight), -1, 4).sum(dim=-1)
    advice = "exactly two of every four stay, neither more nor fewer; True means keep"
    expect_equal("weights that stay in each four", counts, torch.full_like(counts, 2), given=weight, hint=advice)
    advice = "rank by absolute value within each four of a row; of equal magnitudes the left ones stay"
    expect_equal("mask", mask, two_four_mask(weight), given=weight, hint=advice)


def _choice(given: Any) -> tuple[int, int]:
    """The learner's two numbers, checked."""
    good = isinstance(given, list | tuple) and len(given) == 2 and all(type(count) is int for count in given)
    expect(good, f"return two whole numbers, first hidden layer first, such as (150, 50); got {given!r}")
    for count, limit in zip(given, NEURONS, strict=True):
        expect(1 <= count <= limit, f"the layers have {NEURONS[0]} and {NEURONS[1]} neurons; got {tuple(given)}")
    return given[0], given[1]

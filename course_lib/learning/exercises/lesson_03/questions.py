"""Checks and probes of exercise 03, magnitude pruning: masks, schedule, bytes, a repaired pruner, and a budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_03 import reference
from course_lib.learning.exercises.lesson_03.cases import Trainer, small_cnn, small_mlp, three_layers
from course_lib.learning.exercises.lesson_03.expectations import (
    expect_facts,
    expect_fresh_start,
    expect_global,
    expect_gradual,
    expect_layerwise,
    expect_mask,
    expect_masks,
    schedule_hint,
)
from course_lib.learning.exercises.lesson_03.playground import TARGET_ACCURACY, TARGET_ZEROS, try_sparsities
from course_lib.learning.expect import as_float, cases, expect, expect_close, expect_parts, expect_unchanged
from course_lib.learning.questions import probe, question

EXCLUDED = ("torch.nn.utils.prune", "course_lib.pruning")
MOST_OF_THE_FIRST = 0.9


@question("03.1")
def check_magnitude_mask(answer: Answer) -> None:
    """Exact counts on many shapes, ties, dtypes, memory layouts, and an input that must not change."""
    for weight, sparsity in cases(shapes=[(8, 16), (64, 3, 3, 3), (5,), (0,)], sparsities=[0, 0.3, 0.5, 0.9, 0.99]):
        expect_mask(answer(weight, sparsity), weight, sparsity)
    ties = torch.tensor([[1.0, -1.0, 3.0, 1.0], [-2.0, 1.0, -1.0, 2.0]])
    for sparsity in (0.25, 0.5, 0.75):
        expect_mask(answer(ties, sparsity), ties, sparsity)
    tall = torch.randn(12, 20, generator=torch.Generator().manual_seed(1))
    for weight in (tall.T, tall[:, ::3], tall.half(), tall.bfloat16(), tall.double(), nn.Parameter(tall)):
        expect_mask(answer(weight, 0.6), weight.detach(), 0.6)
    close = 1 - 1e-12 * torch.arange(8, dtype=torch.float64)
    expect_mask(answer(close, 0.5), close, 0.5)
    example = torch.tensor([[1.0, -2.0], [-1.0, 3.0]])
    expect_mask(answer(example, 0.25), example, 0.25)
    expect_unchanged(answer, tall, 0.5)


@probe("03.1")
def probe_magnitude_mask(answer: Answer, generator: torch.Generator) -> Any:
    """Masks of random weights, some rounded so that many magnitudes are equal, and the weights afterwards."""
    for shape, sparsity in [((6, 5), 0.4), ((3, 2, 3), 0.9), ((17,), 0.25), ((0, 4), 0.5), ((9, 4), 0.66)]:
        weight = torch.randn(shape, generator=generator)
        turned = weight.permute(*range(weight.dim() - 1, -1, -1))
        for one in (weight.clone(), (weight * 2).round(), turned.half()):
            yield from [answer.in_place(one, sparsity), one]
    close = 1 - 1e-12 * torch.randperm(20, generator=generator).double()
    yield answer(close, 0.3)


@question("03.2")
def check_global_masks(answer: Answer) -> None:
    """The total is exact, the ranking is global, and equal magnitudes are dropped from the first layer on."""
    for scales in [(1.0, 1.0, 1.0), (1.0, 0.1, 3.0), (0.01, 1.0, 1.0)]:
        for sparsity in (0.0, 0.37, 0.5, 0.9):
            weights = three_layers(torch.Generator().manual_seed(0), scales)
            expect_masks(answer(weights, sparsity), weights, sparsity)
    example = {"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([2.0, 3.0])}
    for sparsity in (0.5, 0.25):
        expect_masks(answer(example, sparsity), example, sparsity)
    ties = {"mid": torch.tensor([1.0, -2.0, 1.0]), "first": torch.tensor([[-1.0], [2.0]]), "last": torch.ones(1)}
    for sparsity in (1 / 6, 0.5, 0.7):
        expect_masks(answer(ties, sparsity), ties, sparsity)
    lonely = {"only": torch.linspace(-1, 1, 24).reshape(4, 6).T, "empty": torch.zeros(0, 3)}
    expect_masks(answer(lonely, 0.25), lonely, 0.25)
    expect_unchanged(answer, three_layers(torch.Generator().manual_seed(3), (1.0, 2.0, 3.0)), 0.5)


@probe("03.2")
def probe_global_masks(answer: Answer, generator: torch.Generator) -> Any:
    """Masks over random layers of different scale, with and without equal magnitudes.

    In the last layers all magnitudes are equal: 120 of 108 + 24 + 30 weights are the first layer and half of the
    second, in no other order of the layers.
    """
    for sparsity in (0.2, 0.55, 0.93):
        scales = tuple((0.1 + 2 * torch.rand(3, generator=generator)).tolist())
        weights = three_layers(generator, scales)
        yield from [answer(weights, sparsity), answer({key: one.round() for key, one in weights.items()}, sparsity)]
    equal = {key: one.sign() for key, one in three_layers(generator, (1.0, 1.0, 1.0)).items()}
    yield answer(equal, 120 / 162)


@question("03.3")
def check_cubic_sparsity(answer: Answer) -> None:
    """Both ends, the middle, beyond the ends, and schedules that do not start at zero."""
    for total, initial, final in [
        (10, 0.0, 0.8),
        (100, 0.0, 0.9),
        (10, 0.1, 0.9),
        (8, 0.5, 0.5),
        (1, 0.2, 0.8),
        (3, 0.0, 0.95),
    ]:
        for step in (0, 1, total // 2, total, total + 7, -3):
            expected = reference.cubic_sparsity(step, total, initial, final)
            given = answer(step, total, initial, final)
            advice = schedule_hint(given, step, total, initial, final)
            expect_close("sparsity", given, expected, rtol=1e-6, atol=1e-9, hint=advice)


@probe("03.3")
def probe_cubic_sparsity(answer: Answer, generator: torch.Generator) -> Any:
    """Sparsities of random schedules, at and beyond their ends."""
    for _ in range(6):
        total = int(torch.randint(2, 400, (), generator=generator))
        initial, gap = (torch.rand(2, generator=generator) * torch.tensor([0.4, 0.5])).tolist()
        steps = [-1, 0, 1, total // 3, total // 2, total - 1, total, total + 5]
        yield [as_float(answer(step, total, initial, initial + gap)) for step in steps]


@question("03.4")
def check_storage_facts(answer: Answer) -> None:
    """Bytes of real tensors in three precisions, with odd sizes, and the fewest zeros that make the bitmask smaller."""
    generator = torch.Generator().manual_seed(0)
    example = torch.cat([torch.zeros(12), torch.ones(4)])
    expect_facts(answer(example), example)
    for shape in [(8, 16), (64, 3, 3, 3), (7, 9), (129,), (33,), (2,), (1,), (0,), ()]:
        for zeros in (0.0, 0.5, 0.95):
            for dtype in (torch.float32, torch.float16, torch.float64):
                weight = torch.randn(shape, generator=generator).to(dtype)
                weight = weight * (torch.rand(shape, generator=generator) >= zeros)
                expect_facts(answer(weight), weight)
    negative = -torch.ones(16, 10).T
    expect_facts(answer(negative), negative)


@probe("03.4")
def probe_storage_facts(answer: Answer, generator: torch.Generator) -> Any:
    """Facts of random tensors."""
    for dtype in (torch.float32, torch.float16, torch.float64):
        for size in (0, 1, 2, 40, *torch.randint(3, 900, (4,), generator=generator).tolist()):
            weight = torch.randn(size, generator=generator) * (torch.rand(size, generator=generator) > 0.6)
            yield answer(weight.to(dtype))


@question("03.5")
def check_structured_pruner(answer: Answer) -> None:
    """Exact sparsity, an unchanged original, plain modules, independent calls, and masks kept during training."""
    for model in (small_cnn(0), small_mlp(0)):
        for sparsity in (0.5, 0.9):
            expect_layerwise(answer, model, sparsity)
            expect_global(answer, model, sparsity)
        expect_gradual(answer, model, 0.1, 0.9, 5)
        expect_gradual(answer, model, 0.3, 0.7, 1)
    expect_fresh_start(answer, small_cnn(1))


@probe("03.5")
def probe_structured_pruner(answer: Answer, generator: torch.Generator) -> Any:
    """Weights after each method (a negative zero counts as zero), and the zeros that the training function saw."""
    model = small_cnn(int(torch.randint(2, 2**31, (), generator=generator)))
    low, high = (torch.rand(2, generator=generator) * 0.4 + torch.tensor([0.0, 0.5])).tolist()
    train = Trainer(seed=int(torch.randint(0, 2**31, (), generator=generator)))
    pruner = answer(model, high)
    copies = [pruner.magnitude_based_pruning(), pruner.apply_global_pruning(low)]
    copies += [pruner.gradual_pruning(train, low, high, steps) for steps in (4, 1)] + [model]
    tensors = [[name, tensor + 0] for one in copies for name, tensor in sorted(one.state_dict().items())]
    trainable = [sum(parameter.requires_grad for parameter in one.parameters()) for one in copies]
    return [train.zeros_seen, trainable, tensors]


@question("03.6")
def check_layer_sparsities(answer: Answer) -> None:
    """The measured fraction of zeros and validation accuracy of the learner's choice."""
    choice = _choice(answer())
    measured = try_sparsities(choice)
    where = f"your choice {choice}"
    advice = "the first layer holds most of the weights, so it must hold most of the zeros"
    zeros = f"{measured.zeros:.2%} of the weights are zero, the target is at least {TARGET_ZEROS:.0%}"
    expect(measured.zeros >= TARGET_ZEROS, zeros, given=where, hint=advice)
    advice = "which small layer has a high sparsity? More zeros there save almost nothing"
    if choice[0] > MOST_OF_THE_FIRST:
        advice = "the first layer has lost too much; the second can take some more"
    right = f"validation accuracy is {measured.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    expect(measured.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("03.6")
def probe_layer_sparsities(answer: Answer, generator: torch.Generator) -> Any:
    """The measurement, clamped to the targets, so that all choices that reach them print the same."""
    measured = try_sparsities(_choice(answer()))
    return [min(measured.zeros, TARGET_ZEROS), min(measured.accuracy, TARGET_ACCURACY)]


def _choice(given: Any) -> tuple[float, ...]:
    """The learner's three numbers, validated."""
    choice = expect_parts(given, 3, "the sparsity of each layer such as (0.5, 0.5, 0.5)")
    choice = tuple(map(as_float, choice))
    advice = "sparsities are fractions: 0.85, not 85"
    if all(-1 <= value <= 1 for value in choice):
        advice = "0 keeps a whole layer, there is nothing below; 1 would remove it"
    expect(all(0 <= value < 1 for value in choice), f"each sparsity is in [0, 1); got {choice}", hint=advice)
    return choice

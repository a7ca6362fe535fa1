"""Checks and probes of exercise 03, magnitude pruning: masks, schedule, bytes, a repaired pruner, and a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.pruner_checks import (
    Trainer,
    expect_fresh_start,
    expect_global,
    expect_gradual,
    expect_layerwise,
    small_cnn,
    small_mlp,
)
from course_lib.learning.exercises.reference_03 import cubic_sparsity, global_masks, storage_facts
from course_lib.learning.exercises.small_network import TARGET_ACCURACY, TARGET_ZEROS, try_sparsities
from course_lib.learning.expect import cases, expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question
from course_lib.pruning import magnitude_mask


@question(
    "03.1",
    points=4,
    minutes=10,
    difficulty=2,
    title="A magnitude mask",
    hints=(
        "How many weights go? Settle that number first. Then put all magnitudes into one row and find that many.",
        "`flatten()` makes one row of any tensor, transposed or not. `argsort(stable=True)` keeps equals in order.",
        "Begin with a mask of ones, set the entries at the first positions of the sorted order to False, and give "
        "the mask the shape of the weight at the end.",
    ),
)
def check_magnitude_mask(answer: Answer) -> None:
    """Exact counts on many shapes, ties, dtypes, memory layouts, and an input that must not change."""
    for weight, sparsity in cases(shapes=[(8, 16), (64, 3, 3, 3), (5,), (0,)], sparsities=[0, 0.3, 0.5, 0.9, 0.99]):
        _expect_mask(answer(weight, sparsity), weight, sparsity)
    ties = torch.tensor([[1.0, -1.0, 3.0, 1.0], [-2.0, 1.0, -1.0, 2.0]])
    for sparsity in (0.25, 0.5, 0.75):
        _expect_mask(answer(ties, sparsity), ties, sparsity)
    tall = torch.randn(12, 20, generator=torch.Generator().manual_seed(1))
    for weight in (tall.T, tall[:, ::3], tall.half(), tall.bfloat16(), tall.double(), nn.Parameter(tall)):
        _expect_mask(answer(weight, 0.6), weight.detach(), 0.6)
    expect_unchanged(answer, tall, 0.5)


@probe("03.1")
def probe_magnitude_mask(answer: Answer, generator: torch.Generator) -> Any:
    """Masks of random weights, some rounded so that many magnitudes are equal, and the weights afterwards."""
    values = []
    for shape, sparsity in [((6, 5), 0.4), ((3, 2, 3), 0.9), ((17,), 0.25), ((0, 4), 0.5), ((9, 4), 0.66)]:
        weight = torch.randn(shape, generator=generator)
        turned = weight.permute(*range(weight.dim() - 1, -1, -1))
        for one in (weight.clone(), (weight * 2).round(), turned.half()):
            values += [answer.in_place(one, sparsity), one]
    return values


@question(
    "03.2",
    points=3,
    minutes=10,
    difficulty=3,
    title="One threshold for the whole model",
    hints=(
        "Which weights go no longer depends on the layer they live in. So let them compete in one row.",
        "Join the flattened weights of all layers with `torch.cat`, mask that row once, and cut it up again.",
        "`torch.split` cuts a row into pieces of given lengths; each piece then gets the shape of its layer back.",
    ),
)
def check_global_masks(answer: Answer) -> None:
    """The total is exact, layers compete, and equal magnitudes go from the first layer on."""
    for scales in [(1.0, 1.0, 1.0), (1.0, 0.1, 3.0), (0.01, 1.0, 1.0)]:
        for sparsity in (0.0, 0.37, 0.5, 0.9):
            weights = _three_layers(torch.Generator().manual_seed(0), scales)
            _expect_global(answer(weights, sparsity), weights, sparsity)
    ties = {"first": torch.tensor([1.0, -2.0, 1.0]), "second": torch.tensor([[-1.0], [2.0], [1.0]])}
    for sparsity in (1 / 6, 0.5, 0.7):
        _expect_global(answer(ties, sparsity), ties, sparsity)
    lonely = {"only": torch.linspace(-1, 1, 24).reshape(4, 6).T, "empty": torch.zeros(0, 3)}
    _expect_global(answer(lonely, 0.25), lonely, 0.25)
    expect_unchanged(answer, _three_layers(torch.Generator().manual_seed(3), (1.0, 2.0, 3.0)), 0.5)


@probe("03.2")
def probe_global_masks(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Masks over random layers of different scale, with and without equal magnitudes."""
    values = []
    for sparsity in (0.2, 0.55, 0.93):
        scales = tuple((0.1 + 2 * torch.rand(3, generator=generator)).tolist())
        weights = _three_layers(generator, scales)
        values += [answer(weights, sparsity), answer({key: one.round() for key, one in weights.items()}, sparsity)]
    return values


@question(
    "03.3",
    points=2,
    minutes=6,
    difficulty=1,
    title="The cubic schedule",
    hints=(
        "Work with the part of the way that is still to go. It is 1 at the start and 0 at the end.",
        "What is added to the final sparsity is negative, and it shrinks with the cube of the remaining part.",
        "Before step 0 and after the last step the remaining part has to stay between 0 and 1: clamp it.",
    ),
)
def check_cubic_sparsity(answer: Answer) -> None:
    """Both ends, the middle, beyond the ends, and schedules that do not start at zero."""
    for total, initial, final in [(100, 0.0, 0.9), (10, 0.1, 0.9), (8, 0.5, 0.5), (1, 0.2, 0.8), (3, 0.0, 0.95)]:
        for step in (0, 1, total // 2, total, total + 7, -3):
            expected = cubic_sparsity(step, total, initial, final)
            given = answer(step, total, initial, final)
            advice = _schedule_hint(given, step, total, initial, final)
            expect_close("sparsity", given, expected, rtol=1e-6, atol=1e-9, hint=advice)


@probe("03.3")
def probe_cubic_sparsity(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Sparsities of random schedules, at and beyond their ends."""
    values = []
    for _ in range(6):
        total = int(torch.randint(2, 400, (), generator=generator))
        initial, gap = (torch.rand(2, generator=generator) * torch.tensor([0.4, 0.5])).tolist()
        steps = [-1, 0, 1, total // 3, total // 2, total - 1, total, total + 5]
        values.append([float(answer(step, total, initial, initial + gap)) for step in steps])
    return values


@question(
    "03.4",
    points=3,
    minutes=10,
    difficulty=2,
    title="When does a bitmask pay?",
    hints=(
        "`weight.numel()` counts the entries, `weight.element_size()` gives the bytes of one value.",
        "The mask costs the same however many zeros there are. Each zero saves one value. How many savings does it "
        "take until they are worth more than the mask?",
        "Equal is not smaller. And a tensor cannot have more zeros than entries: then the answer is None.",
    ),
)
def check_storage_facts(answer: Answer) -> None:
    """Bytes of real tensors in three precisions, with odd sizes, and the first number of zeros that helps."""
    generator = torch.Generator().manual_seed(0)
    for shape in [(8, 16), (64, 3, 3, 3), (7, 9), (129,), (33,), (2,), (1,), (0,), ()]:
        for zeros in (0.0, 0.5, 0.95):
            for dtype in (torch.float32, torch.float16, torch.float64):
                weight = torch.randn(shape, generator=generator).to(dtype)
                weight = weight * (torch.rand(shape, generator=generator) >= zeros)
                _expect_facts(answer(weight), weight)
    negative = -torch.ones(16, 10).T
    _expect_facts(answer(negative), negative)


@probe("03.4")
def probe_storage_facts(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Facts of random tensors."""
    values = []
    for dtype in (torch.float32, torch.float16, torch.float64):
        for size in (0, 1, 2, 40, *torch.randint(3, 900, (4,), generator=generator).tolist()):
            weight = torch.randn(size, generator=generator) * (torch.rand(size, generator=generator) > 0.6)
            values.append(answer(weight.to(dtype)))
    return values


@question(
    "03.5",
    points=5,
    minutes=30,
    difficulty=4,
    title="Fix the published snippet",
    hints=(
        "Do not patch the old code. Each method is short when it starts with a deep copy of the model, and when "
        "pruning simply means writing zeros into the weights of that copy.",
        "Your `magnitude_mask`, `global_masks` and `cubic_sparsity` do the work. `module.weight.data` can be "
        "changed in place, so nothing has to be removed afterwards.",
        "In a round of gradual pruning: how sparse now? Which weights? Zero them, train, zero the same ones again. "
        "Trace by hand what your rounds ask for when steps is 3, and when it is 1.",
    ),
)
def check_structured_pruner(answer: Answer) -> None:
    """Exact sparsity, an untouched original, plain modules, no stacking, and masks that hold while training."""
    for model in (small_cnn(0), small_mlp(0)):
        for sparsity in (0.5, 0.9):
            expect_layerwise(answer, model, sparsity)
            expect_global(answer, model, sparsity)
        expect_gradual(answer, model, 0.1, 0.9, 5)
        expect_gradual(answer, model, 0.3, 0.7, 1)
    expect_fresh_start(answer, small_cnn(1))


@probe("03.5")
def probe_structured_pruner(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Weights after each method (a negative zero counts as zero), and the zeros that the training function met."""
    model = small_cnn(int(torch.randint(2, 2**31, (), generator=generator)))
    low, high = (torch.rand(2, generator=generator) * 0.4 + torch.tensor([0.0, 0.5])).tolist()
    train = Trainer(seed=int(torch.randint(0, 2**31, (), generator=generator)))
    pruner = answer(model, high)
    copies = [pruner.magnitude_based_pruning(), pruner.apply_global_pruning(low)]
    copies += [pruner.gradual_pruning(train, low, high, steps) for steps in (4, 1)] + [model]
    tensors = [[name, tensor + 0] for one in copies for name, tensor in sorted(one.state_dict().items())]
    trainable = [sum(parameter.requires_grad for parameter in one.parameters()) for one in copies]
    return [train.zeros_met, trainable, tensors]


@question(
    "03.6",
    points=3,
    minutes=15,
    difficulty=3,
    title="Spend the zeros where they hurt least",
    hints=(
        "Look at the sizes. Which layer must carry most of the zeros, and which layer could stay whole at no cost?",
        "Change one number at a time and watch both results, as in the sensitivity scan of the lesson.",
        "A target over all weights is a weighted mean: the last layer's share in it is below half a percent.",
    ),
)
def check_layer_sparsities(answer: Answer) -> None:
    """The zeros and the validation accuracy that the learner's choice really gives."""
    choice = _choice(answer())
    measured = try_sparsities(choice)
    where = f"your choice {choice}"
    advice = "the first layer holds most of the weights, so most of the zeros have to come from there"
    zeros = f"{measured.zeros:.2%} of the weights are zero, the target is at least {TARGET_ZEROS:.0%}"
    expect(measured.zeros >= TARGET_ZEROS, zeros, given=where, hint=advice)
    advice = "which layer is cut hard although it has few weights to give? More zeros there save next to nothing"
    right = f"validation accuracy is {measured.accuracy:.2%}, the target is at least {TARGET_ACCURACY:.0%}"
    expect(measured.accuracy >= TARGET_ACCURACY, right, given=where, hint=advice)


@probe("03.6")
def probe_layer_sparsities(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """What the choice reaches, cut off at the targets, so that all choices that reach them give the same."""
    measured = try_sparsities(_choice(answer()))
    return [min(measured.zeros, TARGET_ZEROS), min(measured.accuracy, TARGET_ACCURACY)]


def _expect_mask(mask: Any, weight: Tensor, sparsity: float) -> None:
    dropped = round(sparsity * weight.numel())
    expect(isinstance(mask, Tensor), f"the mask should be a tensor, yours is {type(mask).__name__}")
    expect(
        mask.dtype == torch.bool,
        f"the mask should be boolean, yours is {mask.dtype}",
        hint="a comparison gives booleans, .bool() too",
    )
    expect(mask.shape == weight.shape, f"the mask has shape {tuple(mask.shape)}, the weight {tuple(weight.shape)}")
    advice = "the number is Python's round(...); a threshold alone drops too many or too few when magnitudes are equal"
    if int(mask.sum()) == dropped:
        advice = "True means keep: did you keep the weights below the threshold instead of above it?"
    expect_equal("number of dropped weights", int((~mask).sum()), dropped, hint=advice)
    expected = magnitude_mask(weight, sparsity)
    expect_equal("mask", mask, expected, hint=_mask_hint(mask, expected, weight))


def _mask_hint(mask: Tensor, expected: Tensor, weight: Tensor) -> str:
    kept, gone = weight.abs()[mask].double(), weight.abs()[~mask].double()
    if torch.equal(mask, ~expected):
        return "True means keep: did you keep the weights below the threshold instead of above it?"
    if kept.numel() and gone.numel() and kept.min() < gone.max():
        return f"a weight of magnitude {kept.min():.3g} stays while one of {gone.max():.3g} goes; did you take abs()?"
    return "equal magnitudes: the one with the lower index in row order goes first (a stable sort keeps that order)"


def _expect_global(masks: Any, weights: dict[str, Tensor], sparsity: float) -> None:
    expect(isinstance(masks, dict), f"return a dictionary of masks, yours is {type(masks).__name__}")
    expect_equal("layers with a mask", sorted(masks), sorted(weights), hint="use the names of `weights` as keys")
    for name, weight in weights.items():
        mask = masks[name]
        good = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == weight.shape
        got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        expect(good, f"the mask of {name!r} should be boolean of shape {tuple(weight.shape)}, yours is {got}")
    sizes = [weight.numel() for weight in weights.values()]
    given = f"layers of {', '.join(map(str, sizes))} weights and a sparsity of {sparsity:.3g}"
    layerwise = all(torch.equal(masks[name], magnitude_mask(weight, sparsity)) for name, weight in weights.items())
    advice = "round once for the whole model; exactly so many go, also among equal magnitudes; True means keep"
    dropped = sum(int((~mask).sum()) for mask in masks.values())
    expect_equal(
        "dropped weights in all layers together", dropped, round(sparsity * sum(sizes)), given=given, hint=advice
    )
    advice = "rank all magnitudes in one row, unscaled; of equal ones the earlier layer and lower index goes first"
    if layerwise:
        advice = "every layer lost the same share: that is layer-wise. Here all layers share one ranking"
    for name, mask in global_masks(weights, sparsity).items():
        expect_equal(f"mask of {name!r}", masks[name], mask, given=given, hint=advice)


def _schedule_hint(given: Any, step: int, total: int, initial: float, final: float) -> str:
    part, gap = min(max(step / total, 0), 1), final - initial
    mistakes = {
        "that is a straight line; the schedule bends: fast at first, slow at the end": initial + gap * part,
        "the cube belongs on what remains, 1 - step / total_steps": initial + gap * part**3,
        "that looks like a square; the schedule is cubic": final - gap * (1 - part) ** 2,
        "that looks as if the schedule started at zero; where does `initial` come in?": final * (1 - (1 - part) ** 3),
        "beyond the ends: hold `initial` before step 0, `final` after the last": final - gap * (1 - step / total) ** 3,
        "start and end are swapped": initial + gap * (1 - part) ** 3,
    }
    for advice, value in mistakes.items():
        if isinstance(given, int | float) and math.isclose(given, value, rel_tol=1e-6, abs_tol=1e-9):
            return advice
    return "it is s = final + (initial - final) · (1 - step / total_steps)³, with step held between 0 and total_steps"


def _expect_facts(facts: Any, weight: Tensor) -> None:
    keys = ["break_even", "bitmask", "dense"]
    got = sorted(facts) if isinstance(facts, dict) else facts
    expect(got == sorted(keys), f"return a dictionary with the keys 'dense', 'bitmask', 'break_even'; got {got!r}")
    expected, zeros = storage_facts(weight), int((weight == 0).sum())
    where = f"a {str(weight.dtype).removeprefix('torch.')} weight of shape {tuple(weight.shape)} with {zeros} zeros"
    hints = {
        "dense": "every entry is stored: numel() times element_size(), which depends on the dtype",
        "bitmask": "one bit for every entry, rounded up to whole bytes, and then only the values that are not zero",
        "break_even": "the fewest zeros for which the bitmask is smaller: equal does not count, and None if none helps",
    }
    for key, advice in hints.items():
        expect_equal(key, facts[key], expected[key], given=where, hint=advice)


def _three_layers(generator: torch.Generator, scales: tuple[float, ...]) -> dict[str, Tensor]:
    shapes = {"conv1": (4, 3, 3, 3), "conv2": (6, 4, 1, 1), "head": (5, 6)}
    pairs = zip(shapes.items(), scales, strict=True)
    return {name: scale * torch.randn(shape, generator=generator) for (name, shape), scale in pairs}


def _choice(given: Any) -> tuple[float, ...]:
    """The learner's three numbers, checked."""
    good = isinstance(given, list | tuple) and len(given) == 3
    expect(good, f"return three sparsities, first layer first, such as (0.5, 0.5, 0.5); got {given!r}")
    numbers = all(type(value) in (int, float) for value in given)
    expect(numbers, f"each sparsity is a number; got {given!r}")
    advice = "sparsities are fractions: 0.85, not 85"
    expect(all(0 <= value < 1 for value in given), f"each sparsity lies in [0, 1); got {given!r}", hint=advice)
    return tuple(given)

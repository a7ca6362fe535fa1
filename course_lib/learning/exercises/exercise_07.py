"""Checks and probes of exercise 07, quantization-aware training: gradients, frozen norms, a budget, a repaired loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises import reference_07 as right
from course_lib.learning.exercises.aware_checks import (
    batches_for,
    expect_modes,
    expect_trained,
    small_network,
    squared_error,
    with_norms,
)
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question

Options = dict[str, dict[int, tuple[int, float]]]
GRIDS = ((0.5, -4, 3), (0.1, -8, 7), (0.25, 0, 15), (1.5, -2, 1))


@question(
    "07.1",
    points=4,
    minutes=15,
    difficulty=2,
    title="Rounding that lets the gradient through",
    hints=(
        "Get the values right first, without a thought about gradients: divide, clamp, round, multiply.",
        "`detach()` gives a tensor that is a constant for autograd. What is `a + (b - a).detach()`: which value does "
        "it have, and whose gradient?",
        "`clamp` already has the gradient you want: one inside its limits and zero outside. So only `round` has to be "
        "hidden, and it has to come after the clamp.",
    ),
)
def check_fake_quantize(answer: Answer) -> None:
    """Values on the grid, ties, both ends, and the gradient inside and outside."""
    generator = torch.Generator().manual_seed(0)
    for scale, qmin, qmax in GRIDS:
        for shape in ((7,), (4, 3, 2), (0,), ()):
            x = 2 * scale * qmax * torch.randn(shape, generator=generator)
            _expect_straight_through(answer, x, scale, qmin, qmax)
        edges = scale * torch.tensor([qmin - 3.0, qmin - 0.1, qmin + 0.5, 0.1, 0.49, 0.51, qmax - 0.1, qmax + 9.0])
        _expect_straight_through(answer, edges, scale, qmin, qmax)
        _expect_straight_through(answer, 0.25 * torch.arange(-30.0, 30.0) + 0.125, 0.25, qmin, qmax)
    expect_unchanged(answer, torch.randn(5, generator=generator), 0.3, -4, 3)


@probe("07.1")
def probe_fake_quantize(answer: Answer, generator: torch.Generator) -> Any:
    """Values and gradients of random tensors."""
    values = []
    for qmin, qmax in ((-4, 3), (0, 15), (-8, 7)):
        scale = float(0.1 + torch.rand((), generator=generator))
        x = (scale * qmax * torch.randn(4, 6, generator=generator)).requires_grad_()
        result = answer.in_place(x, scale, qmin, qmax)
        (towards,) = torch.autograd.grad(result, x, torch.randn(4, 6, generator=generator))
        halves = torch.randint(-40, 40, (12,), generator=generator) / 8
        values += [result.detach(), towards, answer(halves, 0.25, qmin, qmax).detach()]
    return values


@question(
    "07.2",
    points=4,
    minutes=15,
    difficulty=3,
    title="How the step size learns",
    hints=(
        "One value at a time: if the step size grows a little, where does the rounded value of this one go?",
        "Inside the range the rounded value is `scale * round(x / scale)`, and straight-through rounding is "
        "differentiated as if it was the identity. Apply the product rule.",
        "Three cases: below, inside, above. Multiply each with its upstream gradient, sum up, and do not forget the "
        "factor that slows down step sizes which many values share.",
    ),
)
def check_step_gradient(answer: Answer) -> None:
    """All three cases alone, then mixed, and the factor for different sizes."""
    generator = torch.Generator().manual_seed(1)
    for scale, qmin, qmax in GRIDS:
        for place in (qmin - 2.0, 0.3, qmax + 2):
            _expect_step(answer, torch.tensor([scale * place]), scale, qmin, qmax, torch.tensor([2.0]))
        for shape in ((12,), (5, 4, 3), (1,)):
            x = scale * qmax * torch.randn(shape, generator=generator)
            _expect_step(answer, x, scale, qmin, qmax, torch.randn(shape, generator=generator))


@probe("07.2")
def probe_step_gradient(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Gradients of random tensors."""
    values = []
    for qmin, qmax in ((-4, 3), (0, 15), (-2, 1), (-8, 7)):
        for size, sign in ((3, 1), (40, 1), (3, -1), (40, -1)):
            scale = float(0.1 + torch.rand((), generator=generator))
            x = sign * 2 * scale * qmax * torch.rand(size, 2, generator=generator)
            values.append(float(answer(x, scale, qmin, qmax, 0.5 + torch.rand(size, 2, generator=generator))))
    return values


@question(
    "07.3",
    points=2,
    minutes=8,
    difficulty=2,
    title="Frozen norms",
    hints=(
        "Every module has a flag `training`, and `model.train()` sets it on all of them. A norm with `training = "
        "False` uses the mean and variance that it has, and does not change them.",
        "First everything, then the exceptions. `model.modules()` walks through all modules, however deeply nested.",
        "Freezing stops the statistics. The two parameters of a norm go on learning, so leave `requires_grad` alone.",
    ),
)
def check_train_mode(answer: Answer) -> None:
    """Flags of every module, statistics and parameters after a forward pass, and the count that is returned."""
    for frozen in (True, False):
        model = with_norms()
        count = answer.in_place(model, frozen)
        given = f"a model with 3 norms, norms_frozen = {frozen}"
        advice = "return how many are frozen"
        expect_equal("number of frozen norms", count, 3 if frozen else 0, given=given, hint=advice)
        expect_modes(model, frozen, given)
        answer.in_place(model, not frozen)
        expect_modes(model, not frozen, f"{given}, then called again with {not frozen}")
    expect_equal("number of frozen norms", answer.in_place(nn.Sequential(nn.Linear(2, 2)), True), 0)


@probe("07.3")
def probe_train_mode(answer: Answer, generator: torch.Generator) -> Any:
    """Statistics of the norms after a forward pass in each mode, and the counts."""
    values: list[Any] = []
    inputs = torch.randn(6, 2, 5, 5, generator=generator)
    for frozen in (True, False, True):
        model = with_norms()
        values.append(answer.in_place(model, frozen))
        model.get_submodule("4.0").p = 0.0  # type: ignore[assignment]
        values.append(model(inputs).detach())
        values += [tensor for name, tensor in sorted(model.state_dict().items()) if "running" in name]
        values.append([parameter.requires_grad for parameter in model.parameters()])
        values.append([module.training for module in model.modules()])
    return values


@question(
    "07.4",
    points=3,
    minutes=12,
    difficulty=3,
    title="Fold first, then round",
    hints=(
        "Write down what the norm does with one channel of the convolution's output: it subtracts, multiplies, adds. "
        "Which of that can the filter do, and what is left for the bias?",
        "The factor of a channel is `gamma / sqrt(var + eps)`. It may be negative. The scale comes from the weights "
        "after they were multiplied with it.",
        "The bias is what remains when the convolution gives zero. A channel whose folded weights are all zero has no "
        "range: it gets the scale 1.",
    ),
)
def check_fold_and_quantize(answer: Answer) -> None:
    """Integers, scale and bias on several widths; the rounded layer does what convolution and norm did."""
    generator = torch.Generator().manual_seed(2)
    for bits in (8, 4, 3):
        for channels, shape in ((6, (3, 3, 3)), (4, (5, 1, 1)), (1, (2, 3, 1))):
            weight = torch.randn(channels, *shape, generator=generator)
            _expect_folded(answer, weight, _norm(channels, generator), bits)
    weight = torch.randn(3, 2, 3, 3, generator=generator)
    weight[1] = 0
    _expect_folded(answer, weight, _norm(3, generator), 4)
    expect_unchanged(answer, weight, _norm(3, generator), 8)


@probe("07.4")
def probe_fold_and_quantize(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Integers, scale and bias of random layers."""
    values = []
    for bits in (8, 5, 3):
        weight = torch.randn(4, 3, 2, 2, generator=generator)
        weight[2] *= bits != 5  # a channel of zeros
        integers, scale, bias = answer(weight, _norm(4, generator), bits)
        values += [integers, scale.detach(), bias.detach()]
    return values


@question(
    "07.5",
    points=3,
    minutes=15,
    difficulty=3,
    title="Spend the bits where they count",
    hints=(
        "There are few layers and few widths. How many choices are there in all?",
        "`itertools.product(*lists)` goes through every combination of one entry from each list.",
        "Skip what does not fit into the budget; among the rest keep the one with the least sum of damages. If nothing "
        "was kept, nothing fits.",
    ),
)
def check_choose_bits(answer: Answer) -> None:
    """Random tables: the choice fits, and no other choice that fits does less damage."""
    generator = torch.Generator().manual_seed(3)
    for layers, share in ((1, 0.6), (3, 0.4), (4, 0.5), (5, 0.7), (4, 1.0), (5, 0.45), (4, 0.6), (5, 0.55)):
        options = _options(layers, generator)
        _expect_choice(answer, options, _budget(options, share))
    options = _options(3, generator)
    fewest = sum(min(size for size, _ in widths.values()) for widths in options.values())
    _expect_choice(answer, options, fewest)
    _expect_choice(answer, options, fewest - 1)


@probe("07.5")
def probe_choose_bits(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Bytes and damage of the choices for random tables, and whether there is one."""
    values: list[Any] = []
    for share in (0.35, 0.45, 0.5, 0.55, 0.75, 1.0, 0.0):
        options = _options(5, generator)
        chosen = answer(options, _budget(options, share))
        values.append(None if chosen is None else list(_total(options, {name: chosen[name] for name in options})))
    return values


@question(
    "07.6",
    points=4,
    minutes=30,
    difficulty=4,
    title="Fix the published training loop",
    hints=(
        "Two sets of weights are in play: the precise ones, which the optimizer changes, and their rounded twins, with "
        "which the model computes. The twins are made anew for every batch.",
        "`torch.func.functional_call(model, {'name.weight': tensor}, (inputs,))` runs a model with other weights in "
        "the place of its own, and gradients flow back to whatever these were computed from.",
        "The trick of `fake_quantize` is the link: round the precise weight with it, one scale for each channel, and "
        "the gradient arrives at the precise weight. At the very end, the rounded values are written into the copy.",
    ),
)
def check_quantization_aware_training(answer: Answer) -> None:
    """Weights on the grid, trained as specified, a fresh copy, frozen statistics, any loss and any width."""
    for bits, epochs, rate in ((4, 1, 0.0), (4, 2, 0.05), (8, 1, 0.1), (3, 3, 0.02)):
        expect_trained(answer, small_network(bits), bits, epochs, rate, torch.nn.functional.cross_entropy)
    expect_trained(answer, small_network(1), 4, 2, 0.05, squared_error)


@probe("07.6")
def probe_quantization_aware_training(answer: Answer, generator: torch.Generator) -> Any:
    """The trained model's tensors, and those of the model that was handed in."""
    values: list[Any] = []
    for bits, epochs in ((4, 2), (3, 3)):
        model = small_network(int(torch.randint(2, 2**31, (), generator=generator)))
        batches = batches_for(model, generator)
        rate = float(0.02 + 0.05 * torch.rand((), generator=generator))
        trained = answer.in_place(model, batches, squared_error, bits, epochs, rate)
        values += [[name, tensor] for one in (trained, model) for name, tensor in sorted(one.state_dict().items())]
        values += [trained.training, trained is model]
    return values


def _expect_straight_through(answer: Answer, x: Tensor, scale: float, qmin: int, qmax: int) -> None:
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, result = right.fake_quantize(ours, scale, qmin, qmax), answer.in_place(theirs, scale, qmin, qmax)
    advice = "divide by the scale, clamp to qmin … qmax, round, multiply; torch.round takes halves to the even integer"
    detached = result.detach() if isinstance(result, Tensor) else result
    expect_close("rounded values", detached, expected.detach(), hint=advice)
    advice = "after a plain round (or detach) nothing is left to differentiate: add the rounding error as a constant"
    expect(result.requires_grad, "no gradient can flow back from the result", hint=advice)
    upstream = torch.linspace(1, 2, x.numel()).reshape(x.shape)
    found = torch.autograd.grad(result, theirs, upstream, allow_unused=True)[0]
    expect(found is not None, "the result does not depend on x", hint=advice)
    (towards,) = torch.autograd.grad(expected, ours, upstream)
    advice = "inside the range the gradient passes unchanged, outside it is zero"
    if x.numel() and not found.any() and towards.any():
        advice = "the gradient is zero everywhere: that is what round does on its own"
    expect_close("gradient of x", found, towards, hint=advice)


def _expect_step(answer: Answer, x: Tensor, scale: float, qmin: int, qmax: int, upstream: Tensor) -> None:
    expected = float(right.step_gradient(x, scale, qmin, qmax, upstream))
    given = answer(x, scale, qmin, qmax, upstream)
    factor = math.sqrt(x.numel() * qmax)
    advice = "qmin below the range, qmax above it, round(x / scale) - x / scale inside; times upstream, summed"
    close = isinstance(given, float | Tensor) and abs(float(given) - expected * factor) <= 1e-4 * abs(expected * factor)
    if close and factor > 1 and expected:
        advice = "the sum is right; divide it by sqrt(number of values · qmax)"
    given = float(given) if isinstance(given, Tensor) and given.numel() == 1 else given
    expect_close("gradient of the step size", given, expected, rtol=1e-4, atol=1e-6, hint=advice)


def _norm(channels: int, generator: torch.Generator) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    norm.weight.data = torch.randn(channels, generator=generator)
    norm.bias.data = torch.randn(channels, generator=generator)
    norm.running_mean = torch.randn(channels, generator=generator)
    norm.running_var = 0.1 + 2 * torch.rand(channels, generator=generator)
    return norm.eval()


def _expect_folded(answer: Answer, weight: Tensor, norm: nn.BatchNorm2d, bits: int) -> None:
    found = answer(weight, norm, bits)
    given = f"a weight of shape {tuple(weight.shape)} and bits = {bits}"
    shape = "return three tensors: integers, scale, bias"
    expect(isinstance(found, tuple | list) and len(found) == 3, shape, given=given)
    integers, scale, bias = right.fold_and_quantize(weight, norm, bits)
    got = [one.detach() if isinstance(one, Tensor) else one for one in found]
    advice = "largest magnitude of each output channel after folding, divided by 2^(bits-1) - 1; 1 where all are zero"
    expect_close("scale", got[1], scale, given=given, hint=advice)
    advice = "round(folded weight / scale), as int8; a channel with a negative gamma changes its sign"
    expect_equal("integers", got[0], integers, given=given, hint=advice)
    advice = "beta - mean · gamma / sqrt(var + eps); it is not rounded"
    expect_close("bias", got[2], bias, given=given, hint=advice)


def _options(layers: int, generator: torch.Generator) -> Options:
    """Random sizes and damages; fewer bits are smaller and do more damage."""
    options = {}
    for index in range(layers):
        weights = int(torch.randint(20, 400, (), generator=generator))
        worst = float(torch.rand((), generator=generator)) + 0.01
        options[f"layer{index + 1}"] = {bits: (weights * bits // 8, worst / 3.0**bits * 100) for bits in (2, 3, 4, 8)}
    return options


def _budget(options: Options, share: float) -> int:
    return int(share * sum(widths[8][0] for widths in options.values()))


def _total(options: Options, chosen: dict[str, int]) -> tuple[int, float]:
    """Bytes and damage of a choice."""
    pairs = [options[layer][bits] for layer, bits in chosen.items()]
    return sum(size for size, _ in pairs), math.fsum(damage for _, damage in pairs)


def _expect_choice(answer: Answer, options: Options, budget: int) -> None:
    chosen, best = answer(options, budget), right.best_choice(options, budget)
    given = f"{len(options)} layers and a budget of {budget} bytes"
    if best is None:
        expect(chosen is None, "nothing fits, so the answer is None", given=given, hint="compare with <= budget")
        return
    expect(isinstance(chosen, dict), f"expected a dictionary, got {type(chosen).__name__}", given=given)
    expect_equal("layers of the choice", sorted(chosen), sorted(options), given=given)
    for name, bits in chosen.items():
        expect(bits in options[name], f"{name} has no option of {bits} bits", given=given)
    size, damage = _total(options, chosen)
    expect(size <= budget, f"the choice takes {size} bytes", given=given, hint="all layers together must fit")
    least = _total(options, best)[1]
    advice = f"{best} fits too and does a damage of {least:.4g}"
    expect(damage <= least * (1 + 1e-9), f"the choice does a damage of {damage:.4g}", given=given, hint=advice)

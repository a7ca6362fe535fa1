"""Checks and probes of exercise 07, quantization-aware training: gradients, frozen norms, a budget, a repaired loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_07 import cases
from course_lib.learning.exercises.lesson_07.expectations import (
    expect_choice,
    expect_folded,
    expect_modes,
    expect_step_gradient,
    expect_straight_through,
    expect_trained,
)
from course_lib.learning.expect import as_float, as_whole, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question

EXCLUDED = ("torch.fake_quantize_per_tensor_affine", "torch.ao.quantization", "course_lib.quantization")
GRIDS = ((0.5, -4, 3), (0.1, -8, 7), (0.25, 0, 15), (1.5, -2, 1))


@question("07.1")
def check_fake_quantize(answer: Answer) -> None:
    """Values on the grid, ties, both ends, and the gradient inside and outside."""
    generator = torch.Generator().manual_seed(0)
    expect_straight_through(answer, torch.tensor([-5.0, 0.2, 0.9]), 0.5, -2, 1)
    for scale, qmin, qmax in GRIDS:
        for shape in ((7,), (4, 3, 2), (0,), ()):
            x = 2 * scale * qmax * torch.randn(shape, generator=generator)
            expect_straight_through(answer, x, scale, qmin, qmax)
        edges = scale * torch.tensor([qmin - 3.0, qmin - 0.1, qmin + 0.5, 0.1, 0.49, 0.51, qmax - 0.1, qmax + 9.0])
        expect_straight_through(answer, edges, scale, qmin, qmax)
        expect_straight_through(answer, 0.25 * torch.arange(-30.0, 30.0) + 0.125, 0.25, qmin, qmax)
    expect_unchanged(answer, torch.randn(5, generator=generator), 0.3, -4, 3)


@probe("07.1")
def probe_fake_quantize(answer: Answer, generator: torch.Generator) -> Any:
    """Values and gradients of random tensors."""
    for qmin, qmax in ((-4, 3), (0, 15), (-8, 7)):
        scale = float(0.1 + torch.rand((), generator=generator))
        x = (scale * qmax * torch.randn(4, 6, generator=generator)).requires_grad_()
        result = answer.in_place(x, scale, qmin, qmax)
        (gradient,) = torch.autograd.grad(result, x, torch.randn(4, 6, generator=generator))
        halves = torch.randint(-40, 40, (12,), generator=generator) / 8
        yield from [result.detach(), gradient, answer(halves, 0.25, qmin, qmax).detach()]
    one = torch.randn((), generator=generator).requires_grad_()
    yield torch.autograd.grad(answer.in_place(one, 0.5, -4, 3), one)[0]


@question("07.2")
def check_step_gradient(answer: Answer) -> None:
    """Each of the three cases alone, all mixed, and the gradient scale for different sizes."""
    generator = torch.Generator().manual_seed(1)
    expect_step_gradient(answer, torch.tensor([0.7, 4.0, -5.0]), 1, -2, 3, torch.tensor([1.0, 2.0, 0.5]))
    for scale, qmin, qmax in GRIDS:
        for place in (qmin - 2.0, 0.7, qmax + 2):
            expect_step_gradient(answer, torch.tensor([scale * place]), scale, qmin, qmax, torch.tensor([2.0]))
        for shape in ((12,), (5, 4, 3), (1,)):
            x = scale * qmax * torch.randn(shape, generator=generator)
            expect_step_gradient(answer, x, scale, qmin, qmax, torch.randn(shape, generator=generator))
    expect_step_gradient(answer, torch.tensor([0.3, 4.0]), 1, -2, 1, torch.tensor([1.0, 2.0]))


@probe("07.2")
def probe_step_gradient(answer: Answer, generator: torch.Generator) -> Any:
    """Gradients of random tensors, rounded together: where rounding errors of x cancel, few digits are certain."""
    for qmin, qmax in ((-4, 3), (0, 15), (-2, 1), (-8, 7)):
        gradients = []
        for size, sign in ((3, 1), (40, 1), (3, -1), (40, -1)):
            scale = float(0.1 + torch.rand((), generator=generator))
            x = sign * 2 * scale * qmax * torch.rand(size, 2, generator=generator)
            gradients.append(as_float(answer(x, scale, qmin, qmax, 0.5 + torch.rand(size, 2, generator=generator))))
        yield torch.tensor(gradients)


@question("07.3")
def check_train_mode(answer: Answer) -> None:
    """Flags of every module, statistics and parameters after a forward pass, and the count that is returned."""
    for frozen in (True, False):
        model = cases.with_norms()
        count = answer.in_place(model, frozen)
        given = f"a model with 4 BatchNorms, norms_frozen = {frozen}"
        advice = "return how many are frozen"
        expect_equal("number of frozen norms", count, 4 if frozen else 0, given=given, hint=advice)
        expect_modes(model, frozen, given)
        answer.in_place(model, not frozen)
        expect_modes(model, not frozen, f"{given}, then called again with {not frozen}")
    expect_equal("number of frozen norms", answer.in_place(nn.Sequential(nn.Linear(2, 2)), True), 0)


@probe("07.3")
def probe_train_mode(answer: Answer, generator: torch.Generator) -> Any:
    """Statistics of the norms after a forward pass in each mode, and the counts."""
    inputs = torch.randn(6, 2, 5, 5, generator=generator)
    for frozen in (True, False, True):
        model = cases.with_norms()
        yield answer.in_place(model, frozen)
        model.get_submodule("4.0").p = 0.0  # type: ignore[assignment]
        yield model(inputs).detach()
        yield from [tensor for name, tensor in sorted(model.state_dict().items()) if "running" in name]
        yield [parameter.requires_grad for parameter in model.parameters()]
        yield [module.training for module in model.modules()]


@question("07.4")
def check_fold_and_quantize(answer: Answer) -> None:
    """Integers, scale and bias on several widths; the rounded layer does what convolution and norm did."""
    generator = torch.Generator().manual_seed(2)
    for bits in (8, 4, 3):
        for channels, shape in ((6, (3, 3, 3)), (4, (5, 1, 1)), (1, (2, 3, 1))):
            weight = torch.randn(channels, *shape, generator=generator)
            expect_folded(answer, weight, cases.random_norm(channels, generator), bits)
    weight = torch.randn(3, 2, 3, 3, generator=generator)
    weight[1] = 0
    expect_folded(answer, weight, cases.random_norm(3, generator), 4)
    expect_unchanged(answer, weight, cases.random_norm(3, generator), 8)


@probe("07.4")
def probe_fold_and_quantize(answer: Answer, generator: torch.Generator) -> Any:
    """Integers, scale and bias of random layers."""
    for bits in (8, 5, 3):
        weight = torch.randn(4, 3, 2, 2, generator=generator)
        weight[2] *= bits != 5  # a channel of zeros
        integers, scale, bias = answer(weight, cases.random_norm(4, generator), bits)
        yield from [integers, scale.detach(), bias.detach()]


@question("07.5")
def check_choose_bits(answer: Answer) -> None:
    """Random tables: the choice fits, and no other choice that fits does less damage."""
    generator = torch.Generator().manual_seed(3)
    expect_choice(answer, cases.UNEVEN, 900)
    for layers, share in ((1, 0.6), (3, 0.4), (4, 0.5), (5, 0.7), (4, 1.0), (5, 0.45), (4, 0.6), (5, 0.55)):
        options = cases.random_options(layers, generator)
        expect_choice(answer, options, cases.budget_for(options, share))
    options = cases.random_options(3, generator)
    fewest = sum(min(size for size, _ in widths.values()) for widths in options.values())
    expect_choice(answer, options, fewest)
    expect_choice(answer, options, fewest - 1)


@probe("07.5")
def probe_choose_bits(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes and damage of the choices for random tables, and whether there is one."""
    for share in (0.35, 0.45, 0.5, 0.55, 0.75, 1.0, 0.0):
        options = cases.random_options(5, generator)
        chosen = answer(options, cases.budget_for(options, share))
        yield chosen and cases.bytes_and_damage(options, {name: as_whole(chosen[name]) for name in options})


@question("07.6")
def check_quantization_aware_training(answer: Answer) -> None:
    """Weights on the grid, trained as specified, a separate copy, frozen statistics, any loss and bits."""
    for bits, epochs, rate in ((4, 1, 0.0), (4, 2, 0.05), (8, 1, 0.1), (3, 3, 0.02)):
        expect_trained(answer, cases.small_network(bits), bits, epochs, rate, torch.nn.functional.cross_entropy)
    expect_trained(answer, cases.small_network(1), 4, 2, 0.05, cases.squared_error)


@probe("07.6")
def probe_quantization_aware_training(answer: Answer, generator: torch.Generator) -> Any:
    """The trained model's tensors, and those of the original model."""
    for bits, epochs in ((4, 2), (3, 3)):
        model = cases.small_network(int(torch.randint(2, 2**31, (), generator=generator)))
        batches = cases.random_batches(generator)
        rate = float(0.02 + 0.05 * torch.rand((), generator=generator))
        trained = answer.in_place(model, batches, cases.squared_error, bits, epochs, rate)
        yield from [[name, tensor] for one in (trained, model) for name, tensor in sorted(one.state_dict().items())]
        yield from [trained.training, trained is model]

"""Checks and probes of exercise 06: folding, an integer layer, an observer, a clip, and a repaired quantizer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_06 import cases, reference
from course_lib.learning.exercises.lesson_06.expectations import (
    count_hooks,
    expect_clip,
    expect_folded,
    expect_integers,
    expect_quantized,
    observed,
    run,
)
from course_lib.learning.expect import as_float, expect, expect_close, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question

EXCLUDED = ("course_lib.quantization", "torch.ao.quantization")


@question("06.1")
def check_fold(answer: Answer) -> None:
    """Convolutions and linear layers, with and without a bias, several shapes."""
    one = torch.ones(1)
    example = (2 * torch.ones(1, 1), None, 3 * one, one, 4 * one, 0.99 * one, 0.01)
    expect_folded(answer(*example), example)
    layers = [((6, 3, 3, 3), False), ((6, 3, 1, 1), True), ((5, 8), True), ((5, 8), False)]
    for seed, (shape, bias) in enumerate(layers):
        case = cases.norm_case(torch.Generator().manual_seed(seed), shape, bias)
        expect_folded(answer(*case), case)
    expect_unchanged(answer, *cases.norm_case(torch.Generator().manual_seed(9), (4, 2, 3, 3), True))


@probe("06.1")
def probe_fold(answer: Answer, generator: torch.Generator) -> Any:
    """Folded weights and biases of random layers."""
    for shape, bias in [((3, 2, 2, 2), True), ((4, 3), False), ((4, 1, 3, 3), False)]:
        yield answer(*cases.norm_case(generator, shape, bias))


@question("06.2")
def check_integer_linear(answer: Answer) -> None:
    """Random layers, sums that need 32 bits, negative sums, halves, and results that must be clamped."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(4, 6, 3, 0, 0), (2, 300, 5, 128, 90), (1, 1, 1, 255, 255), (3, 9, 4, 17, 3)]
    for rows, inputs, outputs, zero_x, zero_y in sizes:
        case = cases.integer_case(generator, rows, inputs, outputs, zero_x, zero_y)
        expect_integers(answer(*case), case)
    example = (torch.tensor([[5]], dtype=torch.uint8), 2, torch.tensor([[4]], dtype=torch.int8),
               torch.tensor([1], dtype=torch.int32), 2**30, 31, 100)  # fmt: skip
    expect_integers(answer(*example), example)
    for case in (*cases.exact_cases(0), *cases.exact_cases(5)):
        expect_integers(answer(*case), case)
    large = (torch.full((1, 500), 255, dtype=torch.uint8), 0, torch.full((2, 500), 127, dtype=torch.int8),
            torch.tensor([0, -10_000_000], dtype=torch.int32), 2**30, 47, 0)  # fmt: skip
    expect_integers(answer(*large), large)
    halves = (torch.tensor([[1], [2], [3], [5]], dtype=torch.uint8), 2, torch.tensor([[1]], dtype=torch.int8),
              torch.tensor([0], dtype=torch.int32), 2**30, 31, 100)  # fmt: skip
    expect_integers(answer(*halves), halves)


@probe("06.2")
def probe_integer_linear(answer: Answer, generator: torch.Generator) -> Any:
    """Outputs of random integer layers."""
    for shape in [(3, 5, 4, 0, 0), (2, 200, 3, 120, 60), (4, 40, 2, 9, 200)]:
        yield answer(*cases.integer_case(generator, *shape))
    for case in cases.exact_cases(int(torch.randint(0, 40, (), generator=generator))):
        yield answer(*case)


@question("06.3")
def check_observer(answer: Answer) -> None:
    """One batch, many batches, several momenta, an observer without batches, and two observers at a time."""
    batches = cases.random_batches(torch.Generator().manual_seed(0), 5)
    for momentum in (0.1, 0.5, 1.0):
        for count in (1, 3, 5):
            given = observed(answer, momentum, batches[:count])
            where = f"momentum={momentum}, {count} batch{'es' if count > 1 else ''}"
            expected = observed(Answer(reference.MovingAverageObserver), momentum, batches[:count])
            advice = "new = (1 - momentum) · old + momentum · (of this batch); the first batch sets both"
            expect_close("range", given, expected, rtol=1e-4, atol=1e-5, given=where, hint=advice)
    example = [torch.tensor([0.0, 1.0]), torch.tensor([[0.0], [2.0]])]
    advice = "new = (1 - momentum) · old + momentum · (of this batch); the first batch sets both"
    given = "momentum=0.1 and batches with the ranges 0 … 1 and 0 … 2"
    expect_close("range", observed(answer, 0.1, example), (0.0, 1.1), given=given, hint=advice)
    first, second = answer.raw(0.5), answer.raw(0.5)
    Answer(first.observe)(batches[0])
    Answer(second.observe)(batches[1])
    advice = "two observers must not share their range: store it in `self`, in `__init__`"
    expected = observed(Answer(reference.MovingAverageObserver), 0.5, batches[:1])
    found = [as_float(end) for end in Answer(first.range)()]
    expect_close("range of the first of two observers", found, expected, hint=advice)
    expect_raises(ValueError, Answer(answer.raw(0.1).range), hint="before the first batch, range() raises a ValueError")


@probe("06.3")
def probe_observer(answer: Answer, generator: torch.Generator) -> Any:
    """Ranges after random batches, and what happens without any."""
    values = []
    for count in (1, 2, 6):
        momentum = 0.05 + 0.9 * torch.rand(1, generator=generator).item()
        batches = cases.random_batches(generator, count)
        for some in (batches, [batch.relu() for batch in batches]):  # ReLU: the range begins at 0
            values.append(observed(answer, momentum, some))
    try:
        answer.raw(0.1).range()
    except Exception as error:
        return [values, type(error).__name__]
    return [values, "no error"]


@question("06.4")
def check_clip(answer: Answer) -> None:
    """Values with and without a tail, several bits, and one candidate only."""
    generator = torch.Generator().manual_seed(0)
    for bits in (2, 3, 4, 8):
        for tail in (1.0, 8.0, 60.0):
            values = cases.positive_values(generator, tail)
            expect_clip(answer(values, bits, cases.clip_candidates(values)), values, bits)
    expect_close("the best clip", answer(torch.tensor([0.0, 1, 2, 3, 30]), 2, [3.0, 30.0]), 30.0)
    advice = "of equal errors the first candidate in the list counts"
    expect_close("the first of equals", answer(torch.zeros(3), 3, [2.0, 1.0, 3.0]), 2.0, hint=advice)
    values = cases.positive_values(generator, 4.0)
    expect_close("the only candidate", answer(values, 4, [2.5]), 2.5)
    expect_unchanged(answer, values, 4, cases.clip_candidates(values))


@probe("06.4")
def probe_clip(answer: Answer, generator: torch.Generator) -> Any:
    """Chosen clips for random values and candidates."""
    for bits in (2, 2, 3, 3, 4, 5):
        values = cases.positive_values(generator, 2 + 20 * torch.rand(1, generator=generator).item())
        candidates = cases.clip_candidates(values)
        yield as_float(answer(values, bits, candidates))
    candidates = (1 + torch.randperm(9, generator=generator)).tolist()
    first = [float(one) for one in candidates if one not in (1, 9)]
    yield as_float(answer(torch.zeros(4), 4, [*first[:1], 1.0, 9.0, *first[1:]]))


@question("06.5")
def check_quantizer(answer: Answer) -> None:
    """Outputs against the reference, weights on the grid, an unchanged original, several batches, and two calls."""
    for seed in (0, 1, 2):
        model = cases.residual_network(seed)
        batches = cases.random_images(torch.Generator().manual_seed(seed), 3)
        batches = [batch.abs() + 4 for batch in batches] if seed == 2 else batches
        before = copy.deepcopy(model.state_dict())
        quantized = run(answer, model, batches)
        unchanged = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        advice = "work on copy.deepcopy(model); the original must not get hooks or new weights"
        unchanged = unchanged and model.training and not count_hooks(model)
        expect(unchanged, "the original model was changed", hint=advice)
        expect_quantized(quantized, model, batches)


@probe("06.5")
def probe_quantizer(answer: Answer, generator: torch.Generator) -> Any:
    """Rounded weights and outputs for new images, some of them larger than all calibration values."""
    batches = cases.random_images(generator, 2)
    bright = [batch.abs() + 4 for batch in batches]
    model = cases.active_network(generator, bright[0])
    quantized = run(answer, model, batches)
    new = cases.random_images(generator, 1)[0] * 1.5
    with torch.no_grad():
        outputs = quantized(new)
    layers = [one for one in quantized.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        outputs_of_bright = run(answer, model, bright)(bright[0])
    return [[layer.weight.detach().sum(0) for layer in layers], outputs, outputs_of_bright, model.training]

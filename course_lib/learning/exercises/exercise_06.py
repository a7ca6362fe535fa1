"""Checks and probes of exercise 06: folding, an integer layer, an observer, a clip, and a repaired quantizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.reference_06 import (
    clip_error,
    fold_norm,
    hooks_of,
    integer_linear,
    living_network,
    moving_range,
    quantized_copy,
    residual_network,
    rounded_weight,
)
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question


@question(
    "06.1",
    points=3,
    minutes=10,
    difficulty=2,
    title="Fold a BatchNorm",
    hints=(
        "Write the norm as one multiplication and one addition for each channel. What is multiplied, what is added?",
        "Everything that came out of the layer is multiplied, also its bias. The mean is subtracted before that.",
        "A factor per output channel belongs to the first dimension of the weight: give it as many dimensions of size "
        "1 as the weight has behind the first.",
    ),
)
def check_fold(answer: Answer) -> None:
    """Convolutions and linear layers, with and without a bias, compared with the layers themselves."""
    layers = [((6, 3, 3, 3), False), ((6, 3, 1, 1), True), ((5, 8), True), ((5, 8), False)]
    for seed, (shape, bias) in enumerate(layers):
        case = _norm_case(torch.Generator().manual_seed(seed), shape, bias)
        _expect_folded(answer(*case), case)
    expect_unchanged(answer, *_norm_case(torch.Generator().manual_seed(9), (4, 2, 3, 3), True))


@probe("06.1")
def probe_fold(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Folded weights and biases of random layers."""
    cases = [((3, 2, 2, 2), True), ((4, 3), False), ((4, 1, 3, 3), False)]
    return [answer(*_norm_case(generator, shape, bias)) for shape, bias in cases]


@question(
    "06.2",
    points=5,
    minutes=20,
    difficulty=3,
    title="A linear layer in integers",
    hints=(
        "Widen first, then compute: uint8 minus a number, or int8 times int8, would wrap around without a warning.",
        "The sums fit into int32, but a sum times the multiplier does not. Which dtype has room for it?",
        "Dividing by 2**shift is `>> shift`, which always rounds down. Adding half of 2**shift before makes it round "
        "to the nearest. The zero-point and the clamp come last.",
    ),
)
def check_integer_linear(answer: Answer) -> None:
    """Random layers, sums that need 32 bits, negative sums, halves, and results that must be clamped."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(4, 6, 3, 0, 0), (2, 300, 5, 128, 90), (1, 1, 1, 255, 255), (3, 9, 4, 17, 3)]
    for rows, inputs, outputs, zero_x, zero_y in sizes:
        case = _integer_case(generator, rows, inputs, outputs, zero_x, zero_y)
        _expect_integers(answer(*case), case)
    loud = (torch.full((1, 500), 255, dtype=torch.uint8), 0, torch.full((2, 500), 127, dtype=torch.int8),
            torch.tensor([0, -10_000_000], dtype=torch.int32), 2**30, 47, 0)  # fmt: skip
    _expect_integers(answer(*loud), loud)
    halves = (torch.tensor([[1], [2], [3], [5]], dtype=torch.uint8), 2, torch.tensor([[1]], dtype=torch.int8),
              torch.tensor([0], dtype=torch.int32), 2**30, 31, 100)  # fmt: skip
    _expect_integers(answer(*halves), halves)


@probe("06.2")
def probe_integer_linear(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Outputs of random integer layers."""
    shapes = [(3, 5, 4, 0, 0), (2, 200, 3, 120, 60), (4, 40, 2, 9, 200)]
    return [answer(*_integer_case(generator, *shape)) for shape in shapes]


@question(
    "06.3",
    points=4,
    minutes=12,
    difficulty=2,
    title="An observer",
    hints=(
        "Two numbers are remembered. The first batch sets them; every later batch moves them a little.",
        "A new batch counts with the weight `momentum`, what was remembered with the rest.",
        "Both ends move in the same way: low towards the smallest value of the batch, high towards its largest. What "
        "should `range` do as long as nothing was seen?",
    ),
)
def check_observer(answer: Answer) -> None:
    """One batch, many batches, several momenta, an observer that saw nothing, and two observers at a time."""
    batches = _batches(torch.Generator().manual_seed(0), 5)
    for momentum in (0.1, 0.5, 1.0):
        for count in (1, 2, 5):
            given = _observed(answer, momentum, batches[:count])
            where = f"momentum={momentum}, {count} batch{'es' if count > 1 else ''}"
            expected = moving_range(batches[:count], momentum)
            advice = "new = (1 - momentum) · old + momentum · (of this batch); the first batch is taken as it is"
            expect_close("range", given, expected, rtol=1e-4, atol=1e-5, given=where, hint=advice)
    first, second = answer.raw(0.5), answer.raw(0.5)
    Answer(first.observe)(batches[0])
    Answer(second.observe)(batches[1])
    advice = "two observers must not share what they remember: keep it in `self`, set in `__init__`"
    expect_close(
        "range of the first of two observers", Answer(first.range)(), moving_range(batches[:1], 0.5), hint=advice
    )
    try:
        answer.raw(0.1).range()
    except ValueError:
        return
    except NotImplementedError:
        raise
    except Exception as error:
        expect(False, f"range() before anything was seen should raise a ValueError, it raised {type(error).__name__}")
    expect(False, "range() before anything was seen should raise a ValueError, it returned something")


@probe("06.3")
def probe_observer(answer: Answer, generator: torch.Generator) -> Any:
    """Ranges after random batches, and what happens without any."""
    values = []
    for count in (1, 2, 6):
        momentum = 0.05 + 0.9 * torch.rand(1, generator=generator).item()
        values.append([float(end) for end in _observed(answer, momentum, _batches(generator, count))])
    try:
        answer.raw(0.1).range()
    except Exception as error:
        return [values, type(error).__name__]
    return [values, "no error"]


@question(
    "06.4",
    points=4,
    minutes=15,
    difficulty=3,
    title="Where to clip",
    hints=(
        "For one candidate: what does each value become, and how far off is it, squared and averaged?",
        "Values above the clip become the last stair. That is what `clamp` does after the rounding.",
        "Try all candidates and keep the one with the smallest error; `min(candidates, key=...)` does that, and takes "
        "the first of equals.",
    ),
)
def check_clip(answer: Answer) -> None:
    """Values with and without a tail, several bits, and one candidate only."""
    generator = torch.Generator().manual_seed(0)
    for bits in (2, 3, 4, 8):
        for tail in (1.0, 8.0, 60.0):
            values = _positive(generator, tail)
            _expect_clip(answer(values, bits, _candidates(values)), values, bits)
    values = _positive(generator, 4.0)
    expect_close("the only candidate", answer(values, 4, [2.5]), 2.5)
    expect_unchanged(answer, values, 4, _candidates(values))


@probe("06.4")
def probe_clip(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Chosen clips for random values and candidates, with their places among the candidates."""
    chosen = []
    for bits in (2, 2, 3, 3, 4, 5):
        values = _positive(generator, 2 + 20 * torch.rand(1, generator=generator).item())
        candidates = _candidates(values)
        chosen.append(float(answer(values, bits, candidates)))
    return chosen


@question(
    "06.5",
    points=4,
    minutes=35,
    difficulty=4,
    title="Repair the published quantizer",
    hints=(
        "Begin with a deep copy in eval mode. Dropout that is still on would falsify every range.",
        "Two passes: first hooks that only remember the smallest and largest input of each layer, while the "
        "calibration batches run; then those hooks go, and others come that round.",
        "`layer.register_forward_pre_hook(f)`: what `f(layer, inputs)` returns, as a tuple, goes into the layer "
        "instead. Round the weights after the calibration, not before. A lambda in a loop needs its own copy of them.",
    ),
)
def check_quantizer(answer: Answer) -> None:
    """Outputs against the reference, weights on the grid, an untouched original, several batches, and two calls."""
    for seed in (0, 1, 2):
        model = residual_network(seed)
        batches = _pictures(torch.Generator().manual_seed(seed), 3)
        batches = [batch.abs() + 4 for batch in batches] if seed == 2 else batches
        before = copy.deepcopy(model.state_dict())
        quantized = _run(answer, model, batches)
        unchanged = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        advice = "work on copy.deepcopy(model); no hook and no new weight may reach the original"
        unchanged = unchanged and model.training and not hooks_of(model)
        expect(unchanged, "the model that was handed in was changed", hint=advice)
        _expect_quantized(quantized, model, batches)


@probe("06.5")
def probe_quantizer(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Rounded weights and outputs for new pictures, some of them larger than anything in the calibration."""
    batches = _pictures(generator, 2)
    bright = [batch.abs() + 4 for batch in batches]
    model = living_network(generator, bright[0])
    quantized = _run(answer, model, batches)
    new = _pictures(generator, 1)[0] * 1.5
    with torch.no_grad():
        outputs = quantized(new)
    layers = [one for one in quantized.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        outputs_of_bright = _run(answer, model, bright)(bright[0])
    return [[layer.weight.detach().sum(0) for layer in layers], outputs, outputs_of_bright, model.training]


def _norm_case(generator: torch.Generator, shape: tuple[int, ...], bias: bool) -> tuple[Any, ...]:
    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    channels = shape[0]
    var = torch.rand(channels, generator=generator) * 2 + 0.05
    eps = 0.01 + 0.2 * torch.rand((), generator=generator).item()
    return (draw(*shape), draw(channels) if bias else None, draw(channels), draw(channels), draw(channels), var, eps)


def _expect_folded(given: Any, case: tuple[Any, ...]) -> None:
    good = isinstance(given, list | tuple) and len(given) == 2
    expect(good, f"return the new weight and the new bias; got {type(given).__name__}")
    weight, bias = fold_norm(*case)
    where = f"a weight of shape {tuple(case[0].shape)} {'with' if case[1] is not None else 'without'} a bias"
    advice = "multiply each output channel with gamma / sqrt(var + eps)"
    expect_close("weight", given[0], weight, given=where, hint=advice)
    advice = "the old bias passes through the norm, too: (bias - mean) · gamma / sqrt(var + eps) + beta"
    expect_close("bias", given[1], bias, given=where, hint=advice)


def _integer_case(
    generator: torch.Generator, rows: int, inputs: int, outputs: int, zero_x: int, zero_y: int
) -> tuple[Any, ...]:
    def draw(low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high, size, generator=generator)

    x, weight = draw(0, 256, rows, inputs).to(torch.uint8), draw(-128, 128, outputs, inputs).to(torch.int8)
    bias = draw(-5000, 5000, outputs).int()
    spread = 128 * 74 * inputs**0.5
    factor = 60 / spread
    shift = 31
    while factor < 0.5:
        factor, shift = factor * 2, shift + 1
    return x, zero_x, weight, bias, int(factor * 2**31), shift, zero_y


def _expect_integers(given: Any, case: tuple[Any, ...]) -> None:
    expected = integer_linear(*case)
    expect(isinstance(given, Tensor), f"the result should be a tensor, yours is {type(given).__name__}")
    expect(given.dtype == torch.uint8, f"the result should be torch.uint8, yours is {given.dtype}")
    advice = "int32 sums with the bias, int64 for the product, round before the shift, add zero_y, clamp to 0 … 255"
    if given.shape == expected.shape:
        gap = (given.int() - expected.int()).abs()
        if int(gap.max()) == 1:
            advice = "off by one: `>>` rounds down; add half of 2**shift before"
        elif int(gap.max()) > 200:
            advice = "something wrapped around: widen to int32 before subtracting, and clamp before the cast to uint8"
    expect_equal("outputs", given, expected, hint=advice)


def _batches(generator: torch.Generator, count: int) -> list[Tensor]:
    return [torch.randn(4, 5, generator=generator) * (1 + index) - 0.3 * index for index in range(count)]


def _observed(answer: Answer, momentum: float, batches: list[Tensor]) -> Any:
    observer = answer.raw(momentum)
    for name in ("observe", "range"):
        expect(callable(getattr(observer, name, None)), f"the observer has no method {name}")
    for batch in batches:
        Answer(observer.observe)(batch)
    given = Answer(observer.range)()
    good = isinstance(given, list | tuple) and len(given) == 2
    expect(good, f"range() should return (low, high); got {type(given).__name__}")
    return [float(end) for end in given]


def _positive(generator: torch.Generator, tail: float) -> Tensor:
    values = torch.randn(400, generator=generator).abs()
    return torch.cat([values, torch.tensor([tail])])


def _candidates(values: Tensor) -> list[float]:
    return [values.max().item() * step / 40 for step in range(1, 41)]


def _expect_clip(given: Any, values: Tensor, bits: int) -> None:
    candidates = _candidates(values)
    best = min(candidates, key=lambda clip: clip_error(values, bits, clip))
    expect(isinstance(given, int | float), f"return one of the candidates, a number; got {type(given).__name__}")
    where = f"{len(values)} values up to {values.max():.1f}, bits={bits}"
    expect(any(abs(given - one) < 1e-6 for one in candidates), f"{given} is not one of the candidates", given=where)
    found, least = clip_error(values, bits, float(given)), clip_error(values, bits, best)
    problem = f"clipping at {given:.3g} gives a squared error of {found:.4g}, at {best:.3g} only {least:.4g}"
    advice = "the scale is clip / (2**bits - 1); values above the clip count with their error, too"
    expect(found <= least * (1 + 1e-5), problem, given=where, hint=advice)


def _pictures(generator: torch.Generator, count: int) -> list[Tensor]:
    """Batches that each hold one end of the range: the first the largest values, the second the smallest."""
    return [torch.randn(6, 2, 6, 6, generator=generator) + 3 * (-1) ** index for index in range(count)]


def _run(answer: Any, model: nn.Module, batches: list[Tensor]) -> Any:
    made = answer.raw(model, batches) if isinstance(answer, Answer) else answer(model, batches)
    method = getattr(made, "post_training_quantization", None)
    expect(callable(method), "the class has no method post_training_quantization")
    quantized = Answer(method).raw()
    expect(isinstance(quantized, nn.Module), f"return the quantized model; got {type(quantized).__name__}")
    return quantized


def _expect_quantized(quantized: nn.Module, model: nn.Module, batches: list[Tensor]) -> None:
    reference = quantized_copy(model, batches)
    pairs = zip(reference.named_modules(), quantized.modules(), strict=False)
    for (name, one), other in pairs:
        if isinstance(one, nn.Conv2d | nn.Linear):
            same = isinstance(other, type(one)) and other.weight.shape == one.weight.shape
            expect(same, f"layer {name!r} is not the same kind of layer any more", hint="keep the modules of the copy")
            advice = "symmetric, 8 bits, one scale per output channel: max(abs) / 127"
            wanted = rounded_weight(model.get_submodule(name).get_parameter("weight").detach())
            expect_close(f"weight of {name!r}", other.get_parameter("weight").detach(), wanted, hint=advice)
    expect(not quantized.training, "the quantized copy should be in eval mode")
    with torch.no_grad():
        for scale in (1.0, 1.5):
            new = _pictures(torch.Generator().manual_seed(5), 1)[0] * scale
            wanted, given = reference(new), Answer(quantized.forward)(new)
            advice = (
                "every conv and linear layer rounds its input: asymmetric, 8 bits, the range over all calibration "
                "batches of the unrounded copy in eval mode, widened to contain zero"
            )
            expect_close("outputs for new pictures", given, wanted, rtol=1e-3, atol=1e-4, hint=advice)

"""What the checks of exercise 06 expect of folded layers, integers, ranges, clips and quantized copies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_06 import cases, reference
from course_lib.learning.expect import (
    CheckFailed,
    as_float,
    expect,
    expect_close,
    expect_equal,
    expect_parts,
    expect_tensor,
)
from course_lib.learning.values import describe


def expect_folded(given: Any, case: tuple[Any, ...]) -> None:
    """Weight and bias of a layer with its norm folded in."""
    given = expect_parts(given, 2, "the new weight and the new bias")
    weight, bias = reference.fold_norm(*case)
    where = f"a weight of shape {tuple(case[0].shape)} {'with' if case[1] is not None else 'without'} a bias"
    advice = "multiply each output channel with gamma / sqrt(var + eps)"
    expect_close("weight", given[0], weight, given=where, hint=advice)
    advice = "the norm applies to the old bias, too: (bias - mean) · gamma / sqrt(var + eps) + beta"
    expect_close("bias", given[1], bias, given=where, hint=advice)


def expect_integers(given: Any, case: tuple[Any, ...]) -> None:
    """The uint8 outputs of an integer layer."""
    expected = reference.integer_linear(*case)
    expect_tensor("the result", given, dtype=torch.uint8, hint="convert at the end, after the clamp")
    advice = "int32 sums with the bias, int64 for the product, round before the shift, add zero_y, clamp to 0 … 255"
    if given.shape == expected.shape:
        gap = (given.int() - expected.int()).abs()
        if int(gap.max()) > 200:
            advice = "integer overflow: convert to int32 before subtracting, and clamp before the cast to uint8"
    expect_equal("outputs", given, expected, hint=advice)


def observed(answer: Answer, momentum: float, batches: list[Tensor]) -> Any:
    """The range of the learner's observer after some batches."""
    observer = answer.raw(momentum)
    for name in ("observe", "range"):
        expect(callable(getattr(observer, name, None)), f"the observer has no method {name}")
    for batch in batches:
        Answer(observer.observe)(batch)
    try:
        given = Answer(observer.range)()
    except CheckFailed as failure:
        failure.hint = "0 is falsy: a range that begins at 0 was observed; ask `is None`"
        raise
    return [as_float(end) for end in expect_parts(given, 2, "low and high, from range()")]


def expect_clip(given: Any, values: Tensor, bits: int) -> None:
    """A candidate with the smallest squared error."""
    candidates = cases.clip_candidates(values)
    best = min(candidates, key=lambda clip: clip_error(values, bits, clip))
    given = as_float(given)
    where = f"{len(values)} values up to {values.max():.1f}, bits={bits}"
    listed, advice = any(abs(given - one) < 1e-6 for one in candidates), "return the candidate itself"
    expect(listed, f"{describe(given)} is not one of the candidates", given=where, hint=advice)
    found, least = clip_error(values, bits, float(given)), clip_error(values, bits, best)
    problem = f"clipping at {given:.3g} gives a squared error of {found:.4g}, at {best:.3g} only {least:.4g}"
    advice = "the scale is clip / (2**bits - 1); the error of values above the clip counts, too"
    expect(found <= least * (1 + 1e-5), problem, given=where, hint=advice)


def run(answer: Answer, model: nn.Module, batches: list[Tensor]) -> Any:
    """The quantized copy that the learner's class makes."""
    method = getattr(answer.raw(model, batches), "post_training_quantization", None)
    expect(callable(method), "the class has no method post_training_quantization")
    quantized = Answer(method).raw()
    advice = "return the model itself; its weights alone cannot round inputs"
    expect(isinstance(quantized, nn.Module), f"expected a model, got {type(quantized).__name__}", hint=advice)
    return quantized


def expect_quantized(quantized: nn.Module, model: nn.Module, batches: list[Tensor]) -> None:
    """Weights on the grid, eval mode, and the outputs of a quantized copy."""
    expected = reference.Quantizer(model, batches).post_training_quantization()
    for (name, one), other in zip(expected.named_modules(), quantized.modules(), strict=False):
        if isinstance(one, nn.Conv2d | nn.Linear):
            same = isinstance(other, type(one)) and other.weight.shape == one.weight.shape
            expect(same, f"layer {name!r} is no longer the same kind of layer", hint="keep the modules of the copy")
            advice = "symmetric, 8 bits, one scale per output channel: max(abs) / 127"
            weight = other.get_parameter("weight").detach()
            expect_close(f"weight of {name!r}", weight, one.get_parameter("weight").detach(), hint=advice)
    expect(not quantized.training, "the quantized copy should be in eval mode", hint="copy.deepcopy(self.model).eval()")
    with torch.no_grad():
        for scale in (1.0, 1.5):
            new = cases.random_images(torch.Generator().manual_seed(5), 1)[0] * scale
            wanted, given = expected(new), Answer(quantized.forward)(new)
            advice = (
                "every conv and linear layer rounds its input: asymmetric, 8 bits, the range over all calibration "
                "batches of the copy in eval mode before its weights are rounded, widened to contain zero"
            )
            expect_close("outputs for new images", given, wanted, rtol=1e-3, atol=1e-4, hint=advice)


def clip_error(values: Tensor, bits: int, clip: float) -> float:
    """Mean squared error of non-negative values rounded to 2^bits - 1 steps from 0 to ``clip``."""
    scale = clip / (2**bits - 1)
    rounded = torch.round(values.double() / scale).clamp(0, 2**bits - 1) * scale
    return float((values.double() - rounded).square().mean())


def count_hooks(model: nn.Module) -> int:
    """Number of forward hooks in a model."""
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())

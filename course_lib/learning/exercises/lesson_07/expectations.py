"""What the checks of exercise 07 expect of gradients, norms, choices and a repaired training loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_07 import cases, reference
from course_lib.learning.expect import as_whole, expect, expect_close, expect_equal, expect_parts


def expect_straight_through(answer: Answer, x: Tensor, scale: float, qmin: int, qmax: int) -> None:
    """Rounded values, and the gradient of the straight-through estimator."""
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, result = reference.fake_quantize(ours, scale, qmin, qmax), answer.in_place(theirs, scale, qmin, qmax)
    advice = "divide by the scale, clamp to qmin … qmax, round, multiply; torch.round takes halves to the even integer"
    detached = result.detach() if isinstance(result, Tensor) else result
    expect_close("rounded values", detached, expected.detach(), hint=advice)
    advice = "a plain round (or detach) has no gradient: add the rounding error as a constant"
    expect(result.requires_grad, "no gradient can flow back from the result", hint=advice)
    upstream = torch.linspace(1, 2, x.numel()).reshape(x.shape)
    found = torch.autograd.grad(result, theirs, upstream, allow_unused=True)[0]
    expect(found is not None, "the result does not depend on x", hint=advice)
    (wanted,) = torch.autograd.grad(expected, ours, upstream)
    advice = "inside the range the gradient passes unchanged, outside it is zero"
    if x.numel() and not found.any() and wanted.any():
        advice = "the gradient is zero everywhere: that is the gradient of round"
    expect_close("gradient of x", found, wanted, hint=advice)


def expect_step_gradient(answer: Answer, x: Tensor, scale: float, qmin: int, qmax: int, upstream: Tensor) -> None:
    """The gradient with respect to the step size."""
    expected = float(reference.step_gradient(x, scale, qmin, qmax, upstream))
    given = answer(x, scale, qmin, qmax, upstream)
    advice = "`qmin` below the range, `qmax` above it, round(x / scale) - x / scale inside; times upstream, summed"
    given = float(given) if isinstance(given, Tensor) and given.numel() == 1 else given
    expect_close("gradient of the step size", given, expected, rtol=1e-4, atol=1e-6, hint=advice)


def expect_folded(answer: Answer, weight: Tensor, norm: nn.BatchNorm2d, bits: int) -> None:
    """Integers, scale and bias of a convolution with its norm folded in."""
    found = answer(weight, norm, bits)
    given = f"a weight of shape {tuple(weight.shape)} and bits = {bits}"
    integers, scale, bias = reference.fold_and_quantize(weight, norm, bits)
    parts = expect_parts(found, 3, "integers, scale and bias", given=given)
    got = [one.detach() if isinstance(one, Tensor) else one for one in parts]
    advice = "largest magnitude of each output channel after folding, divided by 2^(bits-1) - 1; 1 where all are zero"
    expect_close("scale", got[1], scale, given=given, hint=advice)
    advice = "round(folded weight / scale), as int8; a channel with a negative gamma changes its sign"
    expect_equal("integers", got[0], integers, given=given, hint=advice)
    advice = "beta - mean · gamma / sqrt(var + eps); it is not rounded"
    expect_close("bias", got[2], bias, given=given, hint=advice)


def expect_choice(answer: Answer, options: cases.Options, budget: int) -> None:
    """Bits for every layer that fit the budget with the least damage, or None."""
    chosen, best = answer(options, budget), reference.choose_bits(options, budget)
    given = f"{len(options)} layers and a budget of {budget} bytes"
    if best is None:
        expect(
            chosen is None,
            "nothing fits, so the answer is None",
            given=given,
            hint="is there a choice within the budget?",
        )
        return
    advice = "layer name → bits: a dictionary tells which layer has how many"
    expect(isinstance(chosen, dict), f"expected a dictionary, got {type(chosen).__name__}", given=given, hint=advice)
    expect_equal("layers of the choice", sorted(chosen), sorted(options), given=given)
    chosen = {name: as_whole(bits) for name, bits in chosen.items()}
    for name, bits in chosen.items():
        expect(bits in options[name], f"{name} has no option of {bits} bits", given=given)
    size, damage = cases.bytes_and_damage(options, chosen)
    expect(size <= budget, f"the choice takes {size} bytes", given=given, hint="all layers together must fit")
    least = cases.bytes_and_damage(options, best)[1]
    advice = f"{best} fits too and does a damage of {least:.4g}"
    expect(damage <= least * (1 + 1e-9), f"the choice does a damage of {damage:.4g}", given=given, hint=advice)


def expect_modes(model: nn.Module, frozen: bool, given: str) -> None:
    """Every module trains, except frozen norms; no parameter is frozen."""
    advice = "only the statistics are frozen: gamma and beta are still trained"
    expect(all(one.requires_grad for one in model.parameters()), "a parameter is frozen", given=given, hint=advice)
    for name, module in model.named_modules():
        norm = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        expected = not frozen if norm else True
        advice = "`model.train()` sets the flag on every module; then call `eval()` on each norm"
        what = f"training flag of {name or 'the model'!r} ({type(module).__name__})"
        expect_equal(what, module.training, expected, given=given, hint=advice)


def expect_trained(answer: Answer, model: nn.Module, bits: int, epochs: int, learning_rate: float, loss: Any) -> None:
    """A fresh copy in eval mode with frozen statistics, weights on the grid, and the specified training."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = cases.random_batches(torch.Generator().manual_seed(bits))
    expected = reference.quantization_aware_training(model, batches, loss, bits, epochs, learning_rate)
    given = f"bits = {bits}, epochs = {epochs}, learning_rate = {learning_rate:g}"
    trained = answer.in_place(model, batches, loss, bits, epochs, learning_rate)
    advice = "is there a return statement?"
    expect(isinstance(trained, nn.Module), f"expected a model, got {type(trained).__name__}", given=given, hint=advice)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    advice = "work on `copy.deepcopy(model)`"
    expect(trained is not model and not changed, "the original model was changed", given=given, hint=advice)
    expect_equal("tensors of the result", sorted(trained.state_dict()), sorted(before), given=given)
    expect(not trained.training, "the result is still in training mode", given=given, hint="end with .eval()")
    for name, tensor in reversed(expected.state_dict().items()):
        _expect_tensor(name, trained.state_dict()[name], tensor, before[name], bits, given)


def _expect_tensor(name: str, found: Any, expected: Tensor, before: Tensor, bits: int, given: str) -> None:
    advice = "in each step: round the fp weights, compute the loss with the rounded ones, update the fp weights"
    if "running" in name or "num_batches" in name:
        advice = "the statistics of the norms must not change: use your train_mode with norms_frozen=True"
    elif found.dim() > 1 and not torch.allclose(found, _on_grid(found, bits), rtol=1e-6, atol=1e-9):
        advice = "these weights are not on their grid: write the rounded values into the copy at the end"
    elif torch.allclose(found, _on_grid(before, bits)) if found.dim() > 1 else torch.equal(found, before):
        advice = "this tensor was not trained: does a gradient reach it, and is it a parameter of the optimizer?"
    expect_close(name, found, expected, rtol=1e-5, atol=1e-7, given=given, hint=advice)


def _on_grid(weight: Tensor, bits: int) -> Tensor:
    """A weight rounded with one symmetric scale for each output channel."""
    largest = weight.abs().flatten(1).amax(dim=1)
    scale = torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0).view(-1, *[1] * (weight.dim() - 1))
    return scale * (weight / scale).round()

"""What the checks of exercise 03 expect of masks, bytes and a repaired ``StructuredPruner``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_03 import reference
from course_lib.learning.exercises.lesson_03.cases import Trainer, layer_weights
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_tensor, likely_mistake

INVERTED = "True means keep: did you keep the weights below the threshold instead of above it?"


def expect_mask(mask: Any, weight: Tensor, sparsity: float) -> None:
    """A boolean mask of the weight's shape that drops the ``round(sparsity · n)`` smallest magnitudes."""
    dropped = round(sparsity * weight.numel())
    expect_tensor("the mask", mask, shape=weight.shape, dtype=torch.bool, hint="a comparison gives booleans")
    advice = "the number is Python's round(...); a threshold alone drops too many or too few when magnitudes are equal"
    if int(mask.sum()) == dropped:
        advice = INVERTED
    expect_equal("number of dropped weights", int((~mask).sum()), dropped, hint=advice)
    expected = reference.magnitude_mask(weight, sparsity)
    expect_equal("mask", mask, expected, hint=_mask_hint(mask, expected, weight))


def _mask_hint(mask: Tensor, expected: Tensor, weight: Tensor) -> str:
    kept, gone = weight.abs()[mask].double(), weight.abs()[~mask].double()
    if torch.equal(mask, ~expected):
        return INVERTED
    if kept.numel() and gone.numel() and kept.min() < gone.max():
        return f"a weight of magnitude {kept.min():.3g} is kept while {gone.max():.3g} is dropped; did you take abs()?"
    return "of equal magnitudes the one with the lower index in row order is dropped first (use a stable sort)"


def expect_masks(masks: Any, weights: dict[str, Tensor], sparsity: float) -> None:
    """One mask per layer, from one ranking of all magnitudes."""
    expect(isinstance(masks, dict), f"return a dictionary of masks, yours is {type(masks).__name__}")
    expect_equal("layers with a mask", sorted(masks), sorted(weights), hint="use the names of `weights` as keys")
    for name, weight in weights.items():
        expect_tensor(f"the mask of {name!r}", masks[name], shape=weight.shape, dtype=torch.bool)
    sizes = [weight.numel() for weight in weights.values()]
    given = f"layers of {', '.join(map(str, sizes))} weights and a sparsity of {sparsity:.3g}"
    advice = "round once for the whole model and drop exactly that many, also among equal magnitudes; True means keep"
    dropped = sum(int((~mask).sum()) for mask in masks.values())
    expect_equal("dropped weights of all layers", dropped, round(sparsity * sum(sizes)), given=given, hint=advice)
    advice = "rank all magnitudes in one row, unscaled; of equal ones drop the earlier layer and the lower index first"
    if all(torch.equal(masks[name], reference.magnitude_mask(weights[name], sparsity)) for name in weights):
        advice = "every layer has the same sparsity: that is layer-wise pruning. Here all layers share one ranking"
    for name, mask in reference.global_masks(weights, sparsity).items():
        expect_equal(f"mask of {name!r}", masks[name], mask, given=given, hint=advice)


def schedule_hint(given: Any, step: int, total: int, initial: float, final: float) -> str:
    """What led to this sparsity of the schedule."""
    part, gap = min(max(step / total, 0), 1), final - initial
    mistakes = {
        "that is linear; the cubic schedule is fast at first and slow at the end": initial + gap * part,
        "the cube is taken of the remaining part, 1 - step / total_steps": initial + gap * part**3,
        "that looks like a square; the schedule is cubic": final - gap * (1 - part) ** 2,
        "that schedule starts at zero; where is `initial` used?": final * (1 - (1 - part) ** 3),
        "before step 0 the sparsity is `initial`, after the last step `final`": final - gap * (1 - step / total) ** 3,
        "start and end are swapped": initial + gap * (1 - part) ** 3,
    }
    formula = "s = final + (initial - final) · (1 - step / total_steps)³, with step clamped to 0 … total_steps"
    return likely_mistake(given, mistakes, formula)


def expect_facts(facts: Any, weight: Tensor) -> None:
    """A dictionary with the dense bytes, the bitmask bytes and the break-even number of zeros."""
    expected, zeros = reference.storage_facts(weight), int((weight == 0).sum())
    good = isinstance(facts, dict) and facts.keys() == expected.keys()
    expect(good, f"return a dictionary with the keys 'dense', 'bitmask', 'break_even'; got {facts!r}")
    where = f"a {str(weight.dtype).removeprefix('torch.')} weight of shape {tuple(weight.shape)} with {zeros} zeros"
    hints = {
        "dense": "every entry is stored: numel() times element_size(), which depends on the dtype",
        "bitmask": "one bit for every entry, rounded up to whole bytes, and then only the values that are not zero",
        "break_even": "the fewest zeros for which the bitmask is smaller (not equal), or None if there is none",
    }
    for key, advice in hints.items():
        expect_equal(key, facts[key], expected[key], given=where, hint=advice)


def _facts(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _method(answer: Answer, model: nn.Module, sparsity: float, name: str) -> Answer:
    """A method of the learner's pruner on this model itself, wrapped so that its errors become one line."""
    pruner = answer.in_place(model, sparsity)
    method = getattr(pruner, name, None)
    expect(callable(method), f"the pruner has no method {name}", hint="keep the names of the methods")
    return Answer(method)


def expect_layerwise(answer: Answer, model: nn.Module, sparsity: float) -> None:
    """``magnitude_based_pruning``: every layer has the same sparsity."""
    masks = {name: reference.magnitude_mask(weight, sparsity) for name, weight in layer_weights(model).items()}
    method, before = _method(answer, model, sparsity, "magnitude_based_pruning"), _facts(model)
    advice = "every Conv2d and Linear counts, however deeply nested, and drops round(sparsity * n) of its n weights"
    call = f"magnitude_based_pruning() at sparsity {sparsity:g}"
    _expect_pruned(method.in_place(), model, before, masks, call, advice)


def expect_global(answer: Answer, model: nn.Module, sparsity: float) -> None:
    """``apply_global_pruning``: its argument counts, and all layers share one ranking."""
    method, before = _method(answer, model, 0.2, "apply_global_pruning"), _facts(model)
    masks = reference.global_masks(layer_weights(model), sparsity)
    advice = "the sparsity is this call's argument, and all layers share one ranking, as in 03.2"
    _expect_pruned(method.in_place(sparsity), model, before, masks, f"apply_global_pruning({sparsity:g})", advice)


def expect_fresh_start(answer: Answer, model: nn.Module) -> None:
    """One pruner, three calls: each starts from the original model."""
    pruner, before = answer.in_place(model, 0.9), _facts(model)
    Answer(pruner.magnitude_based_pruning).in_place()
    advice = "every call starts from the original model, so that calls do not add up"
    for sparsity in (0.8, 0.5):
        call = f"apply_global_pruning({sparsity:g}) after another call on the same pruner"
        masks = reference.global_masks(layer_weights(model), sparsity)
        _expect_pruned(Answer(pruner.apply_global_pruning).in_place(sparsity), model, before, masks, call, advice)


def _expect_pruned(
    pruned: Any, model: nn.Module, before: dict[str, Tensor], masks: dict[str, Tensor], call: str, count_advice: str
) -> None:
    _expect_plain(pruned, model, before, call)
    for name, weight in layer_weights(pruned).items():
        dropped, zeros = int((~masks[name]).sum()), int((weight == 0).sum())
        expect_equal(f"zeros in layer {name!r}", zeros, dropped, given=call, hint=count_advice)
        advice = "drop the smallest magnitudes; the other weights keep their values"
        key = f"{name}.weight"
        expect_equal(f"weight of layer {name!r}", weight, before[key] * masks[name], given=call, hint=advice)
    others = {key for key in before if key.removesuffix(".weight") not in masks}
    for key in sorted(others):
        advice = "only the weights of convolutions and linear layers are pruned, no biases and no norms"
        expect_equal(key, pruned.state_dict()[key], before[key], given=call, hint=advice)


def _expect_plain(pruned: Any, model: nn.Module, before: dict[str, Tensor], call: str) -> None:
    """A separate model with the parameters of the original; the original is unchanged."""
    advice = "each method returns the pruned copy; is there a return statement?"
    expect(isinstance(pruned, nn.Module), f"expected a model, got {type(pruned).__name__}", given=call, hint=advice)
    advice = "work on `copy.deepcopy(self.model)`: the original is still needed for the comparison"
    after = model.state_dict()
    touched = sorted(before.keys() ^ after.keys())
    touched += [key for key in before if key in after and not torch.equal(before[key], after[key])]
    expect(not touched, f"the original model was changed ({_few(touched)})", given=call, hint=advice)
    expect(pruned is not model, "the original model was returned", given=call, hint=advice)
    advice = "a mask stored beside the weight makes the file larger; write the zeros into the weight itself"
    extra = [key for key in pruned.state_dict() if key not in before]
    expect(not extra, f"the pruned model stores extra tensors ({_few(extra)})", given=call, hint=advice)
    missing = [key for key in before if key not in pruned.state_dict()]
    expect(not missing, f"the pruned model has lost tensors ({_few(missing)})", given=call, hint=advice)
    hooked = [name for name, module in pruned.named_modules() if module._forward_pre_hooks or module._forward_hooks]
    expect(not hooked, f"hooks are left on {_few(hooked)}", given=call, hint="nothing should run before the layers")
    trainable = sorted(name for name, one in pruned.named_parameters() if one.requires_grad)
    expected = sorted(name for name, one in model.named_parameters() if one.requires_grad)
    expect_equal("trainable parameters", trainable, expected, given=call, hint="the weights should stay nn.Parameters")


def expect_gradual(answer: Answer, model: nn.Module, initial: float, final: float, steps: int) -> None:
    """``gradual_pruning``: rounds of pruning and training that keep the masks, up to the final sparsity."""
    call = f"gradual_pruning(train_epoch, {initial:g}, {final:g}, {steps})"
    before, train, twin = _facts(model), Trainer(), Trainer()
    pruned = _method(answer, model, 0.9, "gradual_pruning").in_place(train, initial, final, steps)
    _expect_plain(pruned, model, before, call)
    expected = reference.StructuredPruner(model).gradual_pruning(twin, initial, final, steps)
    advice = "every round calls train_epoch(model) once"
    expect_equal("calls of train_epoch", len(train.zeros_seen), steps, given=call, hint=advice)
    expect(
        model not in train.models, "train_epoch was called with the original model", given=call, hint="train the copy"
    )
    advice = "the sparsity of round k follows the cubic schedule from initial (k = 0) to final (k = steps - 1), "
    advice += "as a fraction of all weights, not of the remaining ones"
    expect_equal("zeros when train_epoch was called", train.zeros_seen, twin.zeros_seen, given=call, hint=advice)
    total = sum(weight.numel() for weight in layer_weights(model).values())
    zeros = sum(int((weight == 0).sum()) for weight in layer_weights(pruned).values())
    advice = "training changes every weight, also the pruned ones: apply the mask again after train_epoch"
    expect_equal("zeros at the end", zeros, round(final * total), given=call, hint=advice)
    advice = "in each round: rank the weights, zero the smallest, train, zero the same ones again"
    for key, tensor in expected.state_dict().items():
        expect_close(key, pruned.state_dict()[key], tensor, given=call, hint=advice)


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")

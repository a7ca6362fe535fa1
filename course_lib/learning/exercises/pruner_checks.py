"""What a repaired ``StructuredPruner`` must do, one expectation after the other (question 03.5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.reference_03 import global_masks, gradual_reference
from course_lib.learning.expect import expect, expect_close, expect_equal
from course_lib.pruning import layer_weights, magnitude_mask


class Trainer:
    """Stands in for training: it counts the zeros that it finds, then moves every parameter a little."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.zeros_met: list[int] = []
        self.models: list[Any] = []

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        self.models.append(model)
        self.zeros_met.append(sum(int((weight == 0).sum()) for weight in layer_weights(model).values()))
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=self.generator))


def small_cnn(seed: int) -> nn.Module:
    """Two convolutions, a norm and a nested head."""
    head = nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))
    return _filled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3), head), seed)


def small_mlp(seed: int) -> nn.Module:
    """Two linear layers."""
    return _filled(nn.Sequential(nn.Flatten(), nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 4)), seed)


@torch.no_grad()
def _filled(model: nn.Module, seed: int) -> nn.Module:
    """Weights of different scale per layer, and biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    for index, parameter in enumerate(model.parameters()):
        parameter.copy_((0.2 + 0.3 * index) * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _facts(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _method(answer: Answer, model: nn.Module, sparsity: float, name: str) -> Answer:
    """A method of the learner's pruner on this very model, wrapped so that its errors become one line."""
    pruner = answer.in_place(model, sparsity)
    method = getattr(pruner, name, None)
    expect(callable(method), f"the pruner has no method {name}", hint="keep the names of the methods as handed out")
    return Answer(method)


def expect_layerwise(answer: Answer, model: nn.Module, sparsity: float) -> None:
    """``magnitude_based_pruning``: every layer loses the same share."""
    masks = {name: magnitude_mask(weight, sparsity) for name, weight in layer_weights(model).items()}
    method, before = _method(answer, model, sparsity, "magnitude_based_pruning"), _facts(model)
    advice = "every Conv2d and Linear counts, however deeply nested, and loses round(sparsity * n) of its n weights"
    call = f"magnitude_based_pruning() at sparsity {sparsity:g}"
    _expect_pruned(method.in_place(), model, before, masks, call, advice)


def expect_global(answer: Answer, model: nn.Module, sparsity: float) -> None:
    """``apply_global_pruning``: its argument counts, and all layers share one ranking."""
    method, before = _method(answer, model, 0.2, "apply_global_pruning"), _facts(model)
    masks = global_masks(layer_weights(model), sparsity)
    advice = "the share is this call's argument, and all layers compete in one ranking, as in 03.2"
    _expect_pruned(method.in_place(sparsity), model, before, masks, f"apply_global_pruning({sparsity:g})", advice)


def expect_fresh_start(answer: Answer, model: nn.Module) -> None:
    """One pruner, three calls: each starts from the model that was handed in."""
    pruner, before = answer.in_place(model, 0.9), _facts(model)
    Answer(pruner.magnitude_based_pruning).in_place()
    advice = "every call starts from the model that was handed in, so that nothing stacks"
    for sparsity in (0.8, 0.5):
        call = f"apply_global_pruning({sparsity:g}) after another call on the same pruner"
        masks = global_masks(layer_weights(model), sparsity)
        _expect_pruned(Answer(pruner.apply_global_pruning).in_place(sparsity), model, before, masks, call, advice)


def _expect_pruned(
    pruned: Any, model: nn.Module, before: dict[str, Tensor], masks: dict[str, Tensor], call: str, count_advice: str
) -> None:
    _expect_plain(pruned, model, before, call)
    for name, weight in layer_weights(pruned).items():
        dropped, zeros = int((~masks[name]).sum()), int((weight == 0).sum())
        expect_equal(f"zeros in layer {name!r}", zeros, dropped, given=call, hint=count_advice)
        advice = "which weights went? The smallest magnitudes should, and the others keep their values"
        key = f"{name}.weight"
        expect_equal(f"weight of layer {name!r}", weight, before[key] * masks[name], given=call, hint=advice)
    others = {key for key in before if key.removesuffix(".weight") not in masks}
    for key in sorted(others):
        advice = "only the weights of convolutions and linear layers are pruned, no biases and no norms"
        expect_equal(key, pruned.state_dict()[key], before[key], given=call, hint=advice)


def _expect_plain(pruned: Any, model: nn.Module, before: dict[str, Tensor], call: str) -> None:
    """A model of its own with the parameters of the original, and the original as it was."""
    advice = "each method returns the pruned copy; is there a return statement?"
    expect(isinstance(pruned, nn.Module), f"expected a model, got {type(pruned).__name__}", given=call, hint=advice)
    advice = "work on `copy.deepcopy(self.model)`: whoever handed the model in still needs it for the comparison"
    after = model.state_dict()
    touched = sorted(before.keys() ^ after.keys())
    touched += [key for key in before if key in after and not torch.equal(before[key], after[key])]
    expect(not touched, f"the model that was handed in was changed ({_few(touched)})", given=call, hint=advice)
    expect(pruned is not model, "the very model that was handed in came back", given=call, hint=advice)
    advice = "a mask that stays beside the weight makes the file larger; write the zeros into the weight itself"
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
    """``gradual_pruning``: rounds of pruning and training whose masks hold, down to the final sparsity."""
    call = f"gradual_pruning(train_epoch, {initial:g}, {final:g}, {steps})"
    before, train, reference = _facts(model), Trainer(), Trainer()
    pruned = _method(answer, model, 0.9, "gradual_pruning").in_place(train, initial, final, steps)
    _expect_plain(pruned, model, before, call)
    expected = gradual_reference(model, reference, initial, final, steps)
    advice = "every round calls train_epoch(model) once"
    expect_equal("calls of train_epoch", len(train.zeros_met), steps, given=call, hint=advice)
    expect(model not in train.models, "train_epoch got the model that was handed in", given=call, hint="train the copy")
    advice = "the sparsity of round k follows the cubic schedule from initial (k = 0) to final (k = steps - 1), "
    advice += "and it is a share of all weights, not of those that are left"
    expect_equal("zeros that train_epoch met", train.zeros_met, reference.zeros_met, given=call, hint=advice)
    total = sum(weight.numel() for weight in layer_weights(model).values())
    zeros = sum(int((weight == 0).sum()) for weight in layer_weights(pruned).values())
    advice = "training moves every weight, also the pruned ones: apply the mask again after train_epoch"
    expect_equal("zeros at the end", zeros, round(final * total), given=call, hint=advice)
    advice = "in each round: rank the trained weights, zero the smallest, train, zero the same ones again"
    for key, tensor in expected.state_dict().items():
        expect_close(key, pruned.state_dict()[key], tensor, given=call, hint=advice)


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")

"""Quantization-aware training: the model trains on its grid, so that its weights learn to live with rounding.

``prepare`` puts a quantizer before every weight and every input of a convolution or linear layer, ``train_quantized``
fine-tunes, and ``convert`` takes the quantizers out again: what remains are plain modules whose weights lie exactly on
their grid, and input grids that are part of the model (see ``course_lib.architectures.input_quantizers``).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from course_lib import models, training
from course_lib.architectures import input_quantizers
from course_lib.core.validation import check_choice, check_fraction
from course_lib.data import Split, refuse_test
from course_lib.quantization.affine import QuantParams, quantize_tensor
from course_lib.quantization.bit_allocation import EDGE_BITS, Bits, bits_per_layer
from course_lib.quantization.calibration import error_prefix
from course_lib.quantization.mse_scale import SMALLEST, best_input_params, best_weight_params
from course_lib.quantization.packing import set_weights
from course_lib.quantization.ptq import QuantizationResult, quantize_activations
from course_lib.quantization.straight_through import quantize_learned_step, quantize_straight_through

ESTIMATORS = ("lsq", "ste")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class WeightQuantizer(nn.Module):
    """What a weight ``(out, …)`` goes through before it is used: one step size for each output channel."""

    def __init__(self, params: QuantParams, learned: bool) -> None:
        super().__init__()
        self.bits = params.bits
        self.low, self.high = params.range
        self.scale = nn.Parameter(params.scale.clone(), requires_grad=learned)

    def forward(self, weight: Tensor) -> Tensor:
        scale = self.scale.view(-1, *[1] * (weight.dim() - 1))
        quantize = quantize_learned_step if self.scale.requires_grad else quantize_straight_through
        return quantize(weight, scale, self.low, self.high)

    def params(self) -> QuantParams:
        """The learned step sizes as parameters of a quantized tensor."""
        zeros = torch.zeros(len(self.scale), dtype=torch.int32)
        return QuantParams(self.scale.detach().cpu().clone(), zeros, self.bits, symmetric=True, axis=0)


class InputQuantizer(nn.Module):
    """What a layer's input goes through: one step size for the whole tensor."""

    def __init__(self, params: QuantParams, learned: bool) -> None:
        super().__init__()
        self.bits, self.symmetric = params.bits, params.symmetric
        self.low, self.high = params.range
        self.scale = nn.Parameter(params.scale[0].clone(), requires_grad=learned)

    def forward(self, values: Tensor) -> Tensor:
        if not self.scale.requires_grad:
            return quantize_straight_through(values, self.scale, self.low, self.high)
        return quantize_learned_step(values, self.scale, self.low, self.high, entries=values[0].numel())

    def params(self) -> QuantParams:
        """The learned step size as parameters of a grid."""
        scale = self.scale.detach().cpu().reshape(1).clone()
        return QuantParams(scale, torch.zeros(1, dtype=torch.int32), self.bits, self.symmetric)


@dataclass(frozen=True)
class TrainedResult(QuantizationResult):
    """A model that was trained on its grid; ``exact`` is the model before that, so noise includes what it learned."""

    history: training.History = field(default_factory=training.History)


def prepare(
    model: nn.Module, calibration: Split, *, weight_bits: Bits = 8, input_bits: Bits = 8,
    edge_bits: int | None = EDGE_BITS, estimator: str = "lsq",
) -> nn.Module:  # fmt: skip
    """A copy of ``model`` that rounds every weight and every layer input, and can be trained; nothing is trained yet.

    Args:
        calibration: examples from which the first step sizes of the inputs are chosen.
        weight_bits, input_bits, edge_bits: see ``bits_per_layer``.
        estimator: ``"lsq"`` trains the step sizes too, ``"ste"`` keeps them as they were chosen.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or weights or inputs hold NaN or infinity.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    of_weights, of_inputs = (bits_per_layer(model, bits, edge_bits) for bits in (weight_bits, input_bits))
    prepared, learned = copy.deepcopy(model).eval(), estimator == "lsq"
    inputs = best_input_params(prepared, calibration, of_inputs)
    for name, layer in models.prunable_layers(prepared).items():
        with error_prefix(f"layer {name!r}"):
            params = best_weight_params(layer.get_parameter("weight"), of_weights[name])
        parametrize.register_parametrization(layer, "weight", WeightQuantizer(params, learned))
        if name in inputs:
            input_quantizers.add_input_grid(layer, InputQuantizer(inputs[name], learned))
    return prepared


@torch.no_grad()
def convert(prepared: nn.Module, model: nn.Module) -> nn.Module:
    """A copy of ``model`` with what ``prepared``, made from it, has learned: weights on their grid, fixed input grids.

    Raises:
        ValueError: if a weight or step size is NaN or infinite because the training diverged.
    """
    learned, plain = prepared.state_dict(), copy.deepcopy(model)
    plain.load_state_dict({name: learned.get(name, value) for name, value in plain.state_dict().items()})
    weights, inputs = {}, {}
    for name, layer in models.prunable_layers(prepared).items():
        quantizer: Any = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
        weights[f"{name}.weight"] = quantize_tensor(
            learned[f"{name}.parametrizations.weight.original"], quantizer.params()
        )
        if isinstance(grid := getattr(layer, input_quantizers.GRID, None), InputQuantizer):
            inputs[name] = grid.params()
    return quantize_activations(set_weights(plain, weights), inputs).eval()


def train_quantized(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    weight_bits: Bits = 8,
    input_bits: Bits = 8,
    edge_bits: int | None = EDGE_BITS,
    estimator: str = "lsq",
    epochs: int,
    learning_rate: float,
    freeze_norms_after: float = 0.5,
    distil: bool = True,
    loss: training.Loss | None = None,
    **fit_options: Any,
) -> TrainedResult:
    """Fine-tune a quantized copy of ``model``, and return it as plain modules on their grid.

    Args:
        weight_bits, input_bits, edge_bits, estimator: see ``prepare``.
        freeze_norms_after: share of the training after which BatchNorm stops following the batches and uses the mean
            and variance that it has by then, as it will after the training (Krishnamoorthi, 2018, section 3.2).
        distil: train on what ``model`` answers (its probabilities) instead of the labels; ``loss`` overrides it.
        fit_options: passed on to ``training.fit``: ``optimizer``, ``precision``, ``augment``, ``checkpoint``, ….

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range.
    """
    for split in (train, validation):
        if split is not None:
            refuse_test(split, "trained or tuned on")
    check_fraction("freeze_norms_after", freeze_norms_after, below_one=False)
    prepared = prepare(
        model, train, weight_bits=weight_bits, input_bits=input_bits, edge_bits=edge_bits, estimator=estimator
    )
    objective = loss or (as_the_original(model) if distil else training.cross_entropy())
    keeper = NormKeeper(freeze_norms_after, objective)
    history = training.fit(
        prepared, train, validation, epochs=epochs, learning_rate=learning_rate, loss=keeper.loss,
        after_step=keeper.after_step, **fit_options,
    )  # fmt: skip
    return TrainedResult(convert(prepared, model), copy.deepcopy(model).eval(), history)


def as_the_original(model: nn.Module) -> training.Loss:
    """Cross entropy against the probabilities that the unquantized ``model`` gives for the same inputs.

    Source: Polino et al., Model compression via distillation and quantization, 2018 (section 3).
    """
    teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(student: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        teacher.to(labels.device)
        with torch.no_grad():
            wanted = models.forward(teacher, inputs).float().softmax(dim=-1)
        return F.cross_entropy(models.forward(student, inputs).float(), wanted)

    return loss


class NormKeeper:
    """Freezes BatchNorm when its time has come, and keeps step sizes positive."""

    def __init__(self, freeze_after: float, objective: training.Loss) -> None:
        self.freeze_after, self.objective = freeze_after, objective
        self.frozen = freeze_after == 0

    def loss(self, model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        """The objective; ``model.train()`` at the start of an epoch has thawed the norms, so they are frozen here."""
        if self.frozen:
            for module in model.modules():
                if isinstance(module, NORMS):
                    module.eval()
        return self.objective(model, inputs, labels)

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        """Called by ``training.fit`` after every update."""
        self.frozen = step >= self.freeze_after * total_steps
        for module in model.modules():
            if isinstance(module, WeightQuantizer | InputQuantizer):
                module.scale.clamp_(min=SMALLEST)

"""Quantization-aware training (QAT): fine-tuning with fake-quantized weights and inputs.

``prepare`` adds a fake quantizer to every weight and every input of a convolution or linear layer, ``train_quantized``
fine-tunes, and ``convert`` replaces the quantizers by plain modules with quantized weights, and by input grids that are
part of the model (see ``course_lib.architectures.input_quantizers``).
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
from course_lib.architectures.weighted_layers import check_no_fused_weights, copy_model, output_axis
from course_lib.core.validation import check_choice, check_fraction, error_prefix
from course_lib.data import Split, refuse_test
from course_lib.quantization.affine import QuantParams, quantize_tensor
from course_lib.quantization.bit_allocation import EDGE_BITS, Bits, bits_per_layer
from course_lib.quantization.mse_scale import SMALLEST, best_input_params, best_weight_params
from course_lib.quantization.packing import set_weights
from course_lib.quantization.ptq import QuantizationResult, quantize_activations
from course_lib.quantization.sparse_weights import kept_entries
from course_lib.quantization.straight_through import quantize_learned_step, quantize_straight_through
from course_lib.training.losses import soft_targets

ESTIMATORS = ("lsq", "ste")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class FakeQuantizer(nn.Module):
    """Fake quantization with step sizes that are trained (LSQ) or fixed (straight-through estimator)."""

    def __init__(self, params: QuantParams, learned: bool) -> None:
        super().__init__()
        self.bits, self.symmetric, self.axis = params.bits, params.symmetric, params.axis
        self.low, self.high = params.range
        scale = params.scale[0] if params.axis is None else params.scale
        self.scale = nn.Parameter(scale.clone(), requires_grad=learned)

    def fake_quantize(self, values: Tensor, scale: Tensor, entries: int | None = None) -> Tensor:
        """``values`` on the grid of ``scale``; ``entries`` as in ``quantize_learned_step``."""
        if self.scale.requires_grad:
            return quantize_learned_step(values, scale, self.low, self.high, entries)
        return quantize_straight_through(values, scale, self.low, self.high)

    def params(self) -> QuantParams:
        """The current step sizes as params of a quantized tensor."""
        scale = self.scale.detach().cpu().reshape(-1).clone()
        return QuantParams(scale, torch.zeros(len(scale), dtype=torch.int32), self.bits, self.symmetric, self.axis)


class WeightQuantizer(FakeQuantizer):
    """Parametrization of a weight ``(out, …)``: one step size for each output channel.

    Args:
        kept: boolean, in the shape of the weight; where it is false the weight is pruned and stays zero.
    """

    kept: Tensor | None

    def __init__(self, params: QuantParams, learned: bool, kept: Tensor | None = None) -> None:
        super().__init__(params, learned)
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """The fake-quantized weight."""
        shape = [1] * weight.dim()
        shape[self.axis or 0] = -1
        return self.fake_quantize(self.masked(weight), self.scale.view(shape))

    def masked(self, weight: Tensor) -> Tensor:
        """``weight`` with zeros where it is pruned."""
        return weight if self.kept is None else torch.where(self.kept, weight, 0.0)


class InputQuantizer(FakeQuantizer):
    """Input grid of a layer: one step size for the whole tensor."""

    def forward(self, values: Tensor) -> Tensor:
        """The fake-quantized input."""
        return self.fake_quantize(values, self.scale, entries=values[0].numel())


@dataclass(frozen=True)
class TrainedResult(QuantizationResult):
    """A model after QAT; ``exact`` is the model before it, so the report's SQNR includes what training changed."""

    history: training.History = field(default_factory=training.History)


def prepare(
    model: nn.Module, calibration: Split, *, weight_bits: Bits = 8, input_bits: Bits = 8,
    edge_bits: int | None = EDGE_BITS, estimator: str = "lsq", keep_zeros: bool | None = None,
) -> nn.Module:  # fmt: skip
    """A trainable copy of ``model`` that fake-quantizes every weight and every layer input; nothing is trained yet.

    A head that shares its matrix with an embedding stays as it is.

    Args:
        calibration: examples for the initial step sizes of the inputs.
        weight_bits, input_bits, edge_bits: see ``bits_per_layer``.
        estimator: ``"lsq"`` trains the step sizes as well, ``"ste"`` keeps them fixed.
        keep_zeros: whether pruned weights stay zero; None: in layers where at least a tenth of the weights are zero.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, weights or inputs hold NaN or infinity, or two layers share theirs.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    layer_weight_bits, layer_input_bits = (bits_per_layer(model, bits, edge_bits) for bits in (weight_bits, input_bits))
    check_no_fused_weights(model, "quantization-aware training")
    prepared, learned = copy_model(model).eval(), estimator == "lsq"
    inputs = best_input_params(prepared, calibration, layer_input_bits)
    for name, layer in _own_weights(prepared).items():
        with error_prefix(f"layer {name!r}"):
            weight = layer.get_parameter("weight")
            params = best_weight_params(weight, layer_weight_bits[name], output_axis(layer))
        quantizer = WeightQuantizer(params, learned, kept_entries(weight, keep_zeros))
        parametrize.register_parametrization(layer, "weight", quantizer)
        if name in inputs:
            input_quantizers.add_input_grid(layer, InputQuantizer(inputs[name], learned))
    return prepared


def _own_weights(model: nn.Module) -> dict[str, nn.Module]:
    """Name → layer of all but heads that share their matrix with an embedding, which looks up unrounded rows."""
    tables = {id(module.weight): name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    layers = {name: it for name, it in models.prunable_layers(model).items() if id(it.weight) not in tables}
    owners: dict[int, str] = {}
    for name, layer in layers.items():
        owner = owners.setdefault(id(layer.weight), name)
        if owner != name:
            raise ValueError(f"layers {owner!r} and {name!r} share their weight and cannot both be trained; untie them")
    return layers


@torch.no_grad()
def convert(prepared: nn.Module, model: nn.Module) -> nn.Module:
    """A copy of ``model`` with the quantized weights and input grids of ``prepared``, which was made from it.

    Raises:
        ValueError: if a weight or step size is NaN or infinite because the training diverged.
    """
    learned, plain = prepared.state_dict(), copy.deepcopy(model)
    plain.load_state_dict({name: learned.get(name, value) for name, value in plain.state_dict().items()})
    weights, inputs = {}, {}
    for name, layer in models.prunable_layers(prepared).items():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        quantizer: Any = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
        original = quantizer.masked(learned[f"{name}.parametrizations.weight.original"])
        weights[f"{name}.weight"] = quantize_tensor(original, quantizer.params())
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
    keep_zeros: bool | None = None,
    epochs: int,
    learning_rate: float,
    freeze_norms_after: float = 0.5,
    distil: bool = True,
    loss: training.Loss | None = None,
    **fit_options: Any,
) -> TrainedResult:
    """Fine-tune a fake-quantized copy of ``model``, and return it as plain modules with quantized weights.

    Args:
        weight_bits, input_bits, edge_bits, estimator, keep_zeros: see ``prepare``.
        freeze_norms_after: fraction of the training after which BatchNorm uses its running mean and variance instead of
            batch statistics, as at inference (Krishnamoorthi, 2018, section 3.2).
        distil: train on the probabilities of ``model`` instead of the labels; ``loss`` overrides it.
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
        model, train, weight_bits=weight_bits, input_bits=input_bits, edge_bits=edge_bits, estimator=estimator,
        keep_zeros=keep_zeros,
    )  # fmt: skip
    objective = loss or (teacher_cross_entropy(model) if distil else training.cross_entropy())
    freezer = BatchNormFreezer(freeze_norms_after, objective)
    history = training.fit(
        prepared, train, validation, epochs=epochs, learning_rate=learning_rate, loss=freezer.loss,
        after_step=freezer.after_step, **fit_options,
    )  # fmt: skip
    return TrainedResult(convert(prepared, model), copy.deepcopy(model).eval(), history)


def teacher_cross_entropy(model: nn.Module) -> training.Loss:
    """Cross entropy with the probabilities of a teacher, a copy of the unquantized ``model``, as targets.

    Source: Polino et al., Model compression via distillation and quantization, 2018 (section 3).
    """
    teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(student: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        teacher.to(labels.device)
        with torch.no_grad():
            targets = soft_targets(models.forward(teacher, inputs), temperature=1.0)
        return F.cross_entropy(models.forward(student, inputs).float(), targets)

    return loss


class BatchNormFreezer:
    """Freezes BatchNorm statistics after a fraction ``freeze_after`` of the training; keeps step sizes positive."""

    def __init__(self, freeze_after: float, objective: training.Loss) -> None:
        self.freeze_after, self.objective = freeze_after, objective
        self.frozen = freeze_after == 0

    def loss(self, model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        """The objective; norms are frozen here because ``model.train()`` unfreezes them at the start of an epoch."""
        if self.frozen:
            for module in model.modules():
                if isinstance(module, NORMS):
                    module.eval()
        return self.objective(model, inputs, labels)

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        """Decide whether norms are frozen, and clamp step sizes; called after every optimizer step."""
        self.frozen = step >= self.freeze_after * total_steps
        for module in model.modules():
            if isinstance(module, FakeQuantizer):
                module.scale.clamp_(min=SMALLEST)

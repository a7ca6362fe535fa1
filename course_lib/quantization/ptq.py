"""Post-training quantization (PTQ) of a model: weights rounded, ranges of activations calibrated, no training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from course_lib import models
from course_lib.architectures import input_quantizers
from course_lib.architectures.batchnorm_folding import fold_batchnorm
from course_lib.architectures.input_quantizers import InputGrid
from course_lib.architectures.registry import extend_argument
from course_lib.architectures.weighted_layers import copy_model, fused_weights, output_axis
from course_lib.core.validation import error_prefix
from course_lib.data import Split
from course_lib.quantization.affine import QuantParams, quantize_tensor, weight_params
from course_lib.quantization.bias_correction import correct_bias
from course_lib.quantization.calibration import calibrate, check_calibration, quantizable_layers
from course_lib.quantization.packing import set_weights
from course_lib.quantization.sqnr import weight_report

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Scheme:
    """Bits, granularity and symmetry of the integers of a weight; see ``weight_params``."""

    bits: int = 8
    granularity: str = "per_channel"
    group_size: int | None = None
    symmetric: bool = True

    def params(self, weight: Tensor, axis: int = 0) -> QuantParams:
        """Min-max scales and zero-points of ``weight``, whose channels lie along ``axis``."""
        return weight_params(
            weight, self.bits, self.granularity, group_size=self.group_size, symmetric=self.symmetric, axis=axis
        )


@dataclass(frozen=True)
class QuantizationResult:
    """A quantized copy of a model, and the model that it was made from.

    Args:
        model: plain modules with the dequantized values, ready for ``storage.save``.
        exact: the unquantized model, with BatchNorm folded where that was done, for comparison.
    """

    model: nn.Module = field(repr=False)
    exact: nn.Module = field(repr=False)

    @property
    def report(self) -> pandas.DataFrame:
        """One row per quantized weight: bits, number of scales, bytes, SQNR in decibels."""
        return weight_report(self.exact, self.model)


def quantize_weights(
    model: nn.Module,
    scheme: Scheme | None = None,
    *,
    layers: Collection[str] | None = None,
    embeddings: Scheme | None = None,
    overrides: Mapping[str, Scheme] | None = None,
) -> nn.Module:
    """A copy of ``model`` whose convolution and linear weights are rounded to nearest.

    By default so are the matrices of ``nn.MultiheadAttention``, recurrent layers and ``nn.Bilinear``. A head that
    shares its matrix with an embedding is rounded once: as ``overrides`` says for one of them, else as the embedding.

    Args:
        scheme: for all these layers; 8 bits per channel by default.
        layers: names of the layers; all layers with weights by default.
        embeddings: scheme of the embedding tables (a row is a channel); None leaves them as they are.
        overrides: layer → its own scheme.

    Raises:
        ValueError: if there is nothing to quantize, a name is unknown, a weight holds NaN or infinity, or a scheme
            does not fit, or two names of one weight have different ``overrides``; the model is never changed.
    """
    chosen: dict[str, nn.Module] = dict(quantizable_layers(model, layers))
    schemes = dict.fromkeys(chosen, scheme or Scheme())
    if embeddings is not None:
        tables = {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
        chosen, schemes = chosen | tables, schemes | dict.fromkeys(tables, embeddings)
    for name in overrides or {}:
        if name not in chosen:
            raise ValueError(f"overrides names {name!r}, which is not among the layers to quantize")
    schemes |= overrides or {}
    weights = {}
    for name in _one_name_each(chosen, overrides or {}):
        weight = chosen[name].get_parameter("weight").detach()
        with error_prefix(f"layer {name!r}"):
            params = schemes[name].params(weight, output_axis(chosen[name]))
            weights[f"{name}.weight"] = quantize_tensor(weight, params)
    for name, weight in fused_weights(model).items() if layers is None else ():
        with error_prefix(f"weight {name!r}"):
            weights[name] = quantize_tensor(weight.detach(), (scheme or Scheme()).params(weight.detach()))
    return set_weights(copy_model(model), weights)


def _one_name_each(layers: Mapping[str, nn.Module], overrides: Mapping[str, Scheme]) -> list[str]:
    """One name of every weight: of several, the one with an override, else the embedding, else the first."""
    chosen: dict[int, str] = {}
    for name, module in layers.items():
        known = chosen.setdefault(id(module.weight), name)
        if name in overrides and known in overrides and overrides[name] != overrides[known]:
            raise ValueError(f"layers {known!r} and {name!r} share their weight, but overrides has a scheme for each")
        if name in overrides or (known not in overrides and isinstance(module, nn.Embedding)):
            chosen[id(module.weight)] = name
    return list(chosen.values())


def quantize_activations(model: nn.Module, params: Mapping[str, QuantParams]) -> nn.Module:
    """A copy of ``model`` whose layers fake-quantize their input: layer → params of its input.

    The copy can be stored, and is loaded with its input grids.

    Raises:
        ValueError: if a name is unknown, or there is more than one scale for a layer.
    """
    layers = dict(model.named_modules())
    for name, it in params.items():
        if name not in layers or it.scale.numel() != 1:
            raise ValueError(f"params of {name!r} must be one scale for a layer of the model")
    quantized = copy_model(model)
    add_input_grids(quantized, {name: input_grid(it) for name, it in params.items()})
    return quantized


def add_input_grids(model: nn.Module, grids: Mapping[str, InputGrid]) -> None:
    """Add input grids to layers of ``model`` and to its description, in place."""
    for name, grid in grids.items():
        input_quantizers.add_input_grid(model.get_submodule(name), grid)
    extend_argument(model, "input_grids", {name: grid.description for name, grid in grids.items()})


def input_grid(params: QuantParams) -> InputGrid:
    """The input grid of ``params``: multiples of the scale from qmin - zero_point to qmax - zero_point."""
    (qmin, qmax), zero_point = params.range, int(params.zero_point)
    return InputGrid(qmin - zero_point, qmax - zero_point, params.scale)


def post_training_quantization(
    model: nn.Module,
    calibration: Split,
    *,
    weights: Scheme | None = None,
    activation_bits: int | None = 8,
    method: str = "min-max",
    embeddings: Scheme | None = None,
    layers: Collection[str] | None = None,
    overrides: Mapping[str, Scheme] | None = None,
    corrected: bool = False,
) -> QuantizationResult:
    """Fold BatchNorm, round the weights, and quantize activations with ranges calibrated on ``calibration``.

    Activations are quantized where they enter a layer that is called. Inputs of ``nn.MultiheadAttention``, of recurrent
    layers and of ``nn.Bilinear`` stay as they are, and so do those of a layer that no example reaches.

    Args:
        calibration: train or validation examples; the test split is refused.
        weights, embeddings, layers, overrides: as in ``quantize_weights``.
        activation_bits: 2 to 8, or None to leave activations as they are.
        method: observer that chooses the ranges, one of ``OBSERVERS``.
        corrected: correct biases at the end (``correct_bias``).

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if it is empty, or the model or the schemes do not fit.

    Source: Nagel et al., A White Paper on Neural Network Quantization, 2021 (section 3).
    """
    check_calibration(calibration)
    quantizable_layers(model, layers)
    device = next(model.parameters()).device
    exact = fold_batchnorm(model, models.to_device(calibration.example(1), device))
    quantized = quantize_weights(exact, weights, layers=layers, embeddings=embeddings, overrides=overrides)
    if activation_bits is not None:
        observers = calibrate(exact, calibration, method, bits=activation_bits, layers=layers)
        params = {name: observer.params() for name, observer in observers.items() if observer.seen}
        quantized = quantize_activations(quantized, params)
    if corrected:
        quantized = correct_bias(quantized, exact, calibration, layers=layers)
    return QuantizationResult(quantized, exact)

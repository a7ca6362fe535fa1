"""Quantizing the weights of a transformer and nothing else: what round-to-nearest, GPTQ and AWQ have in common.

``WeightScheme`` says how the integers look, ``clipped_params`` finds ranges, ``rtn`` rounds, and ``finish`` packs
embeddings and heads, which no method here treats specially. Weights are handled as matrices ``(out, in)``; a group is a
run of consecutive inputs of one output.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.data import Split
from course_lib.quantization.affine import (
    QuantizedTensor,
    QuantParams,
    check_finite,
    choose_params,
    fake_quantize,
    integer_range,
    quantize_tensor,
    weight_params,
)
from course_lib.quantization.folding import fold_divisor
from course_lib.quantization.packing import pack, set_weights
from course_lib.storage import Encoded
from course_lib.training.input_statistics import LayerInputs
from course_lib.training.sequential_calibration import (
    Stage,
    calibration_batches,
    is_linear,
    is_transposed,
    linear_layers,
    set_weight_matrix,
    walk,
    weight_matrix,
)

if TYPE_CHECKING:
    import pandas

CLIP_RATIOS = tuple(1 - 0.05 * step for step in range(13))
HEAD_BITS = 8
TINY = 1e-12
SMALL = 4096  # matrices with fewer entries stay as they are: a scale per group would not pay


@dataclass(frozen=True)
class WeightScheme:
    """How the integers of a weight matrix look.

    Args:
        bits: 2 to 8.
        group_size: so many consecutive inputs of an output share a scale; None: all of them.
        symmetric: signed integers without zero-point; else unsigned ones with a zero-point per group.
    """

    bits: int = 4
    group_size: int | None = 64
    symmetric: bool = False

    def __post_init__(self) -> None:
        integer_range(self.bits, self.symmetric)

    def params(self, matrix: Tensor) -> QuantParams:
        """Scales (exact in fp16) and zero-points from the smallest and largest weight of each group."""
        granularity = "per_channel" if self.group_size is None else "group"
        return weight_params(
            matrix, self.bits, granularity, group_size=self.group_size, symmetric=self.symmetric, scale_dtype="fp16"
        )

    def check(self, layers: Mapping[str, nn.Module]) -> None:
        """Make sure that every layer can be quantized like this, before anything is changed.

        Raises:
            ValueError: names the first layer whose inputs the group size does not divide, or that is not finite.
        """
        for name, layer in layers.items():
            matrix = weight_matrix(layer)
            check_finite(f"weight of {name!r}", matrix)
            if self.group_size is not None and (self.group_size < 1 or matrix.shape[1] % self.group_size):
                raise ValueError(
                    f"group_size must be a divisor of the inputs of every layer, got {self.group_size!r}; "
                    f"{name!r} has {matrix.shape[1]} inputs"
                )


@dataclass(frozen=True)
class WeightOnly:
    """A copy of a model with quantized weights, and what was done to each layer.

    Args:
        model: a plain module; ``storage.save`` writes its packed integers.
        method: ``"rtn"``, ``"gptq"``, ….
        layers: one dict per quantized layer, with its name first.
        seconds: wall-clock time of the whole method.
    """

    model: nn.Module
    method: str
    scheme: WeightScheme
    layers: tuple[dict[str, Any], ...] = field(repr=False, default=())
    seconds: float = 0.0

    @property
    def report(self) -> pandas.DataFrame:
        """One row per layer: bits, group size, bits per weight with scales, error of the output where it is known."""
        import pandas

        return pandas.DataFrame(list(self.layers)).set_index("layer")

    def save(self, path: str | Path) -> Path:
        """Write the model: packed integers, and everything else as fp16."""
        return storage.save(self.model, path, dtype="fp16")


def rtn(
    model: nn.Module,
    bits: int = 4,
    *,
    group_size: int | None = 64,
    symmetric: bool = False,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """Round every weight of the blocks to the nearest value of its grid; no data is needed.

    Args:
        embedding_bits: bits of embeddings; None leaves them, and the heads, as they are.

    Raises:
        ValueError: if an argument is out of range or the model has no linear layers; ``model`` is never changed.
    """
    started, scheme = time.perf_counter(), WeightScheme(bits, group_size, symmetric)
    scheme.check(linear_layers(model))
    changed = copy.deepcopy(model)
    weights, rows = {}, []
    for name, layer in linear_layers(changed).items():
        matrix = weight_matrix(layer)
        weights[f"{name}.weight"] = pack(to_layer(quantize_tensor(matrix, scheme.params(matrix)), layer))
        rows.append(layer_row(name, scheme, weights[f"{name}.weight"]))
    finish(changed, weights, scheme, embedding_bits)
    return WeightOnly(changed, "rtn", scheme, tuple(rows), time.perf_counter() - started)


def clipped_params(matrix: Tensor, scheme: WeightScheme, hessian: Tensor) -> QuantParams:
    """Like ``scheme.params``, but each group's range is shrunk by the ratio that hurts its output least.

    A smaller range means smaller steps for most weights and a larger error for the few that are clipped. Tried are 13
    ratios from 1 to 0.4; the error of a group is ``δ H δᵀ`` with the block of ``hessian`` that belongs to its inputs.

    Args:
        matrix: ``(out, in)``.
        hessian: ``(in, in)``.
    """
    plain = scheme.params(matrix)
    size = scheme.group_size or matrix.shape[1]
    groups = matrix.shape[1] // size
    block = torch.stack([hessian[at : at + size, at : at + size] for at in range(0, matrix.shape[1], size)])
    low, high = plain.blocks(matrix).aminmax(dim=1)
    best_error = torch.full_like(low, torch.inf)
    scale, zero_point = plain.scale.clone(), plain.zero_point.clone()
    for ratio in CLIP_RATIOS:
        tried = choose_params(
            low * ratio, high * ratio, scheme.bits, scheme.symmetric, axis=0, group_size=scheme.group_size,
            scale_dtype="fp16",
        )  # fmt: skip
        change = (fake_quantize(matrix, tried) - matrix).view(len(matrix), groups, size).transpose(0, 1)
        error = ((change @ block) * change).sum(dim=2).T.reshape(-1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        scale, zero_point = torch.where(better, tried.scale, scale), torch.where(better, tried.zero_point, zero_point)
    return replace(plain, scale=scale, zero_point=zero_point)


def to_layer(quantized: QuantizedTensor, layer: nn.Module) -> QuantizedTensor:
    """A quantized matrix ``(out, in)`` in the layout of ``layer``: GPT-2's ``Conv1D`` keeps it transposed."""
    if not is_transposed(layer):
        return quantized
    return QuantizedTensor(quantized.integers.T.contiguous(), replace(quantized.params, axis=1))


def layer_row(name: str, scheme: WeightScheme, weight: Encoded, **more: Any) -> dict[str, Any]:
    """What a report says about one layer."""
    per_weight = 8 * weight.bytes / weight.elements
    return {"layer": name, "bits": scheme.bits, "group_size": scheme.group_size, "bits_per_weight": per_weight, **more}


@dataclass(frozen=True)
class Choice:
    """What a method decided for the stacked matrices of a stage.

    Args:
        quantized: integers of the matrix, ``(out, in)``; of ``matrix * divisor`` where there is a divisor.
        divisor: ``(in,)``, exact in fp16: what the inputs of the integers are to be divided by.
        facts: further columns of the report.
    """

    quantized: QuantizedTensor
    divisor: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> Tensor:
        """The weights as they act on inputs that nobody divided."""
        values = self.quantized.values()
        return values if self.divisor is None else values / self.divisor


Method = Callable[[Stage, Tensor, LayerInputs], Choice]


def quantize_by_stage(
    model: nn.Module,
    calibration: Split,
    scheme: WeightScheme,
    method: Method,
    *,
    name: str,
    embedding_bits: int | None,
    fold: bool = True,
    correct: bool = False,
) -> WeightOnly:
    """Let ``method`` choose for each stage of a copy of ``model``, with the inputs that quantized predecessors give.

    A divisor goes into the layer before, if that is possible and ``fold`` is set, and else into the stored matrix.
    With ``correct``, layers that have a bias leave the mean of their error to it, and ``method`` gets centred inputs.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if there is no example or no linear layer, or a layer cannot be quantized like this.
    """
    started, batches = time.perf_counter(), calibration_batches(calibration)
    scheme.check(linear_layers(model))
    changed = copy.deepcopy(model)
    weights: dict[str, Encoded] = {}
    rows: list[dict[str, Any]] = []

    def at_stage(stage: Stage, inputs: LayerInputs) -> None:
        matrix = torch.cat([weight_matrix(layer).float().cpu() for layer in stage.layers.values()])
        correctable = correct and all(layer.bias is not None for layer in stage.layers.values())
        output = max(inputs.output_error(matrix), TINY)
        inputs = inputs.centred() if correctable else inputs
        choice = method(stage, matrix, inputs)
        facts = {"output_error": inputs.output_error(choice.values() - matrix) / output, **choice.facts}
        folded = choice.divisor is not None and fold and fold_divisor(changed, stage, choice.divisor, weights)
        shift = (matrix - choice.values()) @ inputs.mean if correctable else None
        for layer_name, stored in _write_back(stage, choice.quantized, None if folded else choice.divisor, shift):
            weights[f"{layer_name}.weight"] = stored
            rows.append(layer_row(layer_name, scheme, stored, **facts))

    walk(changed, batches, at_stage)
    finish(changed, weights, scheme, embedding_bits)
    return WeightOnly(changed, name, scheme, tuple(rows), time.perf_counter() - started)


def _write_back(
    stage: Stage, quantized: QuantizedTensor, divisor: Tensor | None, shift: Tensor | None
) -> Iterator[tuple[str, Encoded]]:
    """Put the stacked matrices of a stage into its layers, and ``shift`` into their biases; name and packed matrix."""
    counts = [len(weight_matrix(layer)) for layer in stage.layers.values()]
    shifts = [None] * len(counts) if shift is None else shift.split(counts)
    for (name, layer), part, moved in zip(stage.layers.items(), split_rows(quantized, counts), shifts, strict=True):
        if moved is not None:
            add_to_bias(layer, moved)
        set_weight_matrix(layer, part.values() if divisor is None else part.values() / divisor)
        stored = pack(to_layer(part, layer))
        yield name, stored if divisor is None else storage.encode_columns(stored, divisor=divisor)


def add_to_bias(layer: nn.Module, shift: Tensor) -> None:
    """Move the bias of a layer in place, to values that fp16 holds, in which it is stored.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.2).
    """
    bias: Any = layer.bias
    bias.data.copy_((bias.data + shift.to(bias.device)).half())


def split_rows(quantized: QuantizedTensor, counts: Sequence[int]) -> list[QuantizedTensor]:
    """A stacked matrix ``(sum of counts, in)`` as one quantized matrix per count."""
    params, rows = quantized.params, len(quantized.integers)
    scales = params.scale.view(rows, -1).split(list(counts))
    zero_points = params.zero_point.view(rows, -1).split(list(counts))
    return [
        QuantizedTensor(integers, replace(params, scale=scale.flatten(), zero_point=zero_point.flatten()))
        for integers, scale, zero_point in zip(quantized.integers.split(list(counts)), scales, zero_points, strict=True)
    ]


def finish(model: nn.Module, weights: Mapping[str, Encoded], scheme: WeightScheme, embedding_bits: int | None) -> None:
    """Put the quantized ``weights`` into ``model``, and round embeddings and heads to nearest, in place.

    Heads (linear layers outside the blocks) take 8 bits. At 8 bits one symmetric scale per row is fine enough; below,
    groups are those of ``scheme``, or whole rows where their size does not divide. Matrices with fewer than 4,096
    entries stay as they are.
    """
    everything: dict[str, QuantizedTensor | Encoded] = dict(weights)
    if embedding_bits is not None:
        integer_range(embedding_bits, False)
        for name, module in model.named_modules():
            tensor = getattr(module, "weight", None)
            outside = isinstance(module, nn.Embedding) or is_linear(module)
            if outside and f"{name}.weight" not in everything and tensor is not None and tensor.numel() >= SMALL:
                bits = embedding_bits if isinstance(module, nn.Embedding) or _is_tied(model, module) else HEAD_BITS
                everything[f"{name}.weight"] = _nearest(module, bits, scheme.group_size)
    set_weights(model, everything)


def _is_tied(model: nn.Module, layer: nn.Module) -> bool:
    """Whether a head shares its matrix with an embedding."""
    embeddings = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return any(embedding.weight is layer.weight for embedding in embeddings)


def _nearest(module: nn.Module, bits: int, group_size: int | None) -> QuantizedTensor:
    tensor: Any = module.weight
    matrix = weight_matrix(module) if is_linear(module) else tensor.detach()
    grouped = bits < HEAD_BITS and group_size is not None and matrix.shape[1] % group_size == 0
    scheme = WeightScheme(bits, group_size) if grouped else WeightScheme(bits, None, symmetric=bits >= HEAD_BITS)
    quantized = quantize_tensor(matrix, scheme.params(matrix))
    return to_layer(quantized, module) if is_linear(module) else quantized

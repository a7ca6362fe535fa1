"""Weight-only quantization of a transformer: the scheme and the result that RTN, GPTQ, AWQ and SmoothQuant share.

Weights are handled as matrices ``(out, in)``; a group is a run of consecutive inputs of one output.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from course_lib import storage
from course_lib.architectures.weighted_layers import is_linear, is_transposed
from course_lib.quantization.affine import (
    QuantizedTensor,
    QuantParams,
    check_finite,
    integer_range,
    quantize_tensor,
    weight_params,
)
from course_lib.quantization.packing import pack, set_weights
from course_lib.storage import Encoded
from course_lib.training.sequential_calibration import weight_matrix

if TYPE_CHECKING:
    import pandas

HEAD_BITS = 8
SMALL = 4096  # matrices with fewer entries are not quantized: their scales would take too much


@dataclass(frozen=True)
class WeightScheme:
    """Bits, groups and symmetry of the integers of a weight matrix.

    Args:
        bits: 2 to 8.
        group_size: number of consecutive inputs of an output that share a scale; None: all of them.
        symmetric: signed integers without zero-point; else unsigned ones with a zero-point per group.
    """

    bits: int = 4
    group_size: int | None = 64
    symmetric: bool = False

    def __post_init__(self) -> None:
        integer_range(self.bits, self.symmetric)

    def params(self, matrix: Tensor) -> QuantParams:
        """Min-max scales (exact in fp16) and zero-points of each group."""
        granularity = "per_channel" if self.group_size is None else "group"
        return weight_params(
            matrix, self.bits, granularity, group_size=self.group_size, symmetric=self.symmetric, scale_dtype="fp16"
        )

    def check(self, layers: Mapping[str, nn.Module]) -> None:
        """Check that every layer can be quantized with this scheme.

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
    """A copy of a model with quantized weights, and a report on each layer.

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
        """One row per layer: bits, group size, bits per weight with scales, and what the method reports."""
        import pandas

        return pandas.DataFrame(list(self.layers)).set_index("layer")

    def save(self, path: str | Path) -> Path:
        """Write the model: packed integers, and everything else as fp16."""
        return storage.save(self.model, path, dtype="fp16")


@dataclass
class PackedWeights:
    """Packed layers, collected while a method runs, with the facts that are reported on each."""

    scheme: WeightScheme
    tensors: dict[str, Encoded] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, name: str, weight: Encoded, *, tensor: str | None = None, **facts: Any) -> None:
        """Keep the packed weight of the layer ``name``, or the ``tensor`` of this name, and a row of the report."""
        self.tensors[tensor or f"{name}.weight"] = weight
        per_weight = 8 * weight.bytes / weight.elements
        row = {"layer": name, "bits": self.scheme.bits, "group_size": self.scheme.group_size}
        self.rows.append({**row, "bits_per_weight": per_weight, **facts})

    def finish(self, model: nn.Module, method: str, embedding_bits: int | None) -> WeightOnly:
        """Put the packed weights into ``model``, and round embeddings and heads to nearest, in place.

        Heads (linear layers outside the blocks) get 8 bits. With 8 bits, one symmetric scale per row is accurate
        enough; with fewer, groups are those of the scheme, or rows where their size does not divide. Matrices with
        fewer than 4,096 entries are not quantized.
        """
        if embedding_bits is not None:
            integer_range(embedding_bits, False)
            done = {id(model.get_parameter(name)) for name in self.tensors}
            for name, module in model.named_modules():
                embedding = isinstance(module, nn.Embedding)
                if not (embedding or is_linear(module)) or id(module.weight) in done:
                    continue
                if module.get_parameter("weight").numel() >= SMALL:
                    bits = embedding_bits if embedding or _is_tied(model, module) else HEAD_BITS
                    self.tensors[f"{name}.weight"] = _round_outside(module, bits, self.scheme.group_size)
        set_weights(model, self.tensors)
        return WeightOnly(model, method, self.scheme, tuple(self.rows), time.perf_counter() - self.started)


def round_to_nearest(layer: nn.Module, scheme: WeightScheme) -> Encoded:
    """The packed weight of ``layer``, rounded to nearest with min-max scales."""
    matrix = weight_matrix(layer)
    return pack_matrix(quantize_tensor(matrix, scheme.params(matrix)), layer)


def pack_matrix(quantized: QuantizedTensor, layer: nn.Module) -> Encoded:
    """A quantized matrix ``(out, in)``, packed in the layout of ``layer``: GPT-2's ``Conv1D`` is transposed."""
    if is_transposed(layer):
        quantized = QuantizedTensor(quantized.integers.T.contiguous(), replace(quantized.params, axis=1))
    return pack(quantized)


def _is_tied(model: nn.Module, layer: nn.Module) -> bool:
    """Whether a head shares its matrix with an embedding."""
    embeddings = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return any(embedding.weight is layer.weight for embedding in embeddings)


def _round_outside(module: nn.Module, bits: int, group_size: int | None) -> Encoded:
    """An embedding or a head, rounded to nearest."""
    grouped = bits < HEAD_BITS and group_size is not None and weight_matrix(module).shape[1] % group_size == 0
    scheme = WeightScheme(bits, group_size) if grouped else WeightScheme(bits, None, symmetric=bits >= HEAD_BITS)
    return round_to_nearest(module, scheme)

"""What a quantizer hands back: a plain model, ready to be stored, and a table of what was done to its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from course_lib import grids, models, training
from course_lib.quantization.affine import QuantizedTensor
from course_lib.quantization.packing import quantized_weights, set_weights

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class QuantizationResult:
    """A quantized copy of a model, and what was done to it.

    Args:
        model: plain modules; weights are what their integers stand for, inputs are rounded by input grids.
        history: of the training; empty if there was none.
    """

    model: nn.Module
    history: training.History = field(default_factory=training.History)

    @property
    def report(self) -> pandas.DataFrame:
        """One row per quantized layer: ``layer``, ``weights``, ``bits``, ``input_bits`` (16 or 32: not quantized)."""
        import pandas

        inputs = grids.input_grids(self.model)
        rows = []
        for tensor, quantized in quantized_weights(self.model).items():
            layer = tensor.removesuffix(".weight")
            bits = inputs[layer].bits if layer in inputs else 32
            rows.append((layer, quantized.integers.numel(), quantized.params.bits, bits))
        return pandas.DataFrame(rows, columns=["layer", "weights", "bits", "input_bits"])


def finished(
    model: nn.Module, weights: Mapping[str, QuantizedTensor], chosen: Mapping[str, grids.InputGrid]
) -> nn.Module:
    """Put weights and input grids into ``model`` (in place) and into its description, and return it in eval mode."""
    for name, grid in chosen.items():
        grids.add_input_grid(model.get_submodule(name), grid)
    set_weights(model, weights)
    described = getattr(model, models.ARCHITECTURE_ATTRIBUTE, None)
    if described is not None:
        ends = {name: [grid.low, grid.high] for name, grid in grids.input_grids(model).items()}
        arguments = {**described["arguments"], "input_grids": ends} if ends else described["arguments"]
        setattr(model, models.ARCHITECTURE_ATTRIBUTE, {**described, "arguments": arguments})
    return model.eval()

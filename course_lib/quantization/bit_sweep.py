"""Bit sweep: accuracy and SQNR of a model with rounded weights, for several bit widths and granularities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from course_lib import training
from course_lib.architectures.weighted_layers import output_axis
from course_lib.data import Split
from course_lib.quantization.affine import GRANULARITIES
from course_lib.quantization.calibration import quantizable_layers
from course_lib.quantization.ptq import Scheme, quantize_weights
from course_lib.quantization.sqnr import weight_report

GROUP = 64


def scheme_for(layer: nn.Module, bits: int, granularity: str, group_size: int = GROUP) -> Scheme:
    """The scheme of one layer; groups have the largest size up to ``group_size`` that divides its inputs."""
    if granularity != "group":
        return Scheme(bits, granularity)
    weight = layer.get_parameter("weight")
    return Scheme(bits, granularity, largest_group(weight.numel() // weight.shape[output_axis(layer)], group_size))


def largest_group(inputs: int, group_size: int = GROUP) -> int:
    """The largest size up to ``group_size`` that divides ``inputs``."""
    return next(size for size in range(group_size, 0, -1) if inputs % size == 0)


def bits_scan(
    model: nn.Module,
    split: Split,
    bits: Sequence[int] = (8, 6, 5, 4, 3, 2),
    granularities: Sequence[str] = GRANULARITIES,
) -> Iterator[dict[str, Any]]:
    """Rows ``granularity``, ``bits``, ``accuracy``, ``examples`` and ``sqnr_db`` (tensor → decibels).

    The first row is the unquantized model (granularity ``"none"``, 32 bits). Only weights are rounded, to nearest.

    Raises:
        ValueError: if a bit width or a granularity is not allowed, or the model has nothing to quantize.
    """
    layers = quantizable_layers(model).items()
    accuracy = training.evaluate(model, split).accuracy
    yield {"granularity": "none", "bits": 32, "accuracy": accuracy, "examples": len(split), "sqnr_db": {}}
    for granularity in granularities:
        for width in bits:
            rounded = quantize_weights(
                model, overrides={name: scheme_for(layer, width, granularity) for name, layer in layers}
            )
            report = weight_report(model, rounded)
            yield {
                "granularity": granularity, "bits": width, "accuracy": training.evaluate(rounded, split).accuracy,
                "examples": len(split), "sqnr_db": dict(zip(report.tensor, report.sqnr_db.round(2), strict=True)),
            }  # fmt: skip

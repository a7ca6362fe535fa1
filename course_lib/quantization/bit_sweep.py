"""How few bits are enough: round all weights of a model, for several numbers of bits and ways to share a scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from course_lib import training
from course_lib.data import Split
from course_lib.quantization.calibration import quantizable_layers
from course_lib.quantization.ptq import Scheme, quantize_weights
from course_lib.quantization.sqnr import weight_report

GROUP = 64
GRANULARITIES = ("per_tensor", "per_channel", "group")


def scheme_for(layer: nn.Module, bits: int, granularity: str, group_size: int = GROUP) -> Scheme:
    """A scheme for one layer; a group is the largest one up to ``group_size`` that divides the layer's inputs."""
    if granularity != "group":
        return Scheme(bits, granularity)
    inputs = layer.get_parameter("weight")[0].numel()
    return Scheme(bits, granularity, next(size for size in range(group_size, 0, -1) if inputs % size == 0))


def bits_scan(
    model: nn.Module,
    split: Split,
    bits: Sequence[int] = (8, 6, 5, 4, 3, 2),
    granularities: Sequence[str] = GRANULARITIES,
) -> Iterator[dict[str, Any]]:
    """Rows ``granularity``, ``bits``, ``accuracy``, ``examples`` and ``sqnr_db`` (tensor → decibels).

    The first row is the model as it is (granularity ``"none"``, 32 bits). Weights only, rounded to the nearest.

    Raises:
        ValueError: if a number of bits or a granularity is not allowed, or the model has nothing to quantize.
    """
    layers = quantizable_layers(model).items()
    accuracy = training.evaluate(model, split).accuracy
    yield {"granularity": "none", "bits": 32, "accuracy": accuracy, "examples": len(split), "sqnr_db": {}}
    for granularity in granularities:
        for some in bits:
            rounded = quantize_weights(
                model, overrides={name: scheme_for(layer, some, granularity) for name, layer in layers}
            )
            noise = weight_report(model, rounded)
            yield {
                "granularity": granularity, "bits": some, "accuracy": training.evaluate(rounded, split).accuracy,
                "examples": len(split), "sqnr_db": dict(zip(noise.tensor, noise.sqnr_db.round(2), strict=True)),
            }  # fmt: skip

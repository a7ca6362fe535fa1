"""Round-to-nearest (RTN): the weight-only baseline that GPTQ and AWQ are compared with."""

from __future__ import annotations

from torch import nn

from course_lib.architectures.weighted_layers import copy_model, fused_weights
from course_lib.core.validation import error_prefix
from course_lib.quantization.affine import quantize_tensor
from course_lib.quantization.packing import pack
from course_lib.quantization.weight_only import PackedWeights, WeightOnly, WeightScheme, round_to_nearest
from course_lib.training.sequential_calibration import linear_layers


def rtn(
    model: nn.Module,
    bits: int = 4,
    *,
    group_size: int | None = 64,
    symmetric: bool = False,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """Round every weight of the blocks to the nearest representable value; no data is needed.

    Args:
        embedding_bits: bits of embeddings; None leaves embeddings and heads as they are.

    Raises:
        ValueError: if an argument is out of range or the model has no linear layers; ``model`` is never changed.
    """
    packed = PackedWeights(WeightScheme(bits, group_size, symmetric))
    packed.scheme.check(linear_layers(model))
    rounded = copy_model(model)
    for name, layer in linear_layers(rounded).items():
        packed.add(name, round_to_nearest(layer, packed.scheme))
    for name, weight in fused_weights(rounded).items():
        with error_prefix(f"weight {name!r}"):
            quantized = quantize_tensor(weight.detach(), packed.scheme.params(weight.detach()))
        packed.add(name, pack(quantized), tensor=name)
    return packed.finish(rounded, "rtn", embedding_bits)

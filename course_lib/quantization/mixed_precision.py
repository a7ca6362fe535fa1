"""Mixed precision: how sensitive the model is to the bits of each layer (``choose_bits`` then allocates the bits)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import training
from course_lib.architectures.weighted_layers import check_no_fused_weights, output_axis
from course_lib.core.validation import error_prefix
from course_lib.data import Split, refuse_test
from course_lib.quantization.affine import fake_quantize, integer_range
from course_lib.quantization.calibration import quantizable_layers
from course_lib.quantization.mse_scale import best_weight_params
from course_lib.training.losses import divergence

if TYPE_CHECKING:
    import pandas

SCALE_BYTES = 4


@torch.no_grad()
def bit_sensitivity(
    model: nn.Module,
    validation: Split,
    bits: Sequence[int] = (2, 3, 4, 6, 8),
    *,
    layers: Collection[str] | None = None,
    progress: bool = True,
) -> pandas.DataFrame:
    """How much the predictions change when the weights of one layer alone are rounded; the weights are restored.

    Returns:
        One row per layer and width: ``layer``, ``bits``, ``bytes`` (packed, with scales), ``damage``: mean
        Kullback-Leibler divergence in nats from the probabilities of the unquantized model.

    Raises:
        TestSplitError: if ``validation`` is the test split, because the result decides about layers.
        ValueError: if it is empty, a width is not from 2 to 8, or a layer is unknown.

    Source: Cai et al., ZeroQ: A Novel Zero Shot Quantization Framework, 2020 (section 3.2).
    """
    import pandas

    refuse_test(validation, "scanned for sensitivity (which decides how many bits a layer gets)")
    for width in bits:
        integer_range(width, symmetric=True)
    if len(validation) == 0:
        raise ValueError("validation must hold at least one example, got an empty split")
    chosen = quantizable_layers(model, layers)
    if layers is None:
        check_no_fused_weights(model, "bit_sensitivity")
    exact = training.predict_logits(model, validation).log_softmax(dim=1)
    rows = []
    for name, layer in tqdm(chosen.items(), desc="sensitivity", disable=not progress, leave=False):
        weight = layer.get_parameter("weight")
        original = weight.detach().clone()
        try:
            for width in bits:
                with error_prefix(f"layer {name!r}"):
                    weight.copy_(fake_quantize(original, best_weight_params(original, width, output_axis(layer))))
                logits = training.predict_logits(model, validation).log_softmax(dim=1)
                damage = divergence(exact, logits).item()
                rows.append((name, width, packed_bytes(original, width, output_axis(layer)), damage))
        finally:
            weight.copy_(original)
    return pandas.DataFrame(rows, columns=["layer", "bits", "bytes", "damage"])


def packed_bytes(weight: Tensor, bits: int, axis: int = 0) -> int:
    """Bytes of a packed weight with one fp32 scale for each output channel, which lie along ``axis``."""
    return math.ceil(weight.numel() * bits / 8) + SCALE_BYTES * weight.shape[axis]

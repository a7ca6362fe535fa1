"""Mixed precision: the bits go to the layers that need them, under a budget for the size of the file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course_lib import training
from course_lib.data import Split, refuse_test
from course_lib.quantization.affine import fake_quantize, integer_range
from course_lib.quantization.calibration import named, quantizable_layers
from course_lib.quantization.mse_scale import best_weight_params

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
    """How far the answers move when the weights of one layer alone are rounded; the weights are put back.

    Returns:
        One row per layer and width: ``layer``, ``bits``, ``bytes`` (packed, with scales), ``damage``: mean
        Kullback-Leibler divergence in nats from the probabilities of the model as it is.

    Raises:
        TestSplitError: if ``validation`` is the test split, because what is learnt here decides about layers.
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
    usual = training.predict_logits(model, validation).log_softmax(dim=1)
    rows = []
    bar = tqdm(total=len(chosen) * len(bits), desc="sensitivity", disable=not progress, leave=False)
    for name, layer in chosen.items():
        weight = layer.get_parameter("weight")
        original = weight.detach().clone()
        try:
            for width in bits:
                with named(f"layer {name!r}"):
                    weight.copy_(fake_quantize(original, best_weight_params(original, width)))
                answers = training.predict_logits(model, validation).log_softmax(dim=1)
                damage = F.kl_div(answers, usual, reduction="batchmean", log_target=True).item()
                rows.append((name, width, packed_bytes(original, width), damage))
                bar.update()
        finally:
            weight.copy_(original)
    bar.close()
    return pandas.DataFrame(rows, columns=["layer", "bits", "bytes", "damage"])


def packed_bytes(weight: Tensor, bits: int) -> int:
    """Bytes of a packed weight with one fp32 scale for each output channel."""
    return math.ceil(weight.numel() * bits / 8) + SCALE_BYTES * len(weight)


def choose_bits(sensitivity: pandas.DataFrame, budget: int) -> dict[str, int]:
    """Layer → bits, so that all layers together take at most ``budget`` bytes and the sum of damages is small.

    Every layer starts with the most bits. While they take too much, the layer gives up bits that pays least for it:
    least damage added for each byte saved. What is left of the budget at the end is given back.

    Args:
        sensitivity: columns ``layer``, ``bits``, ``bytes``, ``damage``, as ``bit_sensitivity`` returns.
        budget: in bytes.

    Raises:
        ValueError: if not even the fewest bits everywhere fit into the budget, with what they take.
    """
    options: dict[str, dict[int, tuple[int, float]]] = {}
    for layer, bits, size, damage in _rows(sensitivity):
        options.setdefault(layer, {})[bits] = (size, damage)
    least = sum(min(size for size, _ in widths.values()) for widths in options.values())
    if least > budget:
        raise ValueError(f"budget must be at least {least:,} bytes (the fewest bits everywhere), got {budget:,}")
    chosen = {layer: max(widths) for layer, widths in options.items()}
    while sum(options[layer][bits][0] for layer, bits in chosen.items()) > budget:
        steps = [
            (_price(options[layer][bits], options[layer][fewer]), layer, fewer)
            for layer, bits in chosen.items()
            for fewer in options[layer]
            if fewer < bits
        ]
        _, layer, fewer = min(steps)
        chosen[layer] = fewer
    return _give_back(options, chosen, budget)


def _give_back(
    options: Mapping[str, Mapping[int, tuple[int, float]]], chosen: dict[str, int], budget: int
) -> dict[str, int]:
    """Spend what is left of the budget: the last step may have saved more than was needed."""
    while True:
        left = budget - sum(options[layer][bits][0] for layer, bits in chosen.items())
        steps = [
            (options[layer][more][1] - options[layer][bits][1], layer, more)
            for layer, bits in chosen.items()
            for more in options[layer]
            if more > bits and options[layer][more][0] - options[layer][bits][0] <= left
        ]
        if not steps or min(steps)[0] >= 0:
            return chosen
        _, layer, more = min(steps)
        chosen[layer] = more


def _price(now: tuple[int, float], then: tuple[int, float]) -> float:
    """Damage added for each byte saved."""
    return (then[1] - now[1]) / max(now[0] - then[0], 1)


def _rows(sensitivity: pandas.DataFrame) -> Iterable[tuple[str, int, int, float]]:
    for row in sensitivity.to_dict("records"):
        yield str(row["layer"]), int(row["bits"]), int(row["bytes"]), float(row["damage"])

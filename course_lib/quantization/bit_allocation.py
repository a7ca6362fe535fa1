"""How many bits each layer gets: one number for all, a number for each, or chosen under a budget for the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from course_lib.core.greedy_budget import Option, meet_budget, spend_remainder
from course_lib.quantization.affine import integer_range
from course_lib.quantization.calibration import quantizable_layers

if TYPE_CHECKING:
    import pandas

EDGE_BITS = 8

Bits = int | Mapping[str, int]


def bits_per_layer(model: nn.Module, bits: Bits, edge_bits: int | None = EDGE_BITS) -> dict[str, int]:
    """Name → bits of every convolution and linear layer, in the order of the model.

    Args:
        bits: one number for all layers, or a mapping with a number for each of them.
        edge_bits: minimum for the first and the last layer, where ``bits`` is one number. These two hold few weights
            and are the most sensitive; LSQ, too, keeps them at 8 (Esser et al., 2020, section 3).

    Raises:
        ValueError: if the model has no such layer, a mapping does not name exactly its layers, or a number is not
            from 2 to 8.
    """
    names = list(quantizable_layers(model))
    if isinstance(bits, Mapping):
        wrong = sorted(set(bits) ^ set(names))
        if wrong:
            raise ValueError(f"bits must name exactly the layers of the model; {wrong[0]!r} is unknown or missing")
        chosen = {name: bits[name] for name in names}
    else:
        chosen = dict.fromkeys(names, bits)
        for name in (names[0], names[-1]):
            chosen[name] = max(bits, edge_bits or bits)
    for value in chosen.values():
        integer_range(value, symmetric=True)
    return chosen


def choose_bits(sensitivity: pandas.DataFrame, budget: int) -> dict[str, int]:
    """Layer → bits, so that all layers together take at most ``budget`` bytes and the sum of damages is small.

    Greedy: every layer starts with the most bits. While they take too much, the change that adds the least damage for
    each byte saved is made. What is left of the budget at the end is spent on more bits.

    Args:
        sensitivity: columns ``layer``, ``bits``, ``bytes``, ``damage``, as ``bit_sensitivity`` returns.
        budget: in bytes.

    Raises:
        ValueError: if the fewest bits everywhere exceed the budget, with the bytes that they take.
    """
    options: dict[str, dict[int, Option]] = {}
    for row in sensitivity.to_dict("records"):
        options.setdefault(str(row["layer"]), {})[int(row["bits"])] = Option(int(row["bytes"]), float(row["damage"]))
    chosen = meet_budget(options, {layer: max(widths) for layer, widths in options.items()}, budget, "bytes")
    return spend_remainder(options, chosen, budget)

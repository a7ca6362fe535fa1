"""How many bits each layer gets: one number for all, a number for each, or chosen under a budget for the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from course_lib.quantization.affine import integer_range
from course_lib.quantization.calibration import quantizable_layers

if TYPE_CHECKING:
    import pandas

EDGE_BITS = 8

Bits = int | Mapping[str, int]
Options = Mapping[str, Mapping[int, tuple[int, float]]]
"""Layer → bits → (bytes, damage)."""


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
    options: dict[str, dict[int, tuple[int, float]]] = {}
    for row in sensitivity.to_dict("records"):
        options.setdefault(str(row["layer"]), {})[int(row["bits"])] = (int(row["bytes"]), float(row["damage"]))
    least = sum(min(size for size, _ in widths.values()) for widths in options.values())
    if least > budget:
        raise ValueError(f"budget must be at least {least:,} bytes (the fewest bits everywhere), got {budget:,}")
    chosen = {layer: max(widths) for layer, widths in options.items()}
    while _total_bytes(options, chosen) > budget:
        _, layer, fewer = min(
            (_price(options[layer][bits], options[layer][fewer]), layer, fewer)
            for layer, bits in chosen.items()
            for fewer in options[layer]
            if fewer < bits
        )
        chosen[layer] = fewer
    return _spend_rest(options, chosen, budget)


def _total_bytes(options: Options, chosen: Mapping[str, int]) -> int:
    return sum(options[layer][bits][0] for layer, bits in chosen.items())


def _price(now: tuple[int, float], then: tuple[int, float]) -> float:
    """Damage added for each byte saved."""
    return (then[1] - now[1]) / max(now[0] - then[0], 1)


def _spend_rest(options: Options, chosen: dict[str, int], budget: int) -> dict[str, int]:
    """Give more bits to layers while that fits and lowers the damage: the last step may have saved too much."""
    while True:
        left = budget - _total_bytes(options, chosen)
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

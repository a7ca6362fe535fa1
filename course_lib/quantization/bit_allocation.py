"""How many bits each layer gets, and the grid that its input is rounded to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.quantization.affine import QuantParams, check_finite, integer_range
from course_lib.quantization.calibration import check_calibration, quantizable_layers, watch_inputs
from course_lib.quantization.mse_scale import best_step

EDGE_BITS = 8
SAMPLE = 200_000  # values of a layer's input that its step size is chosen from

Bits = int | Mapping[str, int]


def bits_per_layer(model: nn.Module, bits: Bits, edge_bits: int | None = EDGE_BITS) -> dict[str, int]:
    """Name → bits of every convolution and linear layer, in the order of the model.

    Args:
        bits: one number for all layers, or a mapping that names each of them.
        edge_bits: at least so many for the first and the last layer, where ``bits`` is one number. These two hold few
            weights and hurt most; LSQ, too, keeps them at 8 (Esser et al., 2020, section 3).

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


def input_params(
    model: nn.Module, calibration: Split, bits: Mapping[str, int], examples: int = 256
) -> dict[str, QuantParams]:
    """Layer → the grid of its input with the best step size: unsigned where nothing negative was seen (after ReLU).

    Layers that are never used are left out.

    Args:
        calibration: train or validation examples, of which ``examples`` are drawn.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty, or an input holds NaN or infinity.
    """
    check_calibration(calibration)
    some = calibration.subset(examples)
    drawn: dict[str, list[Tensor]] = {name: [] for name in bits}
    generator = torch.Generator().manual_seed(0)

    def keep(name: str, values: Tensor) -> None:
        check_finite("values", values)
        flat = values.detach().float().flatten()
        share = max(1, SAMPLE * len(values) // len(some))
        drawn[name].append(flat[torch.randint(len(flat), (share,), generator=generator)])

    watch_inputs(model, some, {name: partial(keep, name) for name in bits})
    return {name: _params(torch.cat(values), bits[name]) for name, values in drawn.items() if values}


def _params(values: Tensor, bits: int) -> QuantParams:
    symmetric = bool((values < 0).any())
    scale = best_step(values[None], *integer_range(bits, symmetric))
    return QuantParams(scale, torch.zeros(1, dtype=torch.int32), bits, symmetric)

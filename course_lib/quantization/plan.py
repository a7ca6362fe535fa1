"""What is quantized to how many bits, which values go into each layer, and the grid that they are rounded to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split, refuse_test
from course_lib.grids import InputGrid
from course_lib.quantization.affine import check_finite, integer_range
from course_lib.quantization.step_size import best_step

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
    names = list(models.prunable_layers(model))
    if not names:
        raise ValueError(f"model {type(model).__name__} has no convolution or linear layer, so nothing to quantize")
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


def calibration_batches(calibration: Split | Iterable[Any], examples: int, batch_size: int = 256) -> list[Any]:
    """Inputs as the model takes them, batch by batch; labels are dropped.

    Args:
        calibration: a split, of which ``examples`` are drawn; or batches ``inputs`` or ``(inputs, labels)``.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it is empty, or an input holds NaN or infinity.
    """
    if isinstance(calibration, Split):
        refuse_test(calibration, "calibrated on")
        if len(calibration) == 0:
            raise ValueError("calibration must hold at least one example, got an empty split")
        calibration = calibration.subset(examples).batches(batch_size)
    batches = [batch[0] if isinstance(batch, tuple | list) else batch for batch in calibration]
    if not batches:
        raise ValueError("calibration must hold at least one batch, got none")
    for batch in batches:
        for tensor in batch.values() if isinstance(batch, Mapping) else [batch]:
            check_finite("calibration", tensor)
    return batches


@torch.no_grad()
def input_samples(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Layer name → values ``(1, n)`` drawn at random from what goes into it, at most 200,000."""
    drawn: dict[str, list[Tensor]] = {name: [] for name in models.prunable_layers(model)}
    batches = list(batches)
    generator = torch.Generator().manual_seed(0)

    def note(name: str, values: Tensor) -> None:
        flat, count = values.detach().float().flatten(), SAMPLE // len(batches)
        drawn[name].append(
            flat if len(flat) <= count else flat[torch.randint(len(flat), (count,), generator=generator)]
        )

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, layer in models.prunable_layers(model).items()
    ]
    try:
        for batch in batches:
            models.forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(values)[None] for name, values in drawn.items() if values}


def choose_input_grids(samples: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, InputGrid]:
    """The grid of each layer's input: unsigned where nothing negative was seen (after ReLU), else signed.

    Raises:
        ValueError: if a sample holds NaN or infinity.
    """
    grids = {}
    for name, values in samples.items():
        check_finite(f"input of {name}", values)
        low, high = integer_range(bits[name], symmetric=bool((values < 0).any()))
        grids[name] = InputGrid(low, high, best_step(values, low, high)[0])
    return grids

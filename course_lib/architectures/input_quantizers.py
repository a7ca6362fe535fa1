"""Layers that round what goes into them to a grid: how quantized activations are part of a model and of its file.

A grid is all multiples of one ``scale`` from ``low`` to ``high``: ``scale · low, …, 0, …, scale · high``. An unsigned
8-bit grid is 0 … 255, a signed one -128 … 127, and one with zero-point z is -z … 255 - z. The integers are plain
numbers of the description, ``{"input_grids": {"conv1": [-128, 127]}}``, and the scale is a tensor of the model, so that
a stored model comes back with its grids and nothing else has to be known. With a third number, ``[-128, 127, 384]``,
each of the 384 last entries of an input has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

GRID = "input_grid"
LARGEST = 2**16


class InputGrid(nn.Module):
    """Rounds to the nearest grid point, ties to the even integer; what lies outside goes to the end of the grid.

    Args:
        low, high: first and last integer, ``low <= 0 <= high`` and ``low < high``.
        scale: distance of two grid points, positive; one number, or one per input channel ``(channels,)``.

    Raises:
        ValueError: if the integers or the scale do not describe a grid.
    """

    scale: Tensor

    def __init__(self, low: int, high: int, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        whole = all(type(end) is int for end in (low, high))
        if not (whole and -LARGEST <= low <= 0 <= high <= LARGEST and low < high):
            raise ValueError(f"low and high must be integers with low <= 0 <= high and low < high, got {low}, {high}")
        per_channel = isinstance(scale, Tensor) and scale.dim() == 1 and scale.numel() > 1
        values = torch.as_tensor(scale).detach().float().clone() if per_channel else torch.full((), float(scale))
        if not (values.is_meta or (values.isfinite() & (values > 0)).all()):
            raise ValueError(f"scale must be a positive, finite number, got {scale}")
        self.low, self.high = low, high
        self.register_buffer("scale", values)

    @property
    def bits(self) -> int:
        """Bits of one number on this grid."""
        return (self.high - self.low).bit_length()

    @property
    def description(self) -> list[int]:
        """``[low, high]``, or ``[low, high, channels]``, as in the arguments of an architecture."""
        return [self.low, self.high, *self.scale.shape]

    def forward(self, values: Tensor) -> Tensor:
        return (values / self.scale).round_().clamp_(self.low, self.high).mul_(self.scale)

    def extra_repr(self) -> str:
        return f"{self.low} … {self.high}"


def add_input_grid(layer: nn.Module, grid: nn.Module) -> None:
    """Let ``layer`` round its first input to ``grid``, in place; a grid that it had is replaced."""
    if not hasattr(layer, GRID):
        layer.register_forward_pre_hook(_round_input)
    setattr(layer, GRID, grid)


def add_input_grids(model: nn.Module, grids: Mapping[str, Sequence[int]]) -> nn.Module:
    """Give layers of ``model`` grids with scale 1, in place: name of the layer → ``[low, high]``.

    Raises:
        ValueError: if a layer does not exist, or two integers do not describe a grid.
    """
    layers = dict(model.named_modules())
    for name, ends in grids.items():
        if name not in layers:
            raise ValueError(f"input_grids names {name!r}, which is not a layer of the model")
        if not isinstance(ends, Sequence) or len(ends) not in (2, 3) or (len(ends) == 3 and type(ends[2]) is not int):
            raise ValueError(f"input_grids of {name!r} must be [low, high] or [low, high, channels], got {ends!r}")
        add_input_grid(layers[name], InputGrid(ends[0], ends[1], torch.ones(ends[2]) if len(ends) == 3 else 1.0))
    return model


def input_grids(model: nn.Module) -> dict[str, InputGrid]:
    """Name of each layer that rounds its input → its grid."""
    layers = model.named_modules()
    return {name: layer.input_grid for name, layer in layers if isinstance(getattr(layer, GRID, None), InputGrid)}


def _round_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (getattr(layer, GRID)(inputs[0]), *inputs[1:])

"""Fake-quantized layer inputs, as part of a model and of its stored file.

A grid holds the multiples of ``scale`` from ``low`` to ``high``: ``scale · low, …, 0, …, scale · high``. An unsigned
8-bit grid is 0 … 255, a signed one -128 … 127, and one with zero-point z is -z … 255 - z. The integers are in the
description, ``{"input_grids": {"conv1": [-128, 127]}}``, and the scale is a buffer of the model, so that a stored model
is loaded with its grids. With a third number, ``[-128, 127, 384]``, each of 384 input channels has its own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

GRID = "input_grid"
LARGEST = 2**16


class InputGrid(nn.Module):
    """Fake quantization: rounds to the nearest grid point, ties to even, and clamps to the ends of the grid.

    Args:
        low, high: first and last integer, ``low <= 0 <= high`` and ``low < high``.
        scale: distance between grid points, positive; one number, or one per input channel ``(channels,)``.

    Raises:
        ValueError: if the integers or the scale do not describe a grid.
    """

    scale: Tensor

    def __init__(self, low: int, high: int, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        integers = all(type(bound) is int for bound in (low, high))
        if not (integers and -LARGEST <= low <= 0 <= high <= LARGEST and low < high):
            raise ValueError(f"low and high must be integers with low <= 0 <= high and low < high, got {low}, {high}")
        per_channel = isinstance(scale, Tensor) and scale.dim() == 1 and scale.numel() > 1
        values = torch.as_tensor(scale).detach().float().clone() if per_channel else torch.full((), float(scale))
        if not (values.is_meta or (values.isfinite() & (values > 0)).all()):
            raise ValueError(f"scale must be a positive, finite number, got {scale}")
        self.low, self.high = low, high
        self.register_buffer("scale", values)

    @property
    def bits(self) -> int:
        """Bits of a quantized value."""
        return (self.high - self.low).bit_length()

    @property
    def description(self) -> list[int]:
        """``[low, high]``, or ``[low, high, channels]``, as in the arguments of an architecture."""
        return [self.low, self.high, *self.scale.shape]

    def forward(self, values: Tensor) -> Tensor:
        """Values on the grid, in the shape of ``values``."""
        return (values / self.scale).round_().clamp_(self.low, self.high).mul_(self.scale)

    def extra_repr(self) -> str:
        """The integer range, for ``print``."""
        return f"{self.low} … {self.high}"


def add_input_grid(layer: nn.Module, grid: nn.Module) -> None:
    """Fake quantize the first input of ``layer`` with ``grid``, in place; an earlier grid is replaced."""
    if not hasattr(layer, GRID):
        layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    setattr(layer, GRID, grid.train(layer.training))


def add_input_grids(model: nn.Module, grids: Mapping[str, Sequence[int]]) -> nn.Module:
    """Add input grids with scale 1 to layers of ``model``, in place: layer name → ``[low, high]``.

    Raises:
        ValueError: if a layer does not exist, or the integers do not describe a grid.
    """
    layers = dict(model.named_modules())
    for name, bounds in grids.items():
        if name not in layers:
            raise ValueError(f"input_grids names {name!r}, which is not a layer of the model")
        if not _is_grid(bounds):
            raise ValueError(f"input_grids of {name!r} must be [low, high] or [low, high, channels], got {bounds!r}")
        low, high, *channels = bounds
        add_input_grid(layers[name], InputGrid(low, high, torch.ones(channels) if channels else 1.0))
    return model


def input_grids(model: nn.Module) -> dict[str, InputGrid]:
    """Layer name → its input grid."""
    layers = model.named_modules()
    return {name: layer.input_grid for name, layer in layers if isinstance(getattr(layer, GRID, None), InputGrid)}


def rounds_inputs(model: nn.Module) -> bool:
    """Whether the inputs of a layer are fake quantized, on a fixed grid or on one that is being trained."""
    return any(hasattr(layer, GRID) for layer in model.modules())


def _quantize_input(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    grid = getattr(layer, GRID)
    if args:
        return (grid(args[0]), *args[1:]), kwargs
    (name, values), *others = kwargs.items()  # a layer called as layer(input=x)
    return args, {name: grid(values), **dict(others)}


def _is_grid(bounds: Any) -> bool:
    return isinstance(bounds, Sequence) and (len(bounds) == 2 or (len(bounds) == 3 and type(bounds[2]) is int))

"""Second moments of layer outputs, for data-aware factorization."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.weighted_layers import spatial_dimensions
from course_lib.core import memory
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import Hook, forward_hooks


@torch.no_grad()
def output_moments(
    model: nn.Module, split: Split, layers: Collection[str], *, batch_size: int = 64
) -> dict[str, Tensor]:
    """Layer name → mean of ``y yᵀ`` over its outputs y (without bias) on ``split``, float64 ``(out, out)``.

    Every position of an image and every token that is not padding counts as one output. With inputs of second moment C
    it equals ``W C Wᵀ``.

    Raises:
        TestSplitError: if ``split`` is the test split.
        ValueError: if a layer is unknown, neither a convolution nor linear, or never called.
    """
    refuse_test(split, "used to choose factors")
    modules = models.prunable_layers(model)
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise ValueError(f"layers must name convolutions or linear layers of the model, got {unknown[0]!r}")
    moments = {name: _Moment() for name in layers}
    mask: Tensor | None = None

    def accumulate(name: str) -> Hook:
        return lambda layer, _, output: moments[name].add(_rows(layer, output, mask))

    with models.evaluating(model), forward_hooks(model, {name: accumulate(name) for name in layers}):
        for inputs, _ in split.batches(batch_size):
            given = inputs.get("attention_mask") if isinstance(inputs, dict) else None
            mask = None if given is None else given.bool()
            models.call(model, inputs)
    memory.return_freed()
    if uncalled := [name for name, moment in moments.items() if not moment.count]:
        raise ValueError(f"layer {uncalled[0]!r} is never called, so it has no outputs; leave it out of layers")
    return {name: moment.total / moment.count for name, moment in moments.items()}


@dataclass
class _Moment:
    """Sum of ``y yᵀ`` over ``count`` outputs y."""

    total: Any = 0.0
    count: int = 0

    def add(self, rows: Tensor) -> None:
        self.total = self.total + (rows.T @ rows).double()
        self.count += len(rows)


def _rows(layer: Any, output: Tensor, mask: Tensor | None) -> Tensor:
    """Outputs ``(n, out)`` without bias, one row per position or unmasked token."""
    values = output.movedim(-1 - spatial_dimensions(layer), -1)
    if mask is not None and values.shape[:-1] == mask.shape:
        values = values[mask]
    rows = values.reshape(-1, values.shape[-1])
    return rows if layer.bias is None else rows - layer.bias

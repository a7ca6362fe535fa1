"""What a layer's outputs look like on data: the statistics behind data-aware factorization."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.core import memory
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import forward_hooks


@torch.no_grad()
def output_moments(
    model: nn.Module, split: Split, layers: Collection[str], *, batch_size: int = 64
) -> dict[str, Tensor]:
    """Layer name → mean of ``y yᵀ`` over its outputs y (without bias) on ``split``, float64 ``(out, out)``.

    Positions of an image, and tokens that are not padding, count one by one. With inputs of covariance C it equals
    ``W C Wᵀ``, so it tells the same as C and is as small as the layer is narrow.

    Raises:
        TestSplitError: if ``split`` is the test split.
        ValueError: if a layer is unknown or neither a convolution nor linear.
    """
    refuse_test(split, "used to choose factors")
    modules = models.prunable_layers(model)
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise ValueError(f"layers must name convolutions or linear layers of the model, got {unknown[0]!r}")
    sums: dict[str, list[Any]] = {name: [0.0, 0] for name in layers}
    padding: list[Tensor | None] = [None]
    with models.evaluating(model), forward_hooks(model, {name: _adder(sums[name], padding) for name in layers}):
        for inputs, _ in split.batches(batch_size):
            padding[0] = inputs["attention_mask"].bool() if isinstance(inputs, dict) else None
            models.forward(model, inputs)
    memory.return_freed()
    return {name: total / max(count, 1) for name, (total, count) in sums.items()}


def _adder(entry: list[Any], padding: list[Tensor | None]) -> Callable[..., None]:
    def add(module: Any, _: Any, output: Tensor) -> None:
        values = output.movedim(1, -1) if isinstance(module, nn.Conv2d) else output
        mask = padding[0]
        if mask is not None and values.shape[:-1] == mask.shape:
            values = values[mask]
        rows = values.reshape(-1, values.shape[-1])
        rows = rows if module.bias is None else rows - module.bias
        entry[0] = entry[0] + (rows.T @ rows).double()
        entry[1] += len(rows)

    return add

"""Where the channels of a layer lie in its tensors, and how they are reordered."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from course_lib.architectures.weighted_layers import output_axis


def channel_tensors(layer: nn.Module, side: str) -> Iterator[tuple[str, Tensor, int]]:
    """Name, tensor and dimension of every parameter and buffer of ``layer`` in which the channels of ``side`` lie.

    Args:
        side: ``"out"`` for its outputs (also of norms and embeddings) or ``"in"`` for its inputs.
    """
    dimension = 1 if side == "in" or isinstance(layer, nn.Embedding) else 0
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        swapped = output_axis(layer) == 1 and tensor.dim() > 1  # the weight is stored as (in, out, …)
        if tensor.dim() > dimension:
            yield name, tensor, 1 - dimension if swapped else dimension


@torch.no_grad()
def reorder_channels(layer: nn.Module, side: str, positions: Tensor, order: Tensor) -> None:
    """Reorder channels of ``layer`` in place: position ``positions[i]`` gets what position ``order[i]`` held."""
    for _, tensor, dimension in channel_tensors(layer, side):
        tensor.data.index_copy_(dimension, positions, tensor.data.index_select(dimension, order))

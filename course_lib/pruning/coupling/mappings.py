"""Index mappings: where the channels of a group lie along one dimension of a tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class IndexMap:
    """Channel ``i`` takes the positions ``offset + i * repeat`` up to ``offset + (i + 1) * repeat - 1``.

    Args:
        offset: how many positions other channels take before, after a concatenation.
        repeat: positions per channel: 1 as a rule, height × width after a flatten, the size of a head in attention.
    """

    offset: int = 0
    repeat: int = 1

    def positions(self, channels: Tensor) -> Tensor:
        """Positions ``(len(channels) * repeat,)`` of some channels, in their order."""
        starts = self.offset + channels.view(-1, 1) * self.repeat
        return (starts + torch.arange(self.repeat)).flatten()

    def __str__(self) -> str:
        channel = "i" if self.repeat == 1 else f"{self.repeat}·i … {self.repeat}·i + {self.repeat - 1}"
        return f"{self.offset} + {channel}" if self.offset else channel

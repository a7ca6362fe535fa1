"""Weights ranked by magnitude once, so that the effect of any sparsity is a look-up."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from course_lib.core.validation import check_fraction


class MagnitudeRanking:
    """The order in which magnitude pruning drops the weights of some layers.

    It is that of ``magnitude_mask`` (one layer) and ``global_masks`` (all layers): ties fall to the earlier layer, then
    to the lower index. Ranking 11 million weights takes about two seconds, a look-up less than a millisecond.

    Args:
        weights: layer name → weight of any shape.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        magnitudes = torch.cat([weight.detach().cpu().abs().flatten() for weight in weights.values()])
        self.magnitudes, order = magnitudes.sort(stable=True)
        ranks = torch.empty(len(order), dtype=torch.int32)
        ranks[order] = torch.arange(len(order), dtype=torch.int32)
        parts = ranks.split([weight.numel() for weight in weights.values()])
        self.ranks = {name: part.sort().values for name, part in zip(weights, parts, strict=True)}

    def cut(self, layer: str, sparsity: float, *, together: bool = False) -> tuple[int, float]:
        """How many weights of ``layer`` stay, and the smallest magnitude that stays (the largest of all if none does).

        Args:
            sparsity: fraction to drop, in [0, 1), of this layer or of all layers ``together``.
        """
        ranks = self.ranks[layer]
        count = len(self.magnitudes if together else ranks)
        dropped = round(check_fraction("sparsity", sparsity) * count)
        first_kept = min(dropped, count - 1)
        if together:
            return len(ranks) - int(torch.searchsorted(ranks, dropped)), float(self.magnitudes[first_kept])
        return len(ranks) - dropped, float(self.magnitudes[ranks[first_kept]])

"""Weights ranked by magnitude once, so that the mask of any sparsity is a comparison."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from course_lib.core.validation import check_fraction


class MagnitudeRanking:
    """The order in which magnitude pruning drops the weights of some layers.

    Masks equal those of ``magnitude_mask`` (one layer) and ``global_masks`` (all layers): ties fall to the earlier
    layer, then to the lower index. Ranking 11 million weights takes about two seconds, a mask a few milliseconds.

    Args:
        weights: layer name → weight of any shape.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        magnitudes = torch.cat([weight.detach().cpu().abs().flatten() for weight in weights.values()])
        self.magnitudes, order = magnitudes.sort(stable=True)
        ranks = torch.empty(len(order), dtype=torch.int32)
        ranks[order] = torch.arange(len(order), dtype=torch.int32)
        parts = ranks.split([weight.numel() for weight in weights.values()])
        self.ranks = {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}
        self.sorted_ranks = {name: part.sort().values for name, part in zip(weights, parts, strict=True)}

    def cut(self, layer: str, sparsity: float, *, together: bool = False) -> tuple[Tensor, float]:
        """Mask of ``layer`` that drops ``sparsity`` of the weights, and the smallest magnitude that stays (if any).

        Args:
            sparsity: fraction to drop, in [0, 1), of this layer or of all layers ``together``.
        """
        count = len(self.magnitudes if together else self.sorted_ranks[layer])
        dropped = round(check_fraction("sparsity", sparsity) * count)
        if dropped == count:
            largest = -1 if together else int(self.sorted_ranks[layer][-1])
            return torch.zeros_like(self.ranks[layer], dtype=torch.bool), float(self.magnitudes[largest])
        first_kept = dropped if together else int(self.sorted_ranks[layer][dropped])
        return self.ranks[layer] >= first_kept, float(self.magnitudes[first_kept])

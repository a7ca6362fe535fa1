"""Zeros that an earlier pruning left in a weight, and whether quantization has to keep them."""

from __future__ import annotations

from torch import Tensor

SPARSE = 0.1  # fraction of zeros from which a weight counts as pruned; trained weights have hardly any


def kept_entries(weight: Tensor, keep_zeros: bool | None) -> Tensor | None:
    """Boolean mask, true where ``weight`` is not zero; None if its zeros may change.

    Args:
        keep_zeros: whether zeros stay zero; None: if at least a tenth of the weights are zero.
    """
    kept = weight.detach() != 0
    if keep_zeros is None:
        keep_zeros = bool(kept.numel()) and 1 - kept.float().mean().item() >= SPARSE
    return kept if keep_zeros else None

"""Pruning: which weights matter, how they are dropped, and when."""

from course_lib.pruning.gradual import PruningResult, fine_tune, prune_gradually
from course_lib.pruning.lottery import LotteryResult, flatten_images, lottery_ticket, shuffle_masks
from course_lib.pruning.masks import (
    apply_masks,
    embedding_layers,
    global_masks,
    layer_weights,
    layerwise_masks,
    magnitude_mask,
    make_permanent,
    prune_global,
    prune_layerwise,
    pruned_copy,
    sparsity,
    sparsity_table,
    weights_to_rank,
    zero_masks,
)
from course_lib.pruning.pruner import StructuredPruner
from course_lib.pruning.schedule import cubic_sparsity, linear_sparsity
from course_lib.pruning.sensitivity import sensitivity_scan

__all__ = [
    "LotteryResult", "PruningResult", "StructuredPruner", "apply_masks", "cubic_sparsity", "embedding_layers",
    "fine_tune", "flatten_images", "global_masks", "layer_weights", "layerwise_masks", "linear_sparsity",
    "lottery_ticket", "magnitude_mask", "make_permanent", "prune_global", "prune_gradually", "prune_layerwise",
    "pruned_copy",
    "sensitivity_scan", "shuffle_masks", "sparsity", "sparsity_table", "weights_to_rank", "zero_masks",
]  # fmt: skip

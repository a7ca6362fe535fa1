"""Pruning: importance (what matters) × granularity (what is removed together) × schedule (when).

Unstructured and semi-structured pruning set weights to zero (``masks``, ``semi_structured``); structured pruning
removes channels and blocks (``channel_removal``, ``block_removal``).
"""

from course_lib.data import flatten_images
from course_lib.pruning.block_removal import block_importance, removable_blocks, remove_blocks
from course_lib.pruning.channel_removal import remove_channels
from course_lib.pruning.coupling import Coupling, CouplingError, Group, IndexMap, Member, couple
from course_lib.pruning.gradual import PruningResult, fine_tune, prune_gradually
from course_lib.pruning.importance import CRITERIA, DEFAULT_CRITERION, channel_importance
from course_lib.pruning.lottery import LotteryResult, lottery_ticket, shuffle_masks
from course_lib.pruning.masks import (
    apply_masks,
    embedding_layers,
    global_masks,
    layer_weights,
    layerwise_masks,
    magnitude_mask,
    make_permanent,
    nonzero_masks,
    prune_global,
    prune_layerwise,
    pruned_copy,
    sparsity,
    sparsity_table,
    weights_to_rank,
)
from course_lib.pruning.pruner import StructuredPruner
from course_lib.pruning.schedule import cubic_sparsity, linear_sparsity
from course_lib.pruning.semi_structured import (
    permute_channels,
    prune_semi_structured,
    retained_magnitude,
    search_permutation,
    semi_structured_masks,
    sparse_tensor_cores,
    to_sparse_kernels,
    two_four_mask,
)
from course_lib.pruning.sensitivity import sensitivity_scan
from course_lib.pruning.structured import StructuredResult, prune_channels, prune_iteratively, step_counts
from course_lib.pruning.widths import (
    WorkEstimate,
    counts_for_macs,
    global_counts,
    groups_within,
    keep_best,
    keep_count,
    uniform_counts,
)

__all__ = [
    "CRITERIA", "DEFAULT_CRITERION", "Coupling", "CouplingError", "Group", "IndexMap", "LotteryResult", "Member",
    "PruningResult", "StructuredPruner", "StructuredResult", "WorkEstimate", "apply_masks", "block_importance",
    "channel_importance", "counts_for_macs", "couple", "cubic_sparsity", "embedding_layers", "fine_tune",
    "flatten_images", "global_counts", "global_masks", "groups_within", "keep_best", "keep_count", "layer_weights",
    "layerwise_masks", "linear_sparsity", "lottery_ticket", "magnitude_mask", "make_permanent", "nonzero_masks",
    "permute_channels", "prune_channels", "prune_global", "prune_gradually", "prune_iteratively", "prune_layerwise",
    "prune_semi_structured", "pruned_copy", "removable_blocks", "remove_blocks", "remove_channels",
    "retained_magnitude", "search_permutation", "semi_structured_masks", "sensitivity_scan", "shuffle_masks",
    "sparse_tensor_cores", "sparsity", "sparsity_table", "step_counts", "to_sparse_kernels", "two_four_mask",
    "uniform_counts", "weights_to_rank",
]  # fmt: skip

"""Sensitivity: the accuracy with a single layer pruned, for every layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib import training
from course_lib.architectures.weighted_layers import check_plain_weights
from course_lib.core.validation import check_fraction
from course_lib.data import Split, refuse_test
from course_lib.pruning.masks import magnitude_mask, weights_to_rank

if TYPE_CHECKING:
    import pandas


@torch.no_grad()
def sensitivity_scan(
    model: nn.Module,
    validation: Split,
    sparsities: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    *,
    layers: Collection[str] | None = None,
    progress: bool = True,
) -> pandas.DataFrame:
    """Validation accuracy with a single layer pruned, for every layer and sparsity; the weights are restored.

    Returns:
        One row per layer and sparsity: ``layer``, ``weights``, ``sparsity``, ``accuracy``, ``drop`` (accuracy lost
        against the unpruned model).

    Raises:
        TestSplitError: if ``validation`` is the test split, because the result decides how to prune.
        ValueError: if a sparsity is outside [0, 1), a layer is unknown, its weights hold NaN, or the model recomputes a
            weight before each call.

    Source: Li et al., Pruning Filters for Efficient ConvNets (section 3.2), 2017, for single weights.
    """
    import pandas

    refuse_test(validation, "scanned for sensitivity (which decides how much of each layer to prune)")
    for value in sparsities:
        check_fraction("sparsities", value)
    check_plain_weights(model)
    weights = weights_to_rank(model, layers)
    baseline = training.evaluate(model, validation).accuracy
    rows = []
    bar = tqdm(total=len(weights) * len(sparsities), desc="sensitivity", disable=not progress, leave=False)
    for name, weight in weights.items():
        original = weight.clone()
        try:
            for value in sparsities:
                weight.masked_fill_(~magnitude_mask(original, value), 0.0)
                accuracy = training.evaluate(model, validation).accuracy
                rows.append((name, weight.numel(), value, accuracy, baseline - accuracy))
                weight.copy_(original)
                bar.update()
        finally:
            weight.copy_(original)
    bar.close()
    return pandas.DataFrame(rows, columns=["layer", "weights", "sparsity", "accuracy", "drop"])

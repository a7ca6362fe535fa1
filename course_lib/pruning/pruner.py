"""StructuredPruner: one class with every pruning strategy."""

from __future__ import annotations

from typing import Any

from torch import nn

from course_lib.core.validation import check_fraction
from course_lib.data import Split
from course_lib.pruning.gradual import PruningResult, prune_gradually
from course_lib.pruning.importance import DEFAULT_CRITERION
from course_lib.pruning.masks import global_masks, layerwise_masks, pruned_copy
from course_lib.pruning.structured import StructuredResult, prune_channels


class StructuredPruner:
    """Prune a model by strategies that can be compared.

    Every method prunes a copy of the original ``model``, so that strategies do not add up. Unstructured strategies
    write zeros into the weights of that copy; structured pruning removes channels.

    Args:
        model: any model with convolutions or linear layers.
        sparsity: fraction of weights to drop, in [0, 1).

    Raises:
        ValueError: if ``sparsity`` is outside [0, 1).
    """

    def __init__(self, model: nn.Module, sparsity: float = 0.9) -> None:
        self.model = model
        self.sparsity = check_fraction("sparsity", sparsity)

    def magnitude_based_pruning(self) -> PruningResult:
        """Drop the smallest weights of every layer, the same fraction of each (Han et al., 2015)."""
        masks = layerwise_masks(self.model, self.sparsity)
        return PruningResult(pruned_copy(self.model, masks), masks)

    def apply_global_pruning(self, sparsity: float | None = None) -> PruningResult:
        """Drop the smallest weights of all layers together; ``sparsity`` is that of the pruner by default."""
        masks = global_masks(self.model, self.sparsity if sparsity is None else sparsity)
        return PruningResult(pruned_copy(self.model, masks), masks)

    def gradual_pruning(
        self,
        initial_sparsity: float = 0.1,
        final_sparsity: float = 0.9,
        steps: int = 10,
        *,
        train: Split | None = None,
        validation: Split | None = None,
        epochs: int = 2,
        learning_rate: float = 1e-4,
        **options: Any,
    ) -> PruningResult:
        """Raise the sparsity in ``steps`` steps while fine-tuning (Zhu and Gupta, 2017).

        Args:
            train: the split to fine-tune on; it must be given.
            options: passed on to ``prune_gradually`` and ``training.fit``.

        Raises:
            ValueError: if ``train`` is missing or an argument is out of range.
            TestSplitError: if either split is the test split.
        """
        if train is None:
            raise ValueError("train must be a Split, got None: gradual pruning fine-tunes between its steps")
        return prune_gradually(
            self.model, train, validation, initial_sparsity=initial_sparsity, final_sparsity=final_sparsity,
            steps=steps, epochs=epochs, learning_rate=learning_rate, **options,
        )  # fmt: skip

    def structured_pruning(
        self, sparsity: float | None = None, *, criterion: str = DEFAULT_CRITERION, split: Split | None = None
    ) -> StructuredResult:
        """Remove whole filters, neurons and heads: the result has smaller layers, not zeros.

        ``sparsity``, that of the pruner by default, is the fraction of each group's channels to remove. Since they are
        outputs of one layer and inputs of the next, a larger fraction of the weights is removed.

        Args:
            criterion: see ``importance.CRITERIA``.
            split: for criteria that look at gradients.

        Raises:
            CouplingError: if the model is not understood.
            TestSplitError: if ``split`` is the test split.
            ValueError: if 0 channels would be left somewhere, or the model is in training mode, frozen or shared.
        """
        sparsity = check_fraction("sparsity", self.sparsity if sparsity is None else sparsity)
        return prune_channels(self.model, 1 - sparsity, criterion=criterion, split=split)

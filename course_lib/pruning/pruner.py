"""The front door of this room: one class with every strategy of pruning."""

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
    """Prune a model, in several ways that can be compared.

    ``model`` is never changed. Every method starts from its weights as they are and returns a copy, so that strategies
    do not stack; masks are plain zeros in that copy, and there is nothing to remove afterwards. Structured pruning sets
    nothing to zero: it takes channels out.

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
            train: what to fine-tune on; it must be given.
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

        ``sparsity``, that of the pruner by default, is the fraction of each group's channels that goes. As channels go
        from the outputs of one layer and the inputs of the next, far more than this fraction of the weights goes.

        Args:
            criterion: see ``importance.CRITERIA``; split: for those that look at gradients.

        Raises:
            CouplingError: if the model is not understood.
            TestSplitError: if ``split`` is the test split.
            ValueError: if 0 channels would be left somewhere, or the model is in training mode, frozen or shared.
        """
        sparsity = check_fraction("sparsity", self.sparsity if sparsity is None else sparsity)
        return prune_channels(self.model, 1 - sparsity, criterion=criterion, split=split)

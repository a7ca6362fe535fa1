"""The front door of this room: one class with every strategy of magnitude pruning."""

from __future__ import annotations

from typing import Any

from torch import nn

from course_lib.arguments import check_fraction
from course_lib.data import Split
from course_lib.pruning.gradual import PruningResult, prune_gradually
from course_lib.pruning.masks import global_masks, layerwise_masks, pruned_copy


class StructuredPruner:
    """Prune a model by magnitude, in several ways that can be compared.

    ``model`` is never changed. Every method starts from its weights as they are and returns a copy, so that strategies
    do not stack; the masks are plain zeros in that copy, and there is nothing to remove afterwards.

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

    def structured_pruning(self) -> PruningResult:
        """Remove whole channels; it comes with lesson 04.

        Raises:
            NotImplementedError: always, with what to use meanwhile.
        """
        raise NotImplementedError(
            "structured_pruning removes whole channels and comes with lesson 04; "
            "magnitude_based_pruning, apply_global_pruning and gradual_pruning are here"
        )

"""Pruning while training: sparsity grows step by step, and the weights that stay learn to do the work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from course_lib import training
from course_lib.core.validation import check_fraction, check_positive
from course_lib.data import Split, refuse_test
from course_lib.pruning.masks import Masks, apply_masks, global_masks, sparsity, sparsity_table, zero_masks
from course_lib.pruning.schedule import Schedule, cubic_sparsity

if TYPE_CHECKING:
    import pandas

ChooseMasks = Callable[[nn.Module, float, Collection[str] | None], Masks]
Plan = Callable[[int, int], float | None]

# These would choose or stop by the validation accuracy of an epoch that has not reached the final sparsity yet.
_NOT_PASSED_ON = ("keep_best", "patience", "after_step")


@dataclass(frozen=True)
class PruningResult:
    """A pruned copy of a model, and what was done to it.

    Args:
        model: plain modules with zeros in their weights.
        masks: layer name → boolean mask, true where the weight stays.
        history: of the fine-tuning; empty if there was none.
        layers: the layers that were pruned, if they were named.
    """

    model: nn.Module
    masks: Masks = field(repr=False)
    history: training.History = field(default_factory=training.History)
    layers: tuple[str, ...] | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the pruned layers' weights, counted in the model."""
        return sparsity(self.model, self.layers)

    @property
    def report(self) -> pandas.DataFrame:
        """One row per pruned layer: weights, kept, sparsity."""
        return sparsity_table(self.model, self.layers)


def prune_gradually(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    final_sparsity: float,
    initial_sparsity: float = 0.0,
    epochs: int,
    learning_rate: float,
    ramp: float = 0.6,
    steps: int = 50,
    schedule_of_sparsity: Schedule = cubic_sparsity,
    choose: ChooseMasks = global_masks,
    layers: Collection[str] | None = None,
    loss: training.Loss | None = None,
    **fit_options: Any,
) -> PruningResult:
    """Fine-tune a copy of ``model`` while its sparsity grows from ``initial_sparsity`` to ``final_sparsity``.

    The masks are chosen anew ``steps`` times, at equal distances over the first ``ramp`` of the training, from the
    weights as they then are; in between and afterwards they are held: dropped weights are exactly zero after every
    update. A run that goes on from ``checkpoint`` reads its masks off the zeros of the weights.

    Args:
        ramp: fraction of the training during which sparsity grows, in (0, 1].
        steps: how many times the masks are chosen.
        choose: ``global_masks`` or ``layerwise_masks``.
        layers: names of the layers to prune; every convolution and linear layer by default.
        fit_options: passed on to ``training.fit``: ``optimizer``, ``precision``, ``augment``, ``checkpoint``, ….

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range, or ``fit_options`` would pick an epoch before the final sparsity.

    Source: Zhu and Gupta, To prune, or not to prune, 2017.
    """
    check_positive("ramp", ramp)
    check_fraction("ramp", ramp, below_one=False)
    check_positive("steps", steps)
    schedule_of_sparsity(0, steps, initial_sparsity, final_sparsity)

    def plan(step: int, total_steps: int) -> float | None:
        due, before = (int(min(1.0, at / (ramp * total_steps)) * steps) for at in (step, step - 1))
        return schedule_of_sparsity(due, steps, initial_sparsity, final_sparsity) if due != before else None

    pruned = copy.deepcopy(model)
    apply_masks(pruned, choose(pruned, initial_sparsity, layers))
    keeper = MaskKeeper(plan, choose, layers, loss)
    return keeper.fit(pruned, train, validation, epochs=epochs, learning_rate=learning_rate, **fit_options)


def fine_tune(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int,
    learning_rate: float,
    layers: Collection[str] | None = None,
    loss: training.Loss | None = None,
    **fit_options: Any,
) -> PruningResult:
    """Fine-tune a copy of an already pruned model; its zeros stay zero. Arguments as in ``prune_gradually``."""
    keeper = MaskKeeper(lambda step, total_steps: None, global_masks, layers, loss)
    tuned = copy.deepcopy(model)
    return keeper.fit(tuned, train, validation, epochs=epochs, learning_rate=learning_rate, **fit_options)


class MaskKeeper:
    """Holds masks during training: re-applies them after every update, and chooses new ones when ``plan`` says so.

    Args:
        plan: ``(step, total_steps) ->`` the sparsity to prune to now, or None to go on with the masks as they are.
        choose: ``(model, sparsity, layers) -> masks``.
        loss: what is trained on; cross entropy by default.
    """

    def __init__(
        self, plan: Plan, choose: ChooseMasks, layers: Collection[str] | None, loss: training.Loss | None
    ) -> None:
        self.plan, self.choose, self.layers = plan, choose, layers
        self.objective = loss or training.cross_entropy()
        self.masks: Masks | None = None

    def fit(self, model: nn.Module, train: Split, validation: Split | None, **fit_options: Any) -> PruningResult:
        """Train ``model`` in place under the masks."""
        for split in (train, validation):
            if split is not None:
                refuse_test(split, "pruned or tuned on")
        refused = [name for name in _NOT_PASSED_ON if fit_options.get(name)]
        if refused:
            raise ValueError(f"{refused[0]} cannot be used while pruning: only the end has the final sparsity")
        history = training.fit(model, train, validation, loss=self._loss, after_step=self._after_step, **fit_options)
        # An interruption may fall between an update and its masks.
        masks = {name: mask.cpu() for name, mask in (self.masks or zero_masks(model, self.layers)).items()}
        apply_masks(model, masks)
        return PruningResult(model, masks, history, tuple(self.layers) if self.layers is not None else None)

    def _loss(self, model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        if self.masks is None:
            # Before the first update, when a checkpoint has been loaded: only now do the zeros tell the masks.
            self.masks = zero_masks(model, self.layers)
        return self.objective(model, inputs, labels)

    def _after_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        target = self.plan(step, total_steps)
        if target is not None:
            self.masks = self.choose(model, target, self.layers)
        apply_masks(model, self.masks or {})

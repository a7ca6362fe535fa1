"""Gradual pruning: sparsity grows while the model is trained, and the remaining weights adapt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from course_lib import training
from course_lib.architectures.weighted_layers import copy_model
from course_lib.core.validation import check_fraction, check_positive
from course_lib.data import Split
from course_lib.pruning.masks import Masks, apply_masks, global_masks, nonzero_masks, sparsity, sparsity_table
from course_lib.pruning.schedule import Schedule, cubic_sparsity

if TYPE_CHECKING:
    import pandas

ChooseMasks = Callable[[nn.Module, float, Collection[str] | None], Masks]
SparsityAt = Callable[[int, int], float | None]

# These would choose or stop by the validation accuracy of an epoch that has not reached the final sparsity yet.
_REFUSED_OPTIONS = ("keep_best", "patience", "after_step")


@dataclass(frozen=True)
class PruningResult:
    """A pruned copy of a model with its masks and the history of its training.

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

    The masks are recomputed from the current weights ``steps`` times, evenly spaced over the first ``ramp`` of the
    training; in between they are fixed, and dropped weights are exactly zero after every update.

    Args:
        ramp: fraction of the training during which sparsity grows, in (0, 1].
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
    sparsity_at = _sparsity_at(schedule_of_sparsity, initial_sparsity, final_sparsity, ramp, steps)
    pruned = copy_model(model)
    apply_masks(pruned, choose(pruned, initial_sparsity, layers))
    masked = MaskedTraining(layers, loss, sparsity_at, choose)
    return masked.fit(pruned, train, validation, epochs=epochs, learning_rate=learning_rate, **fit_options)


def _sparsity_at(schedule: Schedule, initial: float, final: float, ramp: float, steps: int) -> SparsityAt:
    """The sparsity due at each of ``steps`` moments of the ramp, None in between."""
    schedule(0, steps, initial, final)  # refuses arguments that are out of range before the training starts

    def sparsity_at(step: int, total_steps: int) -> float | None:
        due, before = (int(min(1.0, at / (ramp * total_steps)) * steps) for at in (step, step - 1))
        return schedule(due, steps, initial, final) if due != before else None

    return sparsity_at


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
    masked = MaskedTraining(layers, loss)
    tuned = copy_model(model)
    return masked.fit(tuned, train, validation, epochs=epochs, learning_rate=learning_rate, **fit_options)


@dataclass
class MaskedTraining:
    """Training that re-applies masks after every update, and recomputes them where ``sparsity_at`` says so.

    Args:
        loss: what is trained on; cross entropy by default.
        sparsity_at: ``(step, total_steps) ->`` the sparsity to prune to at this step, or None to keep the masks.
        choose: ``(model, sparsity, layers) -> masks``.
        masks: the first ones; those of the weights that are not zero by default.
    """

    layers: Collection[str] | None = None
    loss: training.Loss | None = None
    sparsity_at: SparsityAt = lambda step, total_steps: None
    choose: ChooseMasks = global_masks
    masks: Masks | None = None

    def fit(self, model: nn.Module, train: Split, validation: Split | None, **fit_options: Any) -> PruningResult:
        """Train ``model`` in place under the masks; a run resumed from a checkpoint reads them off its zeros."""
        refused = [name for name in _REFUSED_OPTIONS if fit_options.get(name)]
        if refused:
            raise ValueError(f"{refused[0]} cannot be used while pruning: only the end has the final sparsity")
        history = training.fit(model, train, validation, loss=self._masked_loss, after_step=self._apply, **fit_options)
        # An interruption may fall between an update and its masks.
        masks = {name: mask.cpu() for name, mask in (self.masks or nonzero_masks(model, self.layers)).items()}
        apply_masks(model, masks)
        return PruningResult(model, masks, history, tuple(self.layers) if self.layers is not None else None)

    def _masked_loss(self, model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        if self.masks is None:
            # Before the first update, after a checkpoint was loaded: the masks are where its zeros are.
            self.masks = nonzero_masks(model, self.layers)
        return (self.loss or training.cross_entropy())(model, inputs, labels)

    def _apply(self, model: nn.Module, step: int, total_steps: int) -> None:
        sparsity = self.sparsity_at(step, total_steps)
        if sparsity is not None:
            self.masks = self.choose(model, sparsity, self.layers)
        apply_masks(model, self.masks or {})

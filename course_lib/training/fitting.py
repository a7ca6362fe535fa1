"""The training loop that every lesson uses."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR, LinearLR, LRScheduler, OneCycleLR
from tqdm.auto import tqdm

from course_lib import models
from course_lib.core import memory
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Augmentation, Split, refuse_test
from course_lib.training.checkpoint import History, Run
from course_lib.training.evaluation import evaluate

Loss = Callable[[nn.Module, Any, Tensor], Tensor]
StepHook = Callable[[nn.Module, int, int], None]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How ``fit`` trains.

    Args:
        epochs: passes over the training split.
        learning_rate: the highest of the schedule.
        optimizer: ``"adamw"`` or ``"sgd"`` (Nesterov momentum 0.9).
        weight_decay: of matrices and filters; biases and norms have none.
        schedule: ``"one_cycle"`` (Smith, 2018), ``"linear"`` (decay to zero) or ``"constant"``.
        precision: ``"fp32"``, or ``"bf16"`` for mixed precision.
        batch_size: examples per step.
        augment: whether training images are augmented, or how; see ``data.Augmentation``.
        seed: of shuffling, augmentation and dropout.
        keep_best: end with the weights of the epoch with the best validation accuracy, not those of the last epoch.
        patience: stop after this many epochs without a better validation accuracy.
        checkpoint: file that is written after every epoch; an interrupted run resumes from it.
        device: ``"auto"`` for a GPU if there is one, or a device of torch.
        progress: whether a progress bar is shown.
    """

    epochs: int
    learning_rate: float
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    schedule: str = "one_cycle"
    precision: str = "fp32"
    batch_size: int = 128
    augment: bool | Augmentation = False
    seed: int = 0
    keep_best: bool = False
    patience: int | None = None
    checkpoint: str | Path | None = None
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size"):
            check_positive(name, getattr(self, name))
        check_choice("optimizer", self.optimizer, ("adamw", "sgd"))
        check_choice("schedule", self.schedule, ("one_cycle", "linear", "constant"))
        check_choice("precision", self.precision, ("fp32", "bf16"))


def fit(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int,
    learning_rate: float,
    loss: Loss | None = None,
    after_step: StepHook | None = None,
    **options: Any,
) -> History:
    """Train ``model`` in place; it ends in eval mode on its original device.

    Args:
        validation: evaluated after every epoch, if given.
        loss: ``(model, inputs, labels) -> scalar``; cross entropy by default.
        after_step: called as ``(model, step, total_steps)`` after every optimizer step, for example to apply masks.
        options: other fields of ``TrainingOptions``: ``optimizer``, ``schedule``, ``batch_size``, ``augment``, ….

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range, or the training split has fewer than two examples.
    """
    for split in (train, validation):
        refuse_test(split, "trained or tuned on")
    settings = TrainingOptions(epochs=epochs, learning_rate=learning_rate, **options)
    if len(train) < 2:
        raise ValueError(f"the training split needs at least 2 examples, got {len(train)}")
    if validation is None and (settings.keep_best or settings.patience):
        raise ValueError("keep_best and patience need a validation split")
    original_device = next(model.parameters()).device
    trainer = Trainer(model, train, loss or cross_entropy(), after_step, settings)
    try:
        trainer.train_epochs(validation)
    except KeyboardInterrupt:
        trainer.run.history.interrupted = True
    trainer.run.restore_best()
    model.to(original_device).eval()
    memory.return_freed()
    return trainer.run.history


class Trainer:
    """One training run: the model with its optimizer and scheduler, and the loops over epochs and batches."""

    def __init__(
        self, model: nn.Module, train: Split, loss: Loss, after_step: StepHook | None, options: TrainingOptions
    ) -> None:
        self.train, self.loss, self.after_step, self.options = train, loss, after_step, options
        self.device = models.device(options.device)
        self.model = model.to(self.device)
        self.steps_per_epoch = steps_per_epoch(len(train), options.batch_size)
        self.total_steps = options.epochs * self.steps_per_epoch
        self.optimizer = make_optimizer(model, options.optimizer, options.learning_rate, options.weight_decay)
        self.scheduler = make_scheduler(self.optimizer, options.schedule, options.learning_rate, self.total_steps)
        self.run = Run(model, self.optimizer, self.scheduler, options.checkpoint, options.keep_best)

    def train_epochs(self, validation: Split | None) -> None:
        """Train from the epoch after the checkpoint to the last one, or until ``patience`` is exhausted."""
        first, patience = self.run.resume(), self.options.patience
        done = first * self.steps_per_epoch
        with tqdm(total=self.total_steps, initial=done, desc="train", disable=not self.options.progress) as bar:
            for epoch in range(first, self.options.epochs):
                train_loss = self.train_epoch(epoch, bar)
                accuracy = evaluate(self.model, validation).accuracy if validation is not None else None
                self.run.finish_epoch(epoch, train_loss, accuracy)
                bar.set_postfix(self.run.summary())
                if patience and self.run.epochs_since_best(epoch) >= patience:
                    break

    def train_epoch(self, epoch: int, progress_bar: Any) -> float:
        """Train on every batch once; returns the mean loss."""
        options, epoch_seed = self.options, self.options.seed * 1_000_003 + epoch
        torch.manual_seed(epoch_seed)
        batches = self.train.batches(options.batch_size, shuffle=True, augment=options.augment, seed=epoch_seed)
        self.model.train()
        losses = []
        for inputs, labels in itertools.islice(batches, self.steps_per_epoch):
            losses.append(self.train_step(models.to_device(inputs, self.device), labels.to(self.device)))
            if self.after_step is not None:
                self.after_step(self.model, epoch * self.steps_per_epoch + len(losses), self.total_steps)
            progress_bar.update()
        self.model.zero_grad(set_to_none=True)  # gradients need as much memory as the model
        return torch.stack(losses).mean().item()

    def train_step(self, inputs: Any, labels: Tensor) -> Tensor:
        """One optimizer step on one batch; returns the loss, detached."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            loss = self.loss(self.model, inputs, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.detach()


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Number of batches; a last batch of one example is dropped, because BatchNorm needs two."""
    full_batches, rest = divmod(examples, batch_size)
    return full_batches + 1 if rest > 1 else full_batches


def make_optimizer(model: nn.Module, name: str, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW or SGD for the trainable parameters; only matrices and filters have weight decay."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=learning_rate)


def make_scheduler(optimizer: torch.optim.Optimizer, name: str, learning_rate: float, total_steps: int) -> LRScheduler:
    """The learning-rate schedule, one value per step."""
    if name == "one_cycle":
        warm_up = max(0.2, 1.5 / (total_steps + 1))  # less than one step of warm-up makes torch divide by zero
        return OneCycleLR(
            optimizer, learning_rate, total_steps + 1, pct_start=warm_up, cycle_momentum=False, final_div_factor=1e3
        )
    if name == "linear":
        return LinearLR(optimizer, 1.0, 0.0, total_steps)
    return ConstantLR(optimizer, 1.0)


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """The usual loss as a function ``(model, inputs, labels) -> scalar``."""

    def loss(model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        return F.cross_entropy(models.forward(model, inputs).float(), labels, label_smoothing=label_smoothing)

    return loss


def seed_everything(seed: int = 0) -> None:
    """Seed Python, NumPy and torch."""
    import numpy

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)

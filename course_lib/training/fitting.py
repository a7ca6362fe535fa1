"""One training loop for every lesson."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course_lib import models
from course_lib.core import memory
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Augmentation, Split, refuse_test
from course_lib.training.checkpoint import History, Run
from course_lib.training.evaluation import evaluate

Loss = Callable[[nn.Module, Any, Tensor], Tensor]
StepHook = Callable[[nn.Module, int, int], None]


def seed_everything(seed: int = 0) -> None:
    """Seed Python, NumPy and torch."""
    import numpy

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """The usual loss as a function ``(model, inputs, labels) -> scalar``."""

    def loss(model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        return F.cross_entropy(models.forward(model, inputs).float(), labels, label_smoothing=label_smoothing)

    return loss


def fit(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int,
    learning_rate: float,
    optimizer: str = "adamw",
    weight_decay: float = 0.01,
    schedule: str = "one_cycle",
    batch_size: int = 128,
    augment: bool | Augmentation = False,
    loss: Loss | None = None,
    after_step: StepHook | None = None,
    precision: str = "fp32",
    keep_best: bool = False,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train ``model`` in place; it ends in eval mode on the device where it was.

    Args:
        validation: evaluated after every epoch, if given.
        optimizer: ``"adamw"`` or ``"sgd"`` (Nesterov momentum 0.9).
        schedule: ``"one_cycle"`` (Smith, 2018), ``"linear"`` (decay to zero) or ``"constant"``.
        augment: whether training pictures are changed at random, or how far; see ``data.Augmentation``.
        loss: ``(model, inputs, labels) -> scalar``; cross entropy by default.
        after_step: called as ``(model, step, total_steps)`` after every update, for example to re-apply masks.
        precision: ``"fp32"``, or ``"bf16"`` for mixed precision.
        keep_best: end with the weights of the best validation epoch instead of the last.
        patience: stop after so many epochs without a better validation accuracy.
        checkpoint: file that is written after every epoch, and from which an interrupted run goes on.

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range, or the training split is empty.
    """
    _check(train, validation, epochs, learning_rate, precision, keep_best or bool(patience))
    home, place = next(model.parameters()).device, models.device(device)
    model.to(place)
    steps = math.ceil(len(train) / batch_size) - (len(train) % batch_size == 1)
    update = _optimizer(model, optimizer, learning_rate, weight_decay)
    rate = _schedule(update, schedule, learning_rate, epochs * steps)
    run = Run(model, update, rate, Path(checkpoint) if checkpoint else None)
    start = run.resume()
    bar = tqdm(total=epochs * steps, initial=start * steps, desc="train", disable=not progress)
    stepper = _Stepper(model, update, rate, loss or cross_entropy(), precision, after_step, place, bar)
    try:
        for epoch in range(start, epochs):
            epoch_seed = seed * 1_000_003 + epoch
            torch.manual_seed(epoch_seed)
            batches = train.batches(batch_size, shuffle=True, augment=augment, seed=epoch_seed)
            train_loss = stepper.epoch(itertools.islice(batches, steps), epoch * steps)
            accuracy = evaluate(model, validation).accuracy if validation is not None else None
            run.finish_epoch(epoch, train_loss, accuracy, keep_best)
            bar.set_postfix(run.summary())
            if patience and run.epochs_since_best(epoch) >= patience:
                break
    except KeyboardInterrupt:
        run.history.interrupted = True
    bar.close()
    run.restore_best(keep_best)
    model.to(home).eval()
    memory.return_freed()
    return run.history


@dataclass
class _Stepper:
    """Everything that one update needs; ``bar`` knows how many steps the whole run has."""

    model: nn.Module
    update: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    loss: Loss
    precision: str
    after_step: StepHook | None
    place: torch.device
    bar: Any

    def epoch(self, batches: Iterable[tuple[Any, Tensor]], first_step: int) -> float:
        """Go over ``batches`` once; returns the mean loss."""
        self.model.train()
        losses = []
        for step, (inputs, labels) in enumerate(batches, start=first_step + 1):
            losses.append(self.step(models.to_device(inputs, self.place), labels.to(self.place)))
            if self.after_step is not None:
                self.after_step(self.model, step, self.bar.total)
            self.bar.update()
        self.model.zero_grad(set_to_none=True)  # the last gradients are as large as the model, and of no use any more
        return torch.stack(losses).mean().item()

    def step(self, inputs: Any, labels: Tensor) -> Tensor:
        with torch.autocast(self.place.type, torch.bfloat16, enabled=self.precision == "bf16"):
            value = self.loss(self.model, inputs, labels)
        self.update.zero_grad(set_to_none=True)
        value.backward()
        self.update.step()
        self.rate.step()
        return value.detach()


def _check(
    train: Split,
    validation: Split | None,
    epochs: int,
    learning_rate: float,
    precision: str,
    needs_validation: bool,
) -> None:
    for split in (train, validation):
        if split is not None:
            refuse_test(split, "trained or tuned on")
    check_positive("epochs", epochs)
    check_positive("learning_rate", learning_rate)
    check_choice("precision", precision, ("fp32", "bf16"))
    if len(train) < 2:
        raise ValueError(f"the training split needs at least 2 examples, got {len(train)}")
    if validation is None and needs_validation:
        raise ValueError("keep_best and patience need a validation split")


def _optimizer(model: nn.Module, name: str, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Weight decay goes to matrices and filters only, not to biases and norms."""
    check_choice("optimizer", name, ("adamw", "sgd"))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=learning_rate)


def _schedule(
    update: torch.optim.Optimizer, name: str, learning_rate: float, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    check_choice("schedule", name, ("one_cycle", "linear", "constant"))
    if name == "one_cycle":
        # A warm-up of less than one step makes torch divide by zero.
        warm_up = max(0.2, 1.5 / (total_steps + 1))
        return torch.optim.lr_scheduler.OneCycleLR(
            update, learning_rate, total_steps + 1, pct_start=warm_up, cycle_momentum=False, final_div_factor=1e3
        )
    if name == "linear":
        return torch.optim.lr_scheduler.LinearLR(update, 1.0, 0.0, total_steps)
    return torch.optim.lr_scheduler.ConstantLR(update, 1.0)

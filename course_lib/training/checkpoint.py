"""What a training run remembers: its history, its best weights, and the checkpoint from which it goes on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class History:
    """One entry per finished epoch, and whether the run was cut short."""

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    interrupted: bool = False


class Run:
    """Bookkeeping of one training run: history, best weights, checkpoint."""

    def __init__(self, model: nn.Module, update: Any, rate: Any, checkpoint: Path | None) -> None:
        self.model, self.update, self.rate, self.checkpoint = model, update, rate, checkpoint
        self.history = History()
        self.best: dict[str, Tensor] | None = None

    def finish_epoch(self, epoch: int, train_loss: float, accuracy: float | None, keep_best: bool) -> None:
        self.history.train_loss.append(train_loss)
        if accuracy is not None:
            past = self.history.validation_accuracy
            if not past or accuracy > max(past):
                self.history.best_epoch = epoch
                if keep_best:
                    self.best = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
            past.append(accuracy)
        if self.checkpoint is not None:
            self.save(epoch)

    def epochs_since_best(self, epoch: int) -> int:
        return epoch - (self.history.best_epoch or 0)

    def summary(self) -> dict[str, str]:
        numbers = {"loss": f"{self.history.train_loss[-1]:.3f}"}
        if self.history.validation_accuracy:
            numbers["validation"] = f"{self.history.validation_accuracy[-1]:.2%}"
        return numbers

    def restore_best(self, keep_best: bool) -> None:
        if keep_best and self.best is not None:
            self.model.load_state_dict(self.best)

    def save(self, epoch: int) -> None:
        assert self.checkpoint is not None
        state = {
            "epoch": epoch, "model": self.model.state_dict(), "update": self.update.state_dict(),
            "rate": self.rate.state_dict(), "best": self.best, "history": vars(self.history),
        }  # fmt: skip
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def resume(self) -> int:
        """Load the checkpoint if there is one; returns the epoch to start with."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.update.load_state_dict(state["update"])
        self.rate.load_state_dict(state["rate"])
        self.best, self.history = state["best"], History(**state["history"])
        return state["epoch"] + 1

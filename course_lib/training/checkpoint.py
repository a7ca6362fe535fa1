"""The history of a training run, its best weights, and the checkpoint from which it resumes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.core.atomic_write import write_atomically


@dataclass
class History:
    """One entry per finished epoch, and whether the run was interrupted."""

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    interrupted: bool = False


class Run:
    """Bookkeeping of one training run: history, best weights, checkpoint.

    Args:
        checkpoint: file for ``save`` and ``resume``, if any.
        keep_best: whether the weights of the best epoch are kept for ``restore_best``.
    """

    def __init__(
        self, model: nn.Module, optimizer: Any, scheduler: Any, checkpoint: str | Path | None, keep_best: bool
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.checkpoint, self.keep_best = Path(checkpoint) if checkpoint else None, keep_best
        self.history = History()
        self.best: dict[str, Tensor] | None = None

    def finish_epoch(self, epoch: int, train_loss: float, accuracy: float | None) -> None:
        """Record the results of an epoch and write the checkpoint."""
        self.history.train_loss.append(train_loss)
        if accuracy is not None:
            past = self.history.validation_accuracy
            if not past or accuracy > max(past):
                self.history.best_epoch = epoch
                if self.keep_best:
                    self.best = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
            past.append(accuracy)
        if self.checkpoint is not None:
            self.save(epoch, self.checkpoint)

    def epochs_since_best(self, epoch: int) -> int:
        """Epochs since the best validation accuracy."""
        return epoch - (self.history.best_epoch or 0)

    def summary(self) -> dict[str, str]:
        """The latest loss and accuracy, for the progress bar."""
        numbers = {"loss": f"{self.history.train_loss[-1]:.3f}"}
        if self.history.validation_accuracy:
            numbers["validation"] = f"{self.history.validation_accuracy[-1]:.2%}"
        return numbers

    def restore_best(self) -> None:
        """Load the weights of the best epoch, if they were kept."""
        if self.keep_best and self.best is not None:
            self.model.load_state_dict(self.best)

    def save(self, epoch: int, path: Path) -> None:
        """Write the checkpoint; an interruption leaves the previous one intact."""
        state = {
            "epoch": epoch, "model": self.model.state_dict(), "update": self.optimizer.state_dict(),
            "rate": self.scheduler.state_dict(), "best": self.best, "history": vars(self.history),
        }  # fmt: skip
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(path, content.getvalue())

    def resume(self) -> int:
        """Load the checkpoint if there is one; returns the epoch to start with."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["update"])
        self.scheduler.load_state_dict(state["rate"])
        self.best, self.history = state["best"], History(**state["history"])
        return state["epoch"] + 1

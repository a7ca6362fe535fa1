"""What a step needs beside the model: the original, the data, the seed, and a folder for checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import distillation, models, training
from course_lib.data import Split, Splits
from course_lib.pipeline.cache import split_digest
from course_lib.training.losses import distillation_loss


@dataclass(frozen=True)
class Context:
    """Surroundings of one step.

    Args:
        original: the model before the first step; the teacher of all training.
        splits: train and validation are used, test never.
        folder: for checkpoints and the teacher's outputs.
        name: of the step's files in that folder.
        origin: digest of the original.
        progress: whether training shows a bar.
    """

    original: nn.Module
    splits: Splits
    folder: Path
    name: str
    origin: str = ""
    seed: int = 0
    progress: bool = False

    def train(self, examples: int | None) -> Split:
        """The training split, or a fixed random part of it."""
        return self.splits.train if examples is None else self.splits.train.subset(examples, self.seed)

    @property
    def checkpoint(self) -> Path:
        """File from which an interrupted training resumes."""
        return self.folder / f"{self.name}.checkpoint"

    def teacher_logits(self, teacher: nn.Module, split: Split) -> Tensor:
        """Outputs of ``teacher`` on ``split``; those of the original are kept for later steps and pipelines."""
        source = self.origin if teacher is self.original else self.name
        file = self.folder / f"teacher_{source[:16]}_{split_digest(split)[:16]}.safetensors"
        return distillation.teacher_logits(teacher, split, cache=file, progress=self.progress)


@dataclass(frozen=True)
class TaughtSplit:
    """Training examples whose labels are row numbers, with the true label and the teacher's logits of each row."""

    split: Split
    labels: Tensor = field(repr=False)
    logits: Tensor = field(repr=False)
    alpha: float
    temperature: float

    def loss(self, model: nn.Module, inputs: Any, rows: Tensor) -> Tensor:
        """Distillation loss (Hinton, Vinyals and Dean, 2015)."""
        logits, device = models.forward(model, inputs).float(), rows.device
        targets, labels = self.logits.to(device)[rows], self.labels.to(device)[rows]
        return distillation_loss(logits, targets, labels, self.alpha, self.temperature)[0]


class Lesson:
    """What one step trains on: a split, a loss, and the options of ``training.fit``.

    Args:
        options: the training arguments of the step.
        teacher: whose soft targets are matched, with the weight ``alpha``.
    """

    def __init__(self, context: Context, options: Mapping[str, Any], teacher: nn.Module) -> None:
        chosen = dict(options)
        split = context.train(chosen.pop("examples"))
        alpha, temperature = chosen.pop("alpha"), chosen.pop("temperature")
        self.freezes_embeddings = chosen.pop("freeze_embeddings")
        self.split, self.loss = split, training.cross_entropy()
        if alpha:
            logits = context.teacher_logits(teacher, split)
            taught = TaughtSplit(
                replace(split, labels=torch.arange(len(split))), split.labels, logits, alpha, temperature
            )
            self.split, self.loss = taught.split, taught.loss
        self.options = {
            **chosen, "seed": context.seed, "checkpoint": context.checkpoint, "progress": context.progress,
            "loss": self.loss,
        }  # fmt: skip

    @contextmanager
    def frozen(self, model: nn.Module) -> Iterator[nn.Module]:
        """``model`` with frozen embeddings, if the step asks for it; they are free again at the end."""
        tables = [part.weight for part in model.modules() if isinstance(part, nn.Embedding) and self.freezes_embeddings]
        tables = [table for table in tables if table.requires_grad]
        for table in tables:
            table.requires_grad_(False)
        try:
            yield model
        finally:
            for table in tables:
                table.requires_grad_(True)

    def fit(self, model: nn.Module) -> nn.Module:
        """A trained copy of ``model``."""
        tuned = copy.deepcopy(model)
        with self.frozen(tuned):
            finished(training.fit(tuned, self.split, **self.options))
        return tuned


def finished(history: training.History) -> training.History:
    """Raise ``KeyboardInterrupt`` again where ``training.fit`` has stopped for it: the step is not done."""
    if history.interrupted:
        raise KeyboardInterrupt
    return history

"""The trainings of picture students behind benchmarks/distillation.py, in pieces that can be stopped and resumed.

Hyper-parameters were chosen on validation; the test split is read for the rows that are reported, and for nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib import data, distillation, models, storage, training
from course_lib.distillation.distilling import Apprentice, Objective

RUNS = Path(__file__).parent.parent / "runs" / "distillation"
PARTS = 4  # an epoch is cut into so many, so that a run can be stopped after each
TEACHER_CHUNK = 2000
STUDENTS: dict[str, dict[str, Any]] = {
    "10": {"channels": [16, 32, 80, 160], "blocks": [2, 2, 2, 2], "shrink": 2},
    "100": {"channels": [16, 32, 80], "blocks": [1, 1, 1], "shrink": 2},
    "400": {"channels": [8, 16, 40], "blocks": [1, 1, 1], "shrink": 2, "stem_stride": 1},
    "30": {"channels": [16, 32, 64, 64], "blocks": [1, 2, 2, 2], "shrink": 2},
}
FIT = {
    "optimizer": "sgd", "weight_decay": 2e-4, "schedule": "one_cycle", "batch_size": 256, "augment": True,
    "precision": "bf16",
}  # fmt: skip


class Stopped(Exception):
    """The time of this piece is over; the run goes on from its checkpoint."""


@dataclass(frozen=True)
class Run:
    """One training of a picture student.

    Args:
        student: key of ``STUDENTS``.
        teacher: ``"resnet18"``, the name of another run, or None for labels only.
        labels: whether labels are seen; without them ``alpha`` is 1.
        images: how many training images are used at most.
    """

    student: str
    teacher: str | None = "resnet18"
    seed: int = 0
    epochs: int = 6
    alpha: float = 0.9
    temperature: float = 4.0
    images: int = 58_000
    learning_rate: float = 0.2
    labels: bool = True

    @property
    def name(self) -> str:
        source = self.teacher or "labels"
        parts = [self.student, source.replace(" ", "_"), f"a{self.alpha:g}", f"t{self.temperature:g}"]
        parts += [f"n{self.images}", f"e{self.epochs}", f"lr{self.learning_rate:g}", f"s{self.seed}"]
        return "-".join(parts if self.labels else [*parts, "label_free"])

    @property
    def file(self) -> Path:
        return RUNS / f"{self.name}.safetensors"


class Rotation:
    """A split that gives another random part of itself in every epoch; what ``training.fit`` asks of a split."""

    def __init__(self, split: data.Split, parts: int) -> None:
        self.split, self.parts = split, parts
        self.name, self.dataset = split.name, split.dataset

    def __len__(self) -> int:
        return len(self.split) // self.parts

    def batches(
        self, batch_size: int, *, shuffle: bool, augment: bool, seed: int
    ) -> Iterator[tuple[Any, torch.Tensor]]:
        """The part of epoch ``seed``; after ``parts`` epochs every example has been seen once."""
        order = torch.randperm(len(self.split), generator=torch.Generator().manual_seed(seed // self.parts))
        part = seed % self.parts
        rows = order[part * len(self) : (part + 1) * len(self)]
        chosen = replace(self.split, inputs=self.split.inputs[rows], labels=self.split.labels[rows])  # type: ignore[index]
        return chosen.batches(batch_size, shuffle=shuffle, augment=augment, seed=seed)


def teacher_targets(split: data.Split, deadline: float) -> torch.Tensor:
    """Logits of ResNet18 on ``split``, kept in runs/ chunk by chunk; training images are asked in bf16."""
    model = models.load("resnet18").to(memory_format=torch.channels_last)
    parts = []
    for number, images in enumerate(split.inputs.split(TEACHER_CHUNK)):  # type: ignore[union-attr]
        file = RUNS / f"teacher_{split.name}_{number:03}.part"
        if not file.exists():
            if time.perf_counter() > deadline:
                raise Stopped
            RUNS.mkdir(parents=True, exist_ok=True)
            torch.save(_answers(model, images, bf16=split.name == "train"), file)
        parts.append(torch.load(file))
    return torch.cat(parts)


@torch.no_grad()
def _answers(model: nn.Module, images: torch.Tensor, bf16: bool) -> torch.Tensor:
    answers = []
    for batch in images.split(250):
        pictures = data.prepare_images(batch, upscale=2).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answers.append(model(pictures).float())
    return torch.cat(answers)


def student_of(run: Run, splits: data.Splits, seconds: float) -> nn.Module:
    """The trained student of one run; trained now for at most ``seconds`` if it is not in runs/ yet.

    Raises:
        Stopped: if the time was not enough; calling again goes on.
    """
    if run.file.exists():
        return storage.load(run.file)
    deadline = time.perf_counter() + seconds
    train = splits.train
    targets = torch.zeros(len(train), len(train.classes))
    if run.teacher == "resnet18":
        targets = teacher_targets(train, deadline)
    elif run.teacher is not None:
        targets = torch.load(RUNS / f"{run.teacher}.logits")
    if run.images < len(train):
        rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: run.images]
        train, targets = replace(train, inputs=train.inputs[rows], labels=train.labels[rows]), targets[rows]  # type: ignore[index]
    training.seed_everything(run.seed)
    student = distillation.resnet_student(**STUDENTS[run.student])
    student.to(memory_format=torch.channels_last)
    recipe = distillation.Recipe(alpha=run.alpha if run.teacher else 0.0, temperature=run.temperature)
    apprentice = Apprentice(nn.Identity(), student, recipe)
    seen = torch.full((len(train),), run.labels)
    objective = Objective(apprentice, recipe, targets, train.labels, seen)
    numbered = replace(train, labels=torch.arange(len(train)))
    checkpoint = RUNS / f"{run.name}.checkpoint"
    steps = -(-(len(train) // PARTS) // FIT["batch_size"])  # type: ignore[operator]

    def stop_in_time(_model: nn.Module, step: int, _total: int) -> None:
        if time.perf_counter() > deadline and step % steps == 1 and step > 1:
            raise KeyboardInterrupt

    rotation: Any = Rotation(numbered, PARTS)
    history = training.fit(
        apprentice, rotation, splits.validation, loss=objective, epochs=run.epochs * PARTS, checkpoint=checkpoint,
        learning_rate=run.learning_rate, seed=run.seed, after_step=stop_in_time, progress=False, **FIT,
    )  # fmt: skip
    print(run.name, [round(value, 4) for value in history.validation_accuracy], flush=True)
    if history.interrupted:
        raise Stopped
    storage.save(student.to(memory_format=torch.contiguous_format), run.file)
    checkpoint.unlink(missing_ok=True)
    return student

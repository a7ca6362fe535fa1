"""The trainings of benchmarks/distillation_vision.py, which can be stopped and resumed.

Hyper-parameters were chosen on validation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import resuming
import torch
from torch import Tensor, nn

from course_lib import data, distillation, models, storage, training
from course_lib.distillation.distilling import DistillationLoss, ProjectedStudent

RUNS = resuming.RUNS / "distillation"

TEACHER_CHUNK = 2000
STUDENTS: dict[str, dict[str, Any]] = {
    "10": {"channels": [16, 48, 96, 192], "blocks": [1, 1, 1, 1], "shrink": 2},
    "100": {"channels": [32, 32, 64], "blocks": [1, 1, 1], "shrink": 2},
    "400": {"channels": [16, 16, 32], "blocks": [1, 1, 1], "shrink": 2},
}
FIT = {
    "optimizer": "sgd", "weight_decay": 2e-4, "schedule": "one_cycle", "batch_size": 64,
    "augment": data.Augmentation(shift=1, hole=0), "precision": "bf16",
}  # fmt: skip
EPOCHS = {"10": 30, "100": 8, "400": 8}
# The largest student is so close to its teacher that it needs long training with targets of the augmented images.
TAUGHT = {"10": {"consistent": True, "alpha": 0.7, "temperature": 4.0}}
SEEDS = (0, 1, 2)
TEMPERATURES, ALPHAS = (1.0, 2.0, 4.0, 8.0, 16.0), (0.5, 1.0)


@dataclass(frozen=True)
class Run:
    """One training of an image student.

    Args:
        student: key of ``STUDENTS``.
        teacher: ``"resnet18"``, the key of a student of ResNet18, or None for labels only.
        images: number of training images at most.
        labelled: how many of them have a label; all by default.
        consistent: whether the targets belong to the augmented image, instead of the original.
    """

    student: str
    teacher: str | None = "resnet18"
    seed: int = 0
    epochs: int = 6
    alpha: float = 0.9
    temperature: float = 2.0
    images: int = 58_000
    learning_rate: float = 0.1
    consistent: bool = False
    labelled: int | None = None

    @property
    def name(self) -> str:
        """All settings, as the name of its files."""
        source = self.teacher or "labels"
        parts = [self.student, source.replace(" ", "_"), f"a{self.alpha:g}", f"t{self.temperature:g}"]
        parts += [f"n{self.images}", f"e{self.epochs}", f"lr{self.learning_rate:g}", f"s{self.seed}"]
        parts += ["views"] * self.consistent + [f"l{self.labelled}"] * (self.labelled is not None)
        return "-".join(parts)

    @property
    def file(self) -> Path:
        """The trained student."""
        return RUNS / f"{self.name}.safetensors"


def teacher_targets(split: data.Split) -> Tensor:
    """Logits of ResNet18 on ``split``, kept in runs/ chunk by chunk; those of training images in bf16."""
    images: Any = split.inputs
    return torch.cat([
        kept_logits(f"teacher_{split.name}_{number:03}", chunk, split.name == "train")
        for number, chunk in enumerate(images.split(TEACHER_CHUNK))
    ])  # fmt: skip


def view_targets(shown: distillation.Views) -> Tensor:
    """Logits of ResNet18 on every version of every image, ``(versions, N, classes)``, kept in runs/."""
    return torch.stack([
        kept_logits(f"teacher_{shown.name}_view_{number:02}", shown.version(number).inputs, True)
        for number in range(len(shown.versions))
    ])  # fmt: skip


def kept_logits(name: str, images: Any, bf16: bool) -> Tensor:
    """Logits of ResNet18 on uint8 images, computed once."""

    @torch.no_grad()
    def compute() -> Tensor:
        model, logits = models.load("resnet18").to(memory_format=torch.channels_last), []
        for batch in images.split(250):
            inputs = data.prepare_images(batch, upscale=2).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits.append(model(inputs).float())
        return torch.cat(logits)

    return resuming.computed_once(RUNS / f"{name}.tensor", compute)


def assistant_targets(student: str, split: data.Split) -> Tensor:
    """Logits on ``split`` of a student of ResNet18, kept in runs/."""
    file = RUNS / f"teacher_{student}_{len(split)}.tensor"
    return resuming.computed_once(
        file, lambda: training.predict_logits(storage.load(taught(student).file), split, batch_size=250)
    )


def drawn(count: int, train: data.Split) -> Tensor:
    """Row numbers of ``count`` images, the same for every run."""
    return torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count]


def with_label(run: Run, train: data.Split) -> Tensor:
    """Which images of a run have a label, boolean ``(N,)``."""
    if run.labelled is None:
        return torch.ones(len(train), dtype=torch.bool)
    return torch.zeros(len(train), dtype=torch.bool).index_fill(0, drawn(run.labelled, train), True)


def training_set(run: Run, splits: data.Splits) -> tuple[data.Split, Tensor]:
    """The training images of a run, and the logits of its teacher (zeros without one)."""
    train, rows = splits.train, torch.arange(len(splits.train))
    if run.images < len(train):
        rows = drawn(run.images, train)
        train = train.take(rows)
    if run.consistent:
        shown = distillation.views(splits.train, FIT["augment"].shift)
        return distillation.views(train, shown.shift), view_targets(shown)[:, rows].flatten(0, 1)
    if run.teacher is None:
        return train, torch.zeros(len(train), len(train.classes))
    if run.teacher == "resnet18":
        return train, teacher_targets(splits.train)[rows]
    return train, assistant_targets(run.teacher, train)


def loss_of(
    run: Run, student: nn.Module, train: data.Split, targets: Tensor
) -> tuple[ProjectedStudent, DistillationLoss]:
    """The student as it is trained, and its loss; the teacher is not needed, since its logits are known."""
    recipe = distillation.Recipe(run.alpha if run.teacher else 0.0, run.temperature)
    trained, versions = ProjectedStudent(nn.Identity(), student, recipe), len(targets) // len(train)
    labels, labelled = (one.repeat(versions) for one in (train.labels, with_label(run, train)))
    return trained, DistillationLoss(trained, recipe, targets, labels, labelled)


def trained(run: Run, splits: data.Splits) -> Path:
    """File in runs/ of the student of one run, which is trained at most once."""
    return resuming.made_once(run.file, partial(train, run, splits), "fp32")


def train(run: Run, splits: data.Splits) -> nn.Module:
    """The student of one run, trained or resumed from its checkpoint."""
    split, targets = training_set(run, splits)
    training.seed_everything(run.seed)
    student = distillation.resnet_student(**STUDENTS[run.student]).to(memory_format=torch.channels_last)
    wrapped, loss = loss_of(run, student, split, targets)
    history = training.fit(
        wrapped, replace(split, labels=torch.arange(len(split))), splits.validation, loss=loss, epochs=run.epochs,
        checkpoint=run.file.with_suffix(".checkpoint"), learning_rate=run.learning_rate, seed=run.seed,
        progress=False, **FIT,
    )  # fmt: skip
    print(run.name, [round(value, 4) for value in history.validation_accuracy], flush=True)
    resuming.stop_if_interrupted(history)
    return student


def taught(student: str, seed: int = 0) -> Run:
    """The run of a student of ResNet18 on all images; that of seed 0 is shipped."""
    return Run(student, seed=seed, epochs=EPOCHS[student], **TAUGHT.get(student, {}))


PAIRS = {
    key: [(taught(key, seed), Run(key, None, seed=seed, epochs=EPOCHS[key])) for seed in SEEDS] for key in STUDENTS
}
FEW = [(run, replace(run, teacher=None)) for run in (Run("10", seed=seed, epochs=8, images=6_000) for seed in SEEDS)]
# Few images have a label, and the teacher labels all; both students are trained for about the same number of steps.
UNLABELLED = [
    (
        Run("10", seed=seed, epochs=10, alpha=0.7, temperature=4.0, consistent=True, labelled=6_000),
        Run("10", None, seed=seed, epochs=97, images=6_000),
    )
    for seed in SEEDS
]
GRID_ALONE = [Run("100", None, seed=seed, epochs=5, images=12_000) for seed in SEEDS]
GRID = [
    [replace(run, teacher="resnet18", alpha=alpha, temperature=temperature) for run in GRID_ALONE]
    for temperature in TEMPERATURES
    for alpha in ALPHAS
]
GAP = {
    teacher: [Run("400", teacher, seed=seed, epochs=5, images=12_000) for seed in SEEDS]
    for teacher in (None, "100", "10", "resnet18")
}
PLAN = [
    *(run for pairs in PAIRS.values() for pair in pairs for run in pair),
    *(run for pair in FEW + UNLABELLED for run in pair), *GRID_ALONE, *(run for runs in GRID for run in runs),
    *(run for runs in GAP.values() for run in runs),
]  # fmt: skip

"""Training of the shipped supernet: sandwich rule and in-place distillation, from the weights of ResNet18."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from resuming import RUNS, stop_if_interrupted
from torch import nn
from train_baselines import fashion_mnist

from course_lib import data, models, training
from course_lib.search.calibration import recalibrate_batchnorm
from course_lib.search.space import RESNET18_SPACE, Subnet
from course_lib.search.supernet import Supernet, sandwich_loss, supernet_from

FOLDER = RUNS / "search"
CALIBRATION_IMAGES = 1024
TRAINING_IMAGES = 48_000
"""Of 58,000; the supernet does not see the other 10,000, on which subnets are compared while searching."""
RECIPE = {
    "epochs": 2, "learning_rate": 1.5e-3, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "one_cycle",
    "batch_size": 64, "augment": data.Augmentation(hole=0), "seed": 0,
}  # fmt: skip


def train_supernet(
    source: Path | None, checkpoint: Path | None = None, **changes: Any
) -> tuple[Supernet, training.History]:
    """The trained supernet; resumes from ``checkpoint``.

    Args:
        source: folder with fashion-mnist/, for 48,000 training images; the shipped 20,000 without.
        changes: of ``RECIPE``.
    """
    training.seed_everything(0)
    splits = fashion_mnist(source)
    splits = replace(splits, train=splits.train.take(torch.arange(min(TRAINING_IMAGES, len(splits.train)))))
    supernet = supernet_from(models.load("resnet18"))
    steps = -(-len(splits.train) // RECIPE["batch_size"])
    history = training.fit(
        supernet, splits.train, loss=sandwich_loss(RESNET18_SPACE), checkpoint=checkpoint,
        after_step=report_epochs(steps, splits), **RECIPE | changes,
    )  # fmt: skip
    stop_if_interrupted(history)
    return supernet, history


def report_epochs(steps: int, splits: data.Splits) -> training.StepHook:
    """A hook that prints, after every epoch, the validation accuracy of three subnets: largest, smallest, random."""
    start = time.perf_counter()

    def report(supernet: Any, step: int, total: int) -> None:
        if step % 25 == 0:
            print(f"step {step} of {total}, {time.perf_counter() - start:.0f} s", flush=True)
        if step % steps == 0:
            space = supernet.space
            named = {"largest": space.largest, "smallest": space.smallest, "random": space.sample(random.Random(step))}
            found = {name: f"{validation_accuracy(supernet, subnet, splits):.2%}" for name, subnet in named.items()}
            print(f"epoch {step // steps}: {found}", flush=True)

    return report


def validation_accuracy(supernet: Supernet, subnet: Subnet, splits: data.Splits) -> float:
    """Accuracy on validation of a subnet with its own BatchNorm statistics."""
    calibration = splits.train.take(torch.arange(CALIBRATION_IMAGES))
    net: nn.Module = recalibrate_batchnorm(supernet.extract(subnet), calibration)
    return training.evaluate(net, splits.validation).accuracy

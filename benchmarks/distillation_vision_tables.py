"""The tables of benchmarks/distillation_vision.py: accuracy of the students of every recipe, with and without teacher.

The test split is read for the rows that are reported, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import resuming
import torch
from common import Row, points_gained
from distillation_vision_parts import (
    FEW,
    GAP,
    GRID,
    GRID_ALONE,
    PAIRS,
    RUNS,
    UNLABELLED,
    Run,
    taught,
    teacher_targets,
    trained,
)

from course_lib import data, report, storage, training


def baseline(splits: data.Splits) -> training.Evaluation:
    """ResNet18 on test; its logits are kept in runs/."""
    return training.judge(teacher_targets(splits.test), splits.test)


def evaluated(run: Run, splits: data.Splits) -> training.Evaluation:
    """The student of a run on test; it is trained first if it is not in runs/."""
    logits = resuming.computed_once(
        RUNS / f"{run.name}.tensor", lambda: training.predict_logits(storage.load(trained(run, splits)), splits.test)
    )
    return training.judge(logits, splits.test)


def row(runs: list[Run], splits: data.Splits) -> Row:
    """One row for the seeds of one recipe: mean accuracy, and retained with the interval over all seeds together."""
    before, found = baseline(splits), [evaluated(run, splits) for run in runs]
    low, high = report.paired_bootstrap(before.correct, torch.stack([one.correct for one in found]))
    accuracies = [one.accuracy for one in found]
    mean, first = sum(accuracies) / len(accuracies), runs[0]
    count = sum(parameter.numel() for parameter in storage.load(first.file).parameters())
    return {
        "student": first.student, "parameters": count, "teacher": first.teacher or "none",
        "seeds": [run.seed for run in runs], "epochs": first.epochs, "images": min(first.images, len(splits.train)),
        "alpha": first.alpha if first.teacher else 0.0, "temperature": first.temperature,
        "labelled": first.labelled or min(first.images, len(splits.train)), "learning_rate": first.learning_rate,
        "accuracies": accuracies, "accuracy": mean, "baseline": before.accuracy,
        "retained": mean / before.accuracy, "retained_low": low, "retained_high": high,
    }  # fmt: skip


def gain(after: list[Run], before: list[Run], splits: data.Splits) -> Row:
    """Accuracy of the runs ``after`` over that of ``before``, the same seeds, with the paired interval."""
    first, second = (torch.stack([evaluated(run, splits).correct for run in runs]) for runs in (before, after))
    return {
        "student": after[0].student, "teacher": after[0].teacher or "none", "seeds": [run.seed for run in after],
        **points_gained(first, second),
    }  # fmt: skip


def students(splits: data.Splits) -> Iterator[Row]:
    """Every size with its teacher and without."""
    for pairs in PAIRS.values():
        for runs in zip(*pairs, strict=True):
            yield row(list(runs), splits)


def gains(splits: data.Splits) -> Iterator[Row]:
    """What the teacher adds to each size."""
    for pairs in PAIRS.values():
        with_teacher, without = (list(runs) for runs in zip(*pairs, strict=True))
        yield gain(with_teacher, without, splits)


def with_and_without(pairs: list[tuple[Run, Run]], splits: data.Splits) -> Iterator[Row]:
    """One recipe with its teacher, with what that adds, and without."""
    with_teacher, without = (list(runs) for runs in zip(*pairs, strict=True))
    yield row(with_teacher, splits) | gain(with_teacher, without, splits)
    yield row(without, splits)


few = partial(with_and_without, FEW)  # the largest student on a tenth of the images
unlabelled = partial(with_and_without, UNLABELLED)  # few images have a label; all are distilled, or those alone


def grid(splits: data.Splits) -> Iterator[Row]:
    """Validation accuracy at every temperature and alpha, and without teacher; test is not touched for tuning.

    With alpha 1 the labels have no weight.
    """
    for runs in [GRID_ALONE, *GRID]:
        students = [storage.load(trained(run, splits)) for run in runs]
        evaluations = [training.evaluate(student, splits.validation) for student in students]
        accuracies = [one.accuracy for one in evaluations]
        run = runs[0]
        yield {
            "student": run.student, "temperature": run.temperature, "alpha": run.alpha if run.teacher else 0.0,
            "epochs": run.epochs, "images": run.images, "seeds": [run.seed for run in runs],
            "validation_accuracies": accuracies, "validation_accuracy": sum(accuracies) / len(accuracies),
            "validation_loss": sum(one.loss for one in evaluations) / len(evaluations),
        }  # fmt: skip


def gap(splits: data.Splits) -> Iterator[Row]:
    """The smallest student with teachers of several sizes, and the accuracy of each teacher."""
    for teacher, runs in GAP.items():
        teacher_accuracy = None
        if teacher is not None:
            found = baseline(splits) if teacher == "resnet18" else evaluated(taught(teacher), splits)
            teacher_accuracy = found.accuracy
        yield row(runs, splits) | {"teacher_accuracy": teacher_accuracy}

"""The measurements of benchmarks/structured.py: each function yields the rows of one part of the results.

Widths, learning rates and criteria were chosen on validation; the test split is read for the rows that are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import resuming
import torch
from common import Row, compare_minilm, rows_of, sentiment, timed
from structured_peers import torch_pruned
from torch import Tensor, nn

from course_lib import data, models, profiling, pruning, report, storage, training
from course_lib.report.rows import Row as Measured
from course_lib.training.losses import distillation_loss

RUNS = resuming.RUNS / "structured"

# Width of each stage relative to the others: the late stages hold most weights, and are needed least here.
STAGES = (1.25, 1.1, 1.0, 0.75)
MULTIPLE = 16  # ONNX Runtime works on blocks of 16 channels where there is AVX-512; 40 channels are slower than 48
# Each layer has a constant overhead: few wide blocks are faster than many narrow ones with the same MACs.
BLOCKS = {"3.7": ("layer3.1", "layer4.1"), "11": ("layer1.1", "layer2.1", "layer3.1", "layer4.1")}
TEMPERATURE, SOFT = 4.0, 0.9
RESNET18 = {
    "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle", "batch_size": 128, "precision": "bf16",
    "learning_rate": 0.05, "seed": 0,
}  # fmt: skip
MINILM = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "one_cycle", "precision": "bf16", "seed": 0}
# Share of heads and neurons that stay, the training after it, and whether the embeddings are trained in it.
MINILM_STEPS = (
    (0.75, {"epochs": 1, "batch_size": 32, "learning_rate": 2e-4}, True),
    (0.5, {"epochs": 2, "batch_size": 64, "learning_rate": 3e-4}, False),
)
FACTORS = {"3.7": 3.7, "11": 11.0}
FEW_IMAGES, SEEDS = 2_000, 3
RATIOS = (0.75, 0.625, 0.5, 0.375, 0.25, 0.125)


@dataclass(frozen=True)
class TeacherSet:
    """A training set whose labels are row numbers, with the true label and the logits of the teacher for each row."""

    split: data.Split
    labels: Tensor
    logits: Tensor

    def loss(self, model: nn.Module, inputs: Any, rows: Tensor) -> Tensor:
        """Distillation loss at ``TEMPERATURE``, with the labels at a small weight (Hinton et al., 2015)."""
        logits = models.forward(model, inputs)
        return distillation_loss(logits, self.logits[rows], self.labels[rows], SOFT, TEMPERATURE)[0]


@cache
def baseline(name: str = "resnet18") -> nn.Module:
    """A shipped model, loaded once."""
    return models.load(name)


@cache
def coupling() -> pruning.Coupling:
    """The groups of ResNet18."""
    return pruning.couple(baseline())


def taught(train: data.Split, name: str = "resnet18") -> TeacherSet:
    """A training set with the logits of the original, which are computed once and kept in runs/."""

    def compute() -> Tensor:
        teacher = models.load(name)
        if name == "resnet18":
            teacher.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            return training.predict_logits(teacher, train)

    logits = resuming.computed_once(RUNS / f"teacher_{name}_{len(train)}.tensor", compute)
    return TeacherSet(replace(train, labels=torch.arange(len(train))), train.labels, logits)


def with_flips(lesson: TeacherSet) -> TeacherSet:
    """Every image twice, the second time flipped, with the same logits of the teacher."""
    images, rows = lesson.split.inputs, lesson.split.labels
    assert isinstance(images, Tensor)
    both = replace(lesson.split, inputs=torch.cat([images, images.flip(-1)]), labels=torch.cat([rows, rows]))
    return replace(lesson, split=both)


def plan_widths(model: nn.Module, factor: str) -> tuple[nn.Module, dict[str, int], pruning.Coupling]:
    """``model`` without some blocks, the channel counts for 1 / factor of the original's MACs, and its groups."""
    inputs = data.load("fashion_mnist").validation.example(1)
    model = pruning.remove_blocks(model, [name for name in BLOCKS[factor] if name in pruning.removable_blocks(model)])
    coupling = pruning.couple(model)
    work = pruning.WorkEstimate(model, inputs, coupling)
    left = FACTORS[factor] * work.total / profiling.count_macs(baseline(), inputs)
    widest = {name: group.channels for name, group in coupling.prunable().items()}

    def shape(group: pruning.Group, ratio: float) -> float:
        stage = 0 if group.name.startswith(("conv1", "layer1")) else int(group.name[5]) - 1
        return ratio * STAGES[stage] * 64 * 2**stage / widest[group.name]

    return model, pruning.counts_for_macs(work, coupling.prunable(), left, multiple=MULTIPLE, shape=shape), coupling


def narrowed(model: nn.Module, factor: str, criterion: str = pruning.DEFAULT_CRITERION, seed: int = 0) -> nn.Module:
    """``model`` without some blocks, pruned to 1 / factor of the original's MACs."""
    model, counts, coupling = plan_widths(model, factor)
    train = data.load("fashion_mnist").train
    return pruning.prune_channels(model, counts, criterion=criterion, split=train, coupling=coupling, seed=seed).model


def tune(model: nn.Module, lesson: TeacherSet, *, epochs: int = 1, name: str = "", **options: Any) -> nn.Module:
    """Train ``model`` in place on the logits of the original; a named training resumes from its checkpoint."""
    checkpoint = RUNS / f"{name}.checkpoint" if name else None
    model.to(memory_format=torch.channels_last)
    options = {**RESNET18, **options}
    history = training.fit(model, lesson.split, epochs=epochs, loss=lesson.loss, checkpoint=checkpoint, **options)
    resuming.stop_if_interrupted(history)
    return model.to(memory_format=torch.contiguous_format)


def kept(name: str, make: Callable[[], nn.Module]) -> Path:
    """File in runs/ of a model that is made at most once."""
    return resuming.made_once(RUNS / f"{name}.safetensors", make)


def one_shot(splits: data.Splits, factor: str) -> Path:
    """Pruned once, then one epoch over the 20,000 shipped images."""
    name = f"one_shot_{factor}"
    return kept(name, lambda: tune(narrowed(baseline(), factor), taught(splits.train), name=name))


def torch_pruning(splits: data.Splits, factor: str) -> Path:
    """The same with Torch-Pruning (L2, uniform ratio, multiples of 16 channels), fine-tuned in the same way."""
    name, peer = f"torch_pruning_{factor}", partial(torch_pruned, FACTORS[factor], MULTIPLE)
    return kept(name, lambda: tune(peer(), taught(splits.train), name=name))


def best(splits: data.Splits, factor: str) -> Path:
    """Pruned in steps, each followed by training with flipped images too: the whole → ÷ 3.7 → ÷ 11."""

    def first() -> nn.Module:
        """The one-shot network, tuned for longer."""
        start = storage.load(one_shot(splits, "3.7"))
        return tune(start, with_flips(taught(splits.train)), learning_rate=0.03, name="best_3.7")

    def second() -> nn.Module:
        """Importance is recomputed from the weights of the network at ÷ 3.7."""
        start = storage.load(best(splits, "3.7"))
        return tune(narrowed(start, "11"), with_flips(taught(splits.train)), epochs=2, name="best_11")

    return kept(f"best_{factor}", first if factor == "3.7" else second)


def points(splits: data.Splits) -> Iterator[Row]:
    """Both points with both recipes and with Torch-Pruning, timed together."""
    names, files = ["baseline"], []
    for factor in FACTORS:
        for label, make in (("one-shot", one_shot), ("Torch-Pruning", torch_pruning), ("best recipe", best)):
            names.append(f"MACs ÷ {factor}, {label}")
            files.append(make(splits, factor))
    table = report.compare(
        baseline(), *files, on=splits.test, names=names, memory=False, settings=((1, 2), (32, 2)), runs=30
    )
    return rows_with_reductions(table)


def rows_with_reductions(table: report.Comparison) -> Iterator[Row]:
    """Rows of a comparison with how many times fewer MACs and parameters they have, and the eager speed-up."""
    before = table.rows[0]
    for row, measured in zip(rows_of(table), table.rows, strict=True):
        yield {
            **row, "macs_factor": before.macs / measured.macs,
            "parameters_factor": before.parameters / measured.parameters, "eager_speedup": eager(measured),
        }  # fmt: skip


def eager(row: Measured) -> float | None:
    """Speed-up in eager PyTorch."""
    return row.speedup_at(row.headline._replace(runtime="eager"))


def criteria(splits: data.Splits) -> Iterator[Row]:
    """All criteria at the widths of ÷ 11, each with three subsets of the data, on validation and a part of test."""
    whole, few_tests = taught(splits.train), splits.test.subset(FEW_IMAGES)
    for seed in range(SEEDS):
        few = replace(whole, split=whole.split.subset(FEW_IMAGES, seed))
        for criterion in pruning.CRITERIA:
            measure = partial(fine_tuned_accuracy, criterion, seed, few, splits.validation, few_tests)
            yield resuming.measured_once(RUNS / f"criterion_{criterion}_{seed}.json", measure)


def fine_tuned_accuracy(criterion: str, seed: int, few: TeacherSet, validation: data.Split, tests: data.Split) -> Row:
    """Accuracy of the network pruned by this criterion, before and after the same short training."""
    model = narrowed(baseline(), "11", criterion, seed)
    untuned = training.evaluate(model, validation).accuracy
    tune(model, few, seed=seed)
    after, test = training.evaluate(model, validation), training.evaluate(model, tests)
    return {
        "criterion": criterion, "seed": seed, "images": FEW_IMAGES, "cut_only_validation": untuned,
        "validation": after.accuracy, "accuracy": test.accuracy, "test_images": len(tests),
    }  # fmt: skip


def narrow_model(splits: data.Splits, ratio: float) -> Path:
    """One ratio for all groups, no block removed, and a short training."""
    whole = taught(splits.train)
    few = replace(whole, split=whole.split.subset(FEW_IMAGES))
    return kept(f"ratio_{ratio:g}", lambda: tune(pruning.prune_channels(baseline(), ratio).model, few))


def curve(splits: data.Splits) -> Iterator[Row]:
    """One ratio for all groups: work, bytes, time, and accuracy after a short training."""
    files = [narrow_model(splits, ratio) for ratio in RATIOS]
    names = ["1", *(f"{ratio:g}" for ratio in RATIOS)]
    table = report.compare(baseline(), *files, on=splits.test, names=names, memory=False, settings=((1, 2),), runs=45)
    print(table)
    for row in table.rows:
        yield {
            "ratio": float(row.name), "images": FEW_IMAGES, "accuracy": row.accuracy, "parameters": row.parameters,
            "macs": row.macs, "stored_bytes": row.stored_bytes, "speedup": row.speedup or 1.0,
            "eager_speedup": eager(row), "macs_factor": table.rows[0].macs / row.macs,
        }  # fmt: skip


def minilm_halved(movies: data.Splits) -> Path:
    """Half of the heads and half of the neurons of each layer, in two steps, distilled from the original."""
    lesson = taught(movies.train, "minilm")

    def make() -> nn.Module:
        model: Any = models.load("minilm")
        for number, (share, options, embeddings) in enumerate(MINILM_STEPS):
            groups = pruning.groups_within(pruning.couple(baseline("minilm")).prunable(), ["bert.encoder"])
            counts = pruning.uniform_counts(groups, share)
            model = pruning.prune_channels(model, counts, criterion="taylor", split=movies.train).model
            model.bert.embeddings.requires_grad_(embeddings)
            history = training.fit(
                model, lesson.split, loss=lesson.loss, checkpoint=RUNS / f"minilm_{number}.checkpoint",
                **{**MINILM, **options},
            )  # fmt: skip
            resuming.stop_if_interrupted(history)
        return model

    return kept("minilm_halved", make)


def minilm(_: data.Splits) -> Iterator[Row]:
    """MiniLM with half of its heads and neurons: tuned on movies, tested on every domain."""
    smaller = {"half the heads, half the neurons": minilm_halved(sentiment()["movies"])}
    table = compare_minilm(smaller, memory=False, settings=((1, 2), (32, 2)), runs=30)
    for row, measured in zip(rows_with_reductions(table), table.rows, strict=True):
        yield {**row, "retained_domains": measured.retained_domains}


def cost(_: data.Splits) -> Iterator[Row]:
    """Seconds of grouping, scoring and removing channels, the minimum of five runs."""
    for name in models.BASELINES:
        yield {"model": name, "seconds": min(timed(pruning.prune_channels, baseline(name), 0.5)[0] for _ in range(5))}

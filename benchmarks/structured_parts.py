"""The measurements behind benchmarks/structured.py: each function makes the rows of one part of the results.

Widths, learning rates and criteria were chosen on validation; the test split is read for the rows that are reported.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import data, models, profiling, pruning, report, storage, training
from course_lib.architectures import layer_sizes
from course_lib.core.atomic_write import write_atomically
from course_lib.report.rows import Row as Measured
from course_lib.training.losses import distillation_loss

RUNS = Path(__file__).parent.parent / "runs" / "structured"
Row = dict[str, Any]

# Share of each stage relative to the others: the late stages hold most weights, and fashion images need them least.
STAGES = (1.25, 1.1, 1.0, 0.75)
MULTIPLE = 16  # ONNX Runtime works on blocks of 16 channels where there is AVX-512; 40 channels are slower than 48
# Starting a layer costs time as well: few wide blocks are faster than many narrow ones of the same work.
BLOCKS = {"3.7": ("layer3.1", "layer4.1"), "11": ("layer1.1", "layer2.1", "layer3.1", "layer4.1")}
TEMPERATURE, SOFT = 4.0, 0.9
RESNET18 = {
    "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle", "batch_size": 128, "precision": "bf16",
    "learning_rate": 0.05, "seed": 0,
}  # fmt: skip
MINILM = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "one_cycle", "precision": "bf16", "seed": 0}
# Share of heads and neurons that stay, and the training after it; the embeddings have learnt enough after the first.
MINILM_STEPS = (
    (0.75, {"epochs": 1, "batch_size": 32, "learning_rate": 2e-4}, True),
    (0.5, {"epochs": 2, "batch_size": 64, "learning_rate": 3e-4}, False),
)
FACTORS = {"3.7": 3.7, "11": 11.0}
FEW_IMAGES, SEEDS = 2_000, 3
RATIOS = (0.75, 0.625, 0.5, 0.375, 0.25, 0.125)


@dataclass(frozen=True)
class Lesson:
    """A training set whose labels are row numbers, and the answers of the teacher to each row."""

    split: data.Split
    labels: Tensor
    logits: Tensor

    def loss(self, model: nn.Module, inputs: Any, rows: Tensor) -> Tensor:
        """Soft targets of the original at ``TEMPERATURE``, and a little of the labels (Hinton et al., 2015)."""
        logits = models.forward(model, inputs)
        return distillation_loss(logits, self.logits[rows], self.labels[rows], SOFT, TEMPERATURE)[0]


@cache
def baseline(name: str = "resnet18") -> nn.Module:
    return models.load(name)


@cache
def coupling() -> pruning.Coupling:
    return pruning.couple(baseline())


def lesson_of(train: data.Split, name: str = "resnet18") -> Lesson:
    """The answers of the original to a training set, computed once and kept in runs/."""
    file = RUNS / f"teacher_{name}_{len(train)}.pt"
    if not file.exists():
        teacher = models.load(name)
        if name == "resnet18":
            teacher.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = training.predict_logits(teacher, train)
        RUNS.mkdir(parents=True, exist_ok=True)
        torch.save(logits, file)
    return Lesson(replace(train, labels=torch.arange(len(train))), train.labels, torch.load(file))


def mirrored(lesson: Lesson) -> Lesson:
    """Every image a second time, left and right exchanged; the answers of the teacher are taken over."""
    images, rows = lesson.split.inputs, lesson.split.labels
    assert isinstance(images, Tensor)
    both = replace(lesson.split, inputs=torch.cat([images, images.flip(-1)]), labels=torch.cat([rows, rows]))
    return replace(lesson, split=both)


def plan_of(model: nn.Module, factor: str) -> tuple[nn.Module, dict[str, int], pruning.Coupling]:
    """``model`` without some blocks; how many channels may stay for 1 / factor of the original's work; its groups."""
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
    """``model`` without some blocks, and with so few channels that 1 / factor of the original's work is left."""
    model, counts, coupling = plan_of(model, factor)
    train = data.load("fashion_mnist").train
    return pruning.prune_channels(model, counts, criterion=criterion, split=train, coupling=coupling, seed=seed).model


def tune(model: nn.Module, lesson: Lesson, *, epochs: int = 1, name: str = "", **options: Any) -> nn.Module:
    """Train ``model`` in place on what the original says; a named training goes on where it was interrupted."""
    checkpoint = RUNS / f"{name}.checkpoint" if name else None
    model.to(memory_format=torch.channels_last)
    history = training.fit(
        model, lesson.split, epochs=epochs, loss=lesson.loss, checkpoint=checkpoint, **{**RESNET18, **options}
    )
    if history.interrupted:
        raise KeyboardInterrupt
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return model.to(memory_format=torch.contiguous_format)


def kept(name: str, make: Callable[[], nn.Module]) -> Path:
    """File in runs/ of a model that is made at most once."""
    file = RUNS / f"{name}.safetensors"
    if not file.exists():
        start = time.perf_counter()
        storage.save(make(), file, dtype="fp16")
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return file


def one_shot(splits: data.Splits, factor: str) -> Path:
    """Cut once, then one pass over the 20,000 shipped images."""

    def make() -> nn.Module:
        return tune(narrowed(baseline(), factor), lesson_of(shipped(splits)), name=f"one_shot_{factor}")

    return kept(f"one_shot_{factor}", make)


def torch_pruning(splits: data.Splits, factor: str) -> Path:
    """The same with Torch-Pruning (L2, uniform ratio, channels in sixteens), tuned in exactly the same way."""

    def make() -> nn.Module:
        return tune(torch_pruning_cut(FACTORS[factor]), lesson_of(shipped(splits)), name=f"torch_pruning_{factor}")

    return kept(f"torch_pruning_{factor}", make)


def peer() -> Any:
    """The library Torch-Pruning."""
    try:
        return importlib.import_module("torch_pruning")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the comparison with Torch-Pruning needs the extra [peers]: pip install -e '.[peers]'; "
            "the other parts run without it (--only curve criteria …)"
        ) from error


def torch_pruning_cut(factor: float) -> nn.Module:
    """The widest network that Torch-Pruning makes with at most 1 / factor of the work.

    Raises:
        ModuleNotFoundError: if Torch-Pruning is not installed; says how it is.
    """
    tp = peer()

    inputs = data.load("fashion_mnist").validation.example(1)
    whole = profiling.count_macs(baseline(), inputs)
    for percent in range(int(100 * (1 - factor**-0.5)) - 8, 100):
        model = models.load("resnet18")
        pruner = tp.pruner.BasePruner(
            model, inputs, importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=percent / 100,
            ignored_layers=[model.fc], round_to=MULTIPLE,
        )  # fmt: skip
        pruner.step()
        if profiling.count_macs(model, inputs) <= whole / factor:
            break
    description = models.describe(baseline())
    names = {name: layer_sizes.sizes(module) for name, module in model.named_modules() if layer_sizes.sizes(module)}
    arguments = {**description["arguments"], "widths": names}
    setattr(model, models.ARCHITECTURE_ATTRIBUTE, {**description, "arguments": arguments})
    return model.eval()


def best(splits: data.Splits, factor: str) -> Path:
    """Cut in steps, with a training after each, mirror images too: the whole → ÷ 3.7 → ÷ 11."""

    def first() -> nn.Module:
        """What was cut once and tuned, tuned for longer."""
        start = storage.load(one_shot(splits, "3.7"))
        return tune(start, mirrored(lesson_of(splits.train)), learning_rate=0.03, name="best_3.7")

    def second() -> nn.Module:
        """Importance is taken anew, from the weights of the network at ÷ 3.7."""
        start = storage.load(best(splits, "3.7"))
        return tune(narrowed(start, "11"), mirrored(lesson_of(splits.train)), epochs=2, name="best_11")

    return kept(f"best_{factor}", first if factor == "3.7" else second)


def shipped(splits: data.Splits) -> data.Split:
    """The 20,000 images that come with the course, whatever ``splits`` hold."""
    return data.load("fashion_mnist").train


def points(splits: data.Splits) -> Iterator[Row]:
    """Both points with both recipes and with Torch-Pruning, all on the same clock."""
    names, files = ["baseline"], []
    for factor in FACTORS:
        for label, make in (("one-shot", one_shot), ("Torch-Pruning", torch_pruning), ("best recipe", best)):
            names.append(f"MACs ÷ {factor}, {label}")
            files.append(make(splits, factor))
    table = report.compare(
        baseline(), *files, on=splits.test, names=names, memory=False, settings=((1, 2), (32, 2)), runs=30
    )
    print(table)
    for row, measured in zip(json.loads(table.to_json())["rows"], table.rows, strict=True):
        yield {**row, **work(measured, table.rows[0]), "eager_speedup": eager(measured)}


def work(row: Measured, before: Measured) -> Row:
    return {"macs_factor": before.macs / row.macs, "parameters_factor": before.parameters / row.parameters}


def eager(row: Measured) -> float | None:
    return row.speedup_at(row.headline._replace(runtime="eager"))


def criteria(splits: data.Splits) -> Iterator[Row]:
    """All criteria at the widths of ÷ 11, three draws of data each; judged on validation, a part of test beside it."""
    whole, few_tests = lesson_of(shipped(splits)), splits.test.subset(FEW_IMAGES)
    for seed in range(SEEDS):
        few = replace(whole, split=whole.split.subset(FEW_IMAGES, seed))
        for criterion in pruning.CRITERIA:
            file = RUNS / f"criterion_{criterion}_{seed}.json"
            if not file.exists():
                row = {"criterion": criterion, "seed": seed, "images": FEW_IMAGES}
                write_atomically(file, json.dumps(row | compared(criterion, seed, few, splits.validation, few_tests)))
            yield json.loads(file.read_text(encoding="utf-8"))


def compared(criterion: str, seed: int, few: Lesson, validation: data.Split, tests: data.Split) -> Row:
    """Accuracy of the network that this criterion leaves, before and after the same short training."""
    model = narrowed(baseline(), "11", criterion, seed)
    untuned = training.evaluate(model, validation).accuracy
    tune(model, few, seed=seed)
    found, test = training.evaluate(model, validation), training.evaluate(model, tests)
    return {
        "cut_only_validation": untuned, "validation": found.accuracy, "accuracy": test.accuracy,
        "test_images": len(tests),
    }  # fmt: skip


def narrow_model(splits: data.Splits, ratio: float) -> Path:
    """One ratio for all groups, no block removed, and a short training."""
    whole = lesson_of(shipped(splits))
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
    """Half of the heads and half of the neurons of each layer, in two steps, taught by the original."""
    lesson = lesson_of(movies.train, "minilm")

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
            if history.interrupted:
                raise KeyboardInterrupt
        return model

    return kept("minilm_halved", make)


def minilm(_: data.Splits) -> Iterator[Row]:
    """MiniLM with half of its heads and neurons: tuned on movies, tested on every domain."""
    splits = {domain: data.load("sentiment", domain=domain) for domain in data.SENTIMENT_DOMAINS}
    table = report.compare(
        baseline("minilm"), minilm_halved(splits["movies"]), on=splits["movies"].test,
        domains={name: one.test for name, one in splits.items()}, memory=False, settings=((1, 2), (32, 2)), runs=30,
        names=["baseline", "half the heads, half the neurons"],
    )  # fmt: skip
    print(table)
    for row, measured in zip(json.loads(table.to_json())["rows"], table.rows, strict=True):
        yield {
            **row, **work(measured, table.rows[0]), "retained_domains": measured.retained_domains,
            "eager_speedup": eager(measured),
        }  # fmt: skip


def cost(_: data.Splits) -> Iterator[Row]:
    """Seconds of grouping, scoring and surgery, the smallest of five."""
    for name in models.BASELINES:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            pruning.prune_channels(baseline(name), 0.5)
            seconds.append(time.perf_counter() - start)
        yield {"model": name, "seconds": min(seconds)}

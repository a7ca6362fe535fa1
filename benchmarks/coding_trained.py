"""Trained parts of benchmarks/coding.py: Deep Compression as published, and training through the coder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import coding_parts as parts
import resuming
from common import Row, quality
from torch import nn

from course_lib import assets, coding, models, storage, training

RUNS = parts.RUNS / "trained"
DEEP = {"bits": 5, "epochs": 1, "learning_rate": 1e-4, "optimizer": "adamw", "batch_size": 128, "images": 4_000}
STRUCTURED = {"c": 1.2e-3, "lam": 0.05, "epochs": 6, "learning_rate": 0.01, "batch_size": 128}
SGD = {"optimizer": "sgd", "weight_decay": 0.0, "schedule": "one_cycle", "augment": True, "seed": 0, "progress": True}


def deep_compression(_: Any) -> Iterator[Row]:
    """ResNet18 as published: pruned, shared values, Huffman codes; with the initial and with trained centroids.

    Bytes are counted in the format of the paper, with all tables and codebooks; no file is written in it.
    """
    model, options = storage.load(assets.path("resnet18_pruned_95")), dict(DEEP)
    splits, images = parts.splits_of(False), options.pop("images")
    shared = coding.share_weights(model, options.pop("bits"))
    yield deep_row("k-means", coding.with_shared_weights(model, shared), shared)
    teacher = models.load("resnet18")

    def loss(net: nn.Module, inputs: Any, labels: Any) -> Any:
        return training.cross_entropy()(net, inputs, labels)

    teacher.eval()
    train = splits.train.subset(images)
    tuned, trained, history = coding.train_centroids(model, shared, train, splits.validation, **options)
    row = deep_row("k-means, trained centroids", tuned, trained)
    yield row | {"validation": history.validation_accuracy[-1]}


def deep_row(name: str, model: nn.Module, shared: Any) -> Row:
    """Counted bytes and accuracy of a model with shared weights."""
    counted = coding.published_bytes(model, shared)
    test = parts.splits_of(False).test
    after = training.evaluate(model, test)
    facts = {"indices": counted.indices, "gaps": counted.gaps, "tables": counted.tables, "rest": counted.rest}
    return {
        "name": name, **facts, "counted_bytes": counted.total, "times_smaller": 44_786_912 / counted.total,
        **quality(after, parts.baseline_on_test(False)),
    }  # fmt: skip


def structured(_: Any) -> Iterator[Row]:
    """ResNet18 with channels removed, trained through the coder."""
    case, options = parts.CASES["resnet18_structured_11"], dict(STRUCTURED)
    start = parts.compressed(case, options.pop("c"))
    splits, checkpoint = parts.splits_of(False), RUNS / "structured.checkpoint"
    file = RUNS / "structured.safetensors"

    def make() -> nn.Module:
        tuned, history = coding.train_through_coder(
            start, splits.train, splits.validation, teacher=models.load("resnet18"), checkpoint=checkpoint, **options,
            **SGD,
        )  # fmt: skip
        resuming.stop_if_interrupted(history)
        return tuned

    if not file.exists():
        storage.save(make(), file, dtype="fp16", coder="arithmetic")
        checkpoint.unlink(missing_ok=True)
    yield file_row("structured, trained through the coder", file)


def file_row(name: str, file: Path) -> Row:
    """True bytes of a coded file, and its accuracy on test, which is read once."""
    test = parts.splits_of(False).test
    evaluate = partial(training.evaluate, storage.load(file), test)
    after = resuming.evaluated_once(file.with_suffix(".tensor"), test, evaluate)
    stored_bytes = file.stat().st_size
    return {
        "name": name, "stored_bytes": stored_bytes, "times_smaller": 44_786_912 / stored_bytes, **STRUCTURED,
        **quality(after, parts.baseline_on_test(False)),
    }  # fmt: skip

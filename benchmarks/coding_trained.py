"""Trained parts of benchmarks/coding.py: Deep Compression as published, and training through the coder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import coding_parts as parts
import resuming
from common import Row, quality
from pruning_parts import evaluate
from torch import nn

from course_lib import assets, coding, storage

RUNS = parts.RUNS / "trained"
DEEP = {"bits": 5, "epochs": 1, "learning_rate": 1e-4, "optimizer": "adamw", "batch_size": 128, "images": 4_000}
STRUCTURED = {"c": 4e-4, "lam": 0.005, "images": 6_000, "epochs": 2, "learning_rate": 2e-4, "batch_size": 128}
ADAMW = {"optimizer": "adamw", "weight_decay": 0.0, "schedule": "one_cycle", "seed": 0, "progress": False}


def deep_compression(_: Any) -> Iterator[Row]:
    """ResNet18 as published: pruned, shared values, Huffman codes; before the centroids are trained.

    Bytes are counted in the format of the paper, with all tables and codebooks; no file is written in it.
    """
    model = storage.load(assets.path("resnet18_pruned_95"))
    shared = coding.share_weights(model, DEEP["bits"])
    yield deep_row("k-means", coding.with_shared_weights(model, shared), shared)


def deep_trained(_: Any) -> Iterator[Row]:
    """The same with trained centroids: labels, few images."""
    model, options = storage.load(assets.path("resnet18_pruned_95")), dict(DEEP)
    shared, splits = coding.share_weights(model, options.pop("bits")), parts.splits_of(False)
    train = splits.train.subset(options.pop("images"))
    tuned, trained, history = coding.train_centroids(model, shared, train, splits.validation, **options)
    yield deep_row("trained centroids", tuned, trained) | {"validation": history.validation_accuracy[-1]}


def deep_row(name: str, model: nn.Module, shared: Any) -> Row:
    """Counted bytes and accuracy of a model with shared weights."""
    counted = coding.published_bytes(model, shared)
    test = parts.splits_of(False).test
    after = evaluate(model, test)
    facts = {"indices": counted.indices, "gaps": counted.gaps, "tables": counted.tables, "rest": counted.rest}
    return {
        "name": name, **facts, "counted_bytes": counted.total, "times_smaller": 44_786_912 / counted.total,
        **quality(after, parts.baseline_on_test(False)),
    }  # fmt: skip


def structured(_: Any) -> Iterator[Row]:
    """ResNet18 with channels removed, trained through the coder towards its own outputs before: no label is read."""
    case, options = parts.CASES["resnet18_structured_11"], dict(STRUCTURED)
    splits, file = parts.splits_of(False), RUNS / "structured.safetensors"
    checkpoint = file.with_suffix(".checkpoint")

    def make() -> nn.Module:
        start, train = parts.compressed(case, options.pop("c")), splits.train.subset(options.pop("images"))
        tuned, history = coding.train_through_coder(
            start, train, splits.validation, teacher=parts.original(case.name), checkpoint=checkpoint, **options,
            **ADAMW,
        )  # fmt: skip
        resuming.stop_if_interrupted(history)
        print("validation", history.validation_accuracy, flush=True)
        return tuned

    if not file.exists():
        storage.save(make(), file, dtype="fp16", coder="arithmetic")
        checkpoint.unlink(missing_ok=True)
    yield file_row("structured, trained through the coder", file)


def file_row(name: str, file: Path) -> Row:
    """True bytes of a coded file, and its accuracy on test, which is read once."""
    test = parts.splits_of(False).test
    after = resuming.evaluated_once(file.with_suffix(".tensor"), test, partial(evaluate, storage.load(file), test))
    stored_bytes = file.stat().st_size
    return {
        "name": name, "stored_bytes": stored_bytes, "times_smaller": 44_786_912 / stored_bytes, **STRUCTURED,
        **quality(after, parts.baseline_on_test(False)),
    }  # fmt: skip

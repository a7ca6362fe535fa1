"""The measurements behind benchmarks/lowrank.py: each function makes the rows of one part of the results.

Hyper-parameters were chosen on validation; the test split is read for the rows that are reported, and for nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
from torch import nn

from course_lib import data, lowrank, models, report, storage, training

RUNS = Path(__file__).parent.parent / "runs" / "lowrank"
Row = dict[str, Any]

SIZES = (0.7, 0.5, 1 / 3, 0.25, 0.15, 0.1)
WAYS = {"SVD": ("svd", False), "data-aware SVD": ("svd", True), "Tucker-2": ("tucker", False)}
CALIBRATION = 2000  # training images behind the moments

# Chosen on validation; see the rows of "recipes".
RESNET18 = {
    "epochs": 4, "learning_rate": 0.02, "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle",
    "batch_size": 128, "augment": True, "precision": "bf16", "seed": 0,
}  # fmt: skip
MINILM = {
    "epochs": 6, "learning_rate": 2e-4, "optimizer": "adamw", "batch_size": 32, "precision": "bf16", "seed": 0,
}  # fmt: skip
TARGETS = {"3": 1 / 3, "8": 1 / 8}  # name → parameters, as a share of ResNet18's


def convolutions(model: nn.Module) -> list[str]:
    """Layers with a kernel, apart from the first one: its three input channels leave nothing to save."""
    return [name for name in lowrank.factorable(model, "tucker") if name != "conv1"]


def quality(after: training.Evaluation, before: training.Evaluation) -> Row:
    """Accuracy with its interval, and the retained ratio with the interval of the paired bootstrap."""
    low, high = report.paired_bootstrap(before.correct, after.correct)
    return {
        "accuracy": after.accuracy, "accuracy_low": after.interval[0], "accuracy_high": after.interval[1],
        "baseline": before.accuracy, "retained": after.accuracy / before.accuracy,
        "retained_low": low, "retained_high": high,
    }  # fmt: skip


def untrained(splits: data.Splits) -> Iterator[Row]:
    """ResNet18 with every convolution at the same size, factored in three ways and not trained: 2,000 test images."""
    model, test = models.load("resnet18"), splits.test.subset(2000)
    layers = convolutions(model)
    started = time.perf_counter()
    moments = lowrank.output_moments(model, splits.train.subset(CALIBRATION), layers)
    collected = time.perf_counter() - started
    before = training.evaluate(model, test)
    for way, (kind, aware) in WAYS.items():
        for size in SIZES:
            started = time.perf_counter()
            plan = lowrank.plan_for_size(model, size, kind, layers)
            result = lowrank.factorize(model, plan, moments if aware else None)
            seconds = time.perf_counter() - started
            row = {"way": way, "size": size, "smaller": lowrank.parameters(model) / lowrank.parameters(result.model)}
            row |= {"decomposition_seconds": seconds, "statistics_seconds": collected if aware else 0.0}
            yield row | quality(training.evaluate(result.model, test), before)


def forms(splits: data.Splits) -> Iterator[Row]:
    """Every form of every convolution: its numbers, its time alone, and the validation loss that it adds."""
    model = models.load("resnet18")
    layers = convolutions(model)
    moments = lowrank.output_moments(model, splits.train.subset(CALIBRATION), layers)
    table = lowrank.candidates(model, (0.06, 0.12, 0.2, 0.33, 0.5), layers=layers)
    table = lowrank.layer_latencies(model, splits.validation.example(1), table)
    table = lowrank.sensitivity_scan(model, splits.validation.subset(500), table, moments)
    yield from ({**row, "ranks": list(row["ranks"])} for row in table.to_dict("records"))


def chosen_plan(target: str, rows: list[Row]) -> dict[str, Any]:
    """Ranks by sensitivity, so that the whole model holds the target's share of its parameters."""
    model = models.load("resnet18")
    table = pandas.DataFrame(rows).assign(ranks=lambda frame: frame["ranks"].map(tuple))
    whole = lowrank.parameters(model)
    listed = table[table["kind"] == "as it is"]["parameters"].sum()
    return lowrank.choose(table, TARGETS[target] * whole - (whole - listed), "parameters")


def tuned_resnet18(target: str, rows: list[Row], splits: data.Splits) -> tuple[nn.Module, Row]:
    """ResNet18 at one target after fine-tuning; trained now if it is not in runs/ yet."""
    model, file, notes = (
        models.load("resnet18"),
        RUNS / f"resnet18_{target}.safetensors",
        RUNS / f"resnet18_{target}.json",
    )
    if not file.exists():
        plan = chosen_plan(target, rows)
        moments = lowrank.output_moments(model, splits.train.subset(CALIBRATION), convolutions(model))
        cut = lowrank.factorize(model, plan, moments)
        started = time.perf_counter()
        result = lowrank.fine_tune(
            cut, splits.train, splits.validation, original=model, checkpoint=RUNS / f"resnet18_{target}.checkpoint",
            **RESNET18,
        )  # fmt: skip
        if result.history.interrupted:
            raise KeyboardInterrupt
        row = {
            "untrained_validation": training.evaluate(cut.model, splits.validation).accuracy,
            "validation": result.history.validation_accuracy,
            "minutes": (time.perf_counter() - started) / 60,
            "images": len(splits.train),
            "plan": {name: list(entry) for name, entry in plan.items()},
        }
        notes.write_text(json.dumps(row))
        storage.save(result.model, file)
    return storage.load(file), {"target": target, **json.loads(notes.read_text())}


def minilm_layers(model: nn.Module) -> list[str]:
    """The matrices of the encoder."""
    return [name for name in lowrank.factorable(model, "svd") if ".encoder." in name]


def tuned_minilm(splits: data.Splits, size: float = 0.5) -> tuple[lowrank.LowRankResult, nn.Module]:
    """MiniLM with its encoder at half the size: cut by data-aware SVD, and after fine-tuning."""
    model, file = models.load("minilm"), RUNS / f"minilm_{size:g}.safetensors"
    layers = minilm_layers(model)
    moments = lowrank.output_moments(model, splits.train, layers)
    cut = lowrank.factorize(model, lowrank.plan_for_size(model, size, layers=layers), moments)
    if not file.exists():
        result = lowrank.fine_tune(
            cut, splits.train, splits.validation, original=model, checkpoint=RUNS / f"minilm_{size:g}.checkpoint",
            **MINILM,
        )  # fmt: skip
        if result.history.interrupted:
            raise KeyboardInterrupt
        print(f"validation {result.history.validation_accuracy}")
        storage.save(result.model, file)
    return cut, storage.load(file)


def minilm(_: data.Splits) -> Iterator[Row]:
    """MiniLM with its encoder at half its size, tuned on movies and tested on every domain, beside plain SVD."""
    splits = {domain: data.load("sentiment", domain=domain) for domain in data.SENTIMENT_DOMAINS}
    movies, model = splits["movies"], models.load("minilm")
    cut, tuned = tuned_minilm(movies)
    plain = lowrank.factorize(model, cut.plan)
    table = report.compare(
        model, plain.model, cut.model, tuned, on=movies.test,
        domains={name: one.test for name, one in splits.items()},
        names=["baseline", "SVD, not trained", "data-aware SVD, not trained", "data-aware SVD, fine-tuned"],
    )  # fmt: skip
    print(table)
    encoder = [sum(lowrank.parameters(one.bert.encoder) for one in [which]) for which in (model, tuned)]
    for row in json.loads(table.to_json())["rows"]:
        yield {**row, "encoder_smaller": 1.0 if row["name"] == "baseline" else encoder[0] / encoder[1]}


def embedding(_: data.Splits) -> Iterator[Row]:
    """MiniLM with its word table as a product, not trained: how much of it is needed."""
    movies, model = data.load("sentiment"), models.load("minilm")
    name = "bert.embeddings.word_embeddings"
    before = training.evaluate(model, movies.test)
    yield {"rank": 384, "smaller": 1.0, **quality(before, before)}
    for rank in (320, 256, 192, 128, 96, 64, 32):
        result = lowrank.factorize(model, {name: ("embedding", rank)})
        smaller = result.report["smaller"].item()
        yield {"rank": rank, "smaller": smaller, **quality(training.evaluate(result.model, movies.test), before)}

"""The measurements of benchmarks/lowrank.py: each function yields the rows of one part of the results.

Hyper-parameters were chosen on validation; the test split is read for the rows that are reported, and for nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pandas
import resuming
import torch
from common import Row, compare_minilm, quality, read, rows_of, sentiment, timed, write
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import data, lowrank, models, report, storage, training
from course_lib.training.losses import soft_target_loss

RUNS = resuming.RUNS / "lowrank"

SIZES = (0.5, 1 / 3, 0.2, 0.1)
WAYS = {"SVD": ("svd", False), "data-aware SVD": ("svd", True), "Tucker-2": ("tucker", False)}
CALIBRATION = 1000  # training images or sentences behind the moments

# A fifteenth of the rate at which the baseline was trained.
RESNET18 = {
    "epochs": 1, "learning_rate": 0.01, "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle",
    "batch_size": 128, "augment": True, "precision": "bf16", "seed": 0,
}  # fmt: skip
MINILM = {
    "epochs": 2, "learning_rate": 3e-4, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "one_cycle",
    "batch_size": 32, "precision": "bf16", "seed": 0,
}  # fmt: skip
IMAGES = 6000  # of the shipped training images: one short epoch is enough
TEMPERATURE, SOFT = 4.0, 0.5  # of the soft targets in MiniLM's training, and their weight
TARGETS = {"3": 1 / 3, "8": 1 / 8}  # name → parameters, as a share of ResNet18's


def convolutions(model: nn.Module) -> list[str]:
    """Convolutions with a kernel, except the first one, which has only three input channels."""
    return [name for name in lowrank.factorable(model, "tucker") if name != "conv1"]


def untrained(splits: data.Splits) -> Iterator[Row]:
    """ResNet18 with every convolution at the same size, factored in three ways, not trained, on 1,000 test images."""
    model, test = models.load("resnet18").to(memory_format=torch.channels_last), splits.test.subset(1000)
    layers = convolutions(model)
    moments = lowrank.output_moments(model, splits.train.subset(CALIBRATION), layers)
    before = training.evaluate(model, test)
    for way, (kind, aware) in WAYS.items():
        for size in SIZES:
            plan = lowrank.plan_for_size(model, size, kind, layers)
            result = lowrank.factorize(model, plan, moments if aware else None)
            row = {"way": way, "size": size, "smaller": lowrank.parameters(model) / lowrank.parameters(result.model)}
            yield row | quality(training.evaluate(result.model, test), before)


def seconds(splits: data.Splits) -> Iterator[Row]:
    """Seconds to factor all convolutions; to be run on an idle machine."""
    model = models.load("resnet18")
    layers, examples = convolutions(model), splits.train.subset(CALIBRATION)
    elapsed, moments = timed(lowrank.output_moments, model, examples, layers)
    yield {"what": f"moments of {CALIBRATION:,} images", "layers": len(layers), "seconds": elapsed}

    def factorize(kind: str, aware: bool) -> lowrank.LowRankResult:
        plan = lowrank.plan_for_size(model, 1 / 3, kind, layers)
        return lowrank.factorize(model, plan, moments if aware else None)

    for way, (kind, aware) in {**WAYS, "CP": ("cp", False)}.items():
        elapsed, result = timed(factorize, kind, aware)
        yield {"what": way, "layers": len(result.plan), "seconds": elapsed}


def forms(splits: data.Splits) -> Iterator[Row]:
    """Tucker-2 forms of every convolution: their parameters, and the validation loss that each adds."""
    model = models.load("resnet18").to(memory_format=torch.channels_last)
    table = lowrank.candidates(model, (0.08, 0.2, 0.35, 0.5), ("tucker",), convolutions(model))
    table = lowrank.sensitivity_scan(model, splits.validation.subset(300), table)
    yield from ({**row, "ranks": list(row["ranks"])} for row in table.to_dict("records"))


def chosen_plan(target: str, rows: list[Row]) -> dict[str, Any]:
    """Ranks at a third: the same share of every convolution, so that all become faster; below, by measured harm."""
    model = models.load("resnet18")
    if target == "3":
        return lowrank.plan_for_size(model, 0.31, "tucker", convolutions(model))
    table = pandas.DataFrame(rows).assign(ranks=lambda frame: frame["ranks"].map(tuple))
    outside = lowrank.parameters(model) - table[table["kind"] == "as it is"]["parameters"].sum()
    return lowrank.choose(table, TARGETS[target] * lowrank.parameters(model) - outside, "parameters")


def tuned_resnet18(target: str, rows: list[Row], splits: data.Splits) -> tuple[nn.Module, Row]:
    """ResNet18 at one target size after fine-tuning, and what that took; trained if it is not in runs/ yet."""
    notes = RUNS / f"resnet18_{target}.json"

    def make() -> nn.Module:
        model = models.load("resnet18")
        plan = chosen_plan(target, rows)
        cut = lowrank.factorize(model, plan)
        elapsed, result = timed(
            lowrank.fine_tune, cut, splits.train.subset(IMAGES), splits.validation,
            original=model.to(memory_format=torch.channels_last),
            checkpoint=RUNS / f"resnet18_{target}.checkpoint", **RESNET18,
        )  # fmt: skip
        resuming.stop_if_interrupted(result.history)
        write(notes, {
            "untrained_validation": training.evaluate(cut.model, splits.validation).accuracy,
            "validation": result.history.validation_accuracy,
            "minutes": elapsed / 60,
            "images": IMAGES,
            "plan": {name: list(entry) for name, entry in plan.items()},
        })  # fmt: skip
        return result.model

    file = resuming.made_once(RUNS / f"resnet18_{target}.safetensors", make, "fp32")
    return storage.load(file), {"target": target, **read(notes)}


def speeds(before: nn.Module, plans: dict[str, Any], split: data.Split) -> Iterator[Row]:
    """Speed with each plan; it depends on the shapes only, so nothing is trained."""
    cut = {target: lowrank.factorize(before, plan).model for target, plan in plans.items()}
    names, settings = ["baseline", *cut], ((1, 2), (32, 2))
    table = report.compare(before, *cut.values(), on=split, names=names, settings=settings, memory=False)
    for row in table.rows:
        yield {
            "target": row.name, "parameters": row.parameters, "macs": row.macs, "speedup": row.speedup,
            "speedup_batch_32": row.speedup_at(report.Setting("onnx", 32, 2)),
            "speedup_eager": row.speedup_at(report.Setting("eager", 1, 2)), "latency_ms": row.to_dict()["latency_ms"],
        }  # fmt: skip


def minilm_layers(model: nn.Module) -> list[str]:
    """The matrices of the encoder."""
    return [name for name in lowrank.factorable(model, "svd") if ".encoder." in name]


def hidden_state_loss(original: nn.Module) -> training.Loss:
    """Loss of MiniLM: the hidden states of every layer and the soft targets of the original are matched.

    Source: Jiao et al., TinyBERT: Distilling BERT for Natural Language Understanding, 2020.
    """
    teacher = copy.deepcopy(original).eval()

    def loss(model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher(**inputs, output_hidden_states=True)
        output = model(**inputs, output_hidden_states=True)
        mask = inputs["attention_mask"].bool()
        states = [
            F.mse_loss(ours[mask].float(), theirs[mask].float()) / theirs[mask].float().var()
            for ours, theirs in zip(output.hidden_states[1:], target.hidden_states[1:], strict=True)
        ]
        return torch.stack(states).mean() + SOFT * soft_target_loss(output.logits, target.logits, TEMPERATURE)

    return loss


def minilm(_: data.Splits) -> Iterator[Row]:
    """MiniLM with its encoder at half its size, factored and tuned on movies, and tested on every domain."""
    movies, model = sentiment()["movies"], models.load("minilm")
    layers = minilm_layers(model)
    moments = lowrank.output_moments(model, movies.train.subset(CALIBRATION), layers, batch_size=128)
    cut = lowrank.factorize(model, lowrank.plan_for_size(model, 0.5, layers=layers), moments)

    def make() -> nn.Module:
        checkpoint = RUNS / "minilm_0.5.checkpoint"
        result = lowrank.fine_tune(cut, movies.train, loss=hidden_state_loss(model), checkpoint=checkpoint, **MINILM)
        resuming.stop_if_interrupted(result.history)
        print(f"validation {training.evaluate(result.model, movies.validation).accuracy}")
        return result.model

    tuned = storage.load(resuming.made_once(RUNS / "minilm_0.5.safetensors", make, "fp32"))
    smaller = {"data-aware SVD, not trained": cut.model, "data-aware SVD, fine-tuned": tuned}
    before, after = (lowrank.parameters(one.bert.encoder) for one in (model, tuned))
    for row in rows_of(compare_minilm(smaller, settings=((1, 2),), memory=False)):
        yield {**row, "encoder_smaller": 1.0 if row["name"] == "baseline" else before / after}


def embedding(_: data.Splits) -> Iterator[Row]:
    """MiniLM with its word embedding factored, not trained: the rank that is needed."""
    movies, model = data.load("sentiment"), models.load("minilm")
    name = "bert.embeddings.word_embeddings"
    before = training.evaluate(model, movies.test)
    yield {"rank": 384, "smaller": 1.0, **quality(before, before)}
    for rank in (256, 192, 128, 64):
        result = lowrank.factorize(model, {name: ("embedding", rank)})
        smaller = result.report["smaller"].item()
        yield {"rank": rank, "smaller": smaller, **quality(training.evaluate(result.model, movies.test), before)}

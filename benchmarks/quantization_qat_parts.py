"""The parts of benchmarks/quantization_qat.py: each function measures the rows of one part of the results."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas
import resuming
import torch
from common import Part, Row, quality, timed
from pruning_parts import baseline_evaluation, evaluate
from torch import nn

from course_lib import data, models, quantization, storage, training
from course_lib.core import memory
from course_lib.quantization import qat
from course_lib.quantization.bit_allocation import bits_per_layer
from course_lib.quantization.mse_scale import best_input_params

RUNS = resuming.RUNS / "quantization_qat"
CALIBRATION = 256
COMMON = {
    "optimizer": "sgd", "weight_decay": 1e-4, "schedule": "one_cycle", "batch_size": 64,
    "augment": True, "precision": "bf16", "seed": 0, "progress": False,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One training: bit widths, epochs, number of images, and hyper-parameters."""

    weight_bits: int
    input_bits: int
    epochs: int = 1
    images: int = 20_000
    learning_rate: float = 0.01
    estimator: str = "lsq"
    freeze_norms_after: float = 0.5
    distil: bool = True


RECIPES = {
    "W8A8": Recipe(8, 8, images=1_500, learning_rate=0.003),
    "W4A4": Recipe(4, 4, images=6_000),
    "W3A4": Recipe(3, 4, images=6_000),
    "W2A4": Recipe(2, 4, images=8_000),
}
FEW = {"images": 1_500}
CHOICES = {
    "learned step sizes": Recipe(2, 4, **FEW),
    "straight-through, fixed step sizes": Recipe(2, 4, estimator="ste", **FEW),
    "norms never frozen": Recipe(2, 4, freeze_norms_after=1.0, **FEW),
    "three times the learning rate": Recipe(2, 4, learning_rate=0.03, **FEW),
}


def resnet18() -> nn.Module:
    """The baseline; inference is faster with channels last."""
    return models.load("resnet18").to(memory_format=torch.channels_last)


def row_of(name: str, model: nn.Module, splits: data.Splits, **facts: Any) -> Row:
    """Store ``model``, load it again, and evaluate the loaded model on the test split."""
    file = storage.save(model, RUNS / f"{name}.safetensors")
    after = evaluate(storage.load(file), splits.test)
    size = storage.stored_bytes(file)
    return {"name": name, **facts, "stored_bytes": size, **quality(after, baseline_evaluation(splits))}


def round_to_nearest(bits: int) -> Part:
    """The part that rounds to nearest with min-max ranges and with the best step size; inputs of 8 bits."""

    def part(splits: data.Splits) -> Iterator[Row]:
        for method in ("min-max", "best step"):
            model = rounded_to_nearest(resnet18(), splits, method, bits, 8)
            facts = {"method": f"nearest, {method}", "bits": bits, "input_bits": 8}
            yield row_of(f"nearest, {method}, W{bits}A8", model, splits, **facts)

    return part


def rounded_to_nearest(
    model: nn.Module, splits: data.Splits, method: str, bits: int | Mapping[str, int], input_bits: int
) -> nn.Module:
    """``model`` with weights and inputs rounded to nearest; 8 bits for the first and last layer."""
    inputs = best_input_params(model, splits.train, bits_per_layer(model, input_bits), CALIBRATION)
    weights = {}
    for name, width in bits_per_layer(model, bits).items():
        weight = model.get_submodule(name).get_parameter("weight").detach()
        choose = quantization.best_weight_params if method == "best step" else quantization.weight_params
        weights[f"{name}.weight"] = quantization.quantize_tensor(weight, choose(weight, width))
    rounded = quantization.set_weights(copy.deepcopy(model), weights)
    return quantization.quantize_activations(rounded, inputs)


def adaround(bits: int, input_bits: int = 8) -> Part:
    """The part that rounds by AdaRound; memory is the peak of this process."""

    def part(splits: data.Splits) -> Iterator[Row]:
        memory.reset_peak()
        cpu, widths = time.process_time(), {"bits": bits, "input_bits": input_bits}
        seconds, result = timed(quantization.adaround, resnet18(), splits.train, **widths, progress=False)
        facts = {
            "method": "AdaRound", **widths, "seconds": seconds, "cpu_seconds": time.process_time() - cpu,
            "threads": torch.get_num_threads(), "peak_mb": round(memory.peak_bytes() / 1e6),
        }  # fmt: skip
        yield row_of(f"AdaRound W{bits}A{input_bits}", result.model, splits, **facts)

    return part


def train_by(recipe: Recipe, splits: data.Splits, checkpoint: Path | None = None) -> qat.TrainedResult:
    """Train ResNet18 by a recipe."""
    options = asdict(recipe)
    train = splits.train.subset(options.pop("images"))
    result = qat.train_quantized(resnet18(), train, splits.validation, checkpoint=checkpoint, **options, **COMMON)
    resuming.stop_if_interrupted(result.history)
    return result


def train(name: str) -> Part:
    """The part that trains by the recipe ``name``."""

    def part(splits: data.Splits) -> Iterator[Row]:
        recipe, checkpoint = RECIPES[name], RUNS / f"{name}.checkpoint"
        seconds, result = timed(train_by, recipe, splits, checkpoint)
        facts = {
            "method": "QAT", "bits": recipe.weight_bits, **asdict(recipe), "seconds": seconds,
            "threads": torch.get_num_threads(), "validation": result.history.validation_accuracy,
        }  # fmt: skip
        yield row_of(f"QAT {name}", result.model, splits, **facts)
        checkpoint.unlink(missing_ok=True)

    return part


def choices(splits: data.Splits) -> Iterator[Row]:
    """W2A4 on few images, one hyper-parameter changed at a time, on validation."""
    before = training.evaluate(resnet18(), splits.validation).accuracy
    for name, recipe in CHOICES.items():
        history = train_by(recipe, splits).history
        accuracy = history.validation_accuracy[-1]
        yield {"choice": name, **asdict(recipe), "validation": accuracy, "retained": accuracy / before}


def sensitivity(splits: data.Splits) -> Iterator[Row]:
    """Sensitivity of each layer at each bit width, on validation images; kept in runs/ for the part ``mixed``."""

    def measure() -> Row:
        few = splits.validation.subset(200)
        frame = quantization.bit_sensitivity(resnet18(), few, (2, 3, 4, 8), progress=False)
        return {"rows": frame.to_dict("records")}

    yield from resuming.measured_once(RUNS / "sensitivity.json", measure)["rows"]


def mixed(splits: data.Splits) -> Iterator[Row]:
    """3 bits for every layer against bits chosen per layer with no more bytes; rounded to nearest."""
    frame = pandas.DataFrame(sensitivity(splits))
    sizes = frame[frame["bits"] == 3].set_index("layer")["bytes"]
    chosen = quantization.choose_bits(frame, int(sizes.sum()))
    widths: dict[str, Mapping[str, int]] = {"3 bits everywhere": dict.fromkeys(chosen, 3), "chosen per layer": chosen}
    for name, bits in widths.items():
        facts = {"plan": name, "bits": dict(bits), "budget": int(sizes.sum())}
        model = rounded_to_nearest(resnet18(), splits, "best step", bits, 8)
        yield row_of(name, model, splits, **facts)

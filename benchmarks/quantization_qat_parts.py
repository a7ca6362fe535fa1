"""The parts of benchmarks/quantization_qat.py: each function measures the rows of one part of the results."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import quality
from pruning_parts import Row, baseline_evaluation, evaluate
from torch import nn

from course_lib import data, models, quantization, storage, training
from course_lib.core import memory
from course_lib.quantization import qat
from course_lib.quantization.bit_allocation import bits_per_layer
from course_lib.quantization.mse_scale import best_input_params

Part = Callable[[data.Splits], Iterator[Row]]
RUNS = Path(__file__).parent.parent / "runs" / "quantization_qat"
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
    file = storage.save(model.to(memory_format=torch.contiguous_format), RUNS / f"{name}.safetensors")
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
        started, cpu = time.perf_counter(), time.process_time()
        result = quantization.adaround(resnet18(), splits.train, bits=bits, input_bits=input_bits, progress=False)
        cost = {
            "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu,
            "threads": torch.get_num_threads(), "peak_mb": round(memory.peak_bytes() / 1e6),
        }  # fmt: skip
        facts = {"method": "AdaRound", "bits": bits, "input_bits": input_bits, **cost}
        yield row_of(f"AdaRound W{bits}A{input_bits}", result.model, splits, **facts)

    return part


def train_by(recipe: Recipe, splits: data.Splits, checkpoint: Path | None = None) -> qat.TrainedResult:
    """Train ResNet18 by a recipe."""
    options = asdict(recipe)
    train = splits.train.subset(options.pop("images"))
    result = qat.train_quantized(resnet18(), train, splits.validation, checkpoint=checkpoint, **options, **COMMON)
    if result.history.interrupted:
        raise KeyboardInterrupt
    return result


def train(name: str) -> Part:
    """The part that trains by the recipe ``name``."""

    def part(splits: data.Splits) -> Iterator[Row]:
        recipe, started = RECIPES[name], time.perf_counter()
        result = train_by(recipe, splits, RUNS / f"{name}.checkpoint")
        facts = {
            "method": "QAT", "bits": recipe.weight_bits, **asdict(recipe), "seconds": time.perf_counter() - started,
            "threads": torch.get_num_threads(), "validation": result.history.validation_accuracy,
        }  # fmt: skip
        yield row_of(f"QAT {name}", result.model, splits, **facts)
        (RUNS / f"{name}.checkpoint").unlink(missing_ok=True)

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
    file = RUNS / "sensitivity.json"
    if not file.exists():
        few = splits.validation.subset(200)
        frame = quantization.bit_sensitivity(resnet18(), few, (2, 3, 4, 8), progress=False)
        file.write_text(frame.to_json(orient="records"), encoding="utf-8")
    yield from json.loads(file.read_text(encoding="utf-8"))


def mixed(splits: data.Splits) -> Iterator[Row]:
    """3 bits for every layer against bits chosen per layer with no more bytes; rounded to nearest."""
    import pandas

    frame = pandas.DataFrame(sensitivity(splits))
    sizes = frame[frame["bits"] == 3].set_index("layer")["bytes"]
    chosen = quantization.choose_bits(frame, int(sizes.sum()))
    widths: dict[str, Mapping[str, int]] = {"3 bits everywhere": dict.fromkeys(chosen, 3), "chosen per layer": chosen}
    for name, bits in widths.items():
        facts = {"plan": name, "bits": dict(bits), "budget": int(sizes.sum())}
        model = rounded_to_nearest(resnet18(), splits, "best step", bits, 8)
        yield row_of(name, model, splits, **facts)

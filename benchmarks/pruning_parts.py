"""The measurements of benchmarks/pruning.py: each function yields the rows of one part of the results.

Hyper-parameters were chosen on validation; the test split is read for the rows that are reported, and for nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import resuming
import torch
from common import Row, compare_minilm, quality, rows_of, sentiment, timed
from torch import nn
from torch.nn.utils import prune

from course_lib import data, models, profiling, pruning, storage, training

RUNS = resuming.RUNS / "pruning"
CUTS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)

# As the baseline was trained; the rate, a third of its or less, stands in the recipe.
RESNET18 = {
    "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle", "batch_size": 128,
    "augment": True, "precision": "bf16", "seed": 0,
}  # fmt: skip
# One threshold per layer, three epochs: on validation 82.6 % at 80 % sparsity, against 81.8 % with one for all layers.
MINILM = {
    "epochs": 3, "learning_rate": 1e-4, "choose": pruning.layerwise_masks,
    "optimizer": "adamw", "batch_size": 32, "precision": "bf16", "seed": 0,
}  # fmt: skip
MINILM_SPARSITIES = (0.5, 0.8)


@dataclass(frozen=True)
class Recipe:
    """One gradual run: from which model, to which sparsity, for how many epochs, over how many images at most."""

    final: float
    epochs: int
    start: str = "baseline"
    initial: float = 0.0
    images: int = 58_000
    learning_rate: float = 0.05


RECIPES = {
    "90": Recipe(0.9, epochs=3),
    "95": Recipe(0.95, epochs=2, start="90", initial=0.9),
    "80": Recipe(0.8, epochs=1, images=10_000, learning_rate=0.01),
    "98": Recipe(0.98, epochs=2, start="95", initial=0.95, images=10_000),
}
SHARED = dict.fromkeys(RECIPES, ("fine_tuned", "sparsity"))
"""Part → table that it shares with others, and the column that tells their rows apart."""


def evaluate(model: nn.Module, split: data.Split) -> training.Evaluation:
    """A model on a split; convolutions are faster with channels last."""
    if isinstance(split.inputs, torch.Tensor) and split.inputs.dim() > 2:
        model.to(memory_format=torch.channels_last)
    return training.evaluate(model, split, progress=True)


def stored(model: nn.Module, name: str) -> Row:
    """Bytes of the real file with fp32 and with fp16 values."""
    files = {
        f"stored_bytes_{dtype}": storage.save(model, RUNS / f"{name}_{dtype}.safetensors", dtype=dtype)
        for dtype in ("fp32", "fp16")
    }
    return {label: storage.stored_bytes(file) for label, file in files.items()}


def cut_only(splits: data.Splits) -> Iterator[Row]:
    """ResNet18 with its smallest weights set to zero, not fine-tuned."""
    model = models.load("resnet18")
    before = evaluate(model, splits.test)
    yield {"method": "none", "sparsity": 0.0, **quality(before, before)}
    for method, prune_by in (("global", pruning.prune_global), ("layerwise", pruning.prune_layerwise)):
        for sparsity in CUTS:
            after = evaluate(prune_by(model, sparsity), splits.test)
            yield {"method": method, "sparsity": sparsity, **quality(after, before)}


def baseline_evaluation(splits: data.Splits) -> training.Evaluation:
    """The baseline on test, kept in runs/ because every part compares with it."""
    baseline = partial(evaluate, models.load("resnet18"), splits.test)
    return resuming.evaluated_once(RUNS / "baseline_predictions.tensor", splits.test, baseline)


def gradual_model(name: str, splits: data.Splits) -> tuple[nn.Module, Row]:
    """The ResNet18 of one recipe and what its training took; trained if it is not in runs/ yet."""
    recipe = RECIPES[name]
    row = {
        "name": name, "sparsity": recipe.final, "epochs": recipe.epochs,
        "images": min(recipe.images, len(splits.train)), "learning_rate": recipe.learning_rate,
    }  # fmt: skip

    def make() -> nn.Module:
        model = models.load("resnet18") if recipe.start == "baseline" else gradual_model(recipe.start, splits)[0]
        seconds, result = timed(
            pruning.prune_gradually, model.to(memory_format=torch.channels_last), splits.train.subset(recipe.images),
            splits.validation, initial_sparsity=recipe.initial, final_sparsity=recipe.final, epochs=recipe.epochs,
            loss=training.cross_entropy(label_smoothing=0.05), learning_rate=recipe.learning_rate,
            checkpoint=RUNS / f"gradual_{name}.checkpoint", **RESNET18,
        )  # fmt: skip
        resuming.stop_if_interrupted(result.history)
        row.update(validation=result.history.validation_accuracy, minutes=seconds / 60)
        return result.model

    return storage.load(resuming.made_once(RUNS / f"gradual_{name}.safetensors", make, "fp32")), row


def fine_tuned(name: str) -> Callable[[data.Splits], Iterator[Row]]:
    """The part that prunes ResNet18 gradually by one recipe and measures it."""

    def part(splits: data.Splits) -> Iterator[Row]:
        model, row = gradual_model(name, splits)
        counts = {"measured_sparsity": pruning.sparsity(model), "start": RECIPES[name].start}
        after = quality(evaluate(model, splits.test), baseline_evaluation(splits))
        yield {**row, **counts, **after, **stored(model, f"resnet18_{name}")}

    return part


def sensitivity(splits: data.Splits) -> Iterator[Row]:
    """Validation accuracy with a single layer of ResNet18 pruned."""
    model = models.load("resnet18").to(memory_format=torch.channels_last)
    frame = pruning.sensitivity_scan(model, splits.validation.subset(1000), (0.5, 0.8, 0.9, 0.95, 0.98))
    yield from frame.to_dict("records")


def lottery(splits: data.Splits) -> Iterator[Row]:
    """LeNet-300-100: tickets and their controls, three seeds, evaluated on 10,000 held-out training images."""
    flat = pruning.flatten_images(splits.train)
    held_out = len(flat) // 6
    train = replace(flat, inputs=flat.inputs[held_out:], labels=flat.labels[held_out:])
    validation = replace(flat, name="validation", inputs=flat.inputs[:held_out], labels=flat.labels[:held_out])
    for seed in range(3):
        result = pruning.lottery_ticket(
            lambda: models.build({"builder": "mlp", "arguments": {"sizes": [784, 300, 100, 10]}}),
            train, validation, 5, final_sparsity=0.98, epochs=3, controls="every", seed=seed,
        )  # fmt: skip
        yield from ({"seed": seed, **row} for row in result.frame.to_dict("records"))


def pruned_minilm(sparsity: float, movies: data.Splits) -> nn.Module:
    """MiniLM with its encoder pruned gradually on movies."""
    minilm = models.load("minilm")
    result = pruning.prune_gradually(minilm, movies.train, movies.validation, final_sparsity=sparsity, **MINILM)
    resuming.stop_if_interrupted(result.history)
    return result.model


def minilm(_: data.Splits) -> Iterator[Row]:
    """MiniLM with 50 % and 80 % of its encoder's weights pruned, tuned on movies and tested on every domain."""
    movies = sentiment()["movies"]
    files = {
        f"encoder {sparsity:.0%}, fp16 values": resuming.made_once(
            RUNS / f"minilm_gradual_{sparsity:.0%}.safetensors", partial(pruned_minilm, sparsity, movies)
        )
        for sparsity in MINILM_SPARSITIES
    }
    cut = {0.0: models.load("minilm")} | {
        sparsity: pruning.prune_layerwise(models.load("minilm"), sparsity) for sparsity in MINILM_SPARSITIES
    }
    for (sparsity, model), row in zip(cut.items(), rows_of(compare_minilm(files)), strict=True):
        yield {**row, "encoder_sparsity": sparsity, "cut_only_accuracy": evaluate(model, movies.test).accuracy}


def size_trap(_: data.Splits) -> Iterator[Row]:
    """Bytes of a 90 % pruned ResNet18: masks in a state_dict, made permanent, and stored as bitmask."""
    model = models.load("resnet18")
    yield {"what": "dense state_dict", "bytes": _state_bytes(model)}
    layers = [(module, "weight") for module in models.prunable_layers(model).values()]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.9)
    yield {"what": "state_dict with masks", "bytes": _state_bytes(model)}
    pruning.make_permanent(model)
    yield {"what": "state_dict, masks made permanent", "bytes": _state_bytes(model)}
    for dtype in ("fp32", "fp16"):
        for encoding in ("dense", "bitmask"):
            file = storage.save(model, RUNS / f"trap_{encoding}_{dtype}.safetensors", encoding=encoding, dtype=dtype)
            yield {"what": f"stored file, {encoding}, {dtype}", "bytes": storage.stored_bytes(file)}


def csr_break_even(_: data.Splits) -> Iterator[Row]:
    """Dense against CSR multiplication of a 512 × 4608 matrix (a convolution of layer4) on this machine."""
    weight = torch.randn(512, 4608, generator=torch.Generator().manual_seed(0))
    for columns in (1, 16, 196):
        right = torch.randn(4608, columns, generator=torch.Generator().manual_seed(1))
        for sparsity in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99):
            dense = weight * pruning.magnitude_mask(weight, sparsity)
            matrices = {"dense": dense, "csr": dense.to_sparse_csr()}
            runners = {
                name: profiling.Runner("eager", partial(torch.matmul, matrix, right), threads=torch.get_num_threads())
                for name, matrix in matrices.items()
            }
            timed = {name: latency.p50_ms for name, latency in profiling.interleave(runners).items()}
            yield {
                "rows": 512, "inner": 4608, "columns": columns, "sparsity": sparsity,
                "threads": torch.get_num_threads(), "dense_ms": timed["dense"], "csr_ms": timed["csr"],
                "speedup": timed["dense"] / timed["csr"],
            }  # fmt: skip


def _state_bytes(model: nn.Module) -> int:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell()

"""The measurements behind benchmarks/quantization_llm.py: each function makes the rows of one part of the results.

Calibration takes sentences of train, choices are made on validation; test is read for the rows that are reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from quantization_llm_choice import RUNS, Row, calibration, model, remembered, sentiment, text
from torch import nn

from course_lib import assets, data, quantization, report, storage, training
from course_lib.quantization import WeightOnly, WeightScheme, linear_layers, weight_matrix
from course_lib.training import language_modeling

BITS = (4, 3, 2)
GROUP = 64
SALIENT_SEEDS = (0, 1, 2)
PANEL_WINDOWS, TEST_WINDOWS = 200, 600
Quantize = Callable[..., WeightOnly]


def answers(quantized_model: nn.Module, split: data.Split) -> training.Evaluation:
    """What a model says about sentences."""
    return training.evaluate(quantized_model, split, batch_size=64)


@cache
def quantized(name: str, method: str, bits: int, **options: Any) -> WeightOnly:
    """A shipped model by one of the three methods."""
    if method == "rtn":
        return quantization.rtn(model(name), bits, **options)
    make: Quantize = {"gptq": quantization.gptq, "awq": quantization.awq}[method]
    return make(model(name), calibration(name), bits, **options)


def stored_bytes(result: WeightOnly) -> tuple[int, nn.Module]:
    """Size of the file, and the model that comes out of it: what is measured is what somebody would get."""
    with tempfile.TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "model.safetensors")
        return storage.stored_bytes(path), storage.load(path)


@cache
def minilm_before(domain: str) -> training.Evaluation:
    """The baseline's answers on the test split of a domain; kept in runs/, because every row is compared with them."""
    split, file = sentiment(domain).test, RUNS / f"before_{domain}.pt"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        torch.save(answers(model("minilm"), split).predictions, file)
    return training.Evaluation(torch.load(file), split.labels, float("nan"), split.classes)


def minilm_row(method: str, bits: int, embedding_bits: int) -> Row:
    """Bytes, and accuracy on test: of every domain at 4 bits, of movies below."""
    if bits == 4 and embedding_bits == 8 and made(method).exists():
        size, loaded = storage.stored_bytes(made(method)), storage.load(made(method))
    else:
        options = {} if embedding_bits == 8 else {"embedding_bits": embedding_bits}
        size, loaded = stored_bytes(quantized("minilm", method, bits, **options))
    row: Row = {
        "method": method, "bits": bits, "group_size": GROUP, "embedding_bits": embedding_bits, "stored_bytes": size,
    }  # fmt: skip
    for domain in data.SENTIMENT_DOMAINS if bits == 4 else ("movies",):
        before, after = minilm_before(domain), answers(loaded, sentiment(domain).test)
        low, high = report.paired_bootstrap(before.correct, after.correct)
        row |= {
            f"{domain}": after.accuracy, f"{domain}_retained": after.accuracy / before.accuracy,
            f"{domain}_low": low, f"{domain}_high": high,
        }  # fmt: skip
    return row


def minilm_before_row() -> Row:
    """The unquantized MiniLM, as it is shipped."""
    before: Row = {
        "method": "fp16", "bits": 16, "group_size": None, "embedding_bits": 16,
        "stored_bytes": storage.stored_bytes(assets.path("minilm")),
    }  # fmt: skip
    for domain in data.SENTIMENT_DOMAINS:
        before |= {domain: minilm_before(domain).accuracy, f"{domain}_retained": 1.0}
    return before


def minilm() -> Iterator[Row]:
    """MiniLM's encoder at 4, 3 and 2 bits, embeddings at 8 bits, and at 4 bits where the encoder has 4."""
    yield remembered("minilm fp16", minilm_before_row)
    settings = [(method, bits, 8) for bits in BITS for method in ("rtn", "gptq", "awq")]
    for setting in [*settings, ("gptq", 4, 4), ("awq", 4, 4)]:
        yield remembered("minilm " + " ".join(map(str, setting)), partial(minilm_row, *setting))


def layer_errors(name: str) -> Iterator[Row]:
    """For every layer: error of its output on held-out inputs, relative to the output, by method and bits.

    The inputs are those that the unquantized model gives the layer on validation; nothing was calibrated on them.
    """
    held_out = sentiment().validation if name == "minilm" else text().validation.subset(128)
    changed = {
        (method, bits): linear_layers(quantized(name, method, bits).model)
        for method in ("rtn", "gptq")
        for bits in BITS
    }
    rows: list[Row] = []

    def measure(stage: quantization.Stage, inputs: quantization.LayerInputs) -> None:
        for layer_name, layer in stage.layers.items():
            exact = weight_matrix(layer)
            row: Row = {"model": name, "layer": layer_name}
            for (method, bits), layers in changed.items():
                now: Any = layers[layer_name]
                shift = None if now.bias is None else (now.bias - layer.bias).detach()
                error = inputs.output_error(weight_matrix(now) - exact, shift)
                row[f"{method} {bits}"] = error / inputs.output_error(exact)
            rows.append(row)

    quantization.walk(model(name), quantization.calibration_batches(held_out), measure)
    yield from rows


def tiny_row(result: WeightOnly, windows: data.Split, **facts: Any) -> Row:
    """Bytes and perplexity of a quantized tiny Llama."""
    size, loaded = stored_bytes(result)
    return {
        "method": result.method, "bits": result.scheme.bits, "group_size": result.scheme.group_size, **facts,
        "stored_bytes": size, "windows": len(windows), "test": language_modeling.perplexity(loaded, windows),
    }  # fmt: skip


def tiny_before() -> Row:
    """The unquantized tiny Llama, as it is shipped."""
    some = text().test.subset(TEST_WINDOWS)
    return {
        "method": "fp16", "bits": 16, "group_size": None,
        "stored_bytes": storage.stored_bytes(assets.path("tiny_llama")), "windows": len(some),
        "test": language_modeling.perplexity(model("tiny_llama"), some),
    }  # fmt: skip


def tiny_made(method: str, bits: int) -> Row:
    """The row of one way to quantize the tiny Llama."""
    return tiny_row(quantized("tiny_llama", method, bits), text().test.subset(TEST_WINDOWS))


def tiny() -> Iterator[Row]:
    """The tiny Llama at 4, 3 and 2 bits, embeddings (which are the output matrix too) at 8."""
    yield remembered("tiny fp16", tiny_before)
    for bits in BITS:
        for method in ("rtn", "gptq", "awq"):
            yield remembered(f"tiny {method} {bits}", partial(tiny_made, method, bits))


def group_sizes() -> Iterator[Row]:
    """Perplexity of the tiny Llama over group size and bits on some test windows, for the panel of lesson 08."""
    some = text().test.subset(PANEL_WINDOWS)
    before = language_modeling.perplexity(model("tiny_llama"), some)
    for group_size in (None, 64, 16):
        for bits in (8, 4, 3, 2):
            for method in ("rtn", "gptq"):
                size, loaded = stored_bytes(quantized("tiny_llama", method, bits, group_size=group_size))
                yield {
                    "method": method, "bits": bits, "group_size": group_size, "stored_bytes": size,
                    "windows": len(some), "before": before, "test": language_modeling.perplexity(loaded, some),
                }  # fmt: skip


def salient() -> Iterator[Row]:
    """One input column in a hundred kept in fp16, chosen in three ways, beside plain rounding and AWQ, at 3 bits."""
    some = text().test.subset(PANEL_WINDOWS)
    yield tiny_row(quantized("tiny_llama", "rtn", 3), some, kept="none")
    yield tiny_row(quantized("tiny_llama", "awq", 3, clip=False), some, kept="none")
    for by, seed in [("activation", 0), ("weight", 0), *(("random", seed) for seed in SALIENT_SEEDS)]:
        result = quantization.keep_salient(
            model("tiny_llama"), calibration("tiny_llama"), 3, by=by, fraction=0.01, seed=seed
        )
        yield tiny_row(result, some, kept=by, seed=seed)


def scale_search() -> Iterator[Row]:
    """Error over alpha for every stage of the tiny Llama at 3 bits, relative to alpha = 0."""
    rows: list[Row] = []

    def search(stage: quantization.Stage, inputs: quantization.LayerInputs) -> None:
        matrix = torch.cat([weight_matrix(layer) for layer in stage.layers.values()])
        found = quantization.search_scales(matrix, inputs, WeightScheme(3, GROUP))
        first = next(iter(stage.layers))
        errors = [error / found.errors[0] for error in found.errors]
        rows.append({"stage": first, "alpha": found.alpha, "alphas": list(found.alphas), "errors": errors})

    quantization.walk(model("tiny_llama"), quantization.calibration_batches(calibration("tiny_llama")), search)
    yield from rows


def outliers() -> Iterator[Row]:
    """How much larger the largest input channel of a stage is than the middle one, in both models."""
    rows: list[Row] = []
    for name in ("minilm", "tiny_llama"):

        def look(stage: quantization.Stage, inputs: quantization.LayerInputs, name: str = name) -> None:
            spread = (inputs.max_abs.max() / inputs.max_abs.median()).item()
            rows.append({"model": name, "stage": next(iter(stage.layers)), "max over median": spread})

        quantization.walk(model(name), quantization.calibration_batches(calibration(name)), look)
    yield from rows


ALPHAS = (None, 0.25, 0.5, 0.75)


def smooth() -> Iterator[Row]:
    """The tiny Llama, weights in 8 bits, activations in 8, 6 or 5: plain, and with the alpha that validation chose."""
    for activation_bits in (8, 6, 5):
        tried = {
            alpha: quantization.smoothquant(
                model("tiny_llama"), calibration("tiny_llama"), alpha=alpha, activation_bits=activation_bits
            )
            for alpha in ALPHAS
        }
        some = text().validation.subset(100)
        scores = {alpha: language_modeling.perplexity(result.model, some) for alpha, result in tried.items()}
        best = min((alpha for alpha in ALPHAS if alpha is not None), key=scores.__getitem__)
        for alpha in (None, best):
            facts = {"activation_bits": activation_bits, "alpha": alpha, "validation": scores[alpha]}
            yield tiny_row(tried[alpha], text().test.subset(PANEL_WINDOWS), **facts)


COST = """
import json, resource, sys, time
from course_lib import data, models, quantization
method = sys.argv[1]
sys.path.insert(0, sys.argv[3])
import quantization_llm_parts as parts
model, calibration = models.load("minilm"), parts.calibration("minilm")
started = time.perf_counter()
result = getattr(quantization, method)(model, calibration, 4)
seconds = time.perf_counter() - started
result.save(sys.argv[2])
print(json.dumps({"method": method, "seconds": seconds,
                  "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def cost() -> Iterator[Row]:
    """Seconds and peak resident memory of GPTQ and AWQ over MiniLM, each in a fresh process on Linux.

    What they make is kept in runs/, so that ``minilm`` need not make it again.
    """
    for method in ("gptq", "awq"):
        command = [sys.executable, "-c", COST, method, str(made(method)), str(Path(__file__).parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        yield json.loads(done.stdout.strip().splitlines()[-1])


def made(method: str) -> Path:
    """Where ``cost`` keeps MiniLM with 4 bits."""
    RUNS.mkdir(parents=True, exist_ok=True)
    return RUNS / f"minilm_{method}_4.safetensors"

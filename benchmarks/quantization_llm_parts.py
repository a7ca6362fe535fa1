"""The parts of benchmarks/quantization_llm.py: each function measures the rows of one part of the results.

Calibration uses training sentences, choices are made on validation; test is read for the reported rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import resuming
import torch
from common import timed
from quantization_llm_calibration import METHODS, RUNS, Row, cached_row, calibration, model, sentiment, text
from torch import nn

from course_lib import assets, data, quantization, report, storage, training
from course_lib.core import memory
from course_lib.quantization import WeightOnly, WeightScheme, linear_layers, weight_matrix
from course_lib.training import language_modeling

BITS = (4, 3, 2)
GROUP = 64
SALIENT_SEEDS = (0, 1, 2)
PANEL_WINDOWS, TEST_WINDOWS = 200, 600


def answers(quantized_model: nn.Module, split: data.Split) -> training.Evaluation:
    """Predictions of a model for sentences."""
    return training.evaluate(quantized_model, split, batch_size=64)


@cache
def quantized(name: str, method: str, bits: int, **options: Any) -> WeightOnly:
    """A shipped model, quantized by RTN, GPTQ or AWQ."""
    if method == "rtn":
        return quantization.rtn(model(name), bits, **options)
    return METHODS[method](model(name), calibration(name), bits, **options)


def save_and_load(result: WeightOnly) -> tuple[int, nn.Module]:
    """Size of the stored file, and the model that is loaded from it."""
    with tempfile.TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "model.safetensors")
        return storage.stored_bytes(path), storage.load(path)


@cache
def minilm_before(domain: str) -> training.Evaluation:
    """The baseline on the test split of a domain, kept in runs/ because every row needs it."""
    test = sentiment(domain).test
    return resuming.evaluated_once(RUNS / f"before_{domain}.tensor", test, lambda: answers(model("minilm"), test))


def minilm_row(method: str, bits: int, embedding_bits: int) -> Row:
    """Bytes, and accuracy on test: of every domain at 4 bits, of movies below."""
    if bits == 4 and embedding_bits == 8 and (file := cost_file(method)).exists():
        size, loaded = storage.stored_bytes(file), storage.load(file)
    else:
        options = {} if embedding_bits == 8 else {"embedding_bits": embedding_bits}
        size, loaded = save_and_load(quantized("minilm", method, bits, **options))
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
    """MiniLM's encoder at 4, 3 and 2 bits with 8-bit embeddings, and at 4 bits with 4-bit embeddings."""
    yield cached_row("minilm fp16", minilm_before_row)
    settings = [(method, bits, 8) for bits in BITS for method in ("rtn", "gptq", "awq")]
    for setting in [*settings, ("gptq", 4, 4), ("awq", 4, 4)]:
        yield cached_row("minilm " + " ".join(map(str, setting)), partial(minilm_row, *setting))


def layer_errors() -> Iterator[Row]:
    """For every layer of MiniLM: error of its output, relative to the output, by method and bits.

    The inputs are those of the unquantized model on validation, which no method was calibrated on.
    """
    changed = {
        f"{method} {bits}": linear_layers(quantized("minilm", method, bits).model)
        for method in ("rtn", "gptq")
        for bits in BITS
    }
    rows: list[Row] = []

    def measure(stage: quantization.Stage, inputs: quantization.LayerInputs) -> None:
        for name, layer in stage.layers.items():
            exact = weight_matrix(layer)
            row: Row = {"model": "minilm", "layer": name}
            for setting, layers in changed.items():
                now: Any = layers[name]
                shift = None if now.bias is None else (now.bias - layer.bias).detach()
                row[setting] = inputs.output_error(weight_matrix(now) - exact, shift) / inputs.output_error(exact)
            rows.append(row)

    quantization.walk(model("minilm"), quantization.calibration_batches(sentiment().validation), measure)
    yield from rows


def tiny_row(result: WeightOnly, windows: data.Split, **facts: Any) -> Row:
    """Bytes and perplexity of a quantized tiny Llama."""
    size, loaded = save_and_load(result)
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


def tiny() -> Iterator[Row]:
    """The tiny Llama at 4, 3 and 2 bits, with 8-bit embeddings (which are also the output matrix)."""
    yield cached_row("tiny fp16", tiny_before)
    some = text().test.subset(TEST_WINDOWS)
    for bits in BITS:
        for method in ("rtn", "gptq", "awq"):
            yield cached_row(
                f"tiny {method} {bits}", lambda m=method, b=bits: tiny_row(quantized("tiny_llama", m, b), some)
            )


def group_sizes() -> Iterator[Row]:
    """Perplexity of the tiny Llama by group size and bits on some test windows, for the panel of lesson 08."""
    some = text().test.subset(PANEL_WINDOWS)
    before = language_modeling.perplexity(model("tiny_llama"), some)
    for group_size in (None, 64, 16):
        for bits in (8, 4, 3, 2):
            for method in ("rtn", "gptq"):
                yield tiny_row(quantized("tiny_llama", method, bits, group_size=group_size), some, before=before)


def salient() -> Iterator[Row]:
    """1 % of the input columns kept in fp16, selected in three ways, compared with RTN and AWQ, at 3 bits."""
    some = text().test.subset(PANEL_WINDOWS)
    yield tiny_row(quantized("tiny_llama", "rtn", 3), some, kept="none")
    yield tiny_row(quantized("tiny_llama", "awq", 3, clip=False), some, kept="none")
    for by, seed in [("activation", 0), ("weight", 0), *(("random", seed) for seed in SALIENT_SEEDS)]:
        result = quantization.keep_salient(
            model("tiny_llama"), calibration("tiny_llama"), 3, by=by, fraction=0.01, seed=seed
        )
        yield tiny_row(result, some, kept=by, seed=seed)


def scale_search() -> Iterator[Row]:
    """Error by alpha for every stage of the tiny Llama at 3 bits, relative to alpha = 0."""
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
    """Ratio of the largest to the median input channel of every stage, in both models."""
    rows: list[Row] = []
    for name in ("minilm", "tiny_llama"):

        def record(stage: quantization.Stage, inputs: quantization.LayerInputs, name: str = name) -> None:
            spread = (inputs.max_abs.max() / inputs.max_abs.median()).item()
            rows.append({"model": name, "stage": next(iter(stage.layers)), "max over median": spread})

        quantization.walk(model(name), quantization.calibration_batches(calibration(name)), record)
    yield from rows


ALPHAS = (None, 0.25, 0.5, 0.75)


def smooth() -> Iterator[Row]:
    """The tiny Llama, 8-bit weights, activations of 8, 6 or 5 bits: without smoothing, and with the best alpha."""
    for activation_bits in (8, 6, 5):
        results = {
            alpha: quantization.smoothquant(
                model("tiny_llama"), calibration("tiny_llama"), alpha=alpha, activation_bits=activation_bits
            )
            for alpha in ALPHAS
        }
        some = text().validation.subset(100)
        scores = {alpha: language_modeling.perplexity(result.model, some) for alpha, result in results.items()}
        best = min((alpha for alpha in ALPHAS if alpha is not None), key=scores.__getitem__)
        for alpha in (None, best):
            facts = {"activation_bits": activation_bits, "alpha": alpha, "validation": scores[alpha]}
            yield tiny_row(results[alpha], text().test.subset(PANEL_WINDOWS), **facts)


def cost() -> Iterator[Row]:
    """Seconds and peak resident memory of GPTQ and AWQ over MiniLM, each in a fresh process; the models are kept."""
    for method in METHODS:
        code = f"import quantization_llm_parts as parts; parts.print_cost({method!r})"
        finished = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
        yield json.loads(finished.stdout.strip().splitlines()[-1])


def print_cost(method: str) -> None:
    """Quantize MiniLM to 4 bits in this process, and print its cost as JSON."""
    original, split = model("minilm"), calibration("minilm")
    seconds, result = timed(METHODS[method], original, split, 4)
    result.save(cost_file(method))
    print(json.dumps({"method": method, "seconds": seconds, "resident_mb": memory.peak_bytes() / 2**20}))


def cost_file(method: str) -> Path:
    """The 4-bit MiniLM of the part ``cost``, which ``minilm`` then loads."""
    return RUNS / f"minilm_{method}_4.safetensors"

"""What the measuring instruments cost: loading a baseline, storing it, counting, exporting, comparing.

    python benchmarks/instruments.py [--quick] [--json FILE]

The goal for loading is 1.5 s after the imports, in a fresh process, with the checksum of the shipped file verified.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import Results, parser
from torch import nn

from course_lib import data, models, profiling, report, storage

GOAL_SECONDS = 1.5
DATA = {"resnet18": "fashion_mnist", "minilm": "sentiment"}
LOADING = """
import json, sys, time
import torch, torchvision, transformers
from transformers import BertForSequenceClassification
from course_lib import models, storage
start = time.perf_counter()
models.load(sys.argv[1])
print(json.dumps(time.perf_counter() - start))
"""


def loading(runs: int) -> Iterator[dict[str, Any]]:
    """Seconds until a baseline can be used, median over fresh processes."""
    for name in models.BASELINES:
        command = [sys.executable, "-c", LOADING, name]
        seconds = statistics.median(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(runs)
        )
        yield {"model": name, "seconds": seconds, "goal": GOAL_SECONDS, "reached": seconds <= GOAL_SECONDS}


def storing(runs: int) -> Iterator[dict[str, Any]]:
    """Seconds and bytes for each kind of file, with 90 % of the weights of each layer set to zero."""
    with tempfile.TemporaryDirectory() as folder:
        for name in models.BASELINES:
            for sparsity in (0.0, 0.9):
                model = thinned(models.load(name), sparsity)
                for dtype in ("fp32", "fp16"):
                    file = Path(folder) / "model.safetensors"
                    yield {
                        "model": name,
                        "layer_sparsity": sparsity,
                        "dtype": dtype,
                        "save_s": seconds_of(lambda m=model, f=file, d=dtype: storage.save(m, f, dtype=d), runs),
                        "load_s": seconds_of(lambda f=file: storage.load(f), runs),
                        "bytes": storage.stored_bytes(file),
                    }


def measuring(examples: int) -> Iterator[dict[str, Any]]:
    """Seconds for each part of a comparison of two models of one shape."""
    for name, dataset in DATA.items():
        split = data.load(dataset).validation.subset(examples)
        before = models.load(name)
        after, one = thinned(models.load(name), 0.9), split.example(1)
        parts: dict[str, Callable[[], object]] = {
            "layer table, timed": lambda m=before, x=one: profiling.layers(m, x),
            "ONNX, first of its shape": lambda m=before, x=one: profiling.onnx(m, x).close(),
            "ONNX, other weights": lambda m=after, x=one: profiling.onnx(m, x).close(),
            "ONNX, same weights": lambda m=after, x=one: profiling.onnx(m, x).close(),
            f"compare, accuracy on {len(split):,}": lambda b=before, a=after, s=split: compare(b, a, s),
            "… and peak memory": lambda b=before, a=after, s=split: compare(b, a, s, memory=True),
            "… and latency": lambda b=before, a=after, s=split: compare(b, a, s, latency=True),
        }
        for part, work in parts.items():
            yield {"model": name, "part": part, "seconds": seconds_of(work, 1)}


def compare(before: nn.Module, after: nn.Module, split: data.Split, **parts: bool) -> report.Comparison:
    """A comparison of which only the named parts are measured."""
    chosen = {"latency": False, "memory": False} | parts
    return report.compare(before, after, on=split, progress=False, **chosen)


def limits() -> Iterator[dict[str, Any]]:
    """The roofline of this machine, measured anew."""
    for threads in (1, 2):
        start = time.perf_counter()
        roof = profiling.roofline(threads, refresh=True)
        seconds = time.perf_counter() - start
        yield {
            "threads": threads, "peak_gflops": roof.peak_gflops, "bandwidth_gbs": roof.bandwidth_gbs,
            "ridge_flop_per_byte": roof.ridge, "seconds": seconds,
        }  # fmt: skip


def thinned(model: nn.Module, sparsity: float) -> nn.Module:
    """``model`` with the smallest weights of each layer set to zero, in place."""
    with torch.no_grad():
        for layer in models.prunable_layers(model).values():
            weight = layer.get_parameter("weight")
            dropped = round(sparsity * weight.numel())
            weight.view(-1)[weight.abs().flatten().argsort()[:dropped]] = 0
    return model


def seconds_of(work: Callable[[], object], runs: int) -> float:
    """Median wall-clock time."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    arguments = parser(__doc__).parse_args()
    runs = 2 if arguments.quick else 5
    results = Results(__doc__, arguments, runs=runs)
    results.table("loading, fresh process", list(loading(runs)))
    results.table("storing", list(storing(runs)))
    results.table("roofline", list(limits()))
    results.table("measuring", list(measuring(200 if arguments.quick else 1000)))
    results.save()


if __name__ == "__main__":
    main()

"""Time that measurements take: loading a baseline, storing it, counting, exporting, comparing.

    python benchmarks/instruments.py [--quick] [--json FILE]

The goal for loading is 1.5 s after the imports, in a fresh process, with the checksum of the shipped file verified.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common import Results, Row, parser, timed
from torch import nn

from course_lib import data, models, profiling, pruning, report, storage

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


def loading(runs: int) -> Iterator[Row]:
    """Seconds until a baseline is loaded, median over fresh processes."""
    for name in models.BASELINES:
        command = [sys.executable, "-c", LOADING, name]
        seconds = statistics.median(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(runs)
        )
        yield {"model": name, "seconds": seconds, "goal": GOAL_SECONDS, "reached": seconds <= GOAL_SECONDS}


def storing(runs: int) -> Iterator[Row]:
    """Seconds and bytes for each kind of file, with 90 % of the weights of each layer set to zero."""
    with tempfile.TemporaryDirectory() as folder:
        for name in models.BASELINES:
            for sparsity in (0.0, 0.9):
                model = pruning.prune_layerwise(models.load(name), sparsity)
                for dtype in ("fp32", "fp16"):
                    file = Path(folder) / "model.safetensors"
                    save = seconds_of(lambda m=model, f=file, d=dtype: storage.save(m, f, dtype=d), runs)
                    yield {
                        "model": name, "layer_sparsity": sparsity, "dtype": dtype, "save_s": save,
                        "load_s": seconds_of(lambda f=file: storage.load(f), runs),
                        "bytes": storage.stored_bytes(file),
                    }  # fmt: skip


def measuring(examples: int) -> Iterator[Row]:
    """Seconds for each part of a comparison of two models of one shape."""
    for name, dataset in DATA.items():
        split = data.load(dataset).validation.subset(examples)
        before = models.load(name)
        after, one = pruning.prune_layerwise(before, 0.9), split.example(1)
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
    """A comparison that measures only the named parts."""
    return report.compare(before, after, on=split, progress=False, **({"latency": False, "memory": False} | parts))


def limits() -> Iterator[Row]:
    """The roofline of this machine, measured again."""
    for threads in (1, 2):
        seconds, roofline = timed(profiling.roofline, threads, refresh=True)
        yield {
            "threads": threads, "peak_gflops": roofline.peak_gflops, "bandwidth_gbs": roofline.bandwidth_gbs,
            "ridge_flop_per_byte": roofline.ridge, "seconds": seconds,
        }  # fmt: skip


def seconds_of(work: Callable[[], object], runs: int) -> float:
    """Median wall-clock time of ``runs`` calls."""
    return statistics.median(timed(work)[0] for _ in range(runs))


def main() -> None:
    """Measure and print all tables."""
    arguments = parser(__doc__).parse_args()
    runs = 2 if arguments.quick else 5
    results = Results(__doc__, arguments, runs=runs)
    results.table("loading, fresh process", loading(runs))
    results.table("storing", storing(runs))
    results.table("roofline", limits())
    results.table("measuring", measuring(200 if arguments.quick else 1000))
    results.save()


if __name__ == "__main__":
    main()

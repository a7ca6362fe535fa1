"""Entropy-coded files of shipped models: bytes, the loss of each coder against its own model, seconds and memory.

Each model is stored twice: as it was trained (fp16, without loss: exponents and signs are coded), and on a uniform grid
for each output row, with a step of ``STEP`` standard deviations of the row (no calibration: what is measured here is
the coder, not how good the model is). Run it on an idle machine; CPU seconds stand beside the wall clock.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, Results, Row, parser
from torch import nn

from course_lib import models, storage
from course_lib.core import memory

STEP = 0.5
QUICK = ("student_400", "student_100")
MODELS: dict[str, Callable[[], nn.Module]] = {
    **{
        name: lambda name=name: storage.load(RESULTS / f"{name}.safetensors")  # type: ignore[misc]
        for name in ("student_400", "student_100", "student_10", "resnet18_structured_11", "resnet18_pruned_95")
    },
    "resnet18": lambda: models.load("resnet18"),
    "minilm": lambda: models.load("minilm"),
}
CODERS = ("arithmetic", "huffman")


def main() -> None:
    """Print a row for each model, way of storing and coder, and write the results."""
    chosen = parser(__doc__, f"only {' and '.join(QUICK)}").parse_args()
    results = Results(__doc__, chosen)
    names = QUICK if chosen.quick else tuple(MODELS)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in names for row in measure(name, Path(folder))]
    results.table("files", rows)
    results.save()


def measure(name: str, folder: Path) -> list[Row]:
    """Rows of one model."""
    model = MODELS[name]()
    forms = {"trained": model, "uniform": on_a_grid(model)}
    return [
        {"model": name, "stored": form, "coder": coder, **cost(of_form, coder, folder)}
        for form, of_form in forms.items()
        for coder in CODERS
    ]


def on_a_grid(model: nn.Module) -> nn.Module:
    """A copy whose weight matrices are integer levels, with a step for each output row."""
    rounded, encodings = copy.deepcopy(model), {}
    for name, parameter in rounded.named_parameters():
        if parameter.dim() > 1:
            rows = parameter.detach().flatten(1)
            steps = storage.coarse_steps((STEP * rows.std(1)).clamp_min(1e-6))
            levels = (rows / steps.float()[:, None]).round().int().view(parameter.shape)
            encodings[name] = storage.encode_uniform(levels, steps)
            parameter.data = storage.decode(encodings[name])
    storage.set_encodings(rounded, encodings)
    return rounded


def cost(model: nn.Module, coder: str, folder: Path) -> Row:
    """Bytes, loss, seconds and peak memory of saving and loading a model."""
    plain = storage.stored_bytes(storage.save(model, folder / "plain.safetensors", dtype="fp16"))
    memory.reset_peak()
    save_s, save_cpu_s, path = clock(storage.save, model, folder / "coded.safetensors", dtype="fp16", coder=coder)
    load_s, load_cpu_s, loaded = clock(storage.load, path)
    peak = memory.peak_bytes()
    expected = storage.load(folder / "plain.safetensors").state_dict()
    size = storage.coded_size(path)
    return {
        "plain_bytes": plain, "bytes": storage.stored_bytes(path), "above_ideal": size.stream / size.ideal - 1,
        "same": all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items()),
        "save_s": save_s, "save_cpu_s": save_cpu_s, "load_s": load_s, "load_cpu_s": load_cpu_s, "peak_mb": peak / 1e6,
    }  # fmt: skip


def clock(work: Callable[..., Any], *inputs: Any, **options: Any) -> tuple[float, float, Any]:
    """Wall-clock and CPU seconds of one call, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*inputs, **options)
    return time.perf_counter() - wall, time.process_time() - cpu, result


if __name__ == "__main__":
    main()

"""Storing, loading, evaluating and timing models."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from course_lib import profiling, storage, training
from course_lib.data import Split
from course_lib.report.rows import Row, Setting

BUSY_RATIO = 4.0  # p95 / p50 above which other programs were running

Model = nn.Module | profiling.Deployed | str | Path
Loaded = nn.Module | profiling.Deployed
File = Path | profiling.Deployed
Settings = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Protocol:
    """How the rows of a comparison are measured; the fields are the arguments of ``compare``."""

    on: Split
    domains: Mapping[str, Split]
    latency: bool
    memory: bool
    settings: Settings
    runs: int
    progress: bool

    def note(self, baseline: Row) -> str:
        """One line under the table: split, latency setting and machine."""
        parts = [f"{self.on.dataset} {self.on.name}, {len(self.on):,} examples"]
        if timed := baseline.latencies.get(baseline.headline):
            parts.append(f"latency: {baseline.headline}, median of {timed.runs} interleaved runs")
            if timed.p95_ms > BUSY_RATIO * timed.p50_ms:
                parts.append(f"busy machine: p95 is {timed.p95_ms / timed.p50_ms:.0f} times p50, so measure again")
        return " · ".join([*parts, str(profiling.machine())])


def measure_all(
    models: Sequence[Model], names: Sequence[str], encoding: Any, dtype: Any, protocol: Protocol
) -> list[tuple[Row, Loaded]]:
    """Store, load and evaluate each model; a row and the loaded model for each.

    A deployed model is a file already and is evaluated on its runtime.
    """
    encodings, dtypes = one_each("encoding", encoding, len(models)), one_each("dtype", dtype, len(models))
    measured: list[tuple[Row, Loaded]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [
            _file(model, Path(folder) / f"{index}.safetensors", encodings[index], dtypes[index])
            for index, model in enumerate(models)
        ]
        bar = tqdm(names, desc="evaluate", disable=not protocol.progress, leave=False)
        for name, file in zip(bar, files, strict=True):
            loaded = file if isinstance(file, profiling.Deployed) else storage.load(file)
            measured.append((_row(name, file, loaded, protocol), loaded))
        if protocol.memory:
            measured = [
                (replace(row, memory=peak), model)
                for (row, model), peak in zip(measured, _peaks(files, protocol), strict=True)
            ]
    return measured


def _file(model: Model, path: Path, encoding: Any, dtype: str) -> File:
    if isinstance(model, nn.Module):
        return storage.save(model, path, encoding=encoding, dtype=dtype)
    return model if isinstance(model, profiling.Deployed) else Path(model)


def _row(name: str, file: File, loaded: Loaded, protocol: Protocol) -> Row:
    model = loaded.model if isinstance(loaded, profiling.Deployed) else loaded

    def evaluate(split: Split) -> training.Evaluation:
        if isinstance(loaded, profiling.Deployed):
            return training.judge(loaded.logits(split), split)
        return training.evaluate(loaded, split)

    return Row(
        name=name,
        stored_bytes=file.stored_bytes if isinstance(file, profiling.Deployed) else storage.stored_bytes(file),
        stored_as="ONNX" if isinstance(file, profiling.Deployed) else _encodings(file),
        parameters=profiling.count_parameters(model),
        nonzeros=profiling.count_nonzeros(model),
        macs=profiling.count_macs(model, protocol.on.example(1)),
        evaluation=evaluate(protocol.on),
        domains={domain: evaluate(split) for domain, split in protocol.domains.items()},
    )


def _encodings(path: Path) -> str:
    """Encodings and value types in a stored file, for example ``"bitmask, dense fp16"``."""
    records = [record for record in storage.inspect(path) if record.dtype in ("fp32", "fp16")]
    kinds = sorted({record.encoding for record in records if record.encoding != "shared"})
    return f"{', '.join(kinds)} {'/'.join(sorted({record.dtype for record in records}))}"


def _peaks(files: Sequence[File], protocol: Protocol) -> list[profiling.PeakMemory | None]:
    """Peak memory of each file, two processes at a time; None for ONNX files."""

    def peak(file: File) -> profiling.PeakMemory | None:
        return profiling.peak_memory(file, protocol.on.example(1)) if isinstance(file, Path) else None

    with ThreadPoolExecutor(max_workers=2) as pool:
        peaks = pool.map(peak, files)
        return list(tqdm(peaks, total=len(files), desc="memory", disable=not protocol.progress, leave=False))


def measure_latencies(models: Sequence[Loaded], protocol: Protocol) -> list[dict[Setting, profiling.Latency]]:
    """For each model: setting → latency, the headline first; a deployed model runs only on ONNX Runtime."""
    results: list[dict[Setting, profiling.Latency]] = [{} for _ in models]
    for batch, threads in tqdm(protocol.settings, desc="time", disable=not protocol.progress, leave=False):
        inputs = protocol.on.example(min(batch, len(protocol.on)))
        with contextlib.ExitStack() as stack:
            runners = {
                f"{runtime} {index}": stack.enter_context(runner)
                for runtime in ("onnx", "eager")
                for index, model in enumerate(models)
                if (runner := _runner(runtime, model, inputs, threads)) is not None
            }
            runs = protocol.runs if batch == 1 else max(1, protocol.runs // 3)
            taken = profiling.interleave(runners, runs=runs)
        for key, latency in taken.items():
            runtime, index = key.split()
            results[int(index)][Setting(runtime, batch, threads)] = latency
    return results


def _runner(runtime: str, model: Loaded, inputs: Any, threads: int) -> profiling.Runner | None:
    if isinstance(model, profiling.Deployed):
        return model.runner(inputs, threads) if runtime == "onnx" else None
    return {"onnx": profiling.onnx, "eager": profiling.eager}[runtime](model, inputs, threads=threads)


def one_each(argument: str, value: Any, count: int) -> list[Any]:
    """One value per model: the same for all, or a list of the right length."""
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{argument} must hold one value for each of the {count} models, got {len(value)}")
    return list(value)

"""Rules about where the model runs: the hardware and the inference framework."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from course_lib import profiling, quantization
from course_lib.advisor.case import Case
from course_lib.advisor.finding import Finding
from course_lib.core.formatting import duration

RUNS = 15
THREADS = 2
FASTER = 1.2
CALIBRATION = 64


@dataclass(frozen=True)
class Speeds:
    """Median latency in milliseconds of one example: eager PyTorch, ONNX Runtime in fp32 and in int8.

    Args:
        failure: why there is no int8 file or no export; empty if all were measured.
    """

    eager_ms: float
    onnx_ms: float | None = None
    int8_ms: float | None = None
    failure: str = ""


def measure_speeds(case: Case) -> Speeds:
    """Time the model on both runtimes, in turns; int8 with static ranges."""
    with tempfile.TemporaryDirectory() as folder:
        runners = {"eager": profiling.eager(case.model, case.example, THREADS)}
        failure = ""
        try:
            runners["onnx"] = profiling.onnx(case.model, case.example, THREADS)
            sample = case.splits.train.subset(CALIBRATION)
            deployed = quantization.deploy_static(case.model, sample, Path(folder) / "int8.onnx")
            runners["int8"] = deployed.runner(case.example, THREADS)
        except (ValueError, RuntimeError) as error:
            failure = str(error).splitlines()[0]
        try:
            taken = profiling.interleave(runners, runs=RUNS, seconds=15)
        finally:
            for runner in runners.values():
                runner.close()
    found = {name: latency.p50_ms for name, latency in taken.items()}
    return Speeds(found["eager"], found.get("onnx"), found.get("int8"), failure)


def hardware(speeds: Speeds) -> Finding:
    """Whether 8-bit integers are faster on this processor."""
    rule, machine = "consider the hardware", profiling.machine()
    measured = {"fp32_ms": speeds.onnx_ms, "int8_ms": speeds.int8_ms, "machine": str(machine)}
    if speeds.onnx_ms is None or speeds.int8_ms is None:
        summary = f"8-bit kernels could not be measured: {speeds.failure}"
        return Finding(rule, True, summary, "replace what does not export, or compress without integers", measured)
    gain = speeds.onnx_ms / speeds.int8_ms
    summary = (
        f"8-bit integers are {gain:.1f}× as fast as fp32 here ({duration(speeds.onnx_ms)} → "
        f"{duration(speeds.int8_ms)}; {'VNNI' if machine.vnni else 'no VNNI'})"
    )
    advice = "expect smaller files from few bits on this processor, and speed from fewer channels or a smaller student"
    return Finding(rule, gain < FASTER, summary, advice, {**measured, "gain": gain})


def framework(speeds: Speeds) -> Finding:
    """How much the runtime alone gains, before anything is compressed."""
    rule = "ignore the inference framework"
    measured = {"eager_ms": speeds.eager_ms, "onnx_ms": speeds.onnx_ms}
    if speeds.onnx_ms is None:
        advice = "make it exportable first; a compressed model needs a runtime with its kernels"
        return Finding(rule, True, f"the model does not export: {speeds.failure}", advice, measured)
    gain = speeds.eager_ms / speeds.onnx_ms
    summary = (
        f"ONNX Runtime is {gain:.1f}× as fast as eager PyTorch before anything is compressed "
        f"({duration(speeds.eager_ms)} → {duration(speeds.onnx_ms)})"
    )
    advice = "deploy on ONNX Runtime, and measure every speed-up against the same runtime in fp32"
    return Finding(rule, gain > FASTER, summary, advice, {**measured, "gain": gain})

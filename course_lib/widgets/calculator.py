"""The panel of lesson 01: claims of the page, estimates, measurements, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from course_lib.calculator import HARDWARE, TECHNIQUES, Estimate, Outcome, estimate, measured, verdicts
from course_lib.calculator.hardware import THIS_MACHINE
from course_lib.core.formatting import byte_size, duration
from course_lib.widgets import charts
from course_lib.widgets.components import Number, Verdict, side_by_side, table
from course_lib.widgets.controls import Control, choice, log_slider, slider
from course_lib.widgets.panel import Panel

STRENGTHS = {"pruning": "sparsity", "quantization": "bits", "distillation": "student_size", "low_rank": "rank"}
ROWS = {"ratio": "size", "memory": "memory", "speedup": "speed", "quality": "quality", "support": "runs on"}
Measure = Callable[[str, float], Outcome | None]


def calculator_panel(measure: Measure = measured) -> Panel:
    """Choose a technique and its strength; see the claim beside the estimate, and a verdict in words.

    Args:
        measure: technique and strength → measured outcome, or ``None``; the shipped measurements by default.
    """

    def compute(
        technique: str, parameters: float, dtype: str, hardware: str, batch_size: int, **strengths: float
    ) -> Any:
        strength = strengths[STRENGTHS[technique]]
        return estimate(technique, parameters, strength, hardware, dtype, batch_size), measure(technique, strength)

    return Panel(
        compute,
        lambda result: draw(*result),
        numbers=lambda result: numbers(result[0]),
        shown=lambda values: (
            {name for name in values if name not in STRENGTHS.values()} | {STRENGTHS[values["technique"]]}
        ),
        title="The compression calculator",
        subtitle="The page's claim beside an estimate from stored bytes and the roofline",
        **_controls(),
    )


def _controls() -> dict[str, Control]:
    machines = [(preset.name, key) for key, preset in HARDWARE.items()]
    return {
        "technique": choice(*[(technique.name, key) for key, technique in TECHNIQUES.items()]),
        "parameters": log_slider(175e9, 1e6, 175e9, unit="B", factor=1e-9),
        "sparsity": slider(0.9, 0.0, 0.999, 0.001, unit="%"),
        "bits": slider(8, 1, 16),
        "student_size": slider(0.1, 0.001, 1.0, 0.001, label="Student size", unit="%"),
        "rank": slider(1 / 6, 0.001, 1.0, 0.001, label="Rank, of full rank", unit="%"),
        "dtype": choice("fp32", "fp16", label="Model before, in"),
        "hardware": choice(*machines, ("this machine", THIS_MACHINE)),
        "batch_size": log_slider(1, 1, 1024, label="Batch size", step=math.log10(2)),
    }


def draw(result: Estimate, found: Outcome | None) -> str:
    """The table of claims, and below it stored bytes and the time of one pass."""
    return _claims(result, found) + side_by_side(_sizes(result), _times(result))


def numbers(result: Estimate) -> list[Number]:
    """Stored bytes, time of one pass, and the limit of the machine."""
    before, stored = result.parameters * result.baseline_bytes, min(result.stored.values())
    fits = "fits" if result.fits else "does not fit"
    memory = f"{result.hardware.memory:,.0f} GB of memory"
    waits = "memory" if result.bound == "memory" else "arithmetic"
    limits = f"{result.hardware.peak(result.baseline_dtype):,.3g} TFLOP/s, {result.hardware.bandwidth:,.0f} GB/s"
    return [
        Number(byte_size(stored), f"stored, was {byte_size(before)}; {fits} {memory}", "estimated"),
        Number(f"{result.before} → {result.after}", "one pass with dense kernels", "estimated"),
        Number(f"waits for {waits}", f"before, batch {result.batch_size}, {limits}", "estimated"),
    ]


def _claims(result: Estimate, found: Outcome | None) -> str:
    verdict = verdicts(result, found)
    columns = [result.claim, result.honest] + ([found] if found else [])
    rows: list[list[str | Verdict]] = [
        [name, *(str(getattr(outcome, field)) for outcome in columns), verdict.get(field, "")]
        for field, name in ROWS.items()
    ]
    header = ["", "page claim", "estimate", *(["measured, ResNet18"] if found else []), "verdict"]
    return table(header, rows, caption="Claims, estimates, measurements and verdicts")


def _sizes(result: Estimate) -> str:
    before = result.parameters * result.baseline_bytes
    bars = [(f"before, {result.baseline_dtype}", before, "baseline")]
    bars.append(("page claim", result.claim.memory.value or 0.0, "before"))
    for encoding, size in sorted(result.stored.items(), key=lambda item: item[1]):
        if size < before or len(result.stored) == 1:
            bars.append((f"estimate, stored as {encoding}", size, "kept"))
    return _bars(bars, byte_size, "Stored weights", charts.MAIN)


def _times(result: Estimate) -> str:
    before = result.before.value or 0.0
    bars = [
        ("before", before, "baseline"),
        ("page claim", before / (result.claim.speedup.value or 1.0), "before"),
        ("estimate, dense kernels", result.after.value or 0.0, "kept"),
    ]
    if result.technique == "pruning":
        bars.append(("estimate, sparse kernels", before / (result.sparse_speedup.value or 1.0), "kept"))
    return _bars(bars, duration, f"Time of one pass on {result.hardware.name}", charts.COMPANION)


def _bars(bars: list[tuple[str, float, str]], form: Callable[[float], str], title: str, width: float) -> str:
    """A chart of bars, each given by its name, value and colour."""
    names, values, colours = zip(*bars, strict=True)
    return charts.bars(names, values, title=title, colours=colours, labels=[*map(form, values)], width=width)

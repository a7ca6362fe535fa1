"""The panel of lesson 01: claims of the page, estimates, measurements, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

from course_lib.calculator import HARDWARE, TECHNIQUES, Estimate, Outcome, estimate, measured, verdicts
from course_lib.calculator.hardware import THIS_MACHINE
from course_lib.core.formatting import byte_size, duration
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side, verdict_line
from course_lib.widgets.controls import Control, choice, log_slider, slider
from course_lib.widgets.panel import Panel

STRENGTHS = {"pruning": "sparsity", "quantization": "bits", "distillation": "student_size", "low_rank": "rank"}
MEASURED = "measured, ResNet18"
COLOURS = ("before", "kept", "holds")  # claim, estimate, measurement
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
    """Claim, estimate and measurement as bars, with a verdict below: size, speed and quality, and where it runs."""
    verdict = verdicts(result, found)
    charts_and_verdicts = [
        (_sizes(result, found), verdict["ratio"]),
        (_speeds(result, found), verdict["speedup"]),
        (_qualities(result, found), verdict["quality"]),
    ]
    bars = [chart + verdict_line(said) for chart, said in charts_and_verdicts]
    return side_by_side(*bars, _support(result, found), even=True)


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


def _sizes(result: Estimate, found: Outcome | None) -> str:
    encoding = min(result.stored, key=lambda name: result.stored[name])
    names = ["page claim", f"estimate, stored as {encoding}", MEASURED]
    bars = [
        (name, outcome.ratio.value or 0.0, f"{outcome.ratio} ({byte_size(outcome.memory.value or 0.0)})", colour)
        for name, outcome, colour in zip(names, (result.claim, result.honest, found), COLOURS, strict=True)
        if outcome is not None
    ]
    return _bars(bars, f"Smaller than {byte_size(result.parameters * result.baseline_bytes)}")


def _speeds(result: Estimate, found: Outcome | None) -> str:
    before, dense = result.before.value or 0.0, result.honest.speedup
    claim = result.claim.speedup.value or 1.0
    bars = [("page claim", claim, f"{result.claim.speedup} ({duration(before / claim)})", COLOURS[0])]
    bars.append(("estimate, dense kernels", dense.value or 0.0, f"{dense} ({result.after})", COLOURS[1]))
    sparse = result.sparse_speedup.value
    if result.technique == "pruning" and sparse:
        bars.append(("estimate, sparse kernels", sparse, f"{sparse:.3g}x ({duration(before / sparse)})", COLOURS[1]))
    if found is not None:
        bars.append((MEASURED, found.speedup.value or 0.0, str(found.speedup), COLOURS[2]))
    return _bars(bars, f"Faster than {result.before}")


def _qualities(result: Estimate, found: Outcome | None) -> str:
    outcomes = [("page claim", result.claim, COLOURS[0])] + ([(MEASURED, found, COLOURS[2])] if found else [])
    bars = [(name, 100 * (one.quality.value or 0.0), str(one.quality), colour) for name, one, colour in outcomes]
    return _bars(bars, "Accuracy that is kept")


def _support(result: Estimate, found: Outcome | None) -> str:
    outcomes = {"page claim": result.claim, "estimate": result.honest, **({MEASURED: found} if found else {})}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(one.support))}</dd>" for name, one in outcomes.items())
    return f'<dl class="course-static"><dt><b>Where it runs</b></dt>{rows}</dl>'


def _bars(bars: list[tuple[str, float, str, str]], title: str) -> str:
    """A chart of bars, each given by its name, value, label and colour."""
    names, values, labels, colours = zip(*bars, strict=True)
    return charts.bars(names, values, title=title, colours=colours, labels=labels)

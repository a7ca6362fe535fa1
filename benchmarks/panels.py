"""Time that a panel takes to answer a move of a control: p50 and p95 for every control of every panel.

    python benchmarks/panels.py [--quick] [--json FILE]

Measured in the kernel, from setting the value until the new picture is ready; the time of the browser is not included.
The goal is 100 ms at p95.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
from common import Results, Row, parser, timed

from course_lib import data, models, profiling, training, widgets
from course_lib.calculator.hardware import THIS_MACHINE
from course_lib.widgets import Panel
from course_lib.widgets.calculator import STRENGTHS
from course_lib.widgets.controls import Choice, Control, Slider, Toggle

GOAL_MS = 100.0
TECHNIQUE_OF = {strength: technique for technique, strength in STRENGTHS.items()}
IMAGES = 8  # in the distillation panel, as in its lesson


def panels() -> Iterator[tuple[str, Panel, float]]:
    """Name, panel, and the seconds to make it, on the shipped models."""
    model = models.load("resnet18")
    images = data.load("fashion_mnist").validation.subset(IMAGES)
    frame, roofline = profiling.layers(model, images.example(1)), profiling.roofline()
    logits = training.predict_logits(model, images)
    makers = {
        "calculator_panel": widgets.calculator_panel,
        "roofline_panel, ResNet18": lambda: widgets.roofline_panel(frame, roofline, model="ResNet18"),
        "sparsity_panel, ResNet18": lambda: widgets.sparsity_panel(model),
        "sparsity_panel, MiniLM": lambda: widgets.sparsity_panel(models.load("minilm")),
        "width_panel": widgets.width_panel,
        "bits_panel": widgets.bits_panel,
        "clipping_panel": widgets.clipping_panel,
        "aware_panel": widgets.aware_panel,
        "gptq_panel": widgets.gptq_panel,
        "few_bits_panel": widgets.few_bits_panel,
        "distillation_panel": lambda: widgets.distillation_panel(
            logits, logits / 2, images.labels, images.classes, images.inputs
        ),
        "stage_panel": widgets.stage_panel,
        "rank_panel": widgets.rank_panel,
        "rate_panel": widgets.rate_panel,
        "coder_panel": widgets.coder_panel,
        "subnet_panel": widgets.subnet_panel,
    }
    for name, make in makers.items():
        seconds, panel = timed(make)
        yield name, panel, seconds


def values(control: Control, moves: int) -> list[Any]:
    """Values over the whole range of a control, each different from the one before."""
    if isinstance(control, Toggle):
        return [not control.value, control.value] * (moves // 2)
    if isinstance(control, Choice):
        options = [option for option in control.options if option != THIS_MACHINE]
        return [options[index % len(options)] for index in range(moves)]
    assert isinstance(control, Slider)
    if isinstance(control.value, int) and control.high - control.low < moves:
        whole = range(int(control.low), int(control.high) + 1)
        return [whole[index % len(whole)] for index in range(moves)]
    space = numpy.geomspace if control.logarithmic else numpy.linspace
    return [float(value) for value in space(control.low, control.high, moves)]


def milliseconds(control: Control, moves: int) -> list[float]:
    """Milliseconds of each move."""
    return [1000 * timed(setattr, control, "value", value)[0] for value in values(control, moves)]


def rows(moves: int) -> Iterator[Row]:
    """One row per control of each panel."""
    for name, panel, seconds in panels():
        for label, control in panel.controls.items():
            if label in TECHNIQUE_OF and "technique" in panel.controls:
                panel.controls["technique"].value = TECHNIQUE_OF[label]
            times = milliseconds(control, moves)
            if panel.error is not None:
                raise panel.error
            p50, p95 = (float(numpy.percentile(times, share)) for share in (50, 95))
            yield {
                "panel": name, "made_s": seconds, "control": label, "moves": len(times), "p50_ms": p50, "p95_ms": p95,
                "reached": p95 <= GOAL_MS, "picture_kb": len(panel.picture.value) / 1000,
            }  # fmt: skip


def main() -> None:
    """Measure and print the table."""
    arguments = parser(__doc__).parse_args()
    moves = 50 if arguments.quick else 200
    results = Results(__doc__, arguments, runs=moves)
    results.table("moves", rows(moves))
    results.save()


if __name__ == "__main__":
    main()

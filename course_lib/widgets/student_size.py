"""The panel of lesson 10: parameters of a BERT student by part, and its measured accuracy.

Parameters are counted by formula at every move; accuracy is shown only for sizes that were trained beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.calculator.measurements import results
from course_lib.core.formatting import compact
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel

OWN = "my own"
VOCABULARY, POSITIONS, CLASSES = 30_522, 512, 2
TEACHER = {"layers": 6, "width": 384, "rows": VOCABULARY, "factor": 384}
STAGES = {
    "the teacher": TEACHER,
    "3 layers": TEACHER | {"layers": 3},
    "half of the width": TEACHER | {"layers": 3, "width": 192},
    "a tenth in all": {"layers": 2, "width": 160, "rows": 10_000, "factor": 128, "inner": 320},
}


@dataclass(frozen=True)
class StudentSize:
    """Parameters by part of a student and of the teacher, and results of trained students of this size."""

    parts: Mapping[str, int]
    teacher: Mapping[str, int]
    stage: str
    measured: Sequence[Mapping[str, Any]]

    @property
    def total(self) -> int:
        """Parameters of the student."""
        return sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """How many times fewer parameters than the teacher."""
        return sum(self.teacher.values()) / self.total


def count_parts(layers: int, width: int, rows: int, factor: int, inner: int | None = None) -> dict[str, int]:
    """Parameters by part; a word embedding of all words at full width is not factorized."""
    inner = inner or 4 * width
    words = rows * width if rows == VOCABULARY and factor >= width else rows * factor + factor * width
    attention, feed = 4 * (width * width + width), 2 * width * inner + inner + width
    return {
        "word embedding": words,
        "layers": layers * (attention + feed + 4 * width),
        "positions and head": (POSITIONS + 2) * width + 2 * width + (width + 1) * (width + CLASSES),
    }


def stage_panel(stage: str = "a tenth in all") -> Panel:
    """Choose a stage, or drag depth, width and vocabulary, and see the parameters of each part.

    Args:
        stage: one of ``STAGES``, the start of the panel.
    """
    rows = results("distillation_bert").get("accuracy", {}).get("rows", ())
    teacher = count_parts(**TEACHER)

    def compute(stage: str, layers: int, width: int, rows_kept: int, factor: int) -> StudentSize:
        own = {"layers": layers, "width": width, "rows": rows_kept, "factor": factor}
        parts = count_parts(**STAGES.get(stage, own))
        total = sum(parts.values())
        return StudentSize(parts, teacher, stage, [row for row in rows if row["parameters"] == total])

    return Panel(
        compute,
        draw,
        numbers=numbers,
        shown=lambda values: {"stage"} if values["stage"] != OWN else set(values),
        title="Where are the parameters?",
        subtitle="Grey is the teacher, blue the student. Choose a stage, or 'my own' to drag its size.",
        stage=choice(*STAGES, OWN, value=stage, label="Student"),
        layers=slider(2, 1, 6, 1, label="Layers"),
        width=slider(192, 64, 384, 32, label="Width"),
        rows_kept=slider(10_000, 1_000, VOCABULARY, 1, label="Words with a row of their own"),
        factor=slider(128, 32, 384, 32, label="Numbers per word"),
    )


def draw(size: StudentSize) -> str:
    """A pair of bars for each part, teacher above student, on one scale."""
    names = [f"{part}, {who}" for part in size.parts for who in ("teacher", "student")]
    values = [float(counts[part]) for part in size.parts for counts in (size.teacher, size.parts)]
    title = f"{compact(size.total)} of {compact(sum(size.teacher.values()))} parameters"
    colours = ["baseline", "kept"] * len(size.parts)
    return side_by_side(charts.bars(names, values, title=title, colours=colours, width=charts.MAIN))


def numbers(size: StudentSize) -> list[Number]:
    """Exact sizes; accuracy if a student of exactly this size was trained."""
    share = size.parts["word embedding"] / size.total
    row = [
        Number(f"{size.ratio:.1f} ×", "fewer parameters than the teacher", "exact"),
        Number(f"{100 * share:.0f} %", "of them are the word embedding", "exact"),
    ]
    main = next(iter(size.measured), None)  # the results list a recipe before its variants
    if main is None:
        return [*row, Number("–", "accuracy: no student of this size was trained")]
    return [
        *row,
        Number(f"{100 * main['movies']:.1f} %", "of the movie sentences right", "measured"),
        Number(f"{100 * main['amazon']:.1f} %", "of the Amazon sentences", "measured"),
    ]

"""The column player of lesson 08: GPTQ on a matrix of 8 × 16, one column at a time, beside round-to-nearest.

All steps are computed once for each number of bits and kind of input; moving the slider only looks up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import chart, text

if TYPE_CHECKING:
    from torch import Tensor

    from course_lib.quantization import GPTQTrace

ROWS, COLUMNS, SAMPLES = 8, 16, 256
TOGETHER, APART = "move together", "are independent"
CELL, LEFT, TOP = 27.0, 8.0, 44.0


@dataclass(frozen=True)
class Step:
    """What the player shows after ``column`` columns: both ways to round, traced to the end."""

    column: int
    bits: int
    gptq: GPTQTrace
    nearest: GPTQTrace

    @property
    def correction(self) -> Tensor:
        """What the newest column handed on to the later ones."""
        return self.gptq.correction(self.column)


def inputs_of(kind: str) -> Tensor:
    """Inputs ``(256, 16)`` of unit size: either each on its own, or mixed out of six causes and a little noise."""
    import torch

    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(SAMPLES, COLUMNS, generator=generator)
    if kind == APART:
        return noise
    causes = torch.randn(SAMPLES, 6, generator=generator) @ torch.randn(6, COLUMNS, generator=generator)
    mixed = causes + 0.5 * noise
    return mixed / mixed.std(dim=0)


@cache
def traces(bits: int, kind: str) -> tuple[GPTQTrace, GPTQTrace]:
    """GPTQ and round-to-nearest on the same matrix, with one scale per row."""
    import torch

    from course_lib.quantization import WeightScheme, gptq_trace

    weight = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
    rows = inputs_of(kind)
    hessian, params = rows.T @ rows / SAMPLES, WeightScheme(bits, None).params(weight)
    return gptq_trace(weight, hessian, params), gptq_trace(weight, hessian, params, spread=False)


def gptq_panel(column: int = 5) -> Panel:
    """Step through the columns of a small matrix, and see where the rounding error of each goes."""

    def compute(column: int, bits: int, inputs: str) -> Step:
        return Step(column, bits, *traces(bits, inputs))

    return Panel(
        compute,
        draw,
        numbers=numbers,
        title="GPTQ, one column at a time",
        subtitle="Blue columns are rounded. Orange is what the newest one hands on to those that are still free.",
        column=slider(column, 0, COLUMNS, label="Columns rounded"),
        bits=slider(3, 2, 4),
        inputs=choice(TOGETHER, APART, label="The inputs"),
    )


def draw(step: Step) -> str:
    """The matrix with the newest correction, and the error of the output so far."""
    return side_by_side(_matrix(step), _errors(step))


def numbers(step: Step) -> list[Number]:
    """How much was handed on, and both errors so far."""
    handed = step.correction.abs().sum().item()
    gptq, nearest = step.gptq.errors[step.column], step.nearest.errors[step.column]
    share = f"{gptq / nearest:.0%}".replace("%", " %") if nearest else "–"
    return [
        Number(f"{step.column} of {COLUMNS}", "columns are rounded", "exact"),
        Number(f"{handed:.2f}", "handed on by the newest, all weights together", "exact"),
        Number(f"{gptq:.2f}", f"error of the output, to nearest {nearest:.2f}", "exact"),
        Number(share, "of the error of rounding to nearest", "exact"),
    ]


def _matrix(step: Step) -> str:
    done = step.column
    parts = [
        _cells(range(done, COLUMNS), "cut", 0.35),
        _cells(range(max(done - 1, 0)), "kept", 0.35),
        _cells(range(max(done - 1, 0), done), "kept", 0.9),
    ]
    parts += _handed_on(step)
    if done:
        x = LEFT + (done - 1) * CELL
        parts.append(
            f'<rect x="{x:.1f}" y="{TOP:.1f}" width="{CELL:.1f}" height="{ROWS * CELL:.1f}" class="line threshold"/>'
        )
    for column in range(COLUMNS):
        parts.append(text(LEFT + (column + 0.5) * CELL, TOP - 5, str(column + 1), anchor="middle"))
    parts.append(text(LEFT, TOP + ROWS * CELL + 16, "input channel (column); each row is an output"))
    title = f"Weights after column {done}" if done else "Weights, none rounded yet"
    description = f"{done} columns rounded; the newest corrected {int((step.correction != 0).sum())} later weights"
    width, height = LEFT * 2 + COLUMNS * CELL, TOP + ROWS * CELL + 24
    return chart(parts, width=width, height=height, title=title, description=description)


def _handed_on(step: Step) -> list[str]:
    """What the newest column hands on to those that are still free: the stronger, the more opaque, with its sign."""
    largest = max(step.gptq.correction(column).abs().max().item() for column in range(1, COLUMNS + 1)) or 1.0
    parts = []
    for row, column in product(range(ROWS), range(step.column, COLUMNS)):
        value = step.correction[row, column].item()
        share = abs(value) / largest
        if share > 0.02:
            parts.append(_cells((column,), "before", min(1.0, share) ** 0.7, rows=(row,)))
        if share > 0.08:
            parts.append(_sign(row, column, value))
    return parts


def _cells(columns: Iterable[int], colour: str, opacity: float, rows: Iterable[int] = range(ROWS)) -> str:
    """Squares of one colour as one path: the picture is stored in the notebook, and should be small."""
    side = CELL - 2
    squares = (
        f"M{LEFT + column * CELL + 1:g} {TOP + row * CELL + 1:g}h{side:g}v{side:g}h-{side:g}z"
        for column, row in product(columns, rows)
    )
    return f'<path d="{"".join(squares)}" class="{colour}" fill-opacity="{opacity:.2f}"/>'


def _sign(row: int, column: int, value: float) -> str:
    x, y = LEFT + (column + 0.5) * CELL, TOP + (row + 0.5) * CELL + 4
    return text(x, y, "+" if value > 0 else "−", anchor="middle", classes="title")


def _errors(step: Step) -> str:
    columns = list(range(COLUMNS + 1))
    series = [
        charts.Line("to nearest", columns, step.nearest.errors, "before", "square"),
        charts.Line("GPTQ", columns, step.gptq.errors, "kept", "circle"),
    ]
    return charts.lines(
        series, title="Error of the output so far", x_label="columns rounded", y_label="mean squared error",
        x_range=(0, COLUMNS), x_ticks=[0, 4, 8, 12, 16], y_range=(0, max(step.nearest.errors + step.gptq.errors)),
        cursor=step.column,
    )  # fmt: skip

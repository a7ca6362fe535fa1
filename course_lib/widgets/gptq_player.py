"""The column player of lesson 08: GPTQ on an 8 × 16 matrix, one column at a time, beside round-to-nearest.

All steps are computed once for each number of bits and kind of inputs; a move of the slider only looks up.
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
class PlayerState:
    """The player after ``column`` columns, with the complete traces of both methods."""

    column: int
    bits: int
    gptq: GPTQTrace
    nearest: GPTQTrace

    @property
    def correction(self) -> Tensor:
        """Change of the later columns by the newest one."""
        return self.gptq.correction(self.column)


def inputs_of(kind: str) -> Tensor:
    """Inputs ``(256, 16)`` of unit variance: independent, or correlated (six factors and a little noise)."""
    import torch

    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(SAMPLES, COLUMNS, generator=generator)
    if kind == APART:
        return noise
    factors = torch.randn(SAMPLES, 6, generator=generator) @ torch.randn(6, COLUMNS, generator=generator)
    correlated = factors + 0.5 * noise
    return correlated / correlated.std(dim=0)


@cache
def traces(bits: int, kind: str) -> tuple[GPTQTrace, GPTQTrace]:
    """GPTQ and round-to-nearest on the same matrix, with one scale per row."""
    import torch

    from course_lib.quantization import WeightScheme, gptq_trace

    weight = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
    X = inputs_of(kind)
    hessian, params = X.T @ X / SAMPLES, WeightScheme(bits, None).params(weight)
    return gptq_trace(weight, hessian, params), gptq_trace(weight, hessian, params, spread=False)


def gptq_panel(column: int = 5) -> Panel:
    """Step through the columns of a small matrix, and see how later columns correct the error of each."""

    def compute(column: int, bits: int, inputs: str) -> PlayerState:
        return PlayerState(column, bits, *traces(bits, inputs))

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


def draw(state: PlayerState) -> str:
    """The matrix with the newest correction, and the output error after each column."""
    return side_by_side(_matrix(state), _errors(state))


def numbers(state: PlayerState) -> list[Number]:
    """Size of the newest correction, and both output errors so far."""
    correction = state.correction.abs().sum().item()
    gptq, nearest = state.gptq.errors[state.column], state.nearest.errors[state.column]
    share = f"{gptq / nearest:.0%}".replace("%", " %") if nearest else "–"
    return [
        Number(f"{state.column} of {COLUMNS}", "columns are rounded", "exact"),
        Number(f"{correction:.2f}", "handed on by the newest, all weights together", "exact"),
        Number(f"{gptq:.2f}", f"error of the output, to nearest {nearest:.2f}", "exact"),
        Number(share, "of the error of rounding to nearest", "exact"),
    ]


def _matrix(state: PlayerState) -> str:
    done = state.column
    parts = [
        _cells(range(done, COLUMNS), "cut", 0.35),
        _cells(range(max(done - 1, 0)), "kept", 0.35),
        _cells(range(max(done - 1, 0), done), "kept", 0.9),
    ]
    parts += _correction(state)
    if done:
        x = LEFT + (done - 1) * CELL
        parts.append(
            f'<rect x="{x:.1f}" y="{TOP:.1f}" width="{CELL:.1f}" height="{ROWS * CELL:.1f}" class="line threshold"/>'
        )
    for column in range(COLUMNS):
        parts.append(text(LEFT + (column + 0.5) * CELL, TOP - 5, str(column + 1), anchor="middle"))
    parts.append(text(LEFT, TOP + ROWS * CELL + 16, "input channel (column); each row is an output"))
    title = f"Weights after column {done}" if done else "Weights, none rounded yet"
    description = f"{done} columns rounded; the newest corrected {int((state.correction != 0).sum())} later weights"
    width, height = LEFT * 2 + COLUMNS * CELL, TOP + ROWS * CELL + 24
    return chart(parts, width=width, height=height, title=title, description=description)


def _correction(state: PlayerState) -> list[str]:
    """Cells that the newest column changes: more opaque the larger the change, with its sign."""
    largest = max(state.gptq.correction(column).abs().max().item() for column in range(1, COLUMNS + 1)) or 1.0
    parts = []
    for row, column in product(range(ROWS), range(state.column, COLUMNS)):
        value = state.correction[row, column].item()
        share = abs(value) / largest
        if share > 0.02:
            parts.append(_cells((column,), "before", min(1.0, share) ** 0.7, rows=(row,)))
        if share > 0.08:
            x, y = LEFT + (column + 0.5) * CELL, TOP + (row + 0.5) * CELL + 4
            parts.append(text(x, y, "+" if value > 0 else "−", anchor="middle", classes="title"))
    return parts


def _cells(columns: Iterable[int], colour: str, opacity: float, rows: Iterable[int] = range(ROWS)) -> str:
    """Squares of one colour as one path, which keeps the picture in the stored notebook small."""
    side = CELL - 2
    squares = (
        f"M{LEFT + column * CELL + 1:g} {TOP + row * CELL + 1:g}h{side:g}v{side:g}h-{side:g}z"
        for column, row in product(columns, rows)
    )
    return f'<path d="{"".join(squares)}" class="{colour}" fill-opacity="{opacity:.2f}"/>'


def _errors(state: PlayerState) -> str:
    columns = list(range(COLUMNS + 1))
    series = [
        charts.Line("to nearest", columns, state.nearest.errors, "before", "square"),
        charts.Line("GPTQ", columns, state.gptq.errors, "kept", "circle"),
    ]
    return charts.lines(
        series, title="Error of the output so far", x_label="columns rounded", y_label="mean squared error",
        x_range=(0, COLUMNS), x_ticks=[0, 4, 8, 12, 16], y_range=(0, max(state.nearest.errors + state.gptq.errors)),
        cursor=state.column,
    )  # fmt: skip

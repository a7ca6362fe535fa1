"""Accuracy of a whole model over bits, as it was measured beforehand; and the number that belongs to a slider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from course_lib.widgets import charts
from course_lib.widgets.components import Number

Rows = Sequence[Mapping[str, Any]]


class Look(NamedTuple):
    """How the curve of one choice is drawn."""

    name: str
    colour: str
    marker: str


def accuracy_chart(
    rows: Rows, *, kind: str, bits: str, looks: Mapping[str, Look], x_label: str, cursor: float,
    width: float = charts.COMPANION, height: float = charts.HEIGHT,
) -> str:  # fmt: skip
    """One curve for each choice over the number of bits, from 8 on the left to 2 on the right.

    Args:
        rows: measured; ``kind`` and ``bits`` name the columns of the choice and of the bits.
        looks: value of ``kind`` → how it is drawn; others are left out.
        cursor: bits at which the slider stands.
    """
    series = []
    for value, look in looks.items():
        some = sorted((row for row in rows if row[kind] == value), key=lambda row: -row[bits])
        accuracy = [100 * row["accuracy"] for row in some]
        series.append(charts.Line(look.name, [row[bits] for row in some], accuracy, look.colour, look.marker))
    return charts.lines(
        [line for line in series if line.x], title="Accuracy of the model", x_label=x_label, y_label="accuracy (%)",
        x_range=(8, 2), y_range=(0, 100), x_ticks=range(2, 9), cursor=cursor, width=width, height=height,
    )  # fmt: skip


def accuracy_number(rows: Rows, chosen: Mapping[str, Any], caption: str) -> list[Number]:
    """The accuracy of the row that has all the values of ``chosen``; nothing where it was not measured."""
    found = [row for row in rows if chosen.items() <= row.items()]
    return [Number(f"{100 * row['accuracy']:.1f} %", caption, "measured") for row in found[:1]]

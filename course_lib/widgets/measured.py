"""Figures of whole models that were measured beforehand, and estimates between two measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from course_lib.widgets import charts
from course_lib.widgets.components import Number

Rows = Sequence[Mapping[str, Any]]
TOLERANCE = 5e-4  # of a setting that counts as the measured one


@dataclass(frozen=True)
class Curve:
    """Values ``y`` measured at the settings ``x``; between them ``y``, or its logarithm if ``log``, is linear."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    log: bool = False

    def at(self, x: float) -> tuple[float, str]:
        """Value at ``x``, and how it is known: ``"measured"``, or ``"estimated"`` between two measurements."""
        known, values = numpy.array(sorted(zip(self.x, self.y, strict=True)), dtype=float).T
        value = numpy.exp(numpy.interp(x, known, numpy.log(values))) if self.log else numpy.interp(x, known, values)
        return float(value), "measured" if numpy.abs(known - x).min() < TOLERANCE else "estimated"


class Style(NamedTuple):
    """Label, colour and marker of a drawn curve; see ``charts.Line``."""

    label: str
    colour: str
    marker: str = "circle"
    dashed: bool = False


def draw_line(curve: Curve, style: Style, *, x_factor: float = 1.0, y_factor: float = 1.0) -> charts.Line:
    """``curve`` as a line of a chart, its values multiplied by the factors (100 for per cent)."""
    x, y = [x_factor * value for value in curve.x], [y_factor * value for value in curve.y]
    return charts.Line(style.label, x, y, style.colour, style.marker, style.dashed)


def accuracy_chart(
    rows: Rows, *, kind: str, bits: str, styles: Mapping[str, Style], x_label: str, cursor: float,
    width: float = charts.COMPANION, height: float = charts.HEIGHT,
) -> str:  # fmt: skip
    """Accuracy over the number of bits, from 8 on the left to 2 on the right, one line per kind.

    Args:
        rows: measurements; ``kind`` and ``bits`` name their columns.
        styles: value of ``kind`` → style of its line; other rows are left out.
        cursor: bits that the slider shows.
    """
    lines = []
    for value, style in styles.items():
        chosen = sorted((row for row in rows if row[kind] == value), key=lambda row: -row[bits])
        curve = Curve(value, [row[bits] for row in chosen], [row["accuracy"] for row in chosen])
        lines += [draw_line(curve, style, y_factor=100)] if chosen else []
    return charts.lines(
        lines, title="Accuracy of the model", x_label=x_label, y_label="accuracy (%)", x_range=(8, 2),
        y_range=(0, 100), x_ticks=range(2, 9), cursor=cursor, width=width, height=height,
    )  # fmt: skip


def accuracy_number(rows: Rows, chosen: Mapping[str, Any], caption: str) -> list[Number]:
    """Accuracy of the row that has all values of ``chosen``; empty if it was not measured."""
    found = [row for row in rows if chosen.items() <= row.items()]
    return [Number(f"{100 * row['accuracy']:.1f} %", caption, "measured") for row in found[:1]]

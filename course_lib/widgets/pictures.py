"""Still pictures in the look of the panels: charts made from a pandas object, and the table of verdicts.

A cell ends with one of these functions; Jupyter shows what it returns, in the colours of its theme. Names of rows and
columns become the labels. The figures of measured models are in ``course_lib.plots``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape, unescape
from typing import TYPE_CHECKING

from course_lib.formats import compact
from course_lib.widgets import charts, pieces
from course_lib.widgets.sparsity import Weights
from course_lib.widgets.svg import plain
from course_lib.widgets.theme import stylesheet

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from torch import Tensor

COLOURS = ("kept", "before", "baseline", "threshold", "holds")
MARKERS = ("circle", "square", "diamond", "triangle", "circle")


class Picture:
    """HTML that Jupyter shows in the colours of its theme, and words that stand for it where there is no picture."""

    def __init__(self, html: str, words: str) -> None:
        self.html, self.words = html, words

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return f'{stylesheet()}<div class="course-panel">{self.html}</div>'


def bars(
    values: Series,
    *,
    title: str,
    form: Callable[[float], str] = compact,
    colours: Mapping[str, str] | None = None,
    log: bool = False,
) -> Picture:
    """One horizontal bar for each entry of ``values``; ``form`` writes its number, ``colours`` are by name."""
    names = [str(name) for name in values.index]
    chosen = [(colours or {}).get(name, "kept") for name in names]
    labels = [form(value) for value in values]
    return _picture(charts.bars(names, list(values), title=title, colours=chosen, labels=labels, log=log, width=620))


def curves(
    frame: DataFrame,
    *,
    title: str,
    x_label: str,
    y_label: str,
    colours: Mapping[str, str] | None = None,
    cursor: float | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Picture:
    """A curve for each column of ``frame`` over its index; ``cursor`` marks one x with a dashed line."""
    series = [
        charts.Line(
            str(name),
            list(frame.index),
            list(frame[name]),
            colour=(colours or {}).get(str(name), COLOURS[place % len(COLOURS)]),
            marker=MARKERS[place % len(MARKERS)],
        )
        for place, name in enumerate(frame.columns)
    ]
    x_range = (frame.index.min(), frame.index.max())
    lowest = frame.min().min() if log_y else min(0.0, frame.min().min())
    drawn = charts.lines(
        series, title=title, x_label=x_label, y_label=y_label, x_range=x_range, y_range=(lowest, frame.max().max()),
        x_form=compact if log_x else plain, y_form=compact, cursor=cursor, log_x=log_x, log_y=log_y,
        width=620, height=280,
    )  # fmt: skip
    return _picture(drawn)


def weights(weight: Tensor, *, threshold: float, title: str) -> Picture:
    """Histogram of the values of a tensor: grey within ``threshold`` of zero, which is cut, blue outside."""
    prepared = Weights.of(weight)
    return _picture(
        charts.histogram(prepared.edges.tolist(), prepared.counts.tolist(), title=title, threshold=float(threshold))
    )


def verdicts(rows: Sequence[tuple[str, str, str, str, str]], *, found: str = "found") -> Picture:
    """The table that ends a lesson: claim, what it said, what was found, kind of verdict, and the reason in words.

    Raises:
        ValueError: if a kind is not one of ``course_lib.calculator.verdicts.KINDS``.
    """
    judged = [(claim, said, seen, pieces.Verdict(kind, reason)) for claim, said, seen, kind, reason in rows]
    words = "\n".join(f"{claim}: said {said}, {found} {seen}; {verdict}" for claim, said, seen, verdict in judged)
    header = ("claim", "said", found, "verdict")
    return Picture(pieces.table(header, judged, caption="Claims and verdicts"), words)


def _picture(svg: str) -> Picture:
    """A drawn chart, with its alternative text as words."""
    label = re.search(r'aria-label="([^"]*)"', svg)
    return Picture(svg, unescape(label[1]) if label else escape(svg))

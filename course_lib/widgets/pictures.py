"""The still pictures of the lessons: a chart or a table in the look of the panels, made from a pandas object.

A cell ends with one of these functions; Jupyter shows what it returns. Names of rows and columns become the labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape, unescape
from typing import TYPE_CHECKING

from course_lib.formats import compact
from course_lib.widgets import charts, pieces
from course_lib.widgets.svg import Scale, chart, plain, segment, text, text_width
from course_lib.widgets.theme import stylesheet

if TYPE_CHECKING:
    from pandas import DataFrame, Series

COLOURS = ("kept", "before", "baseline", "threshold", "holds")
MARKERS = ("circle", "square", "diamond", "triangle", "circle")
ROW, HEAD = 26.0, 50.0


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


def shares(frame: DataFrame, *, title: str) -> Picture:
    """Small bars in a grid: a row for each entry, a column for each measure, each column in per cent of its sum."""
    parts_of_whole = frame / frame.sum()
    names = [str(name) for name in frame.index]
    left = max(map(text_width, names)) + 16
    wide = (620 - left) / len(frame.columns)
    parts = []
    for place, measure in enumerate(frame.columns):
        start = left + place * wide
        scale = Scale(0, max(parts_of_whole.max().max(), 1e-9), start, start + wide - 54)
        parts += [
            text(start, HEAD - 10, str(measure)),
            segment(start, HEAD - 4, start, HEAD + ROW * len(names), "axis"),
        ]
        for row, share in enumerate(parts_of_whole[measure]):
            top = HEAD + row * ROW
            parts.append(
                f'<rect x="{start:.1f}" y="{top:.1f}" width="{scale(share) - start:.1f}" height="14" class="kept"/>'
            )
            parts.append(text(scale(share) + 5, top + 11, f"{100 * share:.0f} %"))
    parts += [text(left - 8, HEAD + row * ROW + 11, name, anchor="end") for row, name in enumerate(names)]
    words = "; ".join(
        f"{name}: " + ", ".join(f"{100 * share:.0f} % of {measure}" for measure, share in row.items())
        for name, row in zip(names, parts_of_whole.to_dict("records"), strict=True)
    )
    return _picture(chart(parts, width=620, height=HEAD + ROW * len(names) + 8, title=title, description=words))


def roofline(frame: DataFrame, *, peak_gflops: float, bandwidth_gbs: float, title: str) -> Picture:
    """The measured layers of ``profiling.layers`` under the two roofs; those that wait for memory are triangles."""
    rows = frame[(frame["macs"] > 0) & (frame["achieved_gflops"] > 0)]
    points = []
    for row in rows.to_dict("records"):
        colour, marker = ("threshold", "triangle") if row["bound"] == "memory" else ("kept", "circle")
        points.append(charts.Point(row["name"], row["intensity"], row["achieved_gflops"], colour, marker))
    return _picture(charts.roofline(points, peak_gflops=peak_gflops, bandwidth_gbs=bandwidth_gbs, title=title))


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

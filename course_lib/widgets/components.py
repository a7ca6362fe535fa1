"""HTML around the charts: the row of numbers, tables with verdicts, notices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from course_lib.calculator.verdicts import Verdict
from course_lib.core.validation import check_choice

UNIT = re.compile(r"(\d) (%|×|[kMGT]?B(?:/s)?|[GT]FLOP/s|m?s|bits)(?!\w)")
SHORT = 18  # cells of at most so many characters are not wrapped
TAGS = ("", "exact", "measured", "estimated", "page claim")
VERDICT_COLOURS = {
    "holds": "holds",
    "under conditions": "before",
    "does not hold": "threshold",
    "not measured": "baseline",
}


@dataclass(frozen=True)
class Number:
    """One figure of the row below a picture: value with unit, caption, and how it is known (one of ``TAGS``)."""

    value: str
    caption: str
    tag: str = ""

    def __post_init__(self) -> None:
        check_choice("tag", self.tag, TAGS)

    def __str__(self) -> str:
        return f"{self.value} {self.caption}" + (f" ({self.tag})" if self.tag else "")


def side_by_side(*charts: str, even: bool = False) -> str:
    """Main picture and companions, side by side or, in a narrow panel, one below the other; ``even``: equally wide."""
    cells = "".join(f"<div>{chart}</div>" for chart in charts)
    return f'<div class="course-charts{" even" if even else ""}">{cells}</div>'


def numbers_row(numbers: Sequence[Number]) -> str:
    """One line of numbers, each with its caption and tag."""
    cells = []
    for number in numbers:
        tag = f' <span class="course-tag">{number.tag}</span>' if number.tag else ""
        cells.append(f"<div><b>{escape(number.value)}</b> <span>{_unbroken(number.caption)}{tag}</span></div>")
    return f'<div class="course-numbers">{"".join(cells)}</div>' if cells else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str | Verdict]], *, caption: str = "") -> str:
    """A table; a ``Verdict`` cell is shown in words and in its colour."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    label = f' aria-label="{escape(caption, quote=True)}"' if caption else ""
    return f"<table{label}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def verdict_line(verdict: Verdict) -> str:
    """A verdict in words and in its colour, below a chart."""
    return f'<p class="course-verdict {VERDICT_COLOURS[verdict.kind]}-text">{escape(str(verdict))}</p>'


def notice(message: str) -> str:
    """A line that a screen reader announces; empty if ``message`` is empty."""
    return f'<div class="course-notice" role="status">{escape(message)}</div>' if message else ""


def _cell(cell: str | Verdict) -> str:
    if isinstance(cell, Verdict):
        return f'<td class="verdict {VERDICT_COLOURS[cell.kind]}-text">{escape(str(cell))}</td>'
    short = ' class="course-short"' if len(cell) <= SHORT else ""
    return f"<td{short}>{escape(cell)}</td>"


def _unbroken(caption: str) -> str:
    """``caption`` escaped, with no line break between a number and its unit."""
    return UNIT.sub("\\1\u00a0\\2", escape(caption))

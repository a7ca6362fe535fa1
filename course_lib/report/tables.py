"""Rows as a table: HTML in the colours of JupyterLab's theme, and plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import isnan
from pathlib import Path
from typing import NamedTuple

from course_lib.core.formatting import byte_size, compact, duration
from course_lib.report.rows import Row, Setting

MISSING = "–"
STYLE = "\n" + Path(__file__).with_name("table.css").read_text(encoding="utf-8")


class Cell(NamedTuple):
    """A figure and its detail, which stands smaller below it."""

    figure: str
    detail: str = ""


class Column(NamedTuple):
    """A column: its title, how its figures are known, and row → cell."""

    title: str
    tag: str
    cell: Callable[[Row], Cell]


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns for which these rows hold figures."""
    found = [
        Column("model", "", lambda row: Cell(row.name, row.stored_as)),
        Column("stored", "exact", _stored),
        Column("accuracy", "measured", _accuracy),
        Column("retained", "measured", _retained),
    ]
    found += [Column(domain, "measured", _domain(domain)) for domain in rows[0].domains]
    found += [
        Column("parameters", "exact", lambda row: Cell(compact(row.parameters), f"{compact(row.nonzeros)} not zero")),
        Column("MACs", "exact", lambda row: Cell(compact(row.macs))),
    ]
    if rows[0].latencies:
        found += [Column("latency", "measured", _latency), Column("speed-up", "measured", _speedup)]
    if rows[0].memory:
        found.append(Column("peak memory", "measured", _memory))
    return found


def text(rows: Sequence[Row]) -> str:
    """The table as plain text; details stand in a second line."""
    shown = columns(rows)
    lines = [part for row in rows for part in zip(*(column.cell(row) for column in shown), strict=True)]
    return text_table([column.title for column in shown], lines)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of text, the first column aligned left and the others right."""
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def html(rows: Sequence[Row], note: str) -> str:
    """The table, ``note`` below it, and folded away accuracy per class and the latency in every setting."""
    shown = columns(rows)
    main = _table(
        [_heading(column.title, column.tag) for column in shown],
        [[_two_lines(column.cell(row)) for column in shown] for row in rows],
    )
    folds = _fold("Accuracy per class", _per_class(rows))
    if rows[0].latencies:
        folds += _fold("Latency in every setting", _every_latency(rows))
    caption = f"<p>{escape(note)}</p>" if note else ""
    return f'<style>{STYLE}</style><div class="course-table">{main}{caption}{folds}</div>'


def times(value: float | None) -> str:
    """A factor: ``7.5×``."""
    return MISSING if value is None else f"{value:.1f}×"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as ``99.2 %``."""
    return f"{100 * value:.{digits}f} %"


def _stored(row: Row) -> Cell:
    return Cell(byte_size(row.stored_bytes), f"{times(row.ratio)} smaller" if row.before else "")


def _accuracy(row: Row) -> Cell:
    low, high = row.interval
    return Cell(percent(row.accuracy), f"± {percent((high - low) / 2)}")


def _retained(row: Row) -> Cell:
    if row.before is None or isnan(row.retained):
        return Cell(MISSING)
    low, high = row.retained_interval
    return Cell(percent(row.retained), f"{100 * low:.1f} to {100 * high:.1f} %")


def _domain(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        kept = row.retained_domains[name]
        return Cell(percent(row.domains[name].accuracy), f"{percent(kept)} retained" if row.before else "")

    return cell


def _latency(row: Row) -> Cell:
    latency = row.latencies[row.headline]
    return Cell(duration(latency.p50_ms), f"p95 {duration(latency.p95_ms)}")


def _speedup(row: Row) -> Cell:
    return Cell(times(row.speedup), f"{times(row.speedup_over_eager)} over eager")


def _memory(row: Row) -> Cell:
    if row.memory is None:
        return Cell(MISSING)
    return Cell(f"{row.memory.peak_mb:.0f} MB", f"{row.memory.model_mb:.0f} MB model")


def _per_class(rows: Sequence[Row]) -> str:
    by_class = [row.per_class for row in rows]
    lines = [[escape(name), *(percent(result[name]) for result in by_class)] for name in by_class[0]]
    return _table(["class", *(escape(row.name) for row in rows)], lines)


def _every_latency(rows: Sequence[Row]) -> str:
    def cell(row: Row, setting: Setting) -> str:
        latency, gain = row.latencies.get(setting), row.speedup_at(setting)
        if latency is None:
            return MISSING
        return f"{duration(latency.p50_ms)}<br><small>p95 {duration(latency.p95_ms)} · {times(gain)}</small>"

    lines = [[str(setting), *(cell(row, setting) for row in rows)] for setting in rows[0].latencies]
    return _table(["runtime, examples, threads", *(escape(row.name) for row in rows)], lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="course-scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _heading(title: str, tag: str) -> str:
    return f'{escape(title)}<br><small class="course-tag">{tag}</small>' if tag else escape(title)


def _two_lines(cell: Cell) -> str:
    """Figure and detail; the line break serves notebooks that are not trusted, which drop the stylesheet."""
    return escape(cell.figure) + (f"<br><small>{escape(cell.detail)}</small>" if cell.detail else "")


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"

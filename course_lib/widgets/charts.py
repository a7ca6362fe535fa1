"""Charts of the panels: histogram, lines, bars and roofline, each a pure function that returns SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from course_lib.core.formatting import compact, spread
from course_lib.widgets import svg
from course_lib.widgets.svg import LINE_HEIGHT, Format, Scale, plain

MAIN, COMPANION, HEIGHT = 480.0, 290.0, 240.0  # main chart and companion fill the width of a panel
TOP, BOTTOM = 46.0, 40.0
INTENSITIES = (0.1, 1000.0)  # FLOP per byte, the range of the roofline


@dataclass(frozen=True)
class Line:
    """A curve, labelled with its name at its end; ``colour`` is a name of ``course_lib.core.palette``."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "kept"
    marker: str = "circle"
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    """A point of a scatter or roofline chart; ``label`` is drawn beside it when not empty."""

    name: str
    x: float
    y: float
    colour: str = "kept"
    marker: str = "circle"
    label: str = ""
    size: float = 4.0


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    title: str,
    threshold: float | None = None,
    x_label: str = "weight value",
) -> str:
    """Bars of ``counts`` between ``edges`` (one more than counts); values within ±threshold are drawn as cut."""
    x = Scale(edges[0], edges[-1], 48, MAIN - 12)
    y = Scale(0, max(*counts, 1), HEIGHT - BOTTOM, TOP)
    limit = threshold or 0.0
    shapes: dict[str, list[str]] = {"kept": [], "cut": []}
    for (left, right), count in zip(pairwise(edges), counts, strict=True):
        for start, end in _split(left, right, limit):
            kind = "cut" if abs(start + end) / 2 < limit else "kept"
            shapes[kind].append(f"M{x(start):.2f} {y(0):.1f}V{y(count):.1f}H{x(end):.2f}V{y(0):.1f}Z")
    parts = [svg.y_axis(y, x.start, x.end, "weights", form=compact, count=3)]
    parts += [f'<path class="{kind}" d="{"".join(outline)}"/>' for kind, outline in shapes.items() if outline]
    parts.append(svg.x_axis(x, y.start, x_label))
    description = f"Histogram of {sum(counts):,.0f} values"
    if limit:
        parts += [svg.segment(x(side), TOP - 4, x(side), y.start, "line threshold dashed") for side in (-limit, limit)]
        name = f"|w| = {limit:.3g}"
        beside = x(limit) + 6 if x(limit) + 6 + svg.text_width(name) < MAIN else x(limit) - 6
        anchor = "start" if beside > x(limit) else "end"
        parts.append(svg.text(beside, TOP + 6, name, anchor=anchor, classes="threshold-text"))
        description += f"; magnitudes below {limit:.3g} are cut"
    return svg.chart(parts, width=MAIN, height=HEIGHT, title=title, description=description)


def lines(
    series: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
    y_form: Format = plain,
    cursor: float | None = None,
    log_y: bool = False,
    width: float = COMPANION,
    height: float = HEIGHT,
) -> str:
    """Curves with markers, labelled at their ends; ``cursor`` draws a dashed line at one x."""
    margin = max((svg.text_width(line.name) for line in series), default=0) + 12
    x_values = [value for line in series for value in line.x] or [0.0, 1.0]
    y_values = [value for line in series for value in line.y] or [0.0, 1.0]
    x = Scale(*(x_range or (min(x_values), max(x_values))), 44, width - margin)
    y = Scale(*(y_range or (min(y_values), max(y_values))), height - BOTTOM, TOP, log_y)
    parts = [svg.y_axis(y, x.start, x.end, y_label, form=y_form), svg.x_axis(x, y.start, x_label, ticks=x_ticks)]
    if cursor is not None:
        parts.append(svg.segment(x(cursor), y.end, x(cursor), y.start, "line threshold dashed"))
    for line in series:
        points = list(zip(line.x, line.y, strict=True))
        route = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{route}" class="line {line.colour}{" dashed" if line.dashed else ""}"/>')
        for a, b in points:
            note = f"{line.name}: {plain(a)}, {y_form(b)}"
            parts.append(svg.marker(line.marker, x(a), y(b), line.colour, note=note))
    heights = spread([y(line.y[-1]) for line in series], LINE_HEIGHT)
    for line, label_height in zip(series, heights, strict=True):
        parts.append(svg.text(x(line.x[-1]) + 8, label_height + 4, line.name, classes=f"{line.colour}-text"))
    description = f"{y_label} against {x_label}: {', '.join(line.name for line in series)}"
    return svg.chart(parts, width=width, height=height, title=title, description=description)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    title: str,
    colours: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    width: float = COMPANION,
) -> str:
    """Horizontal bars with the name above each bar and its value at its end."""
    shown = list(labels) if labels is not None else [compact(value) for value in values]
    margin = max((svg.text_width(label) for label in shown), default=0) + 12
    x = Scale(0, max(values, default=0) or 1.0, 4, width - margin)
    parts = []
    for row, (name, value, label) in enumerate(zip(names, values, shown, strict=True)):
        top = 24 + row * 38.0
        colour = colours[row] if colours else "kept"
        length = x(value) - x.start
        parts.append(svg.text(4, top + 11, name))
        parts.append(f'<rect x="4" y="{top + 16:.1f}" width="{length:.1f}" height="13" rx="2" class="{colour}"/>')
        parts.append(svg.text(10 + length, top + 27, label, classes=f"{colour}-text"))
    description = ", ".join(f"{name} {label}" for name, label in zip(names, shown, strict=True))
    return svg.chart(parts, width=width, height=30 + 38 * len(names), title=title, description=description)


def roofline(points: Sequence[Point], *, peak_gflops: float, bandwidth_gbs: float, title: str) -> str:
    """Points under the roofline ``min(peak, intensity × bandwidth)``, on logarithmic axes.

    Source: Williams, Waterman & Patterson, Roofline, 2009.
    """
    x = Scale(*INTENSITIES, 52, MAIN - 16, log=True)
    lowest = x.low * bandwidth_gbs
    y = Scale(min(lowest, peak_gflops / 1000), peak_gflops * 3, HEIGHT - BOTTOM, TOP, log=True)
    ridge = peak_gflops / bandwidth_gbs
    roof = [(x.low, lowest), (ridge, peak_gflops), (x.high, peak_gflops)]
    parts = [svg.y_axis(y, x.start, x.end, "speed (GFLOP/s)", form=compact)]
    parts.append(svg.x_axis(x, y.start, "arithmetic intensity (FLOP per byte moved)", form=plain))
    route = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in roof)
    parts.append(f'<polyline points="{route}" class="line baseline"/>')
    parts.append(svg.segment(x(ridge), y(peak_gflops), x(ridge), y.start, "line threshold dashed"))
    parts.append(svg.text(x.end, y(peak_gflops) - 7, f"peak {compact(peak_gflops)} GFLOP/s", anchor="end"))
    parts.append(svg.text(x(ridge) - 6, y.start - 6, "limited by memory", anchor="end", classes="threshold-text"))
    parts.append(svg.text(x(ridge) + 6, y.start - 6, "limited by arithmetic", classes="threshold-text"))
    parts += [svg.marker(p.marker, x(p.x), y(p.y), p.colour, p.size, p.name) for p in points]
    parts += _point_labels(points, x, y)
    description = f"{len(points)} layers; the roof turns at {ridge:.3g} FLOP per byte"
    return svg.chart(parts, width=MAIN, height=HEIGHT, title=title, description=description)


def _point_labels(points: Sequence[Point], x: Scale, y: Scale) -> list[str]:
    """Labels below and right of their points, moved down where they would overlap."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for point in (point for point in points if point.label):
        width = svg.text_width(point.label)
        left = min(x(point.x) + 8, x.end - width)
        base = y(point.y) + 16
        while any(
            left < other + other_width and other < left + width and abs(base - line) < LINE_HEIGHT
            for other, other_width, line in taken
        ):
            base += LINE_HEIGHT
        taken.append((left, width, base))
        parts.append(svg.text(left, base, point.label, classes=f"{point.colour}-text"))
    return parts


def _split(left: float, right: float, limit: float) -> list[tuple[float, float]]:
    """The interval split where it crosses ±limit."""
    cuts = [left, *(side for side in (-limit, limit) if limit > 0 and left < side < right), right]
    return list(pairwise(cuts))

"""The panel of lesson 13: measured subnets of the supernet under limits of latency, file and memory.

Everything was measured or counted beforehand; a move of a slider filters the rows and finds their front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import Control, log_slider
from course_lib.widgets.measured import Rows
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, marker, segment, text, x_axis, y_axis

LIMITS = {
    "latency": ("latency_ms", 1.0, "Latency (ms)", "ms"),
    "file": ("stored_bytes", 1000.0, "File (kB)", "kB"),
    "memory": ("peak_activation_bytes", 1000.0, "Memory for activations (kB)", "kB"),
}
"""Name of a control → column of the rows, units of the column in one of the slider, label, unit."""
START = {"latency": 0.5, "file": 0.35, "memory": 0.6}
"""Where the sliders start, as a share of the sorted rows."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class LimitedSubnets:
    """All measured subnets, those within the limits, their front of accuracy and latency, and the most accurate."""

    rows: Rows
    kept: Rows
    front: Rows
    best: Row | None
    limits: Mapping[str, float]


def subnet_panel(rows: Rows | None = None) -> Panel:
    """Drag limits of latency, file and memory, and see which measured subnets are left and which is best.

    Args:
        rows: subnets with ``genes``, ``accuracy``, ``latency_ms``, ``stored_bytes`` and ``peak_activation_bytes``; the
            shipped ones when not given.

    Raises:
        ValueError: if there are no rows.
    """
    subnets = list(rows if rows is not None else results("search").get("subnets", {}).get("rows", ()))
    if not subnets:
        raise ValueError("rows must hold measured subnets, got none")

    def compute(**limits: float) -> LimitedSubnets:
        return within_limits(subnets, limits)

    return Panel(
        compute,
        draw,
        numbers=numbers,
        message=nothing_left,
        title="Which network under these limits?",
        subtitle="Every point is a measured subnet. Blue keeps all limits, grey does not. The line is the front.",
        **{name: _limit_slider(subnets, name) for name in LIMITS},
    )


def within_limits(rows: Rows, limits: Mapping[str, float]) -> LimitedSubnets:
    """The rows that keep all limits (in the units of the sliders), and the best of them; among equals the fastest."""
    from course_lib.search import pareto_front

    at_most = {LIMITS[name][0]: LIMITS[name][1] * value * (1 + 1e-9) for name, value in limits.items()}
    kept = [row for row in rows if all(row[column] <= limit for column, limit in at_most.items())]
    kept.sort(key=lambda row: (row["latency_ms"], -row["accuracy"]))
    front = [kept[place] for place in pareto_front([(row["latency_ms"], -row["accuracy"]) for row in kept])]
    best = max(kept, key=lambda row: (row["accuracy"], -row["latency_ms"]), default=None)
    return LimitedSubnets(rows, kept, front, best, dict(limits))


def draw(subnets: LimitedSubnets) -> str:
    """Accuracy against latency with the front, and the stages of the best net."""
    return side_by_side(_scatter(subnets), _stages(subnets.best))


def numbers(subnets: LimitedSubnets) -> list[Number]:
    """How many are left, and what the best one costs."""
    left = Number(f"{len(subnets.kept)} of {len(subnets.rows)}", "measured subnets keep the limits", "exact")
    best = subnets.best
    if best is None:
        return [left, Number("–", "no net to choose")]
    memory = byte_size(best["peak_activation_bytes"])
    return [
        Number(f"{100 * best['accuracy']:.1f} %", "of the pictures right, the best of them", "measured"),
        Number(f"{best['latency_ms']:.3f} ms", "for one picture, by the latency table", "estimated"),
        Number(byte_size(best["stored_bytes"]), f"file; {memory} for activations", "estimated"),
        left,
    ]


def nothing_left(subnets: LimitedSubnets) -> str:
    """What the nearest subnet needs, if none keeps all limits."""
    if subnets.kept:
        return ""
    nearest = min(subnets.rows, key=lambda row: _excess(row, subnets.limits))
    needs = [
        f"{label.lower()} {nearest[column] / factor:.3g}"
        for name, (column, factor, label, _) in LIMITS.items()
        if nearest[column] > factor * subnets.limits[name]
    ]
    return f"No measured subnet keeps all limits together. The nearest needs {' and '.join(needs)}."


def _excess(row: Row, limits: Mapping[str, float]) -> float:
    """Sum of the relative excess over the limits."""
    parts = ((row[LIMITS[name][0]] / (LIMITS[name][1] * limit)) for name, limit in limits.items())
    return sum(max(0.0, part - 1) for part in parts)


def _limit_slider(rows: Rows, name: str) -> Control:
    column, factor, label, unit = LIMITS[name]
    values = sorted(row[column] / factor for row in rows)
    start = values[int(START[name] * (len(values) - 1))]
    return log_slider(start, 0.9 * values[0], 1.1 * values[-1], label=label, unit=unit)


def _scatter(subnets: LimitedSubnets) -> str:
    """One point for each subnet, the front as a line, the best as a diamond, and the limit of latency."""
    times, shares = ([row[name] for row in subnets.rows] for name in ("latency_ms", "accuracy"))
    low = min(shares)
    x = Scale(0.9 * min(times), 1.05 * max(times), 48, charts.MAIN - 14)
    y = Scale(100 * low - 0.5, min(100.0, 100 * max(shares) + 0.5), charts.HEIGHT - 40, 46)
    inside = {id(row) for row in subnets.kept}
    parts = [y_axis(y, x.start, x.end, "accuracy (%)"), x_axis(x, y.start, "latency (ms)")]
    for row in sorted(subnets.rows, key=lambda row: id(row) in inside):
        colour, size = ("kept", 3.0) if id(row) in inside else ("cut", 2.4)
        parts.append(marker("circle", x(row["latency_ms"]), y(100 * row["accuracy"]), colour, size))
    route = " ".join(f"{x(row['latency_ms']):.1f},{y(100 * row['accuracy']):.1f}" for row in subnets.front)
    parts.append(f'<polyline points="{route}" class="line kept"/>')
    limit = x(subnets.limits["latency"])
    parts.append(segment(limit, y.end, limit, y.start, "line threshold dashed"))
    described = "no subnet keeps the limits"
    if subnets.best is not None:
        at, height = x(subnets.best["latency_ms"]), y(100 * subnets.best["accuracy"])
        name = f"{100 * subnets.best['accuracy']:.1f} %"
        parts += [marker("diamond", at, height, "threshold", 5.0)]
        parts += [text(at, height - 10, name, anchor="middle", classes="threshold-text")]
        described = f"{len(subnets.kept)} keep the limits, the best has {name}"
    return chart(
        parts, width=charts.MAIN, height=charts.HEIGHT, title="Accuracy against latency; ◆ is the best left",
        description=f"{len(subnets.rows)} subnets; {described}",
    )  # fmt: skip


def _stages(best: Row | None) -> str:
    """Width and depth of each stage of the chosen net, beside the largest subnet in grey."""
    if best is None:
        return chart([text(4, 40, "no subnet")], width=charts.COMPANION, height=60, title="The chosen net")
    from course_lib.search import RESNET18_SPACE

    subnet = RESNET18_SPACE.subnet(best["genes"])
    x = Scale(0, RESNET18_SPACE.largest.widths[-1], 4, charts.COMPANION - 6)
    parts = []
    for stage, (depth, width, inner) in enumerate(_stage_rows(subnet)):
        top = 26 + 44 * stage
        parts.append(text(4, top + 10, f"stage {stage + 1}: {depth} × {width} channels, {inner} inside"))
        blocks = [(RESNET18_SPACE.largest.widths[stage], "cut")] * 2 + [(width, "kept")] * depth
        for place, (channels, colour) in enumerate(blocks):
            edge = f'x="4" y="{top + 15 + 11 * (place % 2)}" width="{x(channels) - x.start:.1f}" height="9" rx="2"'
            parts.append(f'<rect {edge} class="{colour}"/>')
    title = f"The chosen net, at {subnet.resolution} × {subnet.resolution} pixels"
    return chart(parts, width=charts.COMPANION, height=210, title=title, description=str(subnet))


def _stage_rows(subnet: Any) -> Sequence[tuple[int, int, int]]:
    return list(zip(subnet.depths, subnet.widths, subnet.inner_widths, strict=True))

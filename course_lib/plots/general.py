"""Figures of several lessons: bars, curves, and models by stored size and retained accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from course_lib.core.formatting import compact
from course_lib.core.palette import LIGHT
from course_lib.plots.axes import Intervals, draw_curves, log_ticks
from course_lib.plots.figure import DASHED, Picture, canvas, described, name_points

if TYPE_CHECKING:
    import pandas

MARKED_POINTS = 40  # a curve of more points has markers at a distance only
MARKER_DISTANCE = 0.1  # as a share of the figure's diagonal


def bars(
    values: pandas.Series,
    *,
    title: str,
    x_label: str,
    colours: Mapping[str, str] | None = None,
    form: Callable[[float], str] = compact,
) -> Picture:
    """One horizontal bar per entry; ``form`` formats its number, ``colours`` maps entries to names of the palette."""
    names, numbers = [str(name) for name in values.index], [float(value) for value in values]
    chosen = [LIGHT[(colours or {}).get(name, "kept")] for name in names]
    with canvas(title, x_label, "") as (picture, axes):
        picture.set_figheight(1.0 + 0.28 * len(names))
        axes.barh(range(len(names)), numbers, color=chosen, height=0.7)
        for row, value in enumerate(numbers):
            axes.annotate(form(value), (value, row), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xlim(0, 1.15 * max([*numbers, 1e-9]))
    return described(
        picture, title, ", ".join(f"{name} {form(value)}" for name, value in zip(names, numbers, strict=True))
    )


def curves(
    frame: pandas.DataFrame, *, title: str, x_label: str, y_label: str, cursor: float | None = None, log: bool = False
) -> Picture:
    """One curve per column of ``frame`` over its index; ``cursor`` marks one x; ``log`` applies to both axes."""
    with canvas(title, x_label, y_label) as (picture, axes):
        if log:
            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                log_ticks(axis)
        if cursor is not None:
            axes.axvline(cursor, color=LIGHT["threshold"], **DASHED)
        bottom = None if log else min(0.0, float(frame.min().min()))
        series = {str(name): (list(frame.index), list(frame[name])) for name in frame}
        draw_curves(axes, series, bottom=bottom, every=MARKER_DISTANCE if len(frame) > MARKED_POINTS else None)
    ends = "; ".join(f"{name} ends at {frame[name].iloc[-1]:.3g}" for name in frame.columns)
    return described(picture, title, ends)


def size_front(
    names: Sequence[str],
    stored_bytes: Sequence[float],
    retained: Sequence[float],
    intervals: Intervals = None,
    *,
    title: str = "What is stored, and what is retained",
) -> Picture:
    """Stored bytes against retained accuracy, one point per model; the first is the baseline.

    Args:
        stored_bytes: size of the files.
        retained: accuracy as a fraction of the baseline's; intervals: its 95 % limits.
    """
    with canvas(title, "stored size (MB), smaller to the left", "accuracy retained (%)") as (picture, axes):
        axes.set_xscale("log")
        sizes, heights = [size / 1e6 for size in stored_bytes], [100 * value for value in retained]
        known = zip(retained, intervals or [None] * len(retained), strict=True)
        limits = [interval or (value, value) for value, interval in known]
        bars = [(100 * low, 100 * high) for low, high in limits]
        for index, (size, height, bar) in enumerate(zip(sizes, heights, bars, strict=True)):
            colour, marker = ("baseline", "v") if index == 0 else ("kept", "o")
            axes.plot([size] * 2, bar, color=LIGHT[colour], marker="_", linewidth=1.4)
            axes.plot([size], [height], color=LIGHT[colour], marker=marker, markersize=7)
        axes.margins(x=0.12, y=0.12)
        log_ticks(axes.xaxis, subs=(1.0, 2.0, 5.0))
        name_points(axes, names, sizes, heights, bars)
    facts = "; ".join(f"{name} {s:.1f} MB, {h:.1f} %" for name, s, h in zip(names, sizes, heights, strict=True))
    return described(picture, title, facts)

"""Parts of several figures: curves labelled at their ends, bars with their numbers, numbers on log axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from course_lib.core.formatting import spread
from course_lib.core.palette import LIGHT
from course_lib.plots.figure import LABEL_BOX

LINE_STYLES = {
    "fine-tuned": ("kept", "o"),
    "cut only": ("before", "s"),
    "cubic": ("kept", "o"),
    "linear": ("before", "s"),
    "baseline": ("baseline", "v"),
    "dense": ("baseline", "v"),
    "bitmask": ("kept", "o"),
    "csr": ("before", "s"),
}
OTHER_STYLES = (("kept", "o"), ("before", "s"), ("holds", "^"), ("threshold", "D"), ("baseline", "v"))
Intervals = Sequence[tuple[float, float] | None] | None
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
LABEL_HEIGHT = 0.06  # as a share of the axis


def draw_curves(
    axes: Axes, curves: Curves, *, every: float | None = None, bottom: float | None = None, top: float | None = None
) -> None:
    """Curves with markers, labelled at their ends; ``bottom`` and ``top`` limit the vertical axis."""
    others = iter(OTHER_STYLES * (len(curves) + 1))
    styles = {name: LINE_STYLES.get(name) or next(others) for name in curves}
    for name, (x, y) in curves.items():
        colour, marker = styles[name]
        axes.plot(x, y, color=LIGHT[colour], marker=marker, markevery=every)
    axes.set_ylim(bottom, top)
    heights = label_heights(axes, [y[-1] for _, y in curves.values()])
    for (name, (x, _)), height in zip(curves.items(), heights, strict=True):
        label = axes.annotate(
            name, (x[-1], height), (8, 0), xycoords=("data", "axes fraction"), textcoords="offset points", va="center",
            color=LIGHT[f"{styles[name][0]}_text"],
        )  # fmt: skip
        label.set_bbox(LABEL_BOX)


def label_heights(axes: Axes, values: Sequence[float]) -> list[float]:
    """Heights of labels for these values, as shares of the axis: inside it, and so far apart that none overlap."""
    to_share = axes.transData + axes.transAxes.inverted()
    heights = spread([float(to_share.transform((axes.get_xlim()[0], value))[1]) for value in values], LABEL_HEIGHT)
    shift = max(0.0, LABEL_HEIGHT / 2 - min(heights, default=1.0))
    shift = shift or min(0.0, 1 - LABEL_HEIGHT / 2 - max(heights, default=0.0))
    return [height + shift for height in heights]


def draw_bars(axes: Axes, values: Sequence[float], label: str) -> None:
    """Horizontal bars for fractions, in per cent."""
    positions = range(len(values))
    axes.barh(positions, [100 * value for value in values], color=LIGHT["kept"], height=0.7)
    for position, value in zip(positions, values, strict=True):
        axes.annotate(
            f"{100 * value:.0f}", (100 * value, position), (4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.set_xlabel(f"{label} (%)")
    axes.grid(False)
    axes.set_xlim(0, 100 * max([*values, 0.01]) * 1.18)


def log_ticks(axis: Axis, *, subs: Sequence[float] = (1.0,)) -> None:
    """Plain numbers instead of powers, at ``subs`` times the powers of ten."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())

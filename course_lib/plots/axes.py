"""What the figures share: curves named at their ends, bars with their numbers, and plain numbers on log axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from course_lib.core.formatting import spread
from course_lib.core.palette import LIGHT

LOOKS = {
    "fine-tuned": ("kept", "o"),
    "cut only": ("before", "s"),
    "cubic": ("kept", "o"),
    "linear": ("before", "s"),
    "baseline": ("baseline", "v"),
    "dense": ("baseline", "v"),
    "bitmask": ("kept", "o"),
    "csr": ("before", "s"),
}
OTHER_LOOKS = (("kept", "o"), ("before", "s"), ("holds", "^"), ("threshold", "D"), ("baseline", "v"))
Intervals = Sequence[tuple[float, float] | None] | None
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
LINE = 0.06  # height of a label as a share of the axis


def draw_curves(
    axes: Axes, curves: Curves, *, every: float | None = None, bottom: float | None = None, top: float | None = None
) -> None:
    """Curves with markers, named at their ends; ``bottom`` and ``top`` end the vertical axis."""
    others = iter(OTHER_LOOKS * (len(curves) + 1))
    looks = {name: LOOKS.get(name) or next(others) for name in curves}
    for name, (x, y) in curves.items():
        colour, marker = looks[name]
        axes.plot(x, y, color=LIGHT[colour], marker=marker, markevery=every)
    axes.set_ylim(bottom, top)
    heights = label_heights(axes, [y[-1] for _, y in curves.values()])
    for (name, (x, _)), height in zip(curves.items(), heights, strict=True):
        label = axes.annotate(
            name, (x[-1], height), (8, 0), xycoords=("data", "axes fraction"), textcoords="offset points", va="center",
            color=LIGHT[f"{looks[name][0]}_text"],
        )  # fmt: skip
        label.set_bbox(LABEL_BOX)


def label_heights(axes: Axes, values: Sequence[float]) -> list[float]:
    """Where labels at these values stand, as shares of the axis: a line apart, and none above or below it."""
    to_share = axes.transData + axes.transAxes.inverted()
    heights = spread([float(to_share.transform((axes.get_xlim()[0], value))[1]) for value in values], LINE)
    lift = max(0.0, LINE / 2 - min(heights, default=1.0))
    lift = lift or min(0.0, 1 - LINE / 2 - max(heights, default=0.0))
    return [height + lift for height in heights]


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
    """Numbers as people write them, at ``subs`` times the powers of ten."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def limits(retained: Sequence[float], intervals: Intervals) -> list[tuple[float, float]]:
    """The interval of each model; a point where there is none."""
    given = intervals or [None] * len(retained)
    return [one or (value, value) for value, one in zip(retained, given, strict=True)]

"""Figures of architecture search: shared slices of a weight, and networks by cost and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.patches import Rectangle

from course_lib.core.palette import LIGHT
from course_lib.plots.figure import LABEL_BOX, Picture, canvas, described

SLICE_COLOURS = ("baseline", "before", "holds", "kept")


def shared_slices(sizes: Mapping[str, tuple[int, int]], *, title: str) -> Picture:
    """Nested rectangles: which part of one weight matrix each subnet uses.

    Args:
        sizes: name of a subnet → its (outputs, inputs); drawn from large to small.
    """
    ordered = sorted(sizes.items(), key=lambda entry: -entry[1][0] * entry[1][1])
    outputs, inputs = (max(size[axis] for size in sizes.values()) for axis in (0, 1))
    with canvas(title, "input channels", "output channels") as (picture, axes):
        picture.set_figheight(3.4)
        for place, (name, (rows, columns)) in enumerate(ordered):
            colour = LIGHT[SLICE_COLOURS[place % len(SLICE_COLOURS)]]
            axes.add_patch(
                Rectangle((0, 0), columns, rows, facecolor=colour, alpha=0.3, edgecolor=colour, linewidth=1.6)
            )
            label = axes.text(columns - 0.015 * inputs, rows - 0.03 * outputs, f"{name}: {rows} × {columns}")
            label.set(
                ha="right", va="bottom", color=LIGHT["kept_text" if place == len(ordered) - 1 else "baseline_text"]
            )
            label.set_bbox(LABEL_BOX)
        axes.set(xlim=(0, 1.02 * inputs), ylim=(1.05 * outputs, 0))
        axes.grid(False)
    return described(picture, title, "; ".join(f"{name} uses {rows} × {columns}" for name, (rows, columns) in ordered))


def accuracy_cost(
    cost: Sequence[float],
    accuracy: Sequence[float],
    front: Sequence[int] = (),
    *,
    title: str,
    x_label: str,
    marked: Mapping[str, tuple[float, float]] | None = None,
    y_label: str = "accuracy (%)",
) -> Picture:
    """One point per network: accuracy (a fraction, drawn in per cent) against its cost.

    Args:
        front: positions of the networks that a line joins, by growing cost.
        marked: name → (cost, accuracy) of points that are drawn larger and labelled.
    """
    order = sorted(front, key=lambda place: cost[place])
    with canvas(title, x_label, y_label) as (picture, axes):
        axes.plot(cost, [100 * value for value in accuracy], "o", markersize=4, color=LIGHT["baseline"], alpha=0.7)
        if order:
            line = [cost[place] for place in order], [100 * accuracy[place] for place in order]
            axes.plot(*line, color=LIGHT["kept"], marker="o", markersize=5)
        for name, (x, y) in (marked or {}).items():
            axes.plot([x], [100 * y], marker="D", markersize=8, color=LIGHT["threshold"])
            label = axes.annotate(
                name, (x, 100 * y), (8, -12), textcoords="offset points", color=LIGHT["threshold_text"]
            )
            label.set_bbox(LABEL_BOX)
    facts = f"{len(cost)} networks from {100 * min(accuracy):.1f} to {100 * max(accuracy):.1f} %"
    if order:
        facts += f"; {len(order)} on the front"
    return described(
        picture, title, "; ".join([facts, *(f"{name} {100 * y:.1f} %" for name, (_, y) in (marked or {}).items())])
    )

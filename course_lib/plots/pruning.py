"""Figures of pruning: weights, schedules, sensitivity, and accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

from course_lib.core.palette import LIGHT
from course_lib.plots.axes import Curves, draw_curves
from course_lib.plots.figure import DASHED, Picture, canvas, described

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

# 97.5 % points of Student's t distribution for 1 to 9 degrees of freedom
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def weight_histogram(weight: Tensor, *, threshold: float, title: str) -> Picture:
    """Histogram of a weight of any shape: values below ``threshold`` in magnitude (cut) are grey, the others blue."""
    values = weight.detach().float().flatten().cpu().numpy()
    span = float(numpy.quantile(numpy.abs(values), 0.999))
    counts, edges = numpy.histogram(values, bins=numpy.linspace(-span, span, 122))
    middles = (edges[1:] + edges[:-1]) / 2
    inside = numpy.abs(middles) < threshold
    with canvas(title, "weight value", "number of weights") as (picture, axes):
        for chosen, colour in ((inside, "cut"), (~inside, "kept")):
            axes.bar(middles[chosen], counts[chosen], width=edges[1] - edges[0], color=LIGHT[colour])
        for side in (-threshold, threshold):
            axes.axvline(side, color=LIGHT["threshold"], **DASHED)
    cut = float((numpy.abs(values) < threshold).mean())
    return described(picture, title, f"{100 * cut:.0f} % of {values.size:,} weights lie within {threshold:.3g} of zero")


def accuracy_curves(
    curves: Curves,
    *,
    baseline: float | None = None,
    title: str = "Accuracy against sparsity",
    chance: float | None = None,
) -> Picture:
    """Accuracy of pruned models over the sparsity.

    Args:
        curves: name (``"cut only"``, ``"fine-tuned"``, …) → sparsities and accuracies, as fractions.
        baseline: accuracy of the uncompressed model, a dashed line.
        chance: accuracy of guessing, a dashed line.
    """
    with canvas(title, "weights cut (%)", "test accuracy (%)") as (picture, axes):
        for name, level in (("uncompressed", baseline), ("guessing", chance)):
            if level is not None:
                axes.axhline(100 * level, color=LIGHT["baseline"], **DASHED)
                axes.annotate(
                    name, (0.01, 100 * level), (0, 2), xycoords=("axes fraction", "data"),
                    textcoords="offset points", va="bottom", color=LIGHT["baseline_text"],
                )  # fmt: skip
        scaled = {name: ([100 * s for s in x], [100 * a for a in y]) for name, (x, y) in curves.items()}
        draw_curves(axes, scaled, bottom=0, top=103)
        ends = "; ".join(f"{name} {y[-1]:.1f} % at {x[-1]:.0f} % cut" for name, (x, y) in scaled.items())
        return described(picture, title, ends)


def schedule_curves(curves: Curves, *, title: str = "Sparsity while training") -> Picture:
    """Sparsity over the training steps; ``curves`` maps the name of a schedule to steps and sparsities (fractions)."""
    with canvas(title, "training step", "weights cut (%)") as (picture, axes):
        draw_curves(axes, {name: (x, [100 * s for s in y]) for name, (x, y) in curves.items()}, every=0.1)
        ends = "; ".join(f"{name} from {100 * y[0]:.0f} to {100 * y[-1]:.0f} %" for name, (_, y) in curves.items())
        return described(picture, title, ends)


def sensitivity_map(frame: pandas.DataFrame, *, title: str = "Accuracy lost when one layer is cut") -> Picture:
    """Heat map of ``pruning.sensitivity_scan``: a row per layer, a column per sparsity, points of accuracy lost."""
    table = 100 * frame.pivot(index="layer", columns="sparsity", values="drop").reindex(frame["layer"].unique())
    high = max(float(table.max().max()), 1.0)
    with canvas(title, "weights of the layer cut (%); the cells show points of accuracy lost", "") as (picture, axes):
        picture.set_figheight(1.2 + 0.24 * len(table))
        axes.grid(False)
        axes.pcolormesh(table.to_numpy(), cmap="cividis", vmin=0, vmax=high, edgecolors="white", linewidth=1)
        for (row, column), value in numpy.ndenumerate(table.to_numpy()):
            ink = "white" if value < 0.45 * high else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=8.5)
        axes.set_xticks(numpy.arange(table.shape[1]) + 0.5, [f"{100 * s:g}" for s in table.columns])
        axes.set_yticks(numpy.arange(len(table)) + 0.5, list(table.index), fontsize=8.5)
        axes.invert_yaxis()
        axes.spines["bottom"].set_visible(False)
    row, column = divmod(int(numpy.nanargmax(table.to_numpy())), table.shape[1])
    worst = f"{table.index[row]} at {100 * float(table.columns[column]):g} % cut"
    return described(picture, title, f"most is lost in {worst}: {table.to_numpy().max():.1f} points")


def seed_intervals(
    frame: pandas.DataFrame, *, by: str, value: str, title: str, x_label: str, level: float | None = None
) -> Picture:
    """One row per entry of column ``by``: a point per seed, their mean, and its 95 % interval (Student's t).

    Args:
        frame: one row per entry and seed; column ``value`` holds fractions.
        level: value of a dashed line for comparison.
    """
    groups = {str(name): 100 * rows[value].to_numpy() for name, rows in frame.groupby(by, sort=False)}
    ordered = sorted(groups.items(), key=lambda item: -item[1].mean())
    with canvas(title, x_label, "") as (picture, axes):
        picture.set_figheight(1.2 + 0.34 * len(ordered))
        if level is not None:
            axes.axvline(100 * level, color=LIGHT["baseline"], **DASHED)
        for row, (name, seeds) in enumerate(ordered):
            mean, half = interval_of_mean(seeds)
            colour = "baseline" if name == "random" else "kept"
            axes.plot([mean - half, mean + half], [row, row], color=LIGHT[colour], marker="|")
            axes.plot(seeds, [row] * len(seeds), linestyle="", color=LIGHT[colour], marker="o", markersize=4, alpha=0.5)
            axes.plot([mean], [row], linestyle="", color=LIGHT[colour], marker="D", markersize=7)
        axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
        axes.set_ylim(len(ordered) - 0.5, -0.5)
    facts = "; ".join(f"{name} {seeds.mean():.1f} ± {interval_of_mean(seeds)[1]:.1f}" for name, seeds in ordered)
    return described(picture, title, facts)


def interval_of_mean(values: numpy.ndarray) -> tuple[float, float]:
    """Mean of a few runs, and half the width of its 95 % interval (Student, The probable error of a mean, 1908)."""
    count = len(values)
    if count < 2:
        return float(values.mean()), 0.0
    t = T_QUANTILES[min(count, len(T_QUANTILES) + 1) - 2]
    return float(values.mean()), t * float(values.std(ddof=1)) / count**0.5

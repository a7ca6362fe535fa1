"""The figures of the lessons: matplotlib without pyplot, in the colours of the course, each with alternative text.

Every function returns a ``Picture``, which is a matplotlib ``Figure`` that a notebook shows as a small PNG. The same
data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
from matplotlib import style

from course_lib.colours import LIGHT
from course_lib.drawing import Curves, Intervals, draw_bars, draw_curves, limits, log_ticks
from course_lib.formats import compact
from course_lib.picture import STYLE, Picture, canvas, described, name_points

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

SHARES = {"parameters": "parameters", "macs": "MACs", "latency_ms": "time"}


def accuracy_curves(
    curves: Curves,
    *,
    baseline: float | None = None,
    title: str = "Accuracy against sparsity",
    chance: float | None = None,
) -> Picture:
    """Accuracy of pruned models.

    Args:
        curves: name (``"cut only"``, ``"fine-tuned"``, …) → sparsities and accuracies, as fractions.
        baseline: accuracy of the uncompressed model; chance: of guessing. Both are drawn as dashed lines.
    """
    with style.context(STYLE):
        picture, axes = canvas(title, "weights cut (%)", "test accuracy (%)")
        for name, level in (("uncompressed", baseline), ("guessing", chance)):
            if level is not None:
                axes.axhline(100 * level, color=LIGHT["baseline"], linewidth=1.2, linestyle=(0, (5, 3)))
                axes.annotate(
                    name,
                    (0.01, 100 * level),
                    xycoords=("axes fraction", "data"),
                    xytext=(0, 2),
                    textcoords="offset points",
                    va="bottom",
                    color=LIGHT["baseline_text"],
                )
        scaled = {name: ([100 * s for s in x], [100 * a for a in y]) for name, (x, y) in curves.items()}
        draw_curves(axes, scaled, bottom=0, top=103)
        ends = "; ".join(f"{name} {y[-1]:.1f} % at {x[-1]:.0f} % cut" for name, (x, y) in scaled.items())
        return described(picture, title, ends)


def schedule_curves(curves: Curves, *, title: str = "Sparsity while training") -> Picture:
    """Sparsity over the training steps, one curve per schedule: name → steps and sparsities (fractions)."""
    with style.context(STYLE):
        picture, axes = canvas(title, "training step", "weights cut (%)")
        draw_curves(axes, {name: (x, [100 * s for s in y]) for name, (x, y) in curves.items()}, every=0.1)
        ends = "; ".join(f"{name} from {100 * y[0]:.0f} to {100 * y[-1]:.0f} %" for name, (_, y) in curves.items())
        return described(picture, title, ends)


def layer_bars(
    frame: pandas.DataFrame, *, columns: Sequence[str] = ("parameters", "macs", "latency_ms"), top: int = 12,
    title: str = "Where parameters, work and time are",
) -> Picture:  # fmt: skip
    """Share of each layer, a block of bars per column of ``profiling.layers``: the ``top`` layers, and the rest."""
    shares = {column: (frame[column] / (frame[column].sum() or 1.0)).tolist() for column in columns}
    weight = [sum(shares[column][row] for column in columns) for row in range(len(frame))]
    chosen = sorted(sorted(range(len(frame)), key=lambda row: -weight[row])[:top])
    layers = [str(name) for name in frame["name"]]
    names = [layers[row] for row in chosen]
    rest = [row for row in range(len(frame)) if row not in set(chosen)]
    if rest:
        names.append(f"{len(rest)} others")
    with style.context(STYLE):
        picture = Picture(figsize=(7.2, 1.1 + 0.26 * len(names)))
        blocks = picture.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        picture.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        for axes, column in zip(blocks, columns, strict=True):
            values = [shares[column][row] for row in chosen]
            values += [sum(shares[column][row] for row in rest)] if rest else []
            draw_bars(axes, values, SHARES.get(column, column))
        blocks[0].set_yticks(range(len(names)), names)
        blocks[0].invert_yaxis()
    largest = ", ".join(f"{SHARES.get(c, c)}: {layers[shares[c].index(max(shares[c]))]}" for c in columns)
    return described(picture, title, f"largest share of {largest}")


def sensitivity_map(frame: pandas.DataFrame, *, title: str = "Accuracy lost when one layer is cut") -> Picture:
    """Heat map of ``pruning.sensitivity_scan``: a row per layer, a column per sparsity, points of accuracy lost."""
    table = 100 * frame.pivot(index="layer", columns="sparsity", values="drop").reindex(frame["layer"].unique())
    high = max(float(table.max().max()), 1.0)
    with style.context(STYLE):
        picture = Picture(figsize=(7.2, 1.2 + 0.24 * len(table)))
        axes = picture.subplots()
        axes.set_title(title)
        axes.grid(False)
        axes.pcolormesh(table.to_numpy(), cmap="cividis", vmin=0, vmax=high, edgecolors="white", linewidth=1)
        for (row, column), value in numpy.ndenumerate(table.to_numpy()):
            ink = "white" if value < 0.45 * high else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=8.5)
        axes.set_xticks(numpy.arange(table.shape[1]) + 0.5, [f"{100 * s:g}" for s in table.columns])
        axes.set_yticks(numpy.arange(len(table)) + 0.5, list(table.index), fontsize=8.5)
        axes.invert_yaxis()
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("weights of the layer cut (%); the cells show points of accuracy lost")
    row, column = divmod(int(numpy.nanargmax(table.to_numpy())), table.shape[1])
    worst = f"{table.index[row]} at {100 * float(table.columns[column]):g} % cut"
    return described(picture, title, f"most is lost in {worst}: {table.to_numpy().max():.1f} points")


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
    with style.context(STYLE):
        picture, axes = canvas(title, "stored size (MB), smaller to the left", "accuracy retained (%)")
        axes.set_xscale("log")
        sizes, heights = [size / 1e6 for size in stored_bytes], [100 * value for value in retained]
        bars = [(100 * low, 100 * high) for low, high in limits(retained, intervals)]
        for index, (size, height, bar) in enumerate(zip(sizes, heights, bars, strict=True)):
            colour, marker = ("baseline", "v") if index == 0 else ("kept", "o")
            axes.plot([size] * 2, bar, color=LIGHT[colour], marker="_", linewidth=1.4)
            axes.plot([size], [height], color=LIGHT[colour], marker=marker, markersize=7)
        axes.margins(x=0.12, y=0.12)
        log_ticks(axes.xaxis, subs=(1.0, 2.0, 5.0))
        name_points(axes, names, sizes, heights, bars)
    facts = "; ".join(f"{name} {s:.1f} MB, {h:.1f} %" for name, s, h in zip(names, sizes, heights, strict=True))
    return described(picture, title, facts)


def roofline(frame: pandas.DataFrame, roof: Any, *, title: str = "Layers under the roof of this machine") -> Picture:
    """Achieved speed of each layer of ``profiling.layers`` under the limits of ``profiling.roofline``.

    Source: Williams, Waterman & Patterson, Roofline, 2009.
    """
    rows = frame[(frame["macs"] > 0) & (frame["achieved_gflops"] > 0)]
    with style.context(STYLE):
        picture, axes = canvas(title, "arithmetic intensity (FLOP per byte moved)", "speed (GFLOP/s)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        low, high = min([*rows["intensity"], roof.ridge]) / 3, max([*rows["intensity"], roof.ridge]) * 3
        slope = [low * roof.bandwidth_gbs, roof.peak_gflops, roof.peak_gflops]
        axes.plot([low, roof.ridge, high], slope, color=LIGHT["baseline"], marker="")
        for axis in (axes.xaxis, axes.yaxis):
            log_ticks(axis)
        axes.set_ylim(0.4 * rows["achieved_gflops"].min(), 4 * max(roof.peak_gflops, rows["achieved_gflops"].max()))
        axes.annotate(
            f"peak {roof.peak_gflops:,.0f} GFLOP/s",
            (1, 0.96),
            xycoords="axes fraction",
            ha="right",
            va="top",
            color=LIGHT["baseline_text"],
        )
        axes.axvline(roof.ridge, color=LIGHT["threshold"], linestyle=(0, (5, 3)), linewidth=1.4, marker="")
        for waits, colour, marker in ((True, "threshold", "^"), (False, "kept", "o")):
            some = rows[(rows["intensity"] < roof.ridge) == waits]
            axes.plot(some["intensity"], some["achieved_gflops"], linestyle="", color=LIGHT[colour], marker=marker)
        for side, words, colour in (
            ("right", "waits for memory ", "threshold"),
            ("left", " limited by arithmetic", "kept"),
        ):
            axes.annotate(
                words, (roof.ridge, 0.03), xycoords=("data", "axes fraction"), ha=side, color=LIGHT[f"{colour}_text"]
            )
    waiting = int((rows["intensity"] < roof.ridge).sum())
    return described(picture, title, f"{waiting} of {len(rows)} layers wait for memory")


def weight_histogram(weight: Tensor, *, threshold: float, title: str) -> Picture:
    """Values of a weight of any shape: those below ``threshold`` in magnitude are cut and grey, the others blue."""
    values = weight.detach().float().flatten().cpu().numpy()
    span = float(numpy.quantile(numpy.abs(values), 0.999))
    counts, edges = numpy.histogram(values, bins=numpy.linspace(-span, span, 122))
    middles = (edges[1:] + edges[:-1]) / 2
    inside = numpy.abs(middles) < threshold
    with style.context(STYLE):
        picture, axes = canvas(title, "weight value", "number of weights")
        for chosen, colour in ((inside, "cut"), (~inside, "kept")):
            axes.bar(middles[chosen], counts[chosen], width=edges[1] - edges[0], color=LIGHT[colour])
        for side in (-threshold, threshold):
            axes.axvline(side, color=LIGHT["threshold"], linewidth=1.2, linestyle=(0, (5, 3)))
    cut = float((numpy.abs(values) < threshold).mean())
    return described(picture, title, f"{100 * cut:.0f} % of {values.size:,} weights lie within {threshold:.3g} of zero")


def bars(
    values: pandas.Series,
    *,
    title: str,
    x_label: str,
    colours: Mapping[str, str] | None = None,
    form: Callable[[float], str] = compact,
) -> Picture:
    """One horizontal bar for each entry; ``form`` writes its number, ``colours`` gives colour names of the course."""
    names, numbers = [str(name) for name in values.index], [float(value) for value in values]
    chosen = [LIGHT[(colours or {}).get(name, "kept")] for name in names]
    with style.context(STYLE):
        picture, axes = canvas(title, x_label, "")
        picture.set_figheight(1.0 + 0.28 * len(names))
        axes.barh(range(len(names)), numbers, color=chosen, height=0.7)
        for place, value in enumerate(numbers):
            axes.annotate(form(value), (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xlim(0, 1.15 * max([*numbers, 1e-9]))
    return described(
        picture, title, ", ".join(f"{name} {form(value)}" for name, value in zip(names, numbers, strict=True))
    )


def curves(
    frame: pandas.DataFrame,
    *,
    title: str,
    x_label: str,
    y_label: str,
    cursor: float | None = None,
    log: bool = False,
) -> Picture:
    """A curve for each column of ``frame`` over its index; ``cursor`` marks one x; ``log`` is for both axes."""
    with style.context(STYLE):
        picture, axes = canvas(title, x_label, y_label)
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                log_ticks(axis)
        if cursor is not None:
            axes.axvline(cursor, color=LIGHT["threshold"], linewidth=1.2, linestyle=(0, (5, 3)))
        bottom = None if log else min(0.0, float(frame.min().min()))
        draw_curves(axes, {str(name): (list(frame.index), list(frame[name])) for name in frame}, bottom=bottom)
    ends = "; ".join(f"{name} ends at {frame[name].iloc[-1]:.3g}" for name in frame.columns)
    return described(picture, title, ends)

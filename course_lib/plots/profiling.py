"""Parameters, work and time of each layer, and layers under the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from course_lib.core.palette import LIGHT
from course_lib.plots.axes import draw_bars, log_ticks
from course_lib.plots.figure import Picture, canvas, described, row_of_axes

if TYPE_CHECKING:
    import pandas

SHARES = {"parameters": "parameters", "macs": "MACs", "latency_ms": "time"}


def layer_bars(
    frame: pandas.DataFrame, *, columns: Sequence[str] = ("parameters", "macs", "latency_ms"), top: int = 12,
    title: str = "Where parameters, work and time are",
) -> Picture:  # fmt: skip
    """Shares of the ``top`` layers and of the rest, a block of bars for each of ``columns`` of ``profiling.layers``."""
    shares = {column: (frame[column] / (frame[column].sum() or 1.0)).tolist() for column in columns}
    weight = [sum(shares[column][row] for column in columns) for row in range(len(frame))]
    chosen = sorted(sorted(range(len(frame)), key=lambda row: -weight[row])[:top])
    layers = [str(name) for name in frame["name"]]
    names = [layers[row] for row in chosen]
    rest = [row for row in range(len(frame)) if row not in set(chosen)]
    if rest:
        names.append(f"{len(rest)} others")
    with row_of_axes(title, len(columns), 1.1 + 0.26 * len(names)) as (picture, blocks):
        for axes, column in zip(blocks, columns, strict=True):
            values = [shares[column][row] for row in chosen]
            values += [sum(shares[column][row] for row in rest)] if rest else []
            draw_bars(axes, values, SHARES.get(column, column))
        blocks[0].set_yticks(range(len(names)), names)
        blocks[0].invert_yaxis()
    largest = ", ".join(f"{SHARES.get(c, c)}: {layers[shares[c].index(max(shares[c]))]}" for c in columns)
    return described(picture, title, f"largest share of {largest}")


def roofline(frame: pandas.DataFrame, roof: Any, *, title: str = "Layers under the roof of this machine") -> Picture:
    """Achieved speed of each layer of ``profiling.layers`` under the ``profiling.roofline`` of this machine.

    Source: Williams, Waterman & Patterson, Roofline, 2009.
    """
    rows = frame[(frame["macs"] > 0) & (frame["achieved_gflops"] > 0)]
    with canvas(title, "arithmetic intensity (FLOP per byte moved)", "speed (GFLOP/s)") as (picture, axes):
        axes.set(xscale="log", yscale="log")
        low, high = min([*rows["intensity"], roof.ridge]) / 3, max([*rows["intensity"], roof.ridge]) * 3
        slope = [low * roof.bandwidth_gbs, roof.peak_gflops, roof.peak_gflops]
        axes.plot([low, roof.ridge, high], slope, color=LIGHT["baseline"], marker="")
        for axis in (axes.xaxis, axes.yaxis):
            log_ticks(axis)
        axes.set_ylim(0.4 * rows["achieved_gflops"].min(), 4 * max(roof.peak_gflops, rows["achieved_gflops"].max()))
        axes.annotate(
            f"peak {roof.peak_gflops:,.0f} GFLOP/s", (1, 0.96), xycoords="axes fraction", ha="right", va="top",
            color=LIGHT["baseline_text"],
        )  # fmt: skip
        axes.axvline(roof.ridge, color=LIGHT["threshold"], linestyle=(0, (5, 3)), linewidth=1.4, marker="")
        _zone(axes, rows[rows["intensity"] < roof.ridge], roof.ridge, "limited by memory ", "right", "threshold", "^")
        _zone(axes, rows[rows["intensity"] >= roof.ridge], roof.ridge, " limited by arithmetic", "left", "kept", "o")
    left = int((rows["intensity"] < roof.ridge).sum())
    return described(picture, title, f"{left} of {len(rows)} layers lie left of the ridge")


def _zone(axes: Any, rows: pandas.DataFrame, ridge: float, words: str, side: str, colour: str, marker: str) -> None:
    """Layers on one side of the ridge, and the name of their limit."""
    axes.plot(rows["intensity"], rows["achieved_gflops"], linestyle="", color=LIGHT[colour], marker=marker)
    axes.annotate(words, (ridge, 0.03), xycoords=("data", "axes fraction"), ha=side, color=LIGHT[f"{colour}_text"])

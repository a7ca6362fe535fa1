"""The panel of lesson 02: every layer under the roofline of a machine, for any batch size and number of threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from course_lib.core.formatting import duration
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import log_slider, slider
from course_lib.widgets.panel import Panel

if TYPE_CHECKING:
    import pandas

    from course_lib.profiling import Roofline

SHOWN_LAYERS = 6


class Limits(NamedTuple):
    """Peak and bandwidth of a machine with a number of threads, and whether they were measured with it."""

    peak_gflops: float
    bandwidth_gbs: float
    measured: bool


@dataclass(frozen=True)
class Position:
    """A layer at a batch size: FLOP per byte, attainable GFLOP/s, time in ms, and whether memory is its limit."""

    name: str
    intensity: float
    gflops: float
    milliseconds: float
    waits: bool


@dataclass(frozen=True)
class Positions:
    """All layers under one roofline; ``achieved`` are measured speeds, at the profiled batch size only."""

    batch_size: int
    threads: int
    limits: Limits
    layers: Sequence[Position]
    achieved: Sequence[Position]

    @property
    def milliseconds(self) -> float:
        """Time of one pass over all layers."""
        return sum(layer.milliseconds for layer in self.layers)

    @property
    def waiting(self) -> float:
        """Share of the time that is spent in layers left of the ridge."""
        return sum(layer.milliseconds for layer in self.layers if layer.waits) / (self.milliseconds or 1.0)


def place(layer: Any, batch: float, limits: Limits) -> Position:
    """A row of ``profiling.layers`` at ``batch`` times the profiled batch size.

    Work and activations grow with the batch while weights are read once, so the intensity rises.
    """
    flops, moved = 2 * layer.macs * batch, layer.weight_bytes + layer.activation_bytes * batch
    by_memory, by_arithmetic = moved / limits.bandwidth_gbs / 1e9, flops / limits.peak_gflops / 1e9
    seconds = max(by_memory, by_arithmetic)
    return Position(layer.name, flops / moved, flops / seconds / 1e9, 1000 * seconds, by_memory > by_arithmetic)


def limits_for(threads: int, rooflines: Sequence[Roofline]) -> Limits:
    """The roofline measured with this number of threads, else the nearest one with its peak scaled."""
    nearest = min(rooflines, key=lambda roofline: abs(roofline.threads - threads))
    scale = threads / nearest.threads
    return Limits(nearest.peak_gflops * scale, nearest.bandwidth_gbs, nearest.threads == threads)


def roofline_panel(
    frame: pandas.DataFrame, roofline: Roofline | Sequence[Roofline], *, batch_size: int = 1, model: str = "the model"
) -> Panel:
    """Drag batch size and threads, and see which layers lie left of the ridge.

    Args:
        frame: the table of ``profiling.layers``.
        roofline: of the machine, one or several with different numbers of threads; between them the peak is scaled.
        batch_size: of the profiled inputs.
        model: displayed name.

    Raises:
        ValueError: if no layer of the table has MACs.
    """
    rooflines = list(roofline) if isinstance(roofline, Sequence) else [roofline]
    layers, profiled = layers_of(frame), batch_size
    most = max(roofline.threads for roofline in rooflines)

    def compute(batch_size: int, threads: int = most) -> Positions:
        return positions(layers, batch_size, threads, rooflines, profiled)

    controls: dict[str, Any] = {"batch_size": log_slider(batch_size, 1, 256, label="Batch size", step=math.log10(2))}
    if most > 1:
        controls["threads"] = slider(most, 1, most)
    return Panel(
        compute,
        lambda result: draw(result, model),
        numbers=numbers,
        title="Which limit comes first?",
        subtitle=f"The layers of {model}: left of the ridge memory limits them at best, right of it arithmetic",
        **controls,
    )


def layers_of(frame: pandas.DataFrame) -> list[Any]:
    """The rows with MACs above 0, as named tuples."""
    busy = frame[frame["macs"] > 0]
    if busy.empty:
        raise ValueError("frame must hold at least one layer with macs above 0, got none")
    return list(busy.itertuples(index=False))


def positions(
    layers: Sequence[Any], batch: int, threads: int, rooflines: Sequence[Roofline], profiled: int
) -> Positions:
    """Every layer at this batch size and number of threads."""
    limits = limits_for(threads, rooflines)
    placed = [place(layer, batch / profiled, limits) for layer in layers]
    was_measured = batch == profiled and threads == max(roofline.threads for roofline in rooflines)
    achieved = [
        replace(at, gflops=layer.achieved_gflops, milliseconds=0.0)
        for layer, at in zip(layers, placed, strict=True)
        if was_measured and layer.achieved_gflops > 0
    ]
    return Positions(batch, threads, limits, placed, achieved)


def draw(result: Positions, model: str) -> str:
    """The roofline with a point per layer, and the slowest layers."""
    slowest = sorted(result.layers, key=lambda layer: -layer.milliseconds)[:SHOWN_LAYERS]
    achieved = sorted(result.achieved, key=lambda at: at.intensity)
    points = [_point(at, "baseline", "diamond", "measured") for at in achieved]
    named = {slowest[0].name, max(result.layers, key=lambda at: at.intensity).name}
    for at in result.layers:
        style = ("threshold", "triangle") if at.waits else ("kept", "circle")
        points.append(_point(at, *style, at.name if at.name in named else ""))
    points = _one_label_each(points)
    main = charts.roofline(
        points,
        peak_gflops=result.limits.peak_gflops,
        bandwidth_gbs=result.limits.bandwidth_gbs,
        title=f"{model}, batch {result.batch_size}, {result.threads} thread{'s' if result.threads > 1 else ''}",
    )
    companion = charts.bars(
        [at.name for at in slowest],
        [at.milliseconds for at in slowest],
        title="Slowest layers, at best",
        colours=["threshold" if at.waits else "kept" for at in slowest],
        labels=[f"{duration(at.milliseconds)}, {'memory' if at.waits else 'arithmetic'}" for at in slowest],
    )
    return side_by_side(main, companion)


def _point(at: Position, colour: str, marker: str, label: str) -> charts.Point:
    note = f"{at.name}: {at.intensity:.3g} FLOP per byte, {at.gflops:,.3g} GFLOP/s"
    return charts.Point(note, at.intensity, at.gflops, colour, marker, label, 3.0 if marker == "diamond" else 4.0)


def _one_label_each(points: Sequence[charts.Point]) -> list[charts.Point]:
    """Points in which a repeated label ("measured") stays on the last one only."""
    keep = {point.label: index for index, point in enumerate(points)}
    return [p if keep[p.label] == index else replace(p, label="") for index, p in enumerate(points)]


def numbers(result: Positions) -> list[Number]:
    """Layers left of the ridge and their share of the time, time per example, and the roofline."""
    waiting = sum(layer.waits for layer in result.layers)
    per_example = result.milliseconds / result.batch_size
    limits, tag = result.limits, "measured" if result.limits.measured else "estimated"
    return [
        Number(f"{waiting} of {len(result.layers)}", "layers left of the ridge", "estimated"),
        Number(f"{100 * result.waiting:.0f} %", "of the time there, at best", "estimated"),
        Number(duration(per_example), "per example, at best", "estimated"),
        Number(f"{limits.peak_gflops:,.0f} GFLOP/s", f"peak; memory moves {limits.bandwidth_gbs:,.0f} GB/s", tag),
    ]

"""The panel of lesson 02: every layer under the roof of the machine, for any batch size and number of threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from course_lib.core.formatting import duration
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import log_slider, slider
from course_lib.widgets.panel import Panel

SHOWN_LAYERS = 6


class Roof(Protocol):
    """What ``profiling.roofline`` gives."""

    @property
    def peak_gflops(self) -> float: ...
    @property
    def bandwidth_gbs(self) -> float: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True)
class Layer:
    """One row of ``profiling.layers``: work and bytes at the batch size at which it was profiled."""

    name: str
    macs: float
    weight_bytes: float
    activation_bytes: float
    gflops: float | None


@dataclass(frozen=True)
class Position:
    """A layer at a batch size: FLOP per byte, the speed that the roof allows (GFLOP/s), and its time (ms)."""

    name: str
    intensity: float
    gflops: float
    milliseconds: float
    waits: bool


@dataclass(frozen=True)
class Positions:
    """All layers under one roof; ``achieved`` holds what was measured, where the batch size is the profiled one."""

    batch_size: int
    threads: int
    peak_gflops: float
    bandwidth_gbs: float
    layers: Sequence[Position]
    achieved: Sequence[Position]
    measured_roof: bool

    @property
    def milliseconds(self) -> float:
        """One pass over all layers."""
        return sum(layer.milliseconds for layer in self.layers)

    @property
    def waiting(self) -> float:
        """Share of the time that is spent in layers which wait for memory."""
        return sum(layer.milliseconds for layer in self.layers if layer.waits) / (self.milliseconds or 1.0)


def place(layer: Layer, batch: float, peak_gflops: float, bandwidth_gbs: float) -> Position:
    """Work and activations grow with the batch, weights are read once: that is why the intensity rises.

    Args:
        batch: times the batch size at which the layer was profiled.
    """
    flops, moved = 2 * layer.macs * batch, layer.weight_bytes + layer.activation_bytes * batch
    by_memory, by_arithmetic = moved / bandwidth_gbs / 1e9, flops / peak_gflops / 1e9
    seconds = max(by_memory, by_arithmetic)
    return Position(layer.name, flops / moved, flops / seconds / 1e9, 1000 * seconds, by_memory > by_arithmetic)


def roof_for(threads: int, roofs: Sequence[Roof]) -> tuple[float, float, bool]:
    """Peak and bandwidth: as measured with that number of threads, else the nearest with its peak scaled."""
    nearest = min(roofs, key=lambda roof: abs(roof.threads - threads))
    scale = threads / nearest.threads
    return nearest.peak_gflops * scale, nearest.bandwidth_gbs, nearest.threads == threads


def roofline_panel(
    frame: Any, roofline: Roof | Sequence[Roof], *, batch_size: int = 1, model: str = "the model"
) -> Panel:
    """Drag batch size and threads, and see which layers wait for memory.

    Args:
        frame: the table of ``profiling.layers``.
        roofline: of this machine, one or several with different threads; between them the peak is scaled.
        batch_size: of the inputs with which ``frame`` was made.
        model: name to show.

    Raises:
        ValueError: if no layer of the table does any work.
    """
    roofs = list(roofline) if isinstance(roofline, Sequence) else [roofline]
    layers = layers_of(frame)
    most = max(roof.threads for roof in roofs)

    def compute(batch_size: int, threads: int = most) -> Positions:
        return positions(layers, batch_size, threads, roofs, profiled)

    profiled = batch_size
    controls: dict[str, Any] = {"batch_size": log_slider(batch_size, 1, 256, label="Batch size", step=math.log10(2))}
    if most > 1:
        controls["threads"] = slider(most, 1, most)
    return Panel(
        compute,
        lambda result: draw(result, model),
        numbers=numbers,
        title="What does a layer wait for?",
        subtitle=f"The layers of {model}: left of the ridge they wait for memory, right of it for arithmetic",
        **controls,
    )


def layers_of(frame: Any) -> list[Layer]:
    """Rows that do work, as ``Layer``."""
    rows = frame[frame["macs"] > 0].to_dict("records")
    if not rows:
        raise ValueError("frame must hold at least one layer with macs above 0, got none")
    return [
        Layer(
            str(row["name"]),
            float(row["macs"]),
            float(row["weight_bytes"]),
            float(row["activation_bytes"]),
            float(row["achieved_gflops"]) if row.get("achieved_gflops", 0) > 0 else None,
        )
        for row in rows
    ]


def positions(layers: Sequence[Layer], batch: int, threads: int, roofs: Sequence[Roof], profiled: int) -> Positions:
    """Every layer at this batch size and number of threads."""
    peak, bandwidth, measured = roof_for(threads, roofs)
    placed = [place(layer, batch / profiled, peak, bandwidth) for layer in layers]
    seen = [
        Position(layer.name, at.intensity, layer.gflops, 0.0, at.waits)
        for layer, at in zip(layers, placed, strict=True)
        if layer.gflops is not None and batch == profiled and threads == max(roof.threads for roof in roofs)
    ]
    return Positions(batch, threads, peak, bandwidth, placed, seen, measured)


def draw(result: Positions, model: str) -> str:
    """The roofline with a point per layer, and the layers that take most of the time."""
    slowest = sorted(result.layers, key=lambda layer: -layer.milliseconds)[:SHOWN_LAYERS]
    seen = sorted(result.achieved, key=lambda at: at.intensity)
    points = [_point(at, "baseline", "diamond", "measured") for at in seen]
    named = {slowest[0].name, max(result.layers, key=lambda at: at.intensity).name}
    for at in result.layers:
        look = ("threshold", "triangle") if at.waits else ("kept", "circle")
        points.append(_point(at, *look, at.name if at.name in named else ""))
    points = _one_label_each(points)
    main = charts.roofline(
        points,
        peak_gflops=result.peak_gflops,
        bandwidth_gbs=result.bandwidth_gbs,
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
    """The same label several times ("measured") stays on the last point that has it."""
    keep = {point.label: index for index, point in enumerate(points)}
    return [p if keep[p.label] == index else replace(p, label="") for index, p in enumerate(points)]


def numbers(result: Positions) -> list[Number]:
    """Time and throughput by the roofline, and what the layers wait for."""
    waiting = sum(layer.waits for layer in result.layers)
    per_example = result.milliseconds / result.batch_size
    roof = "measured" if result.measured_roof else "estimated"
    return [
        Number(f"{waiting} of {len(result.layers)}", "layers wait for memory", "estimated"),
        Number(f"{100 * result.waiting:.0f} %", "of the time waits for memory", "estimated"),
        Number(duration(per_example), "per example, at best", "estimated"),
        Number(f"{result.peak_gflops:,.0f} GFLOP/s", f"peak; memory moves {result.bandwidth_gbs:,.0f} GB/s", roof),
    ]

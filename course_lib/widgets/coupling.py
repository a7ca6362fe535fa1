"""The panel of lesson 04: which rows and columns disappear when channels go, and what that leaves of work and time.

Every layer is drawn as its matrix, outputs downwards and inputs across. The groups are found once, when the panel is
made; a move of the slider only counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import chart, text

if TYPE_CHECKING:
    from torch import nn

ALL = "all groups"
LEFT, STEP, PER_LINE = 4.0, 95.0, 5
WIDTH = 480.0


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer before and after: inputs and outputs, and the pixels that it works on."""

    name: str
    inputs: int
    outputs: int
    kept_inputs: int
    kept_outputs: int
    values: int
    work: int

    @property
    def share(self) -> float:
        """What is left of its weights, and of its work."""
        return self.kept_inputs * self.kept_outputs / (self.inputs * self.outputs)


@dataclass(frozen=True)
class Narrow:
    """All layers for one position of the controls; ``measured`` are the points of a curve, if it applies."""

    layers: Sequence[Layer]
    ratio: float
    group: str
    members: int
    measured: Sequence[Mapping[str, float]]

    @property
    def work(self) -> float:
        """Share of the multiply-accumulates that is left."""
        return sum(layer.work * layer.share for layer in self.layers) / sum(layer.work for layer in self.layers)

    @property
    def values(self) -> tuple[float, int]:
        """Weights now and before."""
        return sum(one.values * one.share for one in self.layers), sum(one.values for one in self.layers)

    def at(self, key: str) -> tuple[float, str]:
        """A measured figure at this ratio, and whether it was measured there or lies between two measurements."""
        points = sorted(self.measured, key=lambda row: row["ratio"])
        ratios = [row["ratio"] for row in points]
        value = float(numpy.interp(self.ratio, ratios, [row[key] for row in points]))
        return value, "measured" if any(abs(self.ratio - ratio) < 1e-6 for ratio in ratios) else "estimated"


class Groups:
    """Pure answers to "what if this share of the channels stayed?"."""

    def __init__(self, model: nn.Module, inputs: Any, measured: Sequence[Mapping[str, float]]) -> None:
        from course_lib import models, profiling, pruning

        self.coupling, self.measured = pruning.couple(model), measured
        table = profiling.layers(model, inputs, timed=False).set_index("name")
        self.layers = [
            (name, module, int(table.loc[name, "macs"]))  # type: ignore[arg-type]
            for name, module in models.prunable_layers(model).items()
        ]
        self.names = list(self.coupling.prunable())

    def narrow(self, ratio: float, group: str = ALL) -> Narrow:
        """Keep this share of the channels of a group, or of all."""
        from course_lib.architectures.layer_sizes import sizes
        from course_lib.pruning import keep_count

        chosen = self.names if group == ALL else [group]
        gone: dict[tuple[str, str], int] = {}
        for name in chosen:
            one = self.coupling[name]
            removed = one.channels - max(1, keep_count(one.channels, max(ratio, 0.5 / one.channels)))
            for member in one.members:
                key = (member.layer, member.side)
                gone[key] = gone.get(key, 0) + removed * member.map.repeat
        layers = []
        for name, module, work in self.layers:
            inputs, outputs = sizes(module) or (1, 1)
            left_in, left_out = inputs - gone.get((name, "in"), 0), outputs - gone.get((name, "out"), 0)
            values = module.get_parameter("weight").numel()
            layers.append(Layer(name, inputs, outputs, left_in, left_out, values, work))
        members = sum(len(self.coupling[name].members) for name in chosen)
        return Narrow(layers, ratio, group, members, self.measured if group == ALL else ())


def width_panel(model: nn.Module | None = None, inputs: Any = None, *, ratio: float = 0.5) -> Panel:
    """Drag the share of channels that stay, and see which rows and columns of which layers disappear.

    Args:
        model: one that ``pruning.couple`` understands; the shipped ResNet18 when not given.
        inputs: an input of it, to count the work.
        ratio: where the slider starts.
    """
    measured: Sequence[Mapping[str, float]] = ()
    if model is None:
        from course_lib import data, models

        model, inputs = models.load("resnet18"), data.load("fashion_mnist").validation.example(1)
        measured = results("structured").get("curve", {}).get("rows", ())
    groups = Groups(model, inputs, measured)
    return Panel(
        groups.narrow,
        draw,
        numbers=numbers,
        title="What disappears, and where?",
        subtitle="Each box is the matrix of a layer: outputs downwards, inputs across. Blue stays, grey goes.",
        ratio=slider(ratio, 0.05, 1.0, 0.005, label="Channels that stay", unit="%"),
        group=choice(ALL, *groups.names, label="Group to cut"),
    )


def draw(narrow: Narrow) -> str:
    """The matrices, row by row of equal stages, and beside them accuracy and speed where they were measured."""
    picture = matrices(narrow)
    return side_by_side(picture, speed(narrow)) if narrow.measured else side_by_side(picture)


def matrices(narrow: Narrow) -> str:
    """One box per layer, in lines that begin where the width of the network grows; sizes go by the root of channels."""
    parts: list[str] = []
    largest = max(max(layer.inputs, layer.outputs) for layer in narrow.layers) ** 0.5
    top = 24.0
    for line in _lines(narrow.layers):
        boxes = [(70 * layer.inputs**0.5 / largest + 4, 70 * layer.outputs**0.5 / largest + 4) for layer in line]
        for place, (layer, (width, height)) in enumerate(zip(line, boxes, strict=True)):
            parts += _box(layer, LEFT + place * STEP, top, width, height)
        top += max(height for _, height in boxes) + 26
    changed = sum(layer.share < 1 for layer in narrow.layers)
    title = f"{changed} of {len(narrow.layers)} layers lose rows or columns"
    facts = f"{narrow.group} at {100 * narrow.ratio:.0f} %: {100 * narrow.work:.0f} % of the work is left"
    return chart(parts, width=WIDTH, height=top, title=title, description=facts)


def _lines(layers: Sequence[Layer]) -> list[list[Layer]]:
    """A new line where more channels come out than ever before, and where five boxes stand already."""
    lines: list[list[Layer]] = []
    widest = 0
    for layer in layers:
        if not lines or layer.outputs > widest or len(lines[-1]) == PER_LINE:
            lines.append([])
        lines[-1].append(layer)
        widest = max(widest, layer.outputs)
    return lines


def _box(layer: Layer, x: float, y: float, width: float, height: float) -> list[str]:
    """Grey behind, blue on top of what stays, and the name below."""
    kept = (width * layer.kept_inputs / layer.inputs, height * layer.kept_outputs / layer.outputs)
    note = (
        f"{layer.name}: {layer.kept_outputs} of {layer.outputs} outputs, {layer.kept_inputs} of {layer.inputs} inputs"
    )
    name = layer.name.removeprefix("features.").replace(".downsample.0", ".down")
    return [
        f"<g><title>{escape(note)}</title>",
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="cut"/>',
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{kept[0]:.1f}" height="{kept[1]:.1f}" class="kept"/></g>',
        text(x, y + height + 12, name if len(name) <= 15 else f"…{name[-14:]}"),
    ]


def speed(narrow: Narrow) -> str:
    """How many times less work, and how many times faster, over the share of channels; a quarter of them at least."""
    points = sorted((row for row in narrow.measured if row["ratio"] >= 0.25), key=lambda row: -row["ratio"])
    x = [100 * row["ratio"] for row in points]
    work, time = ([row[key] for row in points] for key in ("macs_factor", "speedup"))
    series = [charts.Line("work", x, work, "baseline", "triangle"), charts.Line("time", x, time, "kept", "circle")]
    return charts.lines(
        series, title="How many times less", x_label="channels that stay (%)", y_label="times less", x_range=(0, 100),
        y_range=(0, 1.1 * max([*work, *time], default=1.0)), cursor=100 * narrow.ratio,
    )  # fmt: skip


def numbers(narrow: Narrow) -> list[Number]:
    """Channels are exact, time and accuracy were measured for all groups together."""
    now, before = narrow.values
    row = [
        Number(f"{100 * narrow.work:.0f} %", "of the multiply-accumulates", "exact"),
        Number(byte_size(round(4 * now)), f"of weights in fp32, was {byte_size(4 * before)}", "exact"),
    ]
    if narrow.measured:
        fast, tag = narrow.at("speedup")
        row.append(Number(f"{fast:.1f} ×", "speed, ONNX Runtime, batch 1", tag))
        right, tag = narrow.at("accuracy")
        row.append(Number(f"{100 * right:.1f} %", "test accuracy after a short training", tag))
    else:
        row.append(Number(f"{narrow.members}", "tensors that have to change together", "exact"))
    return row

"""The panel of lesson 04: rows and columns that disappear when channels are removed, and the remaining work and time.

Every layer is drawn as its matrix, outputs downwards and inputs across. Coupled groups are found once, when the panel
is made; a move of the slider only counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.measured import Curve, Rows
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import chart, text

if TYPE_CHECKING:
    from torch import nn

ALL = "all groups"
LEFT, STEP, PER_LINE = 4.0, 95.0, 5


@dataclass(frozen=True)
class LayerWidths:
    """A convolution or linear layer: inputs and outputs before and after, weights (``values``) and MACs (``work``)."""

    name: str
    inputs: int
    outputs: int
    kept_inputs: int
    kept_outputs: int
    values: int
    work: int

    @property
    def share(self) -> float:
        """Remaining share of its weights, and of its work."""
        return self.kept_inputs * self.kept_outputs / (self.inputs * self.outputs)


@dataclass(frozen=True)
class NarrowedModel:
    """All layers at one setting; ``measured`` are rows of ratio, speed-up and accuracy, empty if none apply."""

    layers: Sequence[LayerWidths]
    ratio: float
    group: str
    members: int
    measured: Rows

    @property
    def work(self) -> float:
        """Remaining share of the multiply-accumulates."""
        return sum(layer.work * layer.share for layer in self.layers) / sum(layer.work for layer in self.layers)

    @property
    def values(self) -> tuple[float, int]:
        """Number of weights after and before."""
        return sum(one.values * one.share for one in self.layers), sum(one.values for one in self.layers)

    def at(self, key: str) -> tuple[float, str]:
        """The figure ``key`` at this ratio, and how it is known; see ``Curve.at``."""
        return Curve(key, [row["ratio"] for row in self.measured], [row[key] for row in self.measured]).at(self.ratio)


class ModelNarrower:
    """Counts the channels, weights and work of a model in which a share of the channels stays."""

    def __init__(self, model: nn.Module, inputs: Any, measured: Rows) -> None:
        from course_lib import models, profiling, pruning

        self.coupling, self.measured = pruning.couple(model), measured
        table = profiling.layers(model, inputs, timed=False).set_index("name")
        self.layers = [
            (name, module, int(table.loc[name, "macs"]))  # type: ignore[arg-type]
            for name, module in models.prunable_layers(model).items()
        ]
        self.names = list(self.coupling.prunable())

    def narrow(self, ratio: float, group: str = ALL) -> NarrowedModel:
        """Keep this share of the channels of one group, or of all groups."""
        from course_lib.architectures.layer_sizes import sizes
        from course_lib.pruning import keep_count

        chosen = self.names if group == ALL else [group]
        removed: dict[tuple[str, str], int] = {}
        for name in chosen:
            channels = self.coupling[name].channels
            count = channels - max(1, keep_count(channels, max(ratio, 0.5 / channels)))
            for member in self.coupling[name].members:
                key = (member.layer, member.side)
                removed[key] = removed.get(key, 0) + count * member.map.repeat
        layers = []
        for name, module, work in self.layers:
            inputs, outputs = sizes(module) or (1, 1)
            kept = (inputs - removed.get((name, "in"), 0), outputs - removed.get((name, "out"), 0))
            layers.append(LayerWidths(name, inputs, outputs, *kept, module.get_parameter("weight").numel(), work))
        members = sum(len(self.coupling[name].members) for name in chosen)
        return NarrowedModel(layers, ratio, group, members, self.measured if group == ALL else ())


def width_panel(model: nn.Module | None = None, inputs: Any = None, *, ratio: float = 0.5) -> Panel:
    """Drag the share of channels that stay, and see which rows and columns of which layers disappear.

    Args:
        model: one that ``pruning.couple`` understands; the shipped ResNet18 when not given.
        inputs: an input of the model, to count the work.
        ratio: start of the slider.
    """
    measured: Rows = ()
    if model is None:
        from course_lib import data, models

        model, inputs = models.load("resnet18"), data.load("fashion_mnist").validation.example(1)
        measured = results("structured").get("curve", {}).get("rows", ())
    narrower = ModelNarrower(model, inputs, measured)
    return Panel(
        narrower.narrow,
        draw,
        numbers=numbers,
        title="What disappears, and where?",
        subtitle="Each box is the matrix of a layer: outputs downwards, inputs across. Blue stays, grey goes.",
        ratio=slider(ratio, 0.05, 1.0, 0.005, label="Channels that stay", unit="%"),
        group=choice(ALL, *narrower.names, label="Group to cut"),
    )


def draw(narrow: NarrowedModel) -> str:
    """The matrices, and beside them work and time if they were measured."""
    picture = matrices(narrow)
    return side_by_side(picture, speed(narrow)) if narrow.measured else side_by_side(picture)


def matrices(narrow: NarrowedModel) -> str:
    """One box per layer, its sides proportional to the square root of channels; a new line where the width grows."""
    parts: list[str] = []
    largest = max(max(layer.inputs, layer.outputs) for layer in narrow.layers) ** 0.5
    top = 24.0
    for line in _lines(narrow.layers):
        boxes = [(70 * layer.inputs**0.5 / largest + 4, 70 * layer.outputs**0.5 / largest + 4) for layer in line]
        for column, (layer, (width, height)) in enumerate(zip(line, boxes, strict=True)):
            parts += _box(layer, LEFT + column * STEP, top, width, height)
        top += max(height for _, height in boxes) + 26
    changed = sum(layer.share < 1 for layer in narrow.layers)
    title = f"{changed} of {len(narrow.layers)} layers lose rows or columns"
    facts = f"{narrow.group} at {100 * narrow.ratio:.0f} %: {100 * narrow.work:.0f} % of the work is left"
    return chart(parts, width=charts.MAIN, height=top, title=title, description=facts)


def _lines(layers: Sequence[LayerWidths]) -> list[list[LayerWidths]]:
    """Lines of at most five layers; a new one where a layer has more outputs than any before."""
    lines: list[list[LayerWidths]] = []
    widest = 0
    for layer in layers:
        if not lines or layer.outputs > widest or len(lines[-1]) == PER_LINE:
            lines.append([])
        lines[-1].append(layer)
        widest = max(widest, layer.outputs)
    return lines


def _box(layer: LayerWidths, x: float, y: float, width: float, height: float) -> list[str]:
    """A grey box with a blue box of the kept part on top, and the name below."""
    kept = (width * layer.kept_inputs / layer.inputs, height * layer.kept_outputs / layer.outputs)
    outputs, inputs = f"{layer.kept_outputs} of {layer.outputs}", f"{layer.kept_inputs} of {layer.inputs}"
    name = layer.name.removeprefix("features.").replace(".downsample.0", ".down")
    return [
        f"<g><title>{escape(layer.name)}: {outputs} outputs, {inputs} inputs</title>",
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="cut"/>',
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{kept[0]:.1f}" height="{kept[1]:.1f}" class="kept"/></g>',
        text(x, y + height + 12, name if len(name) <= 15 else f"…{name[-14:]}"),
    ]


def speed(narrow: NarrowedModel) -> str:
    """Reduction of work and speed-up over the share of channels, from a quarter on."""
    points = sorted((row for row in narrow.measured if row["ratio"] >= 0.25), key=lambda row: -row["ratio"])
    x = [100 * row["ratio"] for row in points]
    work, time = ([row[key] for row in points] for key in ("macs_factor", "speedup"))
    series = [charts.Line("work", x, work, "baseline", "triangle"), charts.Line("time", x, time, "kept", "circle")]
    return charts.lines(
        series, title="How many times less", x_label="channels that stay (%)", y_label="times less", x_range=(0, 100),
        y_range=(0, 1.1 * max([*work, *time], default=1.0)), cursor=100 * narrow.ratio,
    )  # fmt: skip


def numbers(narrow: NarrowedModel) -> list[Number]:
    """Exact work and bytes; speed and accuracy if they were measured (for all groups together)."""
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

"""The panel of lesson 05: rounding errors of one layer, and measured SQNR and accuracy of the whole model.

The errors are computed live, on at most 300,000 weights; SQNR of every layer and accuracy were measured beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.measured import Rows, Style, accuracy_chart, accuracy_number
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, text, text_width, x_axis, y_axis
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

NAMES = {"one per tensor": "per_tensor", "one per channel": "per_channel", "one per 64 weights": "group"}
MAX_WEIGHTS = 300_000
BINS = 81
STYLES = {
    "per_tensor": Style("per tensor", "before", "square"), "per_channel": Style("per channel", "kept"),
    "group": Style("per 64 weights", "holds", "diamond"),
}  # fmt: skip


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer after quantization.

    Args:
        edges, counts: histogram of the rounding errors, of a part of the weights.
        step: median distance between neighbouring values.
        sqnr: signal-to-quantization-noise ratio in decibels.
        stored, dense: bytes of the whole layer with its scales, and in fp32.
    """

    name: str
    bits: int
    granularity: str
    edges: Sequence[float]
    counts: Sequence[int]
    step: float
    sqnr: float
    stored: int
    dense: int


def quantize_layer(name: str, weight: Tensor, bits: int, granularity: str) -> QuantizedLayer:
    """The layer with each weight rounded to the nearest grid point."""
    from course_lib import quantization as q
    from course_lib.quantization.bit_sweep import largest_group

    inputs = weight[0].numel()
    part = weight[: max(1, MAX_WEIGHTS // inputs)]
    if granularity == "per_tensor":
        params, scales = q.choose_params(weight.min(), weight.max(), bits), 1
    else:
        group_size = largest_group(inputs) if granularity == "group" else None
        params = q.weight_params(part, bits, granularity, group_size=group_size)
        scales = len(params.scale) * len(weight) // len(part)
    rounded = q.fake_quantize(part, params)
    error = (part - rounded).flatten().numpy()
    span = float(numpy.abs(error).max()) or 1.0
    counts, edges = numpy.histogram(error, BINS, (-span, span))
    stored = -(-weight.numel() * bits // 8) + 4 * scales
    step, sqnr = params.scale.median().item(), q.sqnr_db(part, rounded)
    return QuantizedLayer(
        name, bits, granularity, edges.tolist(), counts.tolist(), step, sqnr, stored, 4 * weight.numel()
    )


def bits_panel(subject: nn.Module | Tensor | None = None, *, measured: Rows | None = None, bits: int = 4) -> Panel:
    """Drag the number of bits, and choose how many weights share a scale.

    Args:
        subject: a model, or one weight [channels, …]; the shipped ResNet18 with BatchNorm folded when not given.
        measured: rows of ``quantization.bits_scan`` with accuracy and SQNR to draw; the shipped ones when neither is
            given.
        bits: start of the slider.

    Raises:
        ValueError: if the subject has no weights.
    """
    if measured is None:
        measured = results("quantization").get("weights", {}).get("rows", []) if subject is None else []
    rows, layers = measured, weights_of(subject, shipped=_folded)
    names = list(layers)
    start = "layer3.0.conv1" if "layer3.0.conv1" in names else names[0]
    controls: dict[str, Any] = {
        "bits": slider(bits, 2, 8, 1, unit="bits"),
        "scales": choice(*NAMES, value="one per channel", label="Scales"),
    }
    if len(names) > 1:
        controls["layer"] = choice(*names, value=start)

    @cache
    def compute(bits: int, scales: str, layer: str = start) -> QuantizedLayer:
        return quantize_layer(layer, layers[layer].detach().float().cpu(), bits, NAMES[scales])

    return Panel(
        compute,
        lambda layer: draw(layer, rows),
        numbers=lambda layer: numbers(layer, rows),
        title="How few bits are enough?",
        subtitle="Drag, or focus the slider and use the arrow keys. Above: the error that rounding makes.",
        **controls,
    )


def draw(layer: QuantizedLayer, measured: Rows) -> str:
    """Errors of the layer; accuracy of the model over bits and SQNR of every layer if measured."""
    title = f"{layer.name}: error of each weight"
    pictures = [charts.histogram(layer.edges, layer.counts, title=title, x_label="rounding error")]
    if measured:
        accuracy = accuracy_chart(
            measured, kind="granularity", bits="bits", styles=STYLES, x_label="bits per weight", cursor=layer.bits
        )
        pictures += [accuracy, _sqnr(layer, measured)]
    return side_by_side(*pictures)


def numbers(layer: QuantizedLayer, measured: Rows) -> list[Number]:
    """SQNR, step and bytes of the layer; accuracy of the model if it was measured."""
    row = [
        Number(f"{layer.sqnr:.1f} dB", "signal above noise in this layer", "exact"),
        Number(f"{layer.step:.2g}", "from one value to the next (median)", "exact"),
        Number(byte_size(layer.stored), f"file of this layer, was {byte_size(layer.dense)}", "exact"),
    ]
    if measured:
        chosen = {"granularity": layer.granularity, "bits": layer.bits}
        row += accuracy_number(measured, chosen, f"accuracy, was {100 * measured[0]['accuracy']:.1f} %")
    return row


def _sqnr(layer: QuantizedLayer, measured: Rows) -> str:
    """Vertical bars, one per layer in the order of the model; the chosen layer has another colour."""
    rows = [row for row in measured if (row["granularity"], row["bits"]) == (layer.granularity, layer.bits)]
    values = {name.removesuffix(".weight"): decibels for name, decibels in (rows[0]["sqnr_db"] if rows else {}).items()}
    width, height = charts.MAIN, 190.0
    x, y = Scale(0, max(len(values), 1), 48, width - 12), Scale(0, 60, height - charts.BOTTOM, charts.TOP)
    parts = [y_axis(y, x.start, x.end, "signal above noise (dB)", count=3)]
    for index, (name, value) in enumerate(values.items()):
        left, right = x(index + 0.15), x(index + 0.85)
        colour = "threshold" if name == layer.name else "kept"
        parts.append(
            f'<path class="{colour}" d="M{left:.1f} {y(0):.1f}V{y(value):.1f}H{right:.1f}V{y(0):.1f}Z">'
            f"<title>{name}: {value:.1f} dB</title></path>"
        )
        if name == layer.name:
            label = f"{name} {value:.0f} dB"
            middle = min(max((left + right) / 2, x.start + text_width(label) / 2), x.end - text_width(label) / 2)
            above = y(max(values.values())) - 5  # above all bars: the label is wider than its own bar
            parts.append(text(middle, above, label, anchor="middle", classes="threshold-text"))
    parts.append(x_axis(x, y.start, "layer, from the first to the last", ticks=()))
    description = ", ".join(f"{name} {value:.0f} dB" for name, value in values.items())
    return chart(parts, width=width, height=height, title="Every layer of the model", description=description)


def _folded() -> nn.Module:
    from course_lib import models, quantization

    return quantization.fold_batchnorm(models.load("resnet18"))

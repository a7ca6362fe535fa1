"""The panel of lesson 05: what rounding to few bits does to a layer, and what it did to a whole model.

The errors of one layer are computed live, on at most 300,000 of its weights; the noise of every layer and the accuracy
were measured beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.measured import Look, accuracy_chart, accuracy_number
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, text, text_width, x_axis, y_axis
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

NAMES = {"one per tensor": "per_tensor", "one per channel": "per_channel", "one per 64 weights": "group"}
GROUP = 64
MOST = 300_000
BINS = 81
LOOKS = {
    "per_tensor": Look("per tensor", "before", "square"), "per_channel": Look("per channel", "kept", "circle"),
    "group": Look("per 64 weights", "holds", "diamond"),
}  # fmt: skip


@dataclass(frozen=True)
class Rounded:
    """One layer after rounding.

    Args:
        edges, counts: histogram of the rounding errors of the weights that were looked at.
        step: median distance of two neighbouring values.
        sqnr: signal-to-quantization-noise ratio in decibels.
        stored, dense: bytes of the whole layer with its scales, and in fp32.
    """

    layer: str
    bits: int
    granularity: str
    weights: int
    edges: Sequence[float]
    counts: Sequence[int]
    step: float
    sqnr: float
    stored: int
    dense: int


class Rounder:
    """Pure answers to "what if these weights had so few bits?" for some layers."""

    def __init__(self, layers: Mapping[str, Tensor]) -> None:
        self.layers = {name: weight.detach().float().cpu() for name, weight in layers.items()}
        self._seen: dict[tuple[str, int, str], Rounded] = {}

    def round(self, layer: str, bits: int, granularity: str) -> Rounded:
        """Round a layer to the nearest grid points; the same question is answered from memory."""
        key = (layer, bits, granularity)
        if key not in self._seen:
            self._seen[key] = self._round(*key)
        return self._seen[key]

    def _round(self, layer: str, bits: int, granularity: str) -> Rounded:
        from course_lib import quantization as q

        weight = self.layers[layer]
        inputs = weight[0].numel()
        part = weight[: max(1, MOST // inputs)]
        if granularity == "per_tensor":
            params = q.choose_params(weight.min(), weight.max(), bits)
        else:
            params = q.weight_params(part, bits, granularity, group_size=group_of(inputs, granularity))
        error = (part - q.fake_quantize(part, params)).flatten().numpy()
        span = float(numpy.abs(error).max()) or 1.0
        counts, edges = numpy.histogram(error, BINS, (-span, span))
        scales = len(params.scale) * len(weight) // len(part) if granularity != "per_tensor" else 1
        stored = -(-weight.numel() * bits // 8) + 4 * scales
        step, noise = params.scale.median().item(), q.sqnr_db(part, q.fake_quantize(part, params))
        return Rounded(layer, bits, granularity, weight.numel(), edges.tolist(), counts.tolist(), step, noise, stored,
                       4 * weight.numel())  # fmt: skip


def group_of(inputs: int, granularity: str) -> int | None:
    """64 weights share a scale, or the largest number below it that divides the inputs."""
    if granularity != "group":
        return None
    return (
        GROUP if inputs % GROUP == 0 else next(size for size in range(min(GROUP, inputs), 0, -1) if not inputs % size)
    )


def bits_panel(
    subject: nn.Module | Tensor | None = None, *, measured: Sequence[Mapping[str, Any]] | None = None, bits: int = 4
) -> Panel:
    """Drag the number of bits, and choose how many weights share a scale.

    Args:
        subject: a model, or one weight [channels, …]; the shipped ResNet18 with BatchNorm folded when not given.
        measured: rows of ``quantization.bits_scan``, from which accuracy and noise are drawn; the shipped ones when
            neither is given.
        bits: where the slider starts.

    Raises:
        ValueError: if the subject has no weights.
    """
    if measured is None:
        measured = results("quantization").get("weights", {}).get("rows", []) if subject is None else []
    found = measured
    rounder = Rounder(weights_of(subject, shipped=_folded))
    names = list(rounder.layers)
    start = "layer3.0.conv1" if "layer3.0.conv1" in names else names[0]
    controls: dict[str, Any] = {
        "bits": slider(bits, 2, 8, 1, unit="bits"),
        "scales": choice(*NAMES, value="one per channel", label="Scales"),
    }
    if len(names) > 1:
        controls["layer"] = choice(*names, value=start)

    def compute(bits: int, scales: str, layer: str = start) -> Rounded:
        return rounder.round(layer, int(bits), NAMES[scales])

    return Panel(
        compute,
        lambda rounded: draw(rounded, found),
        numbers=lambda rounded: numbers(rounded, found),
        title="How few bits are enough?",
        subtitle="Drag, or focus the slider and use the arrow keys. Above: the error that rounding makes.",
        **controls,
    )


def draw(rounded: Rounded, measured: Sequence[Mapping[str, Any]]) -> str:
    """The errors of the layer; of the model, accuracy over bits and the noise of every layer."""
    main = charts.histogram(
        rounded.edges, rounded.counts, title=f"{rounded.layer}: error of each weight", x_label="rounding error"
    )
    pictures = [main]
    if measured:
        pictures += [_accuracy(rounded, measured), _noise(rounded, measured)]
    return side_by_side(*pictures)


def numbers(rounded: Rounded, measured: Sequence[Mapping[str, Any]]) -> list[Number]:
    """Noise, bytes, and the accuracy of the model where it was measured."""
    row = [
        Number(f"{rounded.sqnr:.1f} dB", "signal above noise in this layer", "exact"),
        Number(f"{rounded.step:.2g}", "from one value to the next (median)", "exact"),
        Number(byte_size(rounded.stored), f"file of this layer, was {byte_size(rounded.dense)}", "exact"),
    ]
    if measured:
        chosen = {"granularity": rounded.granularity, "bits": rounded.bits}
        row += accuracy_number(measured, chosen, f"accuracy, was {100 * measured[0]['accuracy']:.1f} %")
    return row


def _accuracy(rounded: Rounded, measured: Sequence[Mapping[str, Any]]) -> str:
    return accuracy_chart(
        measured, kind="granularity", bits="bits", looks=LOOKS, x_label="bits per weight", cursor=rounded.bits
    )


def _noise(rounded: Rounded, measured: Sequence[Mapping[str, Any]]) -> str:
    """Upright bars, one per layer in the order of the model; the chosen layer stands out."""
    found = [row for row in measured if (row["granularity"], row["bits"]) == (rounded.granularity, rounded.bits)]
    noise = found[0]["sqnr_db"] if found else {}
    values = {name.removesuffix(".weight"): decibels for name, decibels in noise.items()}
    width, height = charts.MAIN, 190.0
    x, y = Scale(0, max(len(values), 1), 48, width - 12), Scale(0, 60, height - charts.BOTTOM, charts.TOP)
    parts = [y_axis(y, x.start, x.end, "signal above noise (dB)", count=3)]
    for place, (name, value) in enumerate(values.items()):
        left, right = x(place + 0.15), x(place + 0.85)
        colour = "threshold" if name == rounded.layer else "kept"
        parts.append(
            f'<path class="{colour}" d="M{left:.1f} {y(0):.1f}V{y(value):.1f}H{right:.1f}V{y(0):.1f}Z">'
            f"<title>{name}: {value:.1f} dB</title></path>"
        )
        if name == rounded.layer:
            label = f"{name} {value:.0f} dB"
            middle = min(max((left + right) / 2, x.start + text_width(label) / 2), x.end - text_width(label) / 2)
            above = y(max(values.values())) - 5  # of all bars, for the label is wider than its own
            parts.append(text(middle, above, label, anchor="middle", classes="threshold-text"))
    parts.append(x_axis(x, y.start, "layer, from the first to the last", ticks=()))
    description = ", ".join(f"{name} {value:.0f} dB" for name, value in values.items())
    return chart(parts, width=width, height=height, title="Every layer of the model", description=description)


def _folded() -> nn.Module:
    from course_lib import models, quantization

    return quantization.fold_batchnorm(models.load("resnet18"))

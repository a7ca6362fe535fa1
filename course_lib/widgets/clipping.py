"""The panel of lesson 06: the range of an activation, and the clipping and rounding errors that it causes.

Histograms of 4,096 bins are counted once, when the panel is made; a move of the slider works on them. The accuracy of
the whole model with each observer was measured beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from course_lib.calculator.measurements import results
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.measured import Rows, Style, accuracy_chart, accuracy_number
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, segment, text, text_width, x_axis, y_axis

if TYPE_CHECKING:
    from torch import Tensor, nn

    from course_lib.data import Split
    from course_lib.quantization.observers import HistogramObserver

BY_HAND = "by hand"
METHODS = ("min-max", "percentile", "mse", "entropy")
STYLES = {
    "min-max": Style("min-max", "before", "square"), "percentile": Style("percentile", "baseline", "triangle"),
    "mse": Style("mse", "kept"), "entropy": Style("entropy", "holds", "diamond"),
}  # fmt: skip
LAYERS = ("conv1", "layer1.1.conv1", "layer2.0.conv1", "layer4.1.conv2", "fc")
EXAMPLES = 32
SHOWN_BINS = 128
LOWER_HEIGHT = 190.0  # of the chart below the main one
ErrorCurves = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Every clipping share that the MSE observer tries, in per cent, and the clipping and rounding errors there."""


@dataclass(frozen=True)
class Clipped:
    """Mean squared errors of a range, as a share of the mean squared activation; ``curves`` hold other ranges."""

    layer: str
    bits: int
    method: str
    low: float
    high: float
    share: float
    outside: float
    clipping: float
    rounding: float
    curves: ErrorCurves = field(repr=False)

    @property
    def sqnr(self) -> float:
        """Signal-to-quantization-noise ratio in decibels."""
        total = self.clipping + self.rounding
        return math.inf if total == 0 else -10 * math.log10(total)


class Activations:
    """Histograms of the inputs of some layers, and the errors of any range."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        from course_lib.quantization import OBSERVERS

        self.observers: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            self.observers[name] = {method: OBSERVERS[method]() for method in METHODS}
            for observer in self.observers[name].values():
                observer.observe(value)
        self._curves: dict[tuple[str, int], ErrorCurves] = {}

    def histogram(self, layer: str) -> HistogramObserver:
        """The histogram of the inputs of a layer."""
        return self.observers[layer]["mse"]

    def clip(self, layer: str, bits: int, method: str, share: float) -> Clipped:
        """Clip at ``share`` of the largest magnitude, or at the range that the observer ``method`` chooses."""
        histogram = self.histogram(layer)
        largest = max(-histogram.low, histogram.high)
        if method != BY_HAND:
            observer = self.observers[layer][method]
            observer.bits = bits
            share = min(1.0, max(-min(observer.range()[0], 0.0), observer.range()[1]) / largest)
        low, high = max(min(histogram.low, 0.0), -share * largest), min(max(histogram.high, 0.0), share * largest)
        return Clipped(
            layer, bits, method, low, high, share, *self.errors(layer, bits, low, high), self._error_curves(layer, bits)
        )

    def errors(self, layer: str, bits: int, low: float, high: float) -> tuple[float, float, float]:
        """Share of the values outside the range, clipping error and rounding error."""
        from course_lib.quantization import choose_params, fake_quantize

        centres, counts = self.histogram(layer).centres, self.histogram(layer).counts
        params = choose_params(torch.tensor(low), torch.tensor(high), bits, symmetric=False)
        error = (fake_quantize(centres.float(), params).double() - centres).square() * counts
        inside = (centres >= low) & (centres <= high)
        signal = (centres.square() * counts).sum()
        outside = counts[~inside].sum() / counts.sum()
        return float(outside), float(error[~inside].sum() / signal), float(error[inside].sum() / signal)

    def _error_curves(self, layer: str, bits: int) -> ErrorCurves:
        if (layer, bits) not in self._curves:
            from course_lib.quantization.observers import CLIPS

            errors = [self.errors(layer, bits, *ends) for ends in self.histogram(layer).candidates()]
            _, clipping, rounding = zip(*errors, strict=True)
            self._curves[layer, bits] = ([100 * clip for clip in CLIPS], clipping, rounding)
        return self._curves[layer, bits]


def clipping_panel(
    model: nn.Module | None = None, examples: Split | None = None, *, bits: int = 4,
    measured: Rows | None = None,
) -> Panel:  # fmt: skip
    """Drag the range of an activation, or let an observer choose it.

    Args:
        model, examples: model and its inputs; the shipped ResNet18 and validation images when not given.
        bits: start of the slider.
        measured: rows ``method``, ``activation_bits``, ``accuracy`` of the whole model; the shipped ones when no model
            is given.

    Raises:
        TestSplitError: if the examples are of the test split.
    """
    if measured is None:
        measured = results("quantization").get("calibration", {}).get("rows", []) if model is None else []
    rows = measured
    activations = Activations(_activations(model, examples))
    names = list(activations.observers)

    def compute(clip_at: float, bits: int, chosen: str, layer: str) -> tuple[Clipped, HistogramObserver]:
        return activations.clip(layer, int(bits), chosen, clip_at), activations.histogram(layer)

    return Panel(
        compute,
        lambda result: draw(result[0], result[1], rows),
        numbers=lambda result: numbers(result[0], rows),
        shown=lambda values: [name for name in values if name != "clip_at" or values["chosen"] == BY_HAND],
        title="Where should the range end?",
        subtitle="Blue values are rounded, orange ones are clipped. Drag the line to where the grey curve is lowest.",
        chosen=choice(BY_HAND, *METHODS, label="Range chosen"),
        clip_at=slider(1.0, 0.01, 1.0, 0.01, unit="%", label="Clip at, of the largest value"),
        bits=slider(bits, 2, 8, 1, unit="bits"),
        layer=choice(*names, value=names[min(2, len(names) - 1)], label="Input of layer"),
    )


def draw(clipped: Clipped, histogram: HistogramObserver, measured: Rows = ()) -> str:
    """The histogram with its range, both errors over every clipping share, and measured accuracy."""
    share, clipping, rounding = clipped.curves
    total = [a + b for a, b in zip(clipping, rounding, strict=True)]
    low = max(min(total) / 30, 1e-9)

    def line(name: str, values: Sequence[float], colour: str, marker: str) -> charts.Line:
        kept = [(x, max(y, low)) for x, y in list(zip(share, values, strict=True))[::9]]
        return charts.Line(name, [x for x, _ in kept], [y for _, y in kept], colour, marker)

    curves = [
        line("clipping", clipping, "before", "square"),
        line("rounding", rounding, "kept", "circle"),
        line("both", total, "baseline", "diamond"),
    ]
    companion = charts.lines(
        curves, title="What a range costs", x_label="clip at (% of the largest)", y_label="squared error / signal",
        x_range=(0, 100), y_range=(low, max(1.0, low * 10)), log_y=True, cursor=100 * clipped.share,
        y_form=lambda value: f"{value:.0e}".replace("e-0", "e-").replace("e+00", ""),
    )  # fmt: skip
    pictures = [_histogram(clipped, histogram), companion]
    if measured:
        pictures.append(accuracy_chart(
            measured, kind="method", bits="activation_bits", styles=STYLES, x_label="bits of all inputs",
            cursor=clipped.bits, width=charts.MAIN, height=LOWER_HEIGHT,
        ))  # fmt: skip
    return side_by_side(*pictures)


def numbers(clipped: Clipped, measured: Rows = ()) -> list[Number]:
    """The range and its errors; accuracy of the whole model with this observer if it was measured."""
    chosen = {"method": clipped.method, "activation_bits": clipped.bits}
    ends = f"{clipped.low:.2f} … {clipped.high:.2f}"
    return [
        Number(ends, f"range, at {100 * clipped.share:.0f} % of the largest", "exact"),
        Number(f"{100 * clipped.outside:.2g} %", "of the values are clipped", "exact"),
        Number(f"{100 * clipped.clipping:.2g} %", "clipping error, of the signal", "exact"),
        Number(f"{100 * clipped.rounding:.2g} %", "rounding error, of the signal", "exact"),
        Number(f"{clipped.sqnr:.1f} dB", "signal above noise", "exact"),
        *accuracy_number(measured, chosen, f"accuracy, every input by {clipped.method}"),
    ]


def _histogram(clipped: Clipped, histogram: HistogramObserver) -> str:
    """Counts on a logarithmic scale, since most activations are zero."""
    edges, counts = _bins(histogram)
    width, height = charts.MAIN, charts.HEIGHT
    x, y = Scale(edges[0], edges[-1], 48, width - 12), Scale(0, max(counts), height - charts.BOTTOM, charts.TOP)
    paths: dict[str, list[str]] = {"kept": [], "before": []}
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        middle = (left + right) / 2
        kind = "kept" if clipped.low <= middle <= clipped.high else "before"
        paths[kind].append(f"M{x(left):.1f} {y(0):.1f}V{y(count):.1f}H{x(right):.1f}V{y(0):.1f}Z")
    parts = [y_axis(y, x.start, x.end, "values (powers of ten)", count=4)]
    parts += [f'<path class="{kind}" d="{"".join(outline)}"/>' for kind, outline in paths.items() if outline]
    parts.append(x_axis(x, y.start, f"what goes into {clipped.layer}"))
    for end in {clipped.low, clipped.high} - {0.0}:
        parts.append(segment(x(end), charts.TOP - 4, x(end), y.start, "line threshold dashed"))
        label = f"{end:.2f}"
        left_of_line = end > 0 and x(end) - 6 - text_width(label) > x.start
        beside, anchor = (x(end) - 6, "end") if left_of_line else (x(end) + 6, "start")
        parts.append(text(beside, charts.TOP + 6, label, anchor=anchor, classes="threshold-text"))
    facts = f"{100 * clipped.outside:.2g} % lie outside {clipped.low:.2f} to {clipped.high:.2f}"
    description = f"Histogram of activations; {facts}"
    return chart(parts, width=width, height=height, title=f"Input of {clipped.layer}", description=description)


def _bins(histogram: HistogramObserver) -> tuple[list[float], list[float]]:
    """Edges and log10(1 + count) of fewer, wider bins over the observed range."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    inside = (histogram.centres >= low) & (histogram.centres <= high)
    counts, centres = histogram.counts[inside], histogram.centres[inside]
    every = max(1, len(counts) // SHOWN_BINS)
    used = len(counts) // every * every
    sums = counts[:used].view(-1, every).sum(1)
    width = (high - low) / len(counts)
    first = float(centres[0]) - width / 2
    edges = [first + index * every * width for index in range(len(sums) + 1)]
    return edges, torch.log10(1 + sums).tolist()


def _activations(model: nn.Module | None, examples: Split | None) -> dict[str, Tensor]:
    from course_lib import data, models, quantization
    from course_lib.quantization.calibration import check_calibration, watch_inputs

    subject: Any = quantization.fold_batchnorm(models.load("resnet18")) if model is None else model
    seen = data.load("fashion_mnist").validation.subset(EXAMPLES) if examples is None else examples
    check_calibration(seen)
    found: dict[str, Tensor] = {}
    names = LAYERS if model is None else tuple(quantization.quantizable_layers(subject))
    watch_inputs(subject, seen, {name: partial(found.__setitem__, name) for name in names}, len(seen))
    return found

"""The panel of lesson 06: where to clip an activation, so that clipping and rounding together cost least.

Activations are counted once, when the panel is made; a move of the slider works on 4,096 bins. What each observer does
to the accuracy of the whole model was measured beforehand.
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
from course_lib.widgets.measured import Look, accuracy_chart, accuracy_number
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, segment, text, text_width, x_axis, y_axis

if TYPE_CHECKING:
    from torch import Tensor, nn

    from course_lib.data import Split
    from course_lib.quantization.observers import HistogramObserver

BY_HAND = "by hand"
METHODS = ("min-max", "percentile", "mse", "entropy")
LOOKS = {
    "min-max": Look("min-max", "before", "square"), "percentile": Look("percentile", "baseline", "triangle"),
    "mse": Look("mse", "kept", "circle"), "entropy": Look("entropy", "holds", "diamond"),
}  # fmt: skip
LAYERS = ("conv1", "layer1.1.conv1", "layer2.0.conv1", "layer4.1.conv2", "fc")
EXAMPLES = 32
SHOWN_BINS = 128
LOWER = 190.0  # height of the picture below the main one


@dataclass(frozen=True)
class Clipped:
    """What a range costs; errors are mean squared, as a share of the mean squared activation."""

    layer: str
    bits: int
    method: str
    low: float
    high: float
    share: float
    outside: float
    clipping: float
    rounding: float
    curves: Mapping[str, list[float]] = field(repr=False)

    @property
    def sqnr(self) -> float:
        """Signal above noise in decibels."""
        total = self.clipping + self.rounding
        return math.inf if total == 0 else -10 * math.log10(total)


class Activations:
    """Histograms of what goes into some layers, and pure answers to "what if it were clipped here?"."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        from course_lib.quantization import OBSERVERS, Observer

        self.observers: dict[str, dict[str, Observer]] = {}
        for name, value in values.items():
            self.observers[name] = {method: OBSERVERS[method]() for method in METHODS}
            for observer in self.observers[name].values():
                observer.observe(value)
        self._curves: dict[tuple[str, int], dict[str, list[float]]] = {}

    def histogram(self, layer: str) -> HistogramObserver:
        """The counts of a layer."""
        from course_lib.quantization.observers import HistogramObserver

        observer = self.observers[layer]["mse"]
        assert isinstance(observer, HistogramObserver)
        return observer

    def clip(self, layer: str, bits: int, method: str, share: float) -> Clipped:
        """Clip at ``share`` of the largest magnitude, or where ``method`` says."""
        seen = self.histogram(layer)
        largest = max(-seen.low, seen.high)
        if method != BY_HAND:
            observer = self.observers[layer][method]
            observer.bits = bits
            share = min(1.0, max(-min(observer.range()[0], 0.0), observer.range()[1]) / largest)
        low, high = max(min(seen.low, 0.0), -share * largest), min(max(seen.high, 0.0), share * largest)
        outside, clipping, rounding = self.costs(layer, bits, low, high)
        return Clipped(layer, bits, method, low, high, share, outside, clipping, rounding, self._all(layer, bits))

    def costs(self, layer: str, bits: int, low: float, high: float) -> tuple[float, float, float]:
        """Share of the values outside, clipping error and rounding error."""
        from course_lib.quantization import choose_params, fake_quantize

        seen = self.histogram(layer)
        params = choose_params(torch.tensor(low), torch.tensor(high), bits, symmetric=False)
        error = (fake_quantize(seen.centres.float(), params).double() - seen.centres).square() * seen.counts
        inside = (seen.centres >= low) & (seen.centres <= high)
        signal = (seen.centres.square() * seen.counts).sum()
        outside = seen.counts[~inside].sum() / seen.counts.sum()
        return float(outside), float(error[~inside].sum() / signal), float(error[inside].sum() / signal)

    def _all(self, layer: str, bits: int) -> dict[str, list[float]]:
        if (layer, bits) not in self._curves:
            from course_lib.quantization.observers import CLIPS

            costs = [self.costs(layer, bits, *ends) for ends in self.histogram(layer).candidates()]
            self._curves[layer, bits] = {
                "share": [100 * clip for clip in CLIPS],
                "clipping": [cost[1] for cost in costs],
                "rounding": [cost[2] for cost in costs],
            }
        return self._curves[layer, bits]


def clipping_panel(
    model: nn.Module | None = None, examples: Split | None = None, *, bits: int = 4,
    measured: Sequence[Mapping[str, Any]] | None = None,
) -> Panel:  # fmt: skip
    """Drag the clip line of an activation, or let an observer choose it.

    Args:
        model, examples: what to look at; the shipped ResNet18 and its validation pictures when not given.
        bits: where the slider starts.
        measured: rows ``method``, ``activation_bits``, ``accuracy`` of the whole model; the shipped ones when no model
            is given.

    Raises:
        TestSplitError: if the examples are of the test split.
    """
    if measured is None:
        measured = results("quantization").get("calibration", {}).get("rows", []) if model is None else []
    known = measured
    activations = Activations(_activations(model, examples))
    names = list(activations.observers)

    def compute(clip_at: float, bits: int, chosen: str, layer: str) -> tuple[Clipped, HistogramObserver]:
        return activations.clip(layer, int(bits), chosen, clip_at), activations.histogram(layer)

    return Panel(
        compute,
        lambda result: draw(result[0], result[1], known),
        numbers=lambda result: numbers(result[0], known),
        shown=lambda values: [name for name in values if name != "clip_at" or values["chosen"] == BY_HAND],
        title="Where should the range end?",
        subtitle="Blue values are rounded, orange ones are clipped. Drag the line to where the grey curve is lowest.",
        chosen=choice(BY_HAND, *METHODS, label="Range chosen"),
        clip_at=slider(1.0, 0.01, 1.0, 0.01, unit="%", label="Clip at, of the largest value"),
        bits=slider(bits, 2, 8, 1, unit="bits"),
        layer=choice(*names, value=names[min(2, len(names) - 1)], label="Input of layer"),
    )


def draw(clipped: Clipped, seen: HistogramObserver, measured: Sequence[Mapping[str, Any]] = ()) -> str:
    """The histogram with its clip lines, the two errors over every possible line, and what was measured."""
    share = clipped.curves["share"]
    total = [a + b for a, b in zip(clipped.curves["clipping"], clipped.curves["rounding"], strict=True)]
    low = max(min(total) / 30, 1e-9)

    def line(name: str, values: list[float], colour: str, marker: str) -> charts.Line:
        kept = [(x, max(y, low)) for x, y in list(zip(share, values, strict=True))[::9]]
        return charts.Line(name, [x for x, _ in kept], [y for _, y in kept], colour, marker)

    curves = [
        line("clipping", clipped.curves["clipping"], "before", "square"),
        line("rounding", clipped.curves["rounding"], "kept", "circle"),
        line("both", total, "baseline", "diamond"),
    ]
    companion = charts.lines(
        curves, title="What a range costs", x_label="clip at (% of the largest)", y_label="squared error / signal",
        x_range=(0, 100), y_range=(low, max(1.0, low * 10)), log_y=True, cursor=100 * clipped.share,
        y_form=lambda value: f"{value:.0e}".replace("e-0", "e-").replace("e+00", ""),
    )  # fmt: skip
    pictures = [_histogram(clipped, seen), companion]
    if measured:
        pictures.append(_accuracy(clipped, measured))
    return side_by_side(*pictures)


def _accuracy(clipped: Clipped, measured: Sequence[Mapping[str, Any]]) -> str:
    return accuracy_chart(
        measured, kind="method", bits="activation_bits", looks=LOOKS, x_label="bits of all inputs", cursor=clipped.bits,
        width=charts.MAIN, height=LOWER,
    )  # fmt: skip


def numbers(clipped: Clipped, measured: Sequence[Mapping[str, Any]] = ()) -> list[Number]:
    """The range, and what it costs; of the whole model, the accuracy where all ranges were chosen like this."""
    chosen = {"method": clipped.method, "activation_bits": clipped.bits}
    return [
        Number(
            f"{clipped.low:.2f} … {clipped.high:.2f}", f"range, at {100 * clipped.share:.0f} % of the largest", "exact"
        ),
        Number(f"{100 * clipped.outside:.2g} %", "of the values are clipped", "exact"),
        Number(f"{100 * clipped.clipping:.2g} %", "clipping error, of the signal", "exact"),
        Number(f"{100 * clipped.rounding:.2g} %", "rounding error, of the signal", "exact"),
        Number(f"{clipped.sqnr:.1f} dB", "signal above noise", "exact"),
        *accuracy_number(measured, chosen, f"accuracy, every input by {clipped.method}"),
    ]


def _histogram(clipped: Clipped, seen: HistogramObserver) -> str:
    """Counts on a logarithmic scale, for zeros would hide all others."""
    edges, counts = _bins(seen)
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
        beside = x(end) - 6 if end > 0 else x(end) + 6
        fits = beside - text_width(label) > x.start if end > 0 else True
        anchor = "end" if end > 0 and fits else "start"
        parts.append(
            text(beside if fits else x(end) + 6, charts.TOP + 6, label, anchor=anchor, classes="threshold-text")
        )
    description = (
        f"Histogram of activations; {100 * clipped.outside:.2g} % lie outside {clipped.low:.2f} to {clipped.high:.2f}"
    )
    return chart(parts, width=width, height=height, title=f"Input of {clipped.layer}", description=description)


def _bins(seen: HistogramObserver) -> tuple[list[float], list[float]]:
    """Fewer and wider bins over the range that was seen, with log10(1 + count)."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    inside = (seen.centres >= low) & (seen.centres <= high)
    counts, centres = seen.counts[inside], seen.centres[inside]
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

"""The panel of lesson 12: step size and λ of a layer, its levels, their bits and error.

The curves of the three quantizers are computed once, when the panel is made; a move of a slider quantizes a sample of
the layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from course_lib.core.formatting import byte_size, compact
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import Control, choice, log_slider, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, segment, text, x_axis, y_axis
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from course_lib.coding import RatePoint

LAYERS = ("layer1.0.conv1", "layer3.1.conv2", "layer4.1.conv2", "fc")
START, PRUNED = "layer3.1.conv2", "layer3.1.conv2, 95 % pruned"
SAMPLE = 6000  # weights of a layer
CODEBOOKS = (2, 3, 4, 6, 8, 10)
STEPS = (0.45, 0.6, 0.8, 1.1, 1.5, 2.0, 2.7)  # of the curves, in standard deviations
CURVE_LAMBDA = 0.1  # of the curve of RDOQ, in squared steps a bit
HIGHEST_DB, MOST_BITS, SPREAD = 16.0, 3.0, 3.5  # ends of the charts; the last in standard deviations
Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class SampledLayer:
    """Some weights of a layer, their number in all, and the rate–distortion curves (bits, decibels) by name."""

    name: str
    weights: Tensor
    count: int
    curves: dict[str, Curve]

    @classmethod
    def of(cls, name: str, weight: Tensor) -> SampledLayer:
        """Every n-th weight, and the curves of k-means, of uniform grids and of RDOQ."""
        from course_lib import coding

        flat = weight.detach().flatten().float()
        sample = flat[:: max(1, len(flat) // SAMPLE)][:SAMPLE].contiguous()
        spread = float(sample.std(correction=0)) or 1.0
        books = [coding.k_means(sample, k, method="density", steps=20) for k in CODEBOOKS if k <= len(sample.unique())]
        shared = [
            (coding.entropy_bits(book.indices) / len(sample), _decibels(sample, book.values().double()))
            for book in books
        ]
        curves: dict[str, list[tuple[float, float]]] = {"k-means": shared}
        for label, lam in (("uniform", 0.0), ("RDOQ", CURVE_LAMBDA)):
            steps = [share * spread for share in STEPS]
            points = [coding.rdoq_point(sample, step, lam * step**2) for step in steps]
            curves[label] = [(point.bits, _decibels(sample, point.levels * point.step)) for point in points]
        found = {label: tuple(zip(*sorted(points), strict=True)) for label, points in curves.items() if points}
        return cls(name, sample, flat.numel(), {label: (x, y) for label, (x, y) in found.items()})

    @property
    def spread(self) -> float:
        """Standard deviation of the weights."""
        return float(self.weights.std(correction=0)) or 1.0


@dataclass(frozen=True)
class CodedLayer:
    """A layer on a grid: with λ (``point``), and to the nearest level."""

    layer: SampledLayer
    point: RatePoint
    nearest: Tensor

    @property
    def decibels(self) -> float:
        """Signal-to-noise ratio of the weights."""
        return _decibels(self.layer.weights, self.point.levels * self.point.step)


def rate_panel(subject: nn.Module | Tensor | None = None, *, step: float = 0.7, lam: float = 0.1) -> Panel:
    """Drag the step size and λ of a layer, and see its levels, its bits and its error.

    Args:
        subject: a model, one layer, or one weight; layers of ResNet18, one of them pruned, when not given.
        step: start of its slider, in standard deviations of the layer.
        lam: λ at the start, in squared steps for each bit.

    Raises:
        ValueError: if the subject has no weights.
    """
    layers = {name: SampledLayer.of(name, weight) for name, weight in _weights(subject).items()}
    names = list(layers)
    controls: dict[str, Control] = {
        "step": log_slider(step, 0.1, 4.0, label="Step size (std. deviations)", unit="σ"),
        "lam": slider(lam, 0.0, 0.4, 0.01, label="λ (step² per bit)"),
    }
    if len(names) > 1:
        controls["layer"] = choice(*names, value=START if START in names else names[0])

    def compute(step: float, lam: float, layer: str = names[0]) -> CodedLayer:
        from course_lib import coding

        chosen = layers[layer]
        size = step * chosen.spread
        nearest = coding.rdoq_point(chosen.weights, size, 0.0).levels
        return CodedLayer(chosen, coding.rdoq_point(chosen.weights, size, lam * size**2), nearest)

    return Panel(
        compute,
        draw,
        numbers=numbers,
        title="Bits against error",
        subtitle="Drag, or focus a slider and use the arrow keys. λ moves a weight to a cheaper level where that saves "
        f"more than it costs. Sample of {SAMPLE:,} weights.",
        **controls,
    )


def draw(coded: CodedLayer) -> str:
    """The levels, and where the layer stands between the curves of the quantizers."""
    styles = {"k-means": ("before", "square"), "uniform": ("baseline", "triangle"), "RDOQ": ("kept", "circle")}
    known = {name: _inside(*curve) for name, curve in coded.layer.curves.items()}
    curves = [charts.Line(name, *known[name], *style) for name, style in styles.items() if any(known.get(name, ()))]
    here = charts.Line("", [min(coded.point.bits, MOST_BITS)], [coded.decibels], "threshold", "diamond")
    companion = charts.lines(
        [*curves, here], title="Higher is better: ◆ is here", x_label="bits per weight", y_label="signal to noise (dB)",
        x_range=(0, MOST_BITS), y_range=(0, HIGHEST_DB), x_ticks=[0, 1, 2, 3],
    )  # fmt: skip
    return side_by_side(_levels(coded), companion)


def numbers(coded: CodedLayer) -> list[Number]:
    """Bits, error, zeros, moved weights and bytes."""
    levels, bits = coded.point.levels, coded.point.bits
    zeros, moved = ((one).double().mean().item() for one in (levels == 0, levels != coded.nearest))
    size = byte_size(math.ceil(bits * coded.layer.count / 8))
    return [
        Number(f"{bits:.2f} bits", "per weight, by an ideal code of these levels", "exact"),
        Number(f"{coded.decibels:.1f} dB", "signal to noise of the weights", "exact"),
        Number(f"{zeros:.0%}".replace("%", " %"), f"are zero; λ moved {100 * moved:.0f} %", "exact"),
        Number(size, f"the layer, in fp16 {byte_size(2 * coded.layer.count)}", "estimated"),
    ]


def _weights(subject: nn.Module | Tensor | None) -> dict[str, Tensor]:
    if subject is not None:
        return weights_of(subject)
    from course_lib import assets, storage

    found = weights_of(None)
    pruned = storage.load(assets.path("resnet18_pruned_95")).get_submodule(START).get_parameter("weight")
    return {name: found[name] for name in LAYERS} | {PRUNED: pruned}


def _decibels(weights: Tensor, values: Tensor) -> float:
    """Signal-to-noise ratio, at most 99."""
    power = float(weights.double().square().mean()) or 1.0
    noise = float((weights.double() - values.double()).square().mean())
    return min(99.0, 10 * math.log10(power / noise)) if noise else 99.0


def _inside(x: Sequence[float], y: Sequence[float]) -> Curve:
    """The points of a curve that fit into the chart."""
    kept = [(a, b) for a, b in zip(x, y, strict=True) if a <= MOST_BITS and 0 <= b <= HIGHEST_DB]
    return [a for a, _ in kept], [b for _, b in kept]


def _levels(coded: CodedLayer) -> str:
    """How many weights each level has: to the nearest in grey, with λ in blue."""
    step, spread = coded.point.step, SPREAD * coded.layer.spread
    last = max(1, math.floor(spread / step + 0.5))
    bins = numpy.arange(-last, last + 2) - 0.5
    before, after = (
        numpy.histogram(levels.numpy(), bins)[0].tolist() for levels in (coded.nearest, coded.point.levels)
    )
    end = (last + 0.5) * step
    x, y = Scale(-end, end, 48, charts.MAIN - 12), Scale(0, max(*before, *after, 1), charts.HEIGHT - 40, 46)
    parts = [y_axis(y, x.start, x.end, "weights", form=compact, count=3)]
    for counts, colour, width in ((before, "cut", 0.9), (after, "kept", 0.5)):
        route = "".join(
            f"M{x((q - width / 2) * step):.1f} {y(0):.1f}V{y(count):.1f}H{x((q + width / 2) * step):.1f}V{y(0):.1f}Z"
            for q, count in zip(range(-last, last + 1), counts, strict=True)
            if count
        )
        parts.append(f'<path class="{colour}" d="{route}"/>')
    parts += [segment(x(q * step), y.start, x(q * step), y.start + 3, "axis") for q in range(-last, last + 1)]
    parts += [x_axis(x, y.start, "value of the level")]
    parts += [text(x.end, 58, "with λ", anchor="end", classes="kept-text"), text(x.end, 72, "nearest", anchor="end")]
    title = f"{coded.layer.name}: levels at multiples of {step:.2g}"
    description = f"{after[last]:,} of {len(coded.layer.weights):,} weights are zero, {before[last]:,} without λ"
    return chart(parts, width=charts.MAIN, height=charts.HEIGHT, title=title, description=description)

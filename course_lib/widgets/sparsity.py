"""The panel of lesson 03: which weights a threshold cuts, what the file weighs, what accuracy says.

Magnitudes are sorted and histograms are counted once, when the panel is made; a move of the slider only looks up.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PER_LAYER, WHOLE_MODEL = "one per layer", "one for the whole model"
VALUE_BYTES = {"fp32": 4, "fp16": 2}
BINS = 121


@dataclass(frozen=True)
class Curve:
    """Accuracy measured at some sparsities: ``name`` is "cut only" or "fine-tuned"; both sequences hold fractions."""

    name: str
    sparsity: Sequence[float]
    accuracy: Sequence[float]

    def at(self, sparsity: float) -> tuple[float, str]:
        """Accuracy, and whether it was measured there or is estimated between two measurements."""
        measured = any(math.isclose(sparsity, point, abs_tol=5e-4) for point in self.sparsity)
        value = float(numpy.interp(sparsity, self.sparsity, self.accuracy))
        return value, "measured" if measured else "estimated"


@dataclass(frozen=True)
class Measured:
    """What was measured for the whole model.

    Args:
        model: name to show.
        accuracy: of the model before pruning, a fraction.
        curves: threshold (``PER_LAYER`` or ``WHOLE_MODEL``) → accuracy curves.
        speedup: of the pruned model on a dense runtime, if it was measured.
    """

    model: str
    accuracy: float
    curves: Mapping[str, Sequence[Curve]]
    speedup: float | None = None


def shipped() -> Measured | None:
    """What was measured for the shipped ResNet18 by ``benchmarks/pruning.py``; ``None`` where nothing was shipped."""
    tables = results("pruning")
    if "curves" not in tables:
        return None
    curves = tables["curves"]
    by_rule = {rule: [Curve(**curve) for curve in some] for rule, some in curves["curves"].items()}
    speeds = [row["speedup"] for row in tables.get("compare", {}).get("rows", [])[1:] if row["speedup"]]
    return Measured(curves["model"], curves["accuracy"], by_rule, statistics.median(speeds) if speeds else None)


@dataclass(frozen=True)
class Weights:
    """One layer, prepared: sorted magnitudes, and a histogram that spans 99.9 % of the weights."""

    magnitudes: numpy.ndarray
    edges: numpy.ndarray
    counts: numpy.ndarray

    @classmethod
    def of(cls, weight: Tensor) -> Weights:
        values = weight.detach().float().flatten().cpu().numpy()
        magnitudes = numpy.sort(numpy.abs(values))
        span = float(magnitudes[min(round(0.999 * len(values)), len(values) - 1)]) or 1.0
        edges = numpy.linspace(-span, span, BINS + 1)
        return cls(magnitudes, edges, numpy.histogram(values, edges)[0])

    @property
    def count(self) -> int:
        return len(self.magnitudes)

    def below(self, threshold: float, *, inclusive: bool = False) -> int:
        """How many magnitudes lie below a threshold."""
        return int(numpy.searchsorted(self.magnitudes, threshold, side="right" if inclusive else "left"))


@dataclass(frozen=True)
class Cut:
    """What a sparsity does to a layer; sizes in bytes, of the weights of this layer in a stored file."""

    layer: str
    weights: Weights
    sparsity: float
    threshold: float
    kept: int
    stored: int
    dense: int
    rule: str


class Pruned:
    """Pure answers to "what if this fraction were cut?" for one weight or for all layers of a model."""

    def __init__(self, layers: Mapping[str, Tensor]) -> None:
        self.layers = {name: Weights.of(weight) for name, weight in layers.items()}
        self._all = numpy.sort(numpy.concatenate([layer.magnitudes for layer in self.layers.values()]))

    def cut(self, sparsity: float, layer: str, threshold: str = PER_LAYER, values: str = "fp32") -> Cut:
        """Cut ``round(sparsity · n)`` weights out of the layer, or out of all layers together."""
        weights = self.layers[layer]
        magnitudes = self._all if threshold == WHOLE_MODEL else weights.magnitudes
        dropped = round(sparsity * len(magnitudes))
        limit = float(magnitudes[min(dropped, len(magnitudes) - 1)])
        here = self._dropped_here(layer, limit, dropped) if threshold == WHOLE_MODEL else dropped
        kept = weights.count - here
        size = VALUE_BYTES[values]
        nonzero = min(kept, weights.count - weights.below(0.0, inclusive=True))
        dense, bitmask = weights.count * size, math.ceil(weights.count / 8) + nonzero * size
        return Cut(layer, weights, sparsity, limit, kept, min(dense, bitmask), dense, threshold)

    def _dropped_here(self, layer: str, limit: float, dropped: int) -> int:
        """Ties at the limit fall in the order of the layers, as in ``pruning.global_masks``."""
        ties = dropped - int(numpy.searchsorted(self._all, limit, side="left"))
        for name, weights in self.layers.items():
            below, equal = weights.below(limit), weights.below(limit, inclusive=True)
            share = min(ties, equal - below)
            if name == layer:
                return below + share
            ties -= share
        raise ValueError(f"layer must be one of {', '.join(self.layers)}; got {layer!r}")


def sparsity_panel(
    subject: nn.Module | Tensor | None = None, *, measured: Measured | None = None, sparsity: float = 0.9
) -> Panel:
    """Drag the sparsity of a layer, and see which weights go.

    Args:
        subject: a model, one layer, or one weight of any shape; the shipped ResNet18 when not given.
        measured: accuracy curves to draw beside it; ``shipped()`` when ``subject`` is not given.
        sparsity: where the slider starts.

    Raises:
        ValueError: if the subject has no weights to cut.
    """
    measured = shipped() if subject is None and measured is None else measured
    pruned = Pruned(weights_of(subject, dimensions=1))
    names = list(pruned.layers)
    controls: dict[str, Any] = {"sparsity": slider(sparsity, 0.0, 0.999, 0.001, unit="%")}
    if len(names) > 1:
        start = "layer3.0.conv1" if "layer3.0.conv1" in names else names[len(names) // 2]
        controls["layer"] = choice(*names, value=start)
        controls["threshold"] = choice(WHOLE_MODEL, PER_LAYER)
    controls["values"] = choice(*VALUE_BYTES, label="Values stored as")

    def compute(sparsity: float, values: str, layer: str = names[0], threshold: str = PER_LAYER) -> Cut:
        return pruned.cut(sparsity, layer, threshold, values)

    return Panel(
        compute,
        lambda cut: draw(cut, measured),
        numbers=lambda cut: numbers(cut, measured),
        title="How many weights can go?",
        subtitle="Drag, or focus the slider and use the arrow keys. Grey weights are cut, blue ones stay.",
        **controls,
    )


def draw(cut: Cut, measured: Measured | None) -> str:
    """The histogram of the layer, and the accuracy of the model where it was measured."""
    main = charts.histogram(
        cut.weights.edges.tolist(),
        cut.weights.counts.tolist(),
        title=f"{cut.layer}: {cut.weights.count:,} weights",
        threshold=cut.threshold,
    )
    curves = measured.curves.get(cut.rule, ()) if measured else ()
    return side_by_side(main, _accuracy(cut, measured, curves)) if measured and curves else side_by_side(main)


def numbers(cut: Cut, measured: Measured | None) -> list[Number]:
    """Weights, bytes, and what was measured for the whole model."""
    row = [
        Number(f"{cut.kept:,}", f"weights kept of {cut.weights.count:,}", "exact"),
        Number(byte_size(cut.stored), f"file of this layer, was {byte_size(cut.dense)}", "exact"),
    ]
    for curve in measured.curves.get(cut.rule, ())[-1:] if measured else ():
        accuracy, tag = curve.at(cut.sparsity)
        before = f"{100 * measured.accuracy:.1f} %" if measured else ""
        row.append(Number(f"{100 * accuracy:.1f} %", f"test accuracy, {curve.name}, was {before}", tag))
    if measured and measured.speedup is not None:
        row.append(Number(f"{measured.speedup:.1f} ×", "speed, dense kernels", "measured"))
    return row


def _accuracy(cut: Cut, measured: Measured, curves: Sequence[Curve]) -> str:
    looks = {"cut only": ("before", "square"), "fine-tuned": ("kept", "circle")}
    series = []
    for curve in curves:
        colour, marker = looks.get(curve.name, ("baseline", "diamond"))
        x, y = [100 * s for s in curve.sparsity], [100 * a for a in curve.accuracy]
        series.append(charts.Line(curve.name, x, y, colour, marker))
    return charts.lines(
        series,
        title=f"Test accuracy of {measured.model}",
        x_label="sparsity of the model (%)",
        y_label="accuracy (%)",
        x_range=(0, 100),
        y_range=(0, 100),
        cursor=100 * cut.sparsity,
    )

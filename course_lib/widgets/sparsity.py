"""The panel of lesson 03: the weights that a sparsity cuts, the size of the layer in a file, and measured accuracy.

Weights are ranked, encoded and counted once, when the panel is made; a move of the slider only looks up.
"""

from __future__ import annotations

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
from course_lib.widgets.measured import Curve, Style, draw_line
from course_lib.widgets.panel import Panel
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PER_LAYER, WHOLE_MODEL = "one per layer", "one for the whole model"
STYLES = {"cut only": Style("cut only", "before", "square"), "fine-tuned": Style("fine-tuned", "kept")}
DTYPES = ("fp32", "fp16")
BINS = 121


@dataclass(frozen=True)
class PrunedModel:
    """Measurements of a whole model at several sparsities.

    Args:
        name: displayed name.
        accuracy: of the model before pruning, a fraction.
        curves: threshold (``PER_LAYER`` or ``WHOLE_MODEL``) → accuracy over sparsity, both fractions.
        speedup: of the pruned model on a dense runtime, if it was measured.
    """

    name: str
    accuracy: float
    curves: Mapping[str, Sequence[Curve]]
    speedup: float | None = None


def shipped() -> PrunedModel | None:
    """The shipped results of ``benchmarks/pruning.py`` for ResNet18; ``None`` if there are none."""
    tables = results("pruning")
    if "curves" not in tables:
        return None
    table = tables["curves"]
    curves = {
        rule: [Curve(one["name"], one["sparsity"], one["accuracy"]) for one in some]
        for rule, some in table["curves"].items()
    }
    speeds = [row["speedup"] for row in tables.get("compare", {}).get("rows", [])[1:] if row["speedup"]]
    return PrunedModel(table["model"], table["accuracy"], curves, statistics.median(speeds) if speeds else None)


@dataclass(frozen=True)
class PrunedLayer:
    """One layer at a sparsity: histogram before (``edges``, ``counts``), bytes in a file (``stored``, ``dense``)."""

    name: str
    weights: int
    edges: Sequence[float]
    counts: Sequence[int]
    sparsity: float
    rule: str
    threshold: float
    kept: int
    stored: int
    dense: int


class LayerPruner:
    """Prunes one layer of several to any sparsity, by one threshold per layer or one for all layers."""

    def __init__(self, layers: Mapping[str, Tensor]) -> None:
        from course_lib.pruning.ranking import MagnitudeRanking

        weights = {name: weight.detach().float().cpu() for name, weight in layers.items()}
        self.ranking = MagnitudeRanking(weights)
        self.histograms = {name: self._histogram(name, weight) for name, weight in weights.items()}
        self.sizes = {(name, dtype): _sizes(weight, dtype) for name, weight in weights.items() for dtype in DTYPES}

    def cut(self, sparsity: float, layer: str, rule: str = PER_LAYER, dtype: str = "fp32") -> PrunedLayer:
        """Drop ``round(sparsity · n)`` weights of the layer, or of all layers together."""
        edges, counts = self.histograms[layer]
        kept, threshold = self.ranking.cut(layer, sparsity, together=rule == WHOLE_MODEL)
        dense, bitmask, values, value_bytes = self.sizes[layer, dtype]
        stored = min(dense, bitmask + value_bytes * min(kept, values))
        total = len(self.ranking.ranks[layer])
        return PrunedLayer(layer, total, edges, counts, sparsity, rule, threshold, kept, stored, dense)

    def _histogram(self, layer: str, weight: Tensor) -> tuple[list[float], list[int]]:
        """Edges and counts over 99.9 % of the weights."""
        span = self.ranking.cut(layer, 0.999)[1] or 1.0
        counts, edges = numpy.histogram(weight.numpy(), numpy.linspace(-span, span, BINS + 1))
        return edges.tolist(), counts.tolist()


def _sizes(weight: Tensor, dtype: str) -> tuple[int, int, int, int]:
    """Bytes of the dense encoding and of the mask of the bitmask encoding; number of its values, and bytes of each."""
    from course_lib.storage import encodings

    values = weight.to(encodings.DTYPES[dtype])
    parts = encodings.encode_bitmask(values).parts
    return encodings.encode_dense(values).bytes, parts["mask"].nbytes, len(parts["values"]), values.element_size()


def sparsity_panel(
    subject: nn.Module | Tensor | None = None, *, measured: PrunedModel | None = None, sparsity: float = 0.9
) -> Panel:
    """Drag the sparsity of a layer, and see which weights are cut.

    Args:
        subject: a model, one layer, or one weight of any shape; the shipped ResNet18 when not given.
        measured: accuracy curves to draw beside it; ``shipped()`` when ``subject`` is not given.
        sparsity: start of the slider.

    Raises:
        ValueError: if the subject has no weights to cut.
    """
    measured = shipped() if subject is None and measured is None else measured
    pruner = LayerPruner(weights_of(subject, dimensions=1))
    names = list(pruner.histograms)
    controls: dict[str, Any] = {"sparsity": slider(sparsity, 0.0, 0.999, 0.001, unit="%")}
    if len(names) > 1:
        start = "layer3.0.conv1" if "layer3.0.conv1" in names else names[len(names) // 2]
        controls["layer"] = choice(*names, value=start)
        controls["threshold"] = choice(WHOLE_MODEL, PER_LAYER)
    controls["values"] = choice(*DTYPES, label="Values stored as")

    def compute(sparsity: float, values: str, layer: str = names[0], threshold: str = PER_LAYER) -> PrunedLayer:
        return pruner.cut(sparsity, layer, threshold, values)

    return Panel(
        compute,
        lambda pruned: draw(pruned, measured),
        numbers=lambda pruned: numbers(pruned, measured),
        title="How many weights can go?",
        subtitle="Drag, or focus the slider and use the arrow keys. Grey weights are cut, blue ones stay.",
        **controls,
    )


def draw(pruned: PrunedLayer, measured: PrunedModel | None) -> str:
    """The histogram of the layer, and the accuracy of the model if it was measured."""
    title = f"{pruned.name}: {pruned.weights:,} weights"
    main = charts.histogram(pruned.edges, pruned.counts, title=title, threshold=pruned.threshold)
    curves = measured.curves.get(pruned.rule, ()) if measured else ()
    if not (measured and curves):
        return side_by_side(main)
    styles = [STYLES.get(curve.name, Style(curve.name, "baseline", "diamond")) for curve in curves]
    companion = charts.lines(
        [draw_line(curve, style, x_factor=100, y_factor=100) for curve, style in zip(curves, styles, strict=True)],
        title=f"Test accuracy of {measured.name}", x_label="sparsity of the model (%)", y_label="accuracy (%)",
        x_range=(0, 100), y_range=(0, 100), cursor=100 * pruned.sparsity,
    )  # fmt: skip
    return side_by_side(main, companion)


def numbers(pruned: PrunedLayer, measured: PrunedModel | None) -> list[Number]:
    """Weights and bytes of the layer; accuracy and speed-up of the whole model if they were measured."""
    row = [
        Number(f"{pruned.kept:,}", f"weights kept of {pruned.weights:,}", "exact"),
        Number(byte_size(pruned.stored), f"file of this layer, was {byte_size(pruned.dense)}", "exact"),
    ]
    if measured is None:
        return row
    for curve in measured.curves.get(pruned.rule, ())[-1:]:
        accuracy, tag = curve.at(pruned.sparsity)
        caption = f"test accuracy, {curve.name}, was {100 * measured.accuracy:.1f} %"
        row.append(Number(f"{100 * accuracy:.1f} %", caption, tag))
    if measured.speedup is not None:
        row.append(Number(f"{measured.speedup:.1f} ×", "speed, dense kernels", "measured"))
    return row

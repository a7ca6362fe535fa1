"""The panel of lesson 07: a tiny layer that trains with rounded weights, beside what ResNet18 reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import slider
from course_lib.widgets.panel import Panel

WEIGHTS, EXAMPLES, STEPS = 32, 96, 60
PLAIN, STRAIGHT, LEARNED = "plain rounding", "straight-through", "learned step size"
LOOKS = {PLAIN: ("baseline", "square"), STRAIGHT: ("before", "diamond"), LEARNED: ("kept", "circle")}
MEASURED = {
    "nearest, min-max": ("min-max", "before", "square", True),
    "nearest, best step": ("best step", "before", "diamond", False),
    "AdaRound": ("AdaRound", "holds", "triangle", False), "QAT": ("QAT", "kept", "circle", False),
}  # fmt: skip


@dataclass(frozen=True)
class Race:
    """Relative output error of the tiny layer after each step, for three ways to compute the gradient.

    Args:
        bits: of its weights.
        step: where the learner looks.
        errors: way → error after 0, 1, …, ``STEPS`` steps; a fraction of the output's own size.
        scales: step size of the grid at that step, and at the start.
    """

    bits: int
    step: int
    errors: Mapping[str, Sequence[float]]
    scales: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Test accuracy of ResNet18 by one method: ``bits`` of the weights, and fractions."""

    method: str
    bits: Sequence[int]
    accuracy: Sequence[float]


class TinyLayer:
    """``y = X w`` with inputs that depend on each other, trained with ``w`` on a grid from the right ``w`` on."""

    def __init__(self, seed: int = 7) -> None:
        draw = numpy.random.default_rng(seed)
        mixing = draw.normal(size=(WEIGHTS, WEIGHTS)) / WEIGHTS**0.5 + numpy.eye(WEIGHTS)
        self.inputs = draw.normal(size=(EXAMPLES, WEIGHTS)) @ mixing
        self.weights = draw.normal(size=WEIGHTS)
        self.target = self.inputs @ self.weights
        self.size = float((self.target**2).mean())
        self.rate = 0.1 / float(numpy.linalg.eigvalsh(self.inputs.T @ self.inputs / EXAMPLES)[-1])

    def train(self, bits: int, way: str) -> tuple[list[float], list[float]]:
        """Error and step size after 0, 1, …, ``STEPS`` steps of gradient descent whose rate falls to zero."""
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        w, scale = self.weights.copy(), float(numpy.abs(self.weights).max()) / high
        errors, scales = [], []
        for step in range(STEPS + 1):
            rate = self.rate * (1 - step / (STEPS + 1))
            v = w / scale
            inside = (v >= low) & (v <= high)
            rounded = numpy.clip(numpy.round(v), low, high)
            missed = self.inputs @ (scale * rounded) - self.target
            errors.append(float((missed**2).mean()) / self.size)
            scales.append(scale)
            gradient = self.inputs.T @ missed / EXAMPLES
            if way != PLAIN:
                w = w - rate * gradient * inside
            if way == LEARNED:
                moved = numpy.where(inside, rounded - v, rounded)
                scale = max(scale - rate * float(gradient @ moved) / (WEIGHTS * high) ** 0.5, 1e-3)
        return errors, scales


def race(layer: TinyLayer, bits: int, step: int) -> Race:
    """All three ways from the same start."""
    runs = {way: layer.train(bits, way) for way in LOOKS}
    scales = runs[LEARNED][1]
    return Race(bits, step, {way: errors for way, (errors, _) in runs.items()}, (scales[step], scales[0]))


def shipped() -> tuple[Curve, ...]:
    """Accuracy of ResNet18 by weight bits, as ``benchmarks/quantization_qat.py`` measured it; empty if it did not."""
    rows = results("quantization_qat").get("models", {}).get("rows", [])
    curves = []
    for method in MEASURED:
        some = sorted(((row["bits"], row["accuracy"]) for row in rows if _counts(row, method)), reverse=True)
        if len(some) > 1:
            curves.append(Curve(method, [bits for bits, _ in some], [accuracy for _, accuracy in some]))
    return tuple(curves)


def _counts(row: Mapping[str, Any], method: str) -> bool:
    """Without training, inputs have 8 bits; trained models with fewer than 8 bits of weights have inputs of 4."""
    return row["method"] == method and (method == "QAT" or row["input_bits"] == 8)


def aware_panel(*, bits: int = 3, step: int = 30, measured: Sequence[Curve] | None = None) -> Panel:
    """Drag the bits and the training steps of a tiny layer, and see what each kind of gradient achieves.

    Args:
        bits: where the slider starts.
        step: likewise, 0 to 60.
        measured: curves of ResNet18 to draw beside it; ``shipped()`` by default.
    """
    layer, curves = TinyLayer(), shipped() if measured is None else tuple(measured)
    return Panel(
        lambda bits, steps: race(layer, bits, steps),
        lambda it: draw(it, curves),
        numbers=lambda it: numbers(it, curves),
        title="Training with rounded weights",
        subtitle="A layer of 32 weights is trained anew at every move. Orange: the grid stays; blue: it learns, too.",
        bits=slider(bits, 2, 8, label="Bits of the weights"),
        steps=slider(step, 0, STEPS, label="Training steps"),
    )


def draw(it: Race, curves: Sequence[Curve]) -> str:
    """Error of the tiny layer while it trains, and the accuracy of ResNet18 over the bits."""
    marks = range(0, STEPS + 1, 5)
    lines = [
        charts.Line(way, list(marks), [100 * it.errors[way][k] for k in marks], *look) for way, look in LOOKS.items()
    ]
    shown = [value for line in lines for value in line.y]
    main = charts.lines(
        lines, title=f"Tiny layer, {it.bits} bits: error of its output", x_label="training steps",
        y_label="error (% of the output)", x_range=(0, STEPS), y_range=(min(shown) / 2, 2 * max(shown)),
        cursor=it.step, log_y=True, width=charts.MAIN,
    )  # fmt: skip
    if not curves:
        return side_by_side(main)
    series = []
    for curve in curves:
        name, colour, marker, dashed = MEASURED[curve.method]
        series.append(charts.Line(name, curve.bits, [100 * a for a in curve.accuracy], colour, marker, dashed))
    floor = min(min(curve.accuracy) for curve in curves)
    companion = charts.lines(
        series[::-1], title="ResNet18, measured", x_label="bits of the weights", y_label="test accuracy (%)",
        x_range=(8, 2), y_range=(max(0.0, 100 * floor - 5), 100), x_ticks=[8, 6, 4, 3, 2], cursor=it.bits,
    )  # fmt: skip
    return side_by_side(main, companion)


def numbers(it: Race, curves: Sequence[Curve]) -> list[Number]:
    """Errors at the chosen step, the learned step size, and what was measured at this width."""
    row = [Number(f"{100 * it.errors[way][it.step]:.3g} %", f"error, {way}", "exact") for way in LOOKS]
    row.append(Number(f"{it.scales[0]:.3g}", f"learned step size, was {it.scales[1]:.3g}", "exact"))
    for curve in curves[-1:]:
        if it.bits in curve.bits:
            accuracy = curve.accuracy[list(curve.bits).index(it.bits)]
            row.append(Number(f"{100 * accuracy:.1f} %", "test accuracy of ResNet18 after training", "measured"))
    return row

"""The panel of lesson 07: a tiny layer trained with quantized weights, beside measured accuracies of ResNet18."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import slider
from course_lib.widgets.measured import Curve, Style, draw_line
from course_lib.widgets.panel import Panel

WEIGHTS, EXAMPLES, STEPS = 32, 96, 60
PLAIN, STRAIGHT, LEARNED = "plain rounding", "straight-through", "learned step size"
STYLES = {PLAIN: ("baseline", "square"), STRAIGHT: ("before", "diamond"), LEARNED: ("kept", "circle")}
METHODS = {
    "nearest, min-max": Style("min-max", "before", "square", dashed=True),
    "nearest, best step": Style("best step", "before", "diamond"),
    "AdaRound": Style("AdaRound", "holds", "triangle"), "QAT": Style("QAT", "kept"),
}  # fmt: skip


@dataclass(frozen=True)
class TrainingRuns:
    """Relative output error of the tiny layer during training, for three ways to compute the gradient.

    Args:
        bits: of its weights.
        step: chosen training step.
        errors: way → error after 0, 1, …, ``STEPS`` steps, as a fraction of the mean squared output.
        scales: learned step size at the chosen step, and at the start.
    """

    bits: int
    step: int
    errors: Mapping[str, Sequence[float]]
    scales: tuple[float, float]


class TinyLayer:
    """``y = X w`` with correlated inputs; training starts at the exact ``w`` and searches the best quantized one."""

    def __init__(self, seed: int = 7) -> None:
        import torch

        generator = numpy.random.default_rng(seed)
        mixing = generator.normal(size=(WEIGHTS, WEIGHTS)) / WEIGHTS**0.5 + numpy.eye(WEIGHTS)
        self.inputs = torch.from_numpy(generator.normal(size=(EXAMPLES, WEIGHTS)) @ mixing)
        self.weights = torch.from_numpy(generator.normal(size=WEIGHTS))
        self.target = self.inputs @ self.weights
        self.learning_rate = 0.1 / float(torch.linalg.eigvalsh(self.inputs.T @ self.inputs / EXAMPLES)[-1])

    def train(self, bits: int, way: str) -> tuple[list[float], list[float]]:
        """Error and step size after 0, 1, …, ``STEPS`` steps of gradient descent with linear decay."""
        import torch

        from course_lib.quantization import quantize_learned_step, quantize_straight_through

        qmin, qmax = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        quantize = quantize_learned_step if way == LEARNED else quantize_straight_through
        parameters = [self.weights, self.weights.abs().max() / qmax]
        trained = {PLAIN: 0, STRAIGHT: 1, LEARNED: 2}[way]
        errors, scales = [], []
        for step in range(STEPS + 1):
            w, scale = (parameter.detach().requires_grad_() for parameter in parameters)
            loss = (self.inputs @ quantize(w, scale, qmin, qmax) - self.target).square().mean()
            errors.append(loss.item() / self.target.square().mean().item())
            scales.append(scale.item())
            rate = self.learning_rate * (1 - step / (STEPS + 1)) / 2
            gradients = torch.autograd.grad(loss, [w, scale][:trained]) if trained else ()
            parameters[:trained] = [p - rate * g for p, g in zip((w, scale), gradients, strict=False)]
            parameters[1] = parameters[1].clamp_min(1e-3)
        return errors, scales


@cache
def _runs(bits: int) -> dict[str, tuple[list[float], list[float]]]:
    layer = TinyLayer()
    return {way: layer.train(bits, way) for way in STYLES}


def training_runs(bits: int, step: int) -> TrainingRuns:
    """All three ways from the same start; they are trained once for each number of bits."""
    runs = _runs(bits)
    scales = runs[LEARNED][1]
    return TrainingRuns(bits, step, {way: errors for way, (errors, _) in runs.items()}, (scales[step], scales[0]))


def shipped() -> tuple[Curve, ...]:
    """Accuracy of ResNet18 over weight bits, from ``benchmarks/quantization_qat.py``; empty if not shipped."""
    rows = results("quantization_qat").get("models", {}).get("rows", [])
    curves = []
    for method in METHODS:
        points = sorted(((row["bits"], row["accuracy"]) for row in rows if _drawn(row, method)), reverse=True)
        if len(points) > 1:
            curves.append(Curve(method, [bits for bits, _ in points], [accuracy for _, accuracy in points]))
    return tuple(curves)


def _drawn(row: Mapping[str, Any], method: str) -> bool:
    """Without training, only rows with 8-bit inputs; a trained model with fewer weight bits has 4-bit inputs."""
    return row["method"] == method and (method == "QAT" or row["input_bits"] == 8)


def aware_panel(*, bits: int = 3, step: int = 30, measured: Sequence[Curve] | None = None) -> Panel:
    """Drag the bits and the training steps of a tiny layer, and see the error with each kind of gradient.

    Args:
        bits, step: start of the sliders, 2 to 8 bits and 0 to 60 steps.
        measured: accuracy curves of ResNet18 to draw beside it; ``shipped()`` by default.
    """
    curves = shipped() if measured is None else tuple(measured)
    return Panel(
        lambda bits, steps: training_runs(bits, steps),
        lambda runs: draw(runs, curves),
        numbers=lambda runs: numbers(runs, curves),
        title="Training with rounded weights",
        subtitle="A layer of 32 weights is trained at every move. Orange: fixed step size; blue: learned step size.",
        bits=slider(bits, 2, 8, label="Bits of the weights"),
        steps=slider(step, 0, STEPS, label="Training steps"),
    )


def draw(runs: TrainingRuns, curves: Sequence[Curve]) -> str:
    """Error of the tiny layer over the training steps, and the accuracy of ResNet18 over the bits."""
    steps = list(range(0, STEPS + 1, 5))
    lines = [
        charts.Line(way, steps, [100 * runs.errors[way][k] for k in steps], *style) for way, style in STYLES.items()
    ]
    shown = [value for line in lines for value in line.y]
    main = charts.lines(
        lines, title=f"Tiny layer, {runs.bits} bits: error of its output", x_label="training steps",
        y_label="error (% of the output)", x_range=(0, STEPS), y_range=(min(shown) / 2, 2 * max(shown)),
        cursor=runs.step, log_y=True, width=charts.MAIN,
    )  # fmt: skip
    if not curves:
        return side_by_side(main)
    series = [draw_line(curve, METHODS[curve.name], y_factor=100) for curve in reversed(curves)]
    floor = min(min(curve.y) for curve in curves)
    companion = charts.lines(
        series, title="ResNet18, measured", x_label="bits of the weights", y_label="test accuracy (%)",
        x_range=(8, 2), y_range=(max(0.0, 100 * floor - 5), 100), x_ticks=[8, 6, 4, 3, 2], cursor=runs.bits,
    )  # fmt: skip
    return side_by_side(main, companion)


def numbers(runs: TrainingRuns, curves: Sequence[Curve]) -> list[Number]:
    """Errors at the chosen step, the learned step size, and the accuracy if it was measured at these bits."""
    row = [Number(f"{100 * runs.errors[way][runs.step]:.3g} %", f"error, {way}", "exact") for way in STYLES]
    row.append(Number(f"{runs.scales[0]:.3g}", f"learned step size, was {runs.scales[1]:.3g}", "exact"))
    for curve in curves[-1:]:
        accuracy, tag = curve.at(runs.bits)
        if tag == "measured":
            row.append(Number(f"{100 * accuracy:.1f} %", "test accuracy of ResNet18 after training", "measured"))
    return row

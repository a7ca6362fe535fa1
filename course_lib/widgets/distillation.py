"""The panel of lesson 09: soft targets of a teacher at a temperature, and the gradient of the distillation loss.

Logits are computed once, before the panel is made; a move of a slider only computes the loss of one image.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy

from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, plain, segment, text, x_axis

if TYPE_CHECKING:
    from torch import Tensor

WIDTH, COMPANION, LEFT, ROW, TOP = 440.0, 290.0, 82.0, 25.0, 44.0
SIDE = 84.0  # of the image, right of the bars
KINDS = (("teacher", "baseline"), ("student", "before"), ("label", "holds"))


@dataclass(frozen=True)
class ImageLoss:
    """Distillation loss of one image; arrays hold a value per class.

    Args:
        teacher, student: probabilities at the temperature.
        label: 1 for the true class, 0 for the others.
        gradient: of the loss with respect to the student's logits; a step of gradient descent raises a logit where it
            is negative.
        entropy: of the teacher's probabilities, in nats.
        soft, task: the two unweighted parts of the loss, in nats.
    """

    teacher: numpy.ndarray
    student: numpy.ndarray
    label: numpy.ndarray
    gradient: numpy.ndarray
    entropy: float
    soft: float
    task: float
    total: float


def image_loss(
    teacher: numpy.ndarray, student: numpy.ndarray, label: int, temperature: float, alpha: float
) -> ImageLoss:
    """Loss and gradient of ``training.losses.distillation_loss`` for one example.

    The gradient is ``alpha · T · (q - p) + (1 - alpha) · (softmax(z) - y)``.
    """
    import torch

    from course_lib.training.losses import distillation_loss, soft_targets

    targets, logits = (torch.from_numpy(one).double()[None] for one in (teacher, student))
    total, soft, task = distillation_loss(logits.requires_grad_(), targets, torch.tensor([label]), alpha, temperature)
    gradient = torch.autograd.grad(total, logits)[0][0].numpy()
    p, q = (soft_targets(one.detach(), temperature)[0].numpy() for one in (targets, logits))
    entropy = -float((p * numpy.log(numpy.maximum(p, 1e-300))).sum())
    return ImageLoss(p, q, numpy.eye(len(p))[label], gradient, entropy, soft.item(), task.item(), total.item())


def distillation_panel(
    teacher_logits: Tensor,
    student_logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    images: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.7,
    measured: Mapping[tuple[float, float], float] | None = None,
) -> Panel:
    """Drag temperature and alpha, and see the targets of the student and the gradient of its loss.

    Args:
        teacher_logits, student_logits: ``(N, classes)``.
        labels: ``(N,)``.
        images: grey images ``(N, H, W)``, uint8, to be shown beside the bars.
        measured: (temperature, alpha) → validation accuracy of a student trained with them; the nearest is shown.

    Raises:
        ValueError: if the numbers of examples or classes differ.
    """
    if teacher_logits.shape != student_logits.shape or len(labels) != len(teacher_logits):
        raise ValueError(
            "teacher_logits and student_logits must have the same shape and one label per row, "
            f"got {tuple(teacher_logits.shape)}, {tuple(student_logits.shape)} and {len(labels)} labels"
        )
    teachers, students = (one.detach().double().numpy() for one in (teacher_logits, student_logits))
    names = [f"{row + 1}: {classes[int(label)]}" for row, label in enumerate(labels)]
    pngs = [_png(image) for image in images] if images is not None else [""] * len(names)

    def compute(picture: int, temperature: float, alpha: float) -> tuple[ImageLoss, str, list[Number]]:
        loss = image_loss(teachers[picture], students[picture], int(labels[picture]), temperature, alpha)
        return loss, pngs[picture], numbers(loss) + nearest(measured or {}, temperature, alpha)

    return Panel(
        compute,
        lambda result: draw(result[0], result[1], classes),
        numbers=lambda result: result[2],
        title="What the student is asked to say",
        subtitle="Drag, or focus a slider and use the arrow keys. Second chart: bars to the right push a logit up.",
        picture=choice(*[(name, row) for row, name in enumerate(names)]),
        temperature=slider(temperature, 0.5, 20.0, 0.5),
        alpha=slider(alpha, 0.0, 1.0, 0.05, label="Alpha, the teacher's share"),
    )


def draw(loss: ImageLoss, png: str, classes: Sequence[str]) -> str:
    """Probabilities and the image, and beside them the negative gradient of each logit."""
    return side_by_side(_probabilities(loss, png, classes), _gradients(loss, classes))


def numbers(loss: ImageLoss) -> list[Number]:
    """Entropy of the targets, and the parts of the loss."""
    return [
        Number(f"{loss.entropy:.3f}", "entropy of the teacher's answer, in nats", "exact"),
        Number(f"{loss.soft:.3f}", "T² · KL, in nats", "exact"),
        Number(f"{loss.task:.3f}", "cross entropy with the label, in nats", "exact"),
        Number(f"{loss.total:.3f}", "loss", "exact"),
    ]


def nearest(measured: Mapping[tuple[float, float], float], temperature: float, alpha: float) -> list[Number]:
    """The accuracy measured nearest to these settings, empty if none was; temperatures are compared by ratio."""
    if not measured:
        return []
    at = min(measured, key=lambda one: (abs(math.log2(one[0] / temperature)) / 4) ** 2 + (one[1] - alpha) ** 2)
    caption = f"right on validation, trained with T = {at[0]:g}, alpha = {at[1]:g}"
    return [Number(f"{measured[at]:.1%}".replace("%", " %"), caption, "measured")]


def _probabilities(loss: ImageLoss, png: str, classes: Sequence[str]) -> str:
    height = TOP + ROW * len(classes) + 40
    x = Scale(0, 100, LEFT, WIDTH - SIDE - 24)
    parts = _legend()
    for row, name in enumerate(classes):
        top = TOP + row * ROW
        parts.append(text(LEFT - 6, top + 13, name, anchor="end"))
        for position, (kind, colour) in enumerate(KINDS):
            percent = 100 * getattr(loss, kind)[row]
            note = f"{kind}, {name}: {percent:.1f} %"
            parts.append(_bar(x.start, top + 1 + 7 * position, x(percent) - x.start, 6, colour, note))
    parts.append(x_axis(x, TOP + ROW * len(classes), "probability (%)", form=plain))
    if png:
        parts.append(f'<image x="{WIDTH - SIDE - 4:g}" y="{TOP:g}" width="{SIDE:g}" height="{SIDE:g}" href="{png}"/>')
    best = int(loss.teacher.argmax())
    description = f"the teacher gives {100 * loss.teacher[best]:.0f} % to {classes[best]}"
    return chart(parts, width=WIDTH, height=height, title="Targets at this temperature", description=description)


def _legend() -> list[str]:
    """The legend: a name in the colour of each kind of bar."""
    parts = []
    for left, (kind, colour) in zip((LEFT, LEFT + 74, LEFT + 148), KINDS, strict=True):
        parts.append(f'<rect x="{left:.0f}" y="26" width="10" height="7" class="{colour}"/>')
        parts.append(text(left + 14, 33, kind, classes=f"{colour}-text"))
    return parts


def _gradients(loss: ImageLoss, classes: Sequence[str]) -> str:
    """The direction of gradient descent: a bar to the right raises the student's logit of this class."""
    push = -loss.gradient
    limit = max(float(numpy.abs(push).max()), 1e-3)
    x = Scale(-limit, limit, LEFT + 8, COMPANION - 16)
    bottom = TOP + ROW * len(classes)
    parts = [segment(x(0), TOP - 4, x(0), bottom, "axis")]
    for row, name in enumerate(classes):
        start, end = sorted((x(0), x(push[row])))
        parts.append(text(LEFT - 6, TOP + 16 + row * ROW, name, anchor="end"))
        colour = "kept" if push[row] >= 0 else "threshold"
        parts.append(_bar(start, TOP + 5 + row * ROW, end - start, 14, colour, f"{name}: {push[row]:+.4f}"))
    parts.append(x_axis(x, bottom, "minus the gradient", ticks=[-limit, 0.0, limit], form=lambda value: f"{value:.2g}"))
    title, description = "Push on the student's logits", f"strongest on {classes[int(numpy.abs(push).argmax())]}"
    return chart(parts, width=COMPANION, height=bottom + 40, title=title, description=description)


def _bar(x: float, y: float, width: float, height: float, colour: str, note: str) -> str:
    """A rectangle with a note that appears on hover."""
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}"'
    return f'<rect {shape} class="{colour}"><title>{escape(note)}</title></rect>'


def _png(image: Tensor) -> str:
    """A grey image as a data URL."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image.numpy()).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()

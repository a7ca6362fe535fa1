"""``Picture``, a matplotlib figure that a notebook displays as an image with alternative text; labels of points."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.core.palette import LIGHT, inverted

STYLE = Path(__file__).with_name("course.mplstyle")
PIXELS_PER_INCH = 100
DASHED: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (5, 3))}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}

# Labels of points, in shares of the axes: width of a character, height of a line, distance to the point, right limit.
CHARACTER, LINE, GAP, RIGHT_LIMIT = 0.0122, 0.05, 0.016, 1.05
LINES_UP = (0, -1, 1, -2, 2, -3, 3)  # from the point, in the order in which they are tried
Box = tuple[float, float, float, float]  # left, right, low, high


class Picture(Figure):
    """A figure with ``alt``, the alternative text for readers who cannot see it."""

    alt: str = ""

    def png(self) -> bytes:
        """The figure as a PNG of 32 colours, without time stamps."""
        from PIL import Image

        raw, small = io.BytesIO(), io.BytesIO()
        with style.context(STYLE):
            self.savefig(raw, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
        image = Image.open(raw).convert("RGB").quantize(32, dither=Image.Dither.NONE)
        image.save(small, format="PNG", optimize=True)
        return small.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        width = round(self.get_figwidth() * PIXELS_PER_INCH)
        return {"text/html": image_html(self.png(), self.alt, width), "text/plain": self.alt}


def image_html(png: bytes, alt: str, width: int) -> str:
    """An ``<img>`` of a PNG with its alternative text, ``width`` pixels wide at most, inverted in a dark theme.

    JupyterLab shows an output of type ``image/png`` without its alternative text.
    """
    source = base64.b64encode(png).decode()
    return (
        f"<style>{inverted('img.course-figure')}</style>"
        f'<img class="course-figure" alt="{escape(alt)}" width="{width}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{source}">'
    )


@contextmanager
def canvas(title: str, x_label: str, y_label: str) -> Iterator[tuple[Picture, Axes]]:
    """An empty picture with a title and axis labels (with units), to be drawn on in the style of the course."""
    with style.context(STYLE):
        picture = Picture()
        axes = picture.subplots()
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set_title(title)
        yield picture, axes


@contextmanager
def row_of_axes(title: str, count: int, height: float) -> Iterator[tuple[Picture, list[Axes]]]:
    """``count`` axes side by side with one title and a common vertical axis, in the style of the course."""
    with style.context(STYLE):
        picture = Picture(figsize=(7.2, height))
        picture.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        yield picture, list(picture.subplots(1, count, sharey=True, squeeze=False)[0])


def described(picture: Picture, title: str, facts: str) -> Picture:
    """The finished picture with alternative text ``title: facts``."""
    picture.alt = f"{title}: {facts}."
    # Constrained layout changes slightly at every draw; computed once and frozen, the same figure gives the same bytes.
    picture.draw_without_rendering()
    picture.set_layout_engine("none")
    return picture


def name_points(
    axes: Axes, names: Sequence[str], x: Sequence[float], y: Sequence[float], bars: Sequence[tuple[float, float]]
) -> None:
    """Labels beside their points, moved up or down so that none covers another label, point or bar."""
    (left, right), (low, high) = numpy.log(axes.get_xlim()), axes.get_ylim()
    across = [float((numpy.log(size) - left) / (right - left)) for size in x]
    up = [(value - low) / (high - low) for value in y]
    spans = [((start - low) / (high - low), (end - low) / (high - low)) for start, end in bars]
    taken: list[Box] = [(at - 0.008, at + 0.008, *span) for at, span in zip(across, spans, strict=True)]
    for index, name in enumerate(names):
        box = _free_box(across[index], up[index], CHARACTER * len(name), taken)
        taken.append(box)
        colour = LIGHT["baseline_text" if index == 0 else "kept_text"]
        edge, align = (box[1], "right") if box[1] < across[index] else (box[0], "left")
        middle = sum(box[2:]) / 2
        label = axes.text(edge, middle, name, transform=axes.transAxes, va="center", ha=align, color=colour)
        label.set_bbox(LABEL_BOX)


def _free_box(across: float, up: float, width: float, taken: Sequence[Box]) -> Box:
    """The first free box right, left, above or below the point; one above it if all are taken."""
    inside = max(0.0, min(across - width / 2, RIGHT_LIMIT - width))
    for lines, start in product(LINES_UP, (across + GAP, across - GAP - width, inside)):
        base = up + lines * LINE - LINE / 2
        box = (start, start + width, base, base + LINE)
        if 0 <= start and start + width <= max(RIGHT_LIMIT, width) and not any(_overlap(box, other) for other in taken):
            return box
    return (inside, inside + width, up + LINE / 2, up + 3 * LINE / 2)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]

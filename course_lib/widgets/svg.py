"""Elements of inline SVG charts, quick enough to be drawn at every move of a slider.

Colours are names of ``course_lib.core.palette``, which the stylesheet of ``course_lib.widgets.theme`` maps to the
colours of the theme. Sizes are in SVG units of about a pixel. Every chart has a title and a description for screen
readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

Format = Callable[[float], str]
LETTER_WIDTH = 6.3
LINE_HEIGHT = 14.0


@dataclass(frozen=True)
class Scale:
    """Maps values ``low … high`` to positions ``start … end``, linearly or in powers of ten."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, min(self.low, self.high)), max(self.low, self.high))
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(value) - low) / (high - low) if high != low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round numbers between ``low`` and ``high``; powers of ten on a log scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, round((last - first) / count))
            return [10.0**power for power in range(first, last + 1, every)]
        rough = (self.high - self.low) / max(count, 1) or 1.0
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 12) for index in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _bend(self, value: float) -> float:
        return math.log10(max(value, 1e-30)) if self.log else value


def plain(value: float) -> str:
    """A number with at most ten significant digits, and without a minus before zero."""
    return f"{value:.10g}" if value else "0"


def chart(parts: Iterable[str], *, width: float, height: float, title: str, description: str = "") -> str:
    """An ``<svg>`` element around ``parts``, with its title on top; title and description are its alternative text."""
    label = escape(f"{title}. {description}" if description else title, quote=True)
    body = text(4, 13, title, classes="title") + "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}" '
        f'style="max-width:{1.2 * width:.0f}px" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", classes: str = "") -> str:
    """Text whose baseline is at ``(x, y)``."""
    named = f' class="{classes}"' if classes else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(content)}</text>'


def segment(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A straight line between two points."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>'


def marker(shape: str, x: float, y: float, classes: str, size: float = 3.4, note: str = "") -> str:
    """A ``circle``, ``square``, ``diamond`` or ``triangle`` centred on a point; ``note`` appears on hover."""
    outlines: dict[str, list[tuple[float, float]]] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "diamond": [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
        "triangle": [(0, -1.3), (1.2, 0.9), (-1.2, 0.9)],
    }
    hover = f"<title>{escape(note)}</title>" if note else ""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" class="{classes}">{hover}</circle>'
    points = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in outlines[shape])
    return f'<polygon points="{points}" class="{classes}">{hover}</polygon>'


def x_axis(scale: Scale, y: float, label: str, *, ticks: Sequence[float] | None = None, form: Format = plain) -> str:
    """A bottom axis with ticks and numbers, and its label (with the unit) below."""
    parts = [segment(scale.start, y, scale.end, y, "axis")]
    for tick in scale.ticks(round((scale.end - scale.start) / 60)) if ticks is None else ticks:
        parts += [segment(scale(tick), y, scale(tick), y + 4, "axis")]
        parts += [text(scale(tick), y + 16, form(tick), anchor="middle")]
    parts.append(text((scale.start + scale.end) / 2, y + 33, label, anchor="middle"))
    return "".join(parts)


def y_axis(scale: Scale, x: float, right: float, label: str, *, form: Format = plain, count: int = 4) -> str:
    """Horizontal grid lines with numbers left of them, and the label (with the unit) above."""
    parts = []
    for tick in scale.ticks(count):
        parts += [segment(x, scale(tick), right, scale(tick), "grid")]
        parts += [text(x - 6, scale(tick) + 4, form(tick), anchor="end")]
    parts.append(text(4, scale.end - 13, label))
    return "".join(parts)


def text_width(content: str) -> float:
    """Approximate width of a label."""
    return LETTER_WIDTH * len(content)

"""Predict a number, then compare the guess with the measured value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from course_lib.learning import progress
from course_lib.learning.prediction import Prediction
from course_lib.learning.style import line, page, rich

if TYPE_CHECKING:
    from course_lib.learning.predict_panel import PredictionPanel

WIDTH, LEFT, RIGHT = 520.0, 24.0, 496.0
CLOSE = 0.1

_asked: dict[str, Prediction] = {}


@dataclass(frozen=True)
class Reveal:
    """A measured value beside the guess, if there was one."""

    asked: Prediction
    measured: float
    guess: float | None
    text: str

    @property
    def verdict(self) -> str:
        """The difference of guess and measurement, as a sentence."""
        asked, measured = self.asked, self.measured
        if self.guess is None:
            return f"Measured: {asked.shown(measured)} (no guess was locked in)."
        said = f"You guessed {asked.shown(self.guess)}, measured is {asked.shown(measured)}"
        off = self.guess - measured
        if abs(off) <= max(CLOSE * abs(measured), asked.step / 2):
            return f"{said}: well guessed."
        return f"{said}: {asked.shown(abs(off))} too {'high' if off > 0 else 'low'}."

    def __repr__(self) -> str:
        return f"{self.verdict} {self.text}".strip()

    def _repr_html_(self) -> str:
        asked = f'<div class="learn-text">{rich(self.asked.question)}</div>' if self.asked.question else ""
        return page(asked + self._picture() + line("hint", self.verdict, self.text))

    def _picture(self) -> str:
        """A number line with the measured value and the guess, if any."""
        from course_lib.widgets import svg

        shown = [self.measured] + ([self.guess] if self.guess is not None else [])
        scale = svg.Scale(min(self.asked.low, *shown), max(self.asked.high, *shown), LEFT, RIGHT)
        marks = [_Mark(scale(self.measured), "circle", "kept", f"measured {self.asked.shown(self.measured)}")]
        if self.guess is not None:
            guess = _Mark(scale(self.guess), "square", "before", f"your guess {self.asked.shown(self.guess)}")
            marks.insert(0, replace(guess, row=int(guess.overlaps(marks[0]))))
        top = 26.0 + 16.0 * max(mark.row for mark in marks)
        drawn = [svg.x_axis(scale, top, "")] + [mark.drawn(top) for mark in marks]
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {top + 22:g}" style="max-width:{1.2 * WIDTH:.0f}px" role="img" '
            f'aria-label="{escape(self.verdict, quote=True)}">{"".join(drawn)}</svg>'
        )


@dataclass(frozen=True)
class _Mark:
    """A marker on the number line, with its label in one of two rows above it."""

    x: float
    shape: str
    colour: str
    label: str
    row: int = 0

    @property
    def half(self) -> float:
        """Half the width of the label."""
        from course_lib.widgets import svg

        return svg.text_width(self.label) / 2

    @property
    def centre(self) -> float:
        """Centre of the label, inside the picture."""
        return min(max(self.x, self.half + 4), WIDTH - self.half - 4)

    def overlaps(self, other: _Mark) -> bool:
        """Whether the two labels overlap in one row."""
        return abs(self.centre - other.centre) < self.half + other.half + 8

    def drawn(self, axis: float) -> str:
        """SVG of marker and label; ``axis`` is the height of the number line."""
        from course_lib.widgets import svg

        height = axis - 12 - 16 * self.row
        label = svg.text(self.centre, height, self.label, anchor="middle", classes=f"{self.colour}-text")
        return svg.marker(self.shape, self.x, axis, self.colour, size=5) + label


def predict(
    key: str, question: str, low: float, high: float, step: float | None = None, unit: str = ""
) -> PredictionPanel:
    """A slider for a guess and a button that locks it in.

    Args:
        key: name of the guess, for ``reveal``.
        step: by default a hundredth of the range, or 1 if ``low`` and ``high`` are integers at least 20 apart.

    Raises:
        ValueError: if ``low`` is not below ``high``, or ``step`` is not positive.
    """
    from course_lib.learning.predict_panel import PredictionPanel

    if step is None:
        whole = isinstance(low, int) and isinstance(high, int) and high - low >= 20
        step = 1 if whole else 10.0 ** math.floor(math.log10(max(high - low, 1e-12) / 50))
    _asked[key] = Prediction(key, question, low, high, step, unit)
    return PredictionPanel(_asked[key])


def reveal(key: str, measured: float, text: str | None = None) -> Reveal:
    """Show the measured value beside the guess stored under ``key``, and their difference.

    Without a guess, for example in an automatic run, only the measured value is shown.

    Raises:
        ValueError: if ``measured`` is not a finite number.
    """
    value = float(measured)
    if not math.isfinite(value):
        raise ValueError(f"measured must be a finite number, got {measured!r}")
    guess = progress.read()["predictions"].get(key)
    asked = _asked.get(key) or Prediction(key, "", min(0.0, value), max(1.0, value), 0.01)
    return Reveal(asked, value, guess, text or "")

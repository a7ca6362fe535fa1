"""The panel of a prediction: a slider, and a button that locks the guess in."""

from __future__ import annotations

import ipywidgets as widgets

from course_lib.learning import progress
from course_lib.learning.prediction import Prediction
from course_lib.learning.style import line, rich
from course_lib.learning.widget_base import Activity, html
from course_lib.widgets.controls import Slider


class PredictionPanel(Activity):
    """A guess: move ``slider``, then ``lock`` it in; ``guess`` is None until then, and again after ``unlock``."""

    def __init__(self, asked: Prediction) -> None:
        self.asked = asked
        self.guess: float | None = None
        middle = asked.low + round((asked.high - asked.low) / 2 / asked.step) * asked.step
        self.slider = Slider(middle, asked.low, asked.high, asked.step, "Your guess", asked.unit, factor=1, log=False)
        self._text = html(self._asking())
        self._said = html()
        self._lock = self.button("Lock in my guess", self.lock, "primary")
        self._unlock = self.button("Guess again", self.unlock)
        super().__init__(self._text, self.slider, self._said, widgets.HBox([self._lock, self._unlock]))
        self._draw()

    def lock(self) -> None:
        """Record the guess; it is fixed until ``unlock``."""
        self.guess = float(self.slider.value)
        self._draw()
        progress.record_prediction(self.asked.key, self.guess)

    def unlock(self) -> None:
        """Make the slider movable again; the recorded guess stays until the next ``lock``."""
        self.guess = None
        self._draw()

    def _draw(self) -> None:
        locked = self.guess is not None
        said = "" if self.guess is None else f"Your guess: {self.asked.shown(self.guess)}."
        self._said.value = f'<div role="status">{line("hint", said, "Read on and see.") if said else ""}</div>'
        for widget, visible in ((self.slider, not locked), (self._lock, not locked), (self._unlock, locked)):
            widget.layout.display = None if visible else "none"

    def _asking(self) -> str:
        return f'<div class="learn-text"><b>Predict first.</b> {rich(self.asked.question)}</div>'

    def static_body(self) -> str:
        """The question and the range of the slider."""
        low, high = self.asked.shown(self.asked.low), self.asked.shown(self.asked.high)
        return f'{self._asking()}<p class="learn-faint">Your guess, from {low} to {high}: run this cell to make it.</p>'

    def static_text(self) -> str:
        """The question."""
        return f"Predict first. {self.asked.question}"

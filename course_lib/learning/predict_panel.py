"""The panel of a prediction: a slider, and a button that locks the guess in."""

from __future__ import annotations

import ipywidgets as widgets

from course_lib.learning import progress
from course_lib.learning.prediction import Prediction
from course_lib.learning.style import line, rich
from course_lib.learning.widget_base import Activity, html
from course_lib.widgets.controls import Slider


class PredictionPanel(Activity):
    """A guess: move ``slider``, then ``lock`` it in; ``guess`` is None until then, and again after ``unlock``.

    A guess that was locked in before is shown again. One button does both, so that it keeps the keyboard's focus.
    """

    def __init__(self, asked: Prediction) -> None:
        self.asked = asked
        self.guess: float | None = _recorded(asked)
        middle = asked.low + round((asked.high - asked.low) / 2 / asked.step) * asked.step
        start = middle if self.guess is None else self.guess
        self.slider = Slider(start, asked.low, asked.high, asked.step, "Your guess", asked.unit, factor=1, log=False)
        self._text = html(self._asking())
        self._said = html()
        self._button = self.button("", self.lock_or_unlock)
        super().__init__(self._text, self.slider, self._said, widgets.HBox([self._button]))
        self._draw()

    def lock_or_unlock(self) -> None:
        """The action of the button: ``unlock`` if the guess is locked in, else ``lock``."""
        self.lock() if self.guess is None else self.unlock()

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
        self.slider.layout.display = "none" if locked else None
        self._button.description = "Guess again" if locked else "Lock in my guess"
        self._button.button_style = "" if locked else "primary"

    def _asking(self) -> str:
        return f'<div class="learn-text"><b>Predict first.</b> {rich(self.asked.question)}</div>'

    def static_body(self) -> str:
        """The question and the range of the slider."""
        low, high = self.asked.shown(self.asked.low), self.asked.shown(self.asked.high)
        return f'{self._asking()}<p class="learn-faint">Your guess, from {low} to {high}: run this cell to make it.</p>'

    def static_text(self) -> str:
        """The question."""
        return f"Predict first. {self.asked.question}"


def _recorded(asked: Prediction) -> float | None:
    """The guess that was locked in before, if it still lies in the range of the question."""
    guess = progress.read()["predictions"].get(asked.key)
    return guess if guess is not None and asked.low <= guess <= asked.high else None

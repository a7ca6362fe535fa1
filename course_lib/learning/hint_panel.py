"""The hint panel: all hints are closed at first; the button opens one more."""

from __future__ import annotations

from html import escape

from course_lib.learning import progress
from course_lib.learning.questions import Question
from course_lib.learning.style import line
from course_lib.learning.widget_base import Activity, html


class HintPanel(Activity):
    """The hints of one question; ``open_next`` is the action of the button, ``opened`` counts the open hints."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.opened = 0
        self._shown = html()
        self._more = self.button("", self.open_next)
        super().__init__(self._shown, self._more)
        self.add_class("learn-hints")
        self._draw()

    def open_next(self) -> None:
        """Open one more hint, if there is one, and record the number of open hints."""
        if self.opened == len(self.question.hints):
            return
        self.opened += 1
        self._draw()
        progress.record_hint(self.question.id, self.opened)

    def _draw(self) -> None:
        total = len(self.question.hints)
        rows = [line("hint", f"Hint {i + 1}.", text) for i, text in enumerate(self.question.hints[: self.opened])]
        self._shown.value = f'<div role="status">{"".join(rows)}</div>'
        self._more.description = f"Hint {self.opened + 1} of {total}" if self.opened < total else "All hints are open"

    def static_body(self) -> str:
        """The number of hints, without their text."""
        return f'<p class="learn-faint">{escape(self.static_text())}</p>'

    def static_text(self) -> str:
        """The same as plain text."""
        return (
            f"{len(self.question.hints)} hints for {self.question.id} {self.question.title}. "
            "Run this cell to open them one after another."
        )

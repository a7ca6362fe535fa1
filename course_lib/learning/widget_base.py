"""Base class of the quiz, hint and prediction panels, whose buttons show every error."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from course_lib.learning.style import bare, line, page, stylesheet
from course_lib.widgets.panel import STRICT

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Activity(widgets.VBox):
    """A framed column of widgets, with a static version for readers without a kernel.

    An error in an action is shown at the bottom and kept in ``error``; it is raised too when the environment
    variable ``COURSE_STRICT_WIDGETS`` is 1.
    """

    def __init__(self, *rows: widgets.Widget) -> None:
        self.error: Exception | None = None
        self._notice = html()
        super().__init__([html(stylesheet()), *rows, self._notice])
        for name in ("course-panel", "course-learn"):
            self.add_class(name)

    def perform(self, action: Callable[[], Any]) -> None:
        """Run the action of a button, and show its error."""
        try:
            action()
        except Exception as error:
            self.error = error
            self._notice.value = line("wrong", type(error).__name__, str(error))
            if os.environ.get(STRICT) == "1":
                raise
        else:
            self.error = None
            self._notice.value = ""

    def button(self, label: str, action: Callable[[], Any], style: str = "") -> widgets.Button:
        """A button for one action of this panel."""
        made = widgets.Button(description=label, button_style=style, layout=widgets.Layout(width="auto"))
        made.on_click(lambda _: self.perform(action))
        return made

    def static_body(self) -> str:
        """The static version as HTML."""
        raise NotImplementedError("a subclass defines static_body")

    def static_text(self) -> str:
        """The static version as one line of plain text."""
        raise NotImplementedError("a subclass defines static_text")

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        view = super()._repr_mimebundle_(**options)[WIDGET_VIEW]
        return {WIDGET_VIEW: view, "text/html": page(self.static_body()), "text/plain": bare(self.static_text())}

    def __repr__(self) -> str:
        return bare(self.static_text())


def html(value: str = "") -> widgets.HTML:
    """An HTML widget with automatic width."""
    return widgets.HTML(value, layout=widgets.Layout(width="auto", margin="0"))

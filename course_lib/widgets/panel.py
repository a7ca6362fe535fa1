"""``Panel``: a pure computation, a pure rendering, and controls."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from course_lib.widgets.components import Number, notice, numbers_row
from course_lib.widgets.controls import Control
from course_lib.widgets.theme import stylesheet

STRICT = "COURSE_STRICT_WIDGETS"
RUN_ME = "A picture of the panel as it starts. Run this cell, and you can move it."


class Panel(widgets.VBox):
    """Controls on the left, a picture on the right, one line of numbers below.

    ``compute`` and ``render`` are pure and are called, synchronously, whenever a control changes. An error in them is
    shown in the panel and kept in ``error``. It is also raised by the constructor and, if the environment variable
    ``COURSE_STRICT_WIDGETS`` is 1, always.

    Args:
        compute: function of the control values by name; returns any result.
        render: result → HTML or SVG text.
        numbers: result → the numbers of the line below the picture.
        shown: values by name → names of the controls to show; the others are hidden.
        message: result → a remark on the input, or an empty string.
        controls: made by ``slider``, ``log_slider``, ``choice``, ``toggle``.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        render: Callable[[Any], str],
        *,
        numbers: Callable[[Any], Sequence[Number]] | None = None,
        shown: Callable[[Mapping[str, Any]], Collection[str]] | None = None,
        message: Callable[[Any], str] | None = None,
        title: str = "",
        subtitle: str = "",
        **controls: Control,
    ) -> None:
        self._compute, self._render, self._numbers = compute, render, numbers
        self._shown, self._message = shown, message
        self.heading, self.subtitle, self.controls = title, subtitle, controls
        self.result: Any = None
        self.error: Exception | None = None
        self.picture, self.numbers, self.notice = (widgets.HTML() for _ in range(3))
        for name, control in controls.items():
            control.label = control.label or name.replace("_", " ").capitalize()
            control.observe(self._changed, ["value", "notice"])
        super().__init__(self._rows())
        self.add_class("course-panel")
        self.update()
        if self.error is not None:
            raise self.error

    @property
    def values(self) -> dict[str, Any]:
        """Name of each control → its value."""
        return {name: control.value for name, control in self.controls.items()}

    def update(self) -> None:
        """Compute and draw from the current values of the controls."""
        try:
            self.result = self._compute(**self.values)
            self.picture.value = self._render(self.result)
            self.numbers.value = numbers_row(self._numbers(self.result)) if self._numbers else ""
            remarks = [control.notice for control in self._visible().values()]
            remarks.append(self._message(self.result) if self._message else "")
            self.notice.value = notice(" ".join(filter(None, remarks)))
            self.error = None
        except Exception as error:
            self.error = error
            self.notice.value = notice(f"{type(error).__name__}: {error}")
            if os.environ.get(STRICT) == "1":
                raise

    def _changed(self, change: dict[str, Any]) -> None:
        self._hide()
        self.update()

    def _visible(self) -> dict[str, Control]:
        names = self._shown(self.values) if self._shown else self.controls
        return {name: control for name, control in self.controls.items() if name in names}

    def _hide(self) -> None:
        visible = self._visible()
        for name, control in self.controls.items():
            control.layout.display = None if name in visible else "none"

    def _rows(self) -> list[widgets.Widget]:
        self._hide()
        left = widgets.VBox(list(self.controls.values()))
        left.add_class("course-controls")
        self.picture.add_class("course-picture")
        body = widgets.HBox([left, self.picture])
        body.add_class("course-body")
        return [widgets.HTML(stylesheet() + self._header()), body, self.numbers, self.notice]

    def _header(self) -> str:
        heading = f"<h4>{escape(self.heading)}</h4>" if self.heading else ""
        return heading + (f'<p class="course-subtitle">{escape(self.subtitle)}</p>' if self.subtitle else "")

    def static_html(self) -> str:
        """The current state of the panel as HTML that needs no kernel."""
        rows = "".join(
            f"<dt>{escape(control.label)}</dt><dd>{escape(control.reading)}</dd>"
            for control in self._visible().values()
        )
        return (
            f'{stylesheet()}<div class="course-panel">{self._header()}<div class="course-body">'
            f'<dl class="course-controls course-static">{rows}</dl>'
            f'<div class="course-picture">{self.picture.value}</div></div>'
            f'{self.numbers.value}{self.notice.value}<p class="course-note">{RUN_ME}</p></div>'
        )

    def __str__(self) -> str:
        readings = ", ".join(f"{control.label}: {control.reading}" for control in self._visible().values())
        numbers = "; ".join(map(str, self._numbers(self.result))) if self._numbers and self.error is None else ""
        return "\n".join(filter(None, [f"{self.heading or 'Panel'} ({readings})", numbers]))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        view = "application/vnd.jupyter.widget-view+json"
        return {view: bundle[view], "text/html": self.static_html(), "text/plain": str(self)}

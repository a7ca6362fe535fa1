"""Panels: what a learner drags.

``Panel`` wires a pure ``compute``, a pure ``render`` and controls; ``charts`` draws them; the functions that end in
``_panel`` are the ones of the lessons.
"""

from __future__ import annotations

from course_lib.widgets.controls import choice, log_slider, slider, toggle
from course_lib.widgets.panel import Panel
from course_lib.widgets.pieces import Number, Verdict, numbers_row, side_by_side, table

__all__ = [
    "Number", "Panel", "Verdict", "choice", "log_slider", "numbers_row", "side_by_side", "slider", "table", "toggle",
]  # fmt: skip

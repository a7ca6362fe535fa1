"""Controls of a panel: sliders with a linked numeric field, choices and toggles, each with its label above.

Every control has ``.value`` (the panel follows when code sets it), ``.label``, ``.reading`` (the value as text) and
``.notice`` (a remark on a clamped value, or an empty string).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
import traitlets

from course_lib.core.validation import check_choice

_same = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)


class Value(traitlets.Any):
    """Any value but ``None``, which traitlets would accept unchecked."""

    allow_none = False


class Control(widgets.VBox):
    """A labelled control whose ``value`` the panel observes."""

    value = Value()
    notice = traitlets.Unicode()

    def __init__(self, label: str | None, *children: widgets.Widget) -> None:
        self._name = widgets.Label(value=label or "")
        self._name.add_class("course-label")
        self._inputs = children
        super().__init__([self._name, *children])
        self.add_class("course-control")

    @property
    def label(self) -> str:
        """The name above the control."""
        return self._name.value

    @label.setter
    def label(self, label: str) -> None:
        """Set the name above the control and of its inputs."""
        self._name.value = label
        self._name_inputs(label)

    @property
    def reading(self) -> str:
        """The value as text, with its unit."""
        return str(self.value)

    def _name_inputs(self, label: str) -> None:
        raise NotImplementedError("a control names its inputs for screen readers")


class Slider(Control):
    """A slider and a numeric field of the same number; see ``slider`` and ``log_slider``."""

    def __init__(
        self, value: float, low: float, high: float, step: float, label: str | None, unit: str, factor: float, log: bool
    ) -> None:
        if not low < high:
            raise ValueError(f"low must be below high, got low={low} and high={high}")
        if log and low <= 0:
            raise ValueError(f"low must be greater than 0 on a logarithmic slider, got {low}")
        self.low, self.high, self.unit, self.factor, self.logarithmic = low, high, unit, factor, log
        self._whole = all(isinstance(number, int) for number in (value, low, high, 1 if log else step))
        track_step = step if log else step * factor
        self._digits = max(0, -math.floor(math.log10(track_step) + 1e-9))
        ends = (self._to_track(low), self._to_track(high))
        self._track = widgets.FloatSlider(min=ends[0], max=ends[1], step=track_step, value=ends[0], readout=False)
        self._track.layout = widgets.Layout(flex="1 1 60px", width="60px", margin="0 4px 0 0")
        self._field = widgets.FloatText(layout=widgets.Layout(width="68px", margin="0"), step=track_step)
        row = widgets.HBox([self._track, self._field])
        row.add_class("course-row")
        if unit:
            shown_unit = widgets.Label(value=unit)
            shown_unit.add_class("course-unit")
            row.children = (*row.children, shown_unit)
        super().__init__(label, row)
        self.value = value
        self._track.observe(self._track_moved, "value")
        self._field.observe(self._field_typed, "value")

    @property
    def reading(self) -> str:
        """The value as text, with its unit."""
        return f"{self.value * self.factor:,.{self._places(self.value)}f} {self.unit}".rstrip()

    @traitlets.validate("value")
    def _clamp(self, proposal: dict[str, Any]) -> float:
        given = proposal["value"]
        if isinstance(given, bool) or not isinstance(given, (int, float)) or math.isnan(given):
            raise ValueError(f"{self.label or 'value'} must be a number, got {given!r}")
        value = min(max(given, self.low), self.high)
        clamped = f"{self.label} cannot be {self._text(given)}; it is set to {self._text(value)}."
        self.notice = "" if _same(value, given) else clamped
        return round(value) if self._whole else float(value)

    @traitlets.observe("value")
    def _follow(self, change: dict[str, Any]) -> None:
        value = change["new"]
        if not _same(self._from_track(self._track.value), value):
            self._track.value = self._to_track(value)
        self._field.value = self._rounded(value)

    def _track_moved(self, change: dict[str, Any]) -> None:
        value = self._from_track(change["new"])
        if not _same(value, self.value):
            self.value = value

    def _field_typed(self, change: dict[str, Any]) -> None:
        typed = change["new"]
        if typed != self._rounded(self.value):
            self.value = round(typed) if self._whole else typed / self.factor
            self._field.value = self._rounded(self.value)

    def _to_track(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value * self.factor

    def _from_track(self, position: float) -> float:
        if not self.logarithmic:
            return round(position / self.factor, self._digits + 12)
        value = 10.0**position
        return min(max(round(value) if self._whole else float(f"{value:.3g}"), self.low), self.high)

    def _rounded(self, value: float) -> float:
        """The number that the field shows."""
        return round(value * self.factor, self._places(value))

    def _places(self, value: float) -> int:
        if not self.logarithmic or self._whole:
            return 0 if self._whole else self._digits
        shown = value * self.factor
        return max(0, 2 - math.floor(math.log10(shown) + 1e-9)) if shown > 0 else 0

    def _text(self, value: float) -> str:
        return f"{value * self.factor:.6g} {self.unit}".strip()

    def _name_inputs(self, label: str) -> None:
        self._track.description = label
        self._field.description = f"{label}, as a number"


class Choice(Control):
    """A drop-down list; see ``choice``."""

    def __init__(self, options: Sequence[Any], value: Any, label: str | None) -> None:
        self._list = widgets.Dropdown(options=options, value=value, layout=widgets.Layout(width="100%", margin="0"))
        self._list.add_class("course-list")
        self.options = tuple(self._list._options_values)
        super().__init__(label, self._list)
        self.value = value
        traitlets.link((self, "value"), (self._list, "value"))

    @property
    def reading(self) -> str:
        """The text of the chosen option."""
        return str(self._list.label)

    @traitlets.validate("value")
    def _allowed(self, proposal: dict[str, Any]) -> Any:
        return check_choice(self.label or "value", proposal["value"], self.options)

    def _name_inputs(self, label: str) -> None:
        self._list.description = label


class Toggle(Control):
    """A check box; see ``toggle``."""

    def __init__(self, value: bool, label: str | None) -> None:
        self._box = widgets.Checkbox(value=bool(value), indent=False, layout=widgets.Layout(width="100%", margin="0"))
        super().__init__(None, self._box)
        self._name.layout.display = "none"
        self.label = label or ""
        self.value = bool(value)
        traitlets.link((self, "value"), (self._box, "value"))

    @property
    def reading(self) -> str:
        """``"yes"`` or ``"no"``."""
        return "yes" if self.value else "no"

    def _name_inputs(self, label: str) -> None:
        self._box.description = label


def slider(
    value: float, low: float, high: float, step: float | None = None, label: str | None = None, unit: str = ""
) -> Slider:
    """A slider from ``low`` to ``high`` with a numeric field.

    Args:
        step: smallest move; 1 when the three numbers are whole, else a hundredth of the range.
        label: name above it; by default the name of the argument of ``compute``.
        unit: shown after the field. With ``"%"`` the value is a fraction that is shown times 100.

    Raises:
        ValueError: if ``low`` is not below ``high``.
    """
    whole = all(isinstance(number, int) for number in (value, low, high))
    step = step if step is not None else (1 if whole else (high - low) / 100)
    return Slider(value, low, high, step, label, unit, factor=100 if unit == "%" else 1, log=False)


def log_slider(
    value: float, low: float, high: float, label: str | None = None, unit: str = "", factor: float = 1.0,
    step: float = 0.01,
) -> Slider:  # fmt: skip
    """A slider in powers of ten; values snap to three significant digits and are shown times ``factor``.

    Args:
        step: smallest move, in powers of ten; ``math.log10(2)`` doubles the value.
        value, low, high: if all three are whole numbers, so is every value.

    Raises:
        ValueError: if ``low`` is not positive or not below ``high``.
    """
    return Slider(value, low, high, step, label, unit, factor=factor, log=True)


def choice(*options: Any, value: Any = None, label: str | None = None) -> Choice:
    """A list of ``options`` (values, or pairs of text and value); the first is chosen unless ``value`` is given.

    Raises:
        ValueError: if there is no option.
    """
    if not options:
        raise ValueError("options must hold at least one entry, got none")
    first = options[0][1] if isinstance(options[0], tuple) else options[0]
    return Choice(options, first if value is None else value, label)


def toggle(value: bool = False, label: str | None = None) -> Toggle:
    """A check box."""
    return Toggle(value, label)

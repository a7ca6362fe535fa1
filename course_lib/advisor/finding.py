"""Findings of the rules: what was measured on this model, whether the rule fires, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from course_lib.advisor.case import Case


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Args:
        rule: its name, as in the list of best practices.
        fires: whether there is something to do.
        summary: what was measured, in one sentence.
        advice: what to do; empty if the rule is silent.
        measured: the figures.
    """

    rule: str
    fires: bool
    summary: str
    advice: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "measured": dict(self.measured)}

    def __str__(self) -> str:
        mark = "!" if self.fires else "·"
        return f"{mark} {self.rule}: {self.summary}" + (f"\n  → {self.advice}" if self.fires and self.advice else "")


Rule = Callable[[Case], Finding]

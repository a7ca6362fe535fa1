"""The question behind a prediction: text, range and unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from course_lib.core.validation import check_positive


@dataclass(frozen=True)
class Prediction:
    """A question whose answer is a number to guess.

    Args:
        key: for example ``"03.speedup"``; the guess is stored under it.
        low, high: smallest and largest possible guess.
        step: resolution of the guess; the measured value is shown with as many decimals.
        unit: written after the number.
    """

    key: str
    question: str
    low: float
    high: float
    step: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low} and high={self.high}")
        check_positive("step", self.step)

    def shown(self, value: float) -> str:
        """The value with as many decimals as the step has, and the unit (no space before ×)."""
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        number = f"{value:,.{decimals}f}"
        return f"{number}{'' if self.unit == '×' else ' '}{self.unit}".strip()

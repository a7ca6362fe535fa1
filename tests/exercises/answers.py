"""What every question of an exercise is tested with: wrong answers that must fail, right ones that must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Answers:
    """Other people's answers to one question.

    Args:
        name: the function that the learner defines.
        wrong: label → source of a plausible wrong answer (off by one, wrong axis, sign, hard-coded result, …).
        right: label → source of a correct answer that is written differently from the solution.
    """

    name: str
    wrong: Mapping[str, str]
    right: Mapping[str, str]

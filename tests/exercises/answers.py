"""What every question of an exercise is tested with: wrong answers that must fail, right ones that must pass."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from course_lib.grading import building, cells


@dataclass(frozen=True)
class Answers:
    """Other people's answers to one question.

    Args:
        name: the function that the learner defines.
        wrong: label → source of a plausible wrong answer (off by one, wrong axis, sign, hard-coded result, …).
        right: label → source of a correct answer that is written differently from the solution.
        advice: label of a wrong answer → words of the message that name its mistake.
    """

    name: str
    wrong: Mapping[str, str]
    right: Mapping[str, str]
    advice: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def solution(question: str) -> str:
    """The answer cell of a question, as it stands in ``solutions/``."""
    (path,) = building.SOLUTIONS.glob(f"{question[:2]}_*.ipynb")
    notebook = cells.read(path)
    return notebook.cells[cells.questions(notebook)[question].answer].source


def changed(source: str, *changes: tuple[str, str]) -> str:
    """``source`` with some of its parts written differently: pairs of what stands there and what shall.

    Raises:
        ValueError: if a part does not stand there; what was meant to be wrong would be right.
    """
    for before, after in changes:
        if before not in source:
            raise ValueError(f"there is nothing to change: {before!r} does not occur in\n{source}")
        source = source.replace(before, after)
    return source

"""The quiz of a lesson or of the course, as a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.learning.quiz_questions import load

if TYPE_CHECKING:
    from course_lib.learning.quiz_panel import QuizPanel


def quiz(name: str) -> QuizPanel:
    """The panel of a quiz: ``quiz("03")`` for a lesson, ``quiz("model-compression-techniques")`` for the course.

    Raises:
        ValueError: if there is no quiz of this name.
    """
    from course_lib.learning.quiz_panel import QuizPanel

    return QuizPanel(load(name))

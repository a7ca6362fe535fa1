"""Three hints for each question, opened one after another, without loss of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.learning import questions

if TYPE_CHECKING:
    from course_lib.learning.hint_panel import HintPanel


def hint(id: str) -> HintPanel:
    """A button that opens the hints of a question (``"03.1"``) one after another.

    Raises:
        ValueError: if there is no such question.
    """
    from course_lib.learning.hint_panel import HintPanel

    return HintPanel(questions.find(id))

"""What turns the notebooks into a course: checks, hints, quizzes, predictions, progress.

``from course_lib.learning import check, hint, quiz, predict, reveal, course_map`` is all that a notebook needs.
"""

from course_lib.learning.expect import (
    CheckFailed,
    NotAttempted,
    cases,
    expect,
    expect_close,
    expect_equal,
    expect_raises,
    expect_unchanged,
)
from course_lib.learning.questions import Passed, Question, check, find, in_lesson, probe, question

__all__ = [
    "CheckFailed", "NotAttempted", "Passed", "Question", "cases", "check", "expect", "expect_close", "expect_equal",
    "expect_raises", "expect_unchanged", "find", "in_lesson", "probe", "question",
]  # fmt: skip

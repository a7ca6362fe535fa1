"""Checks, hints, quizzes, predictions and progress of the course notebooks.

``from course_lib.learning import check, hint, quiz, predict, reveal, course_map`` is what a notebook needs.
The functions ``quiz``, ``predict`` and ``course_map`` hide the modules of the same names.
"""

from course_lib.learning.course_map import LESSONS, course_map, lesson_done, lesson_opened
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
from course_lib.learning.hints import hint
from course_lib.learning.predict import predict, reveal
from course_lib.learning.questions import Passed, Question, check, find, in_lesson, probe, question
from course_lib.learning.quiz import quiz

__all__ = [
    "LESSONS", "CheckFailed", "NotAttempted", "Passed", "Question", "cases", "check", "course_map", "expect",
    "expect_close", "expect_equal", "expect_raises", "expect_unchanged", "find", "hint", "in_lesson", "lesson_done",
    "lesson_opened", "predict", "probe", "question", "quiz", "reveal",
]  # fmt: skip

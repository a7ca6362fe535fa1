"""Build the exercises, check one's own notebook, grade a class.

``build`` makes exercises from solutions, ``check`` gives a learner the points of her own notebook.
"""

from __future__ import annotations

from course_lib.grading.building import build
from course_lib.grading.lint import LintError
from course_lib.grading.selfcheck import NotebookResult, check, summary

__all__ = ["LintError", "NotebookResult", "build", "check", "summary"]

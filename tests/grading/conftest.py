"""A small exercise whose questions need no model, so that a whole run takes seconds."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission
from course_lib.grading.shortcut_detection import Flag, FlagKind

SETUP = """
from course_lib.learning.expect import expect_equal
from course_lib.learning.questions import check, question

def declare(id, inputs):
    def body(answer):
        for value in inputs:
            expect_equal("result", answer(value), 2 * value, hint="is it doubled?")
    question(id, points=5, minutes=1, difficulty=1, title="Double it", hints=("a", "b", "c"))(body)

for number in range(1, 5):
    declare(f"99.{number}", [1, 2, number])
""".strip()

ANSWER = '''
def double_{number}(value: int) -> int:
    """Twice the value."""
    ### BEGIN SOLUTION
    return value + value  # secret of question {number}
    ### END SOLUTION
'''.strip()


EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "[x](javascript:alert(1)) ![](http://example.org/x.png)",
    "\x1b[2J\x1b]0;title\x07red\x1b[31m",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "admin\u202egnp.exe\u2066\u200b",
    "a\r\nb\x00c\ud800",
    "x" * 100_000,
]


def evil_result(text: str) -> GradedSubmission:
    """A result in which everything that a learner writes is ``text``."""
    flags = (Flag(FlagKind.SOLUTION, text),)
    questions = (GradedQuestion("01.1", 0.0, 3.0, Status.ERROR, text, flags),)
    return GradedSubmission(text, "bwrap", "k", "01_compression_calculator", text, questions, {"01.1": text})


def nbgrader(grade_id: str, *, solution: bool, points: int | None = None) -> dict:
    entry = {
        "grade_id": grade_id, "solution": solution, "grade": not solution, "locked": not solution,
        "schema_version": 3, "task": False,
    }  # fmt: skip
    return {"nbgrader": entry | ({"points": points} if points is not None else {})}


def tiny_solution(questions: int = 4) -> nbformat.NotebookNode:
    """Four questions of five points: double a number."""
    cells = [new_markdown_cell("# Doubling"), new_code_cell(SETUP)]
    for number in range(1, questions + 1):
        answer, check = f"answer-99-{number}", f"check-99-{number}"
        cells += [
            new_markdown_cell(f"## 99.{number} Double it"),
            new_code_cell(ANSWER.format(number=number), metadata=nbgrader(answer, solution=True)),
            new_code_cell(f'check("99.{number}", double_{number})', metadata=nbgrader(check, solution=False, points=5)),
        ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "my-env", "display_name": "x"}, "author": "me"})


@pytest.fixture
def solution() -> nbformat.NotebookNode:
    return tiny_solution()

"""A small exercise whose questions need no model, so that a whole run takes seconds."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

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

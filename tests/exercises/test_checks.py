"""Every check is itself tested: the solution passes, the stub is not attempted, wrong answers fail, others pass."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest

from course_lib.grading import building, cells
from course_lib.grading.lint import RIGHT_ANSWERS, WRONG_ANSWERS
from course_lib.learning import questions
from course_lib.learning.expect import CheckFailed, NotAttempted

LESSONS = sorted(file.stem.removeprefix("answers_") for file in Path(__file__).parent.glob("answers_[0-9][0-9].py"))
TRIED = {question: entry for lesson in LESSONS for question, entry in building.load_answers(lesson).items()}
WRONG = [(question, label) for question, entry in TRIED.items() for label in entry.wrong]
RIGHT = [(question, label) for question, entry in TRIED.items() for label in entry.right]


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


@functools.cache
def notebook(lesson: str) -> Any:
    (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    return cells.read(path)


@functools.cache
def surroundings(question: str) -> dict[str, Any]:
    """What an answer cell finds: the notebook's imports and definitions, and the solutions of earlier questions."""
    solution = notebook(question[:2])
    answer = cells.questions(solution)[question].answer
    namespace: dict[str, Any] = {"__name__": "__main__"}
    graded = {index for index, kind, _ in cells.graded(solution)}
    for index, cell in enumerate(solution.cells[:answer]):
        if cell.cell_type == "code" and "%" not in cell.source[:1]:
            kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            is_answer = index in graded and cells.grade_id(cell).startswith("answer-")
            tree = ast.parse(cell.source)
            tree.body = [node for node in tree.body if isinstance(node, kept) or (is_answer and not _is_call(node))]
            exec(compile(tree, f"{question}-{index}", "exec"), namespace)
    return namespace


def _is_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def answer(question: str, source: str) -> Any:
    """The function that ``source`` defines, in the surroundings of its question."""
    namespace = dict(surroundings(question))
    exec(compile(source, f"answer-{question}", "exec"), namespace)
    return namespace[TRIED[question].name]


def graded_source(question: str, *, solved: bool) -> str:
    solution = notebook(question[:2])
    source = solution if solved else building.exercise(solution)
    return source.cells[cells.questions(solution)[question].answer].source


def test_every_exercise_that_exists_has_its_answers_and_its_notebook():
    assert LESSONS == questions.lessons_with_exercises()
    assert [path.name[:2] for path in sorted(building.SOLUTIONS.glob("*.ipynb"))] == LESSONS


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_question_of_a_lesson_is_tried(lesson):
    declared = [entry.id for entry in questions.in_lesson(lesson)]
    assert declared == list(cells.questions(notebook(lesson))) == [id for id in TRIED if id[:2] == lesson]
    for question in declared:
        assert len(TRIED[question].wrong) >= WRONG_ANSWERS and len(TRIED[question].right) >= RIGHT_ANSWERS


@pytest.mark.parametrize("question", TRIED)
def test_the_solution_passes(question):
    assert questions.check(question, answer(question, graded_source(question, solved=True))).question == question


@pytest.mark.parametrize("question", TRIED)
def test_the_stub_counts_as_not_attempted(question):
    with pytest.raises(NotAttempted):
        questions.check(question, answer(question, graded_source(question, solved=False)))


@pytest.mark.parametrize(("question", "label"), WRONG, ids=lambda value: value)
def test_a_wrong_answer_fails_with_a_message(question, label):
    with pytest.raises(CheckFailed) as failure:
        questions.check(question, answer(question, TRIED[question].wrong[label]))
    assert len(str(failure.value)) > len(f"{question} not yet: ") and "\n" not in str(failure.value)


@pytest.mark.parametrize(("question", "label"), RIGHT, ids=lambda value: value)
def test_another_right_answer_passes(question, label):
    assert questions.check(question, answer(question, TRIED[question].right[label])).question == question

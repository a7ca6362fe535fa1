"""Every check is itself tested: the solution passes, the stub is not attempted, wrong answers fail, others pass."""

from __future__ import annotations

import ast
import functools
import importlib
import re
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


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_the_text_does_not_count_is_what_the_check_refuses(lesson):
    sentences = [
        one for one in re.split(r"(?<=[.:]) ", notebook(lesson).cells[0].source) if "not count as an answer" in one
    ]
    named = re.findall(r"`([a-z_.]+\.[a-z_.]+)`", " ".join(sentences))
    module = importlib.import_module(f"{questions.EXERCISES}.lesson_{lesson}.questions")
    assert sorted(set(named) - {"torch.linalg"}) == sorted(getattr(module, questions.EXCLUDED, ()))


@pytest.mark.parametrize("question", TRIED)
def test_the_solution_passes(question):
    assert questions.check(question, answer(question, graded_source(question, solved=True))).question == question


@pytest.mark.parametrize("question", TRIED)
def test_the_stub_counts_as_not_attempted(question):
    with pytest.raises(NotAttempted):
        questions.check(question, answer(question, graded_source(question, solved=False)))


CAPITALISED_CODE = re.compile(r"\b[A-Z][a-z]+(?:\.[a-z_]+)*\(|\b(?:Torch|Copy|Math|Alpha|Qmin|Qmax|Eps|Zero_y)\b")


@pytest.mark.parametrize(("question", "label"), WRONG, ids=lambda value: value)
def test_a_wrong_answer_fails_with_advice_that_names_its_mistake(question, label):
    with pytest.raises(CheckFailed) as failure:
        questions.check(question, answer(question, TRIED[question].wrong[label]))
    message = str(failure.value)
    assert TRIED[question].advice[label] in message
    assert "\n" not in message and not message.endswith("…")
    assert not CAPITALISED_CODE.search(message.replace("StructuredPruner(", "").replace("FeatureLoss(", ""))


@pytest.mark.parametrize("question", TRIED)
def test_every_wrong_answer_has_words_that_name_its_mistake(question):
    tried = TRIED[question]
    assert tried.advice.keys() == tried.wrong.keys() and all(len(words) > 5 for words in tried.advice.values())


@pytest.mark.parametrize(("question", "label"), RIGHT, ids=lambda value: value)
def test_another_right_answer_passes(question, label):
    assert questions.check(question, answer(question, TRIED[question].right[label])).question == question

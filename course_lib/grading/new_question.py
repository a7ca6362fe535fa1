"""Stubs of a new exercise question, in all the places that a question has; ``docs/new_question.md`` explains them.

Every text to replace contains the word TODO, and ``course build`` refuses an exercise in which one is left.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.grading import building, cells
from course_lib.learning import questions
from course_lib.learning.course_map import lesson as find_lesson

QUESTIONS_HEADER = '''"""Checks and probes of exercise {lesson}."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.expect import draw, expect_close, expect_unchanged
from course_lib.learning.questions import probe, question
'''
ANSWERS_HEADER = '''"""Answers to exercise {lesson} that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

ANSWERS: dict[str, Answers] = {{}}
'''
CHECK = '''

@question(
    "{id}", title="{title}", points={points}, minutes={minutes}, difficulty={difficulty},
    hints=(
        "TODO: a question that leads to the idea.",
        "TODO: the functions or the formula to use.",
        "TODO: the last step but one, without the answer.",
    ),
)  # fmt: skip
def check_{name}(answer: Answer) -> None:
    """TODO: the inputs that are tried."""
    for value in (0.0, 1.0, -2.5):
        expect_close("result", answer(value), {name}(value), hint="TODO: what a wrong result usually means")


@probe("{id}")
def probe_{name}(answer: Answer, generator: torch.Generator) -> Any:
    """TODO: what the grader compares; every input is random."""
    return [answer(value) for value in torch.rand(5, generator=generator).tolist()]
'''
ANSWER = '''def {name}(value: float) -> float:
    """TODO: what it returns, with units."""
    ### BEGIN SOLUTION
    return value + 0.0  # TODO: the solution
    ### END SOLUTION'''
MARKDOWN = """## {id} {title}
*{points_text} · about {minutes} minutes · difficulty {difficulty} of 5*

TODO: what to write, with shapes and units.

Example: TODO."""
ANSWERS = """
ANSWERS["{id}"] = Answers(
    name="{name}",
    wrong={{
        "TODO off by one": "def {name}(value):\\n    return value + 1",
        "TODO sign": "def {name}(value):\\n    return -value - 1e-3",
        "TODO factor": "def {name}(value):\\n    return 2 * value + 1e-3",
        "TODO type": "def {name}(value):\\n    return str(value)",
        "TODO hard-coded": "def {name}(value):\\n    return 0.25",
    }},
    right={{
        "TODO another way": "def {name}(value):\\n    return sum([value])",
        "TODO a third way": "def {name}(value):\\n    return value * 1",
    }},
)
"""
INDEPENDENT = """

@independent("{id}")
def _(reference: ModuleType) -> Pairs:
    yield reference.{name}(0.5), 0.5  # TODO: a value worked out by hand, or the package's own function
"""


@dataclass(frozen=True)
class NewQuestion:
    """A question to add.

    Args:
        id: lesson and number, for example ``"03.7"``.
        title: a few words.
        name: the function that learners write; by default made from the title.
        points: for a right answer.
        minutes: estimated time.
        difficulty: 1 to 5.

    Raises:
        ValueError: if a field is out of range, or the name is not an identifier.
    """

    id: str
    title: str
    name: str = ""
    points: int = 3
    minutes: int = 10
    difficulty: int = 2

    def __post_init__(self) -> None:
        questions.Question(
            self.id, self.title, self.points, self.minutes, self.difficulty, ("-",) * questions.HINTS, print
        )
        name = self.name or re.sub(r"\W+", "_", self.title.lower()).strip("_")
        if not name.isidentifier():
            raise ValueError(f"name must be a Python identifier, got {name!r}; give one with --name")
        object.__setattr__(self, "name", name)

    def fill(self, template: str) -> str:
        """``template`` with the fields of this question."""
        points = f"{self.points} point{'s' * (self.points != 1)}"
        return template.format(**vars(self), lesson=self.id[:2], points_text=points)


def add(new: NewQuestion, root: Path = building.ROOT) -> list[Path]:
    """Write the stubs of a question; returns the files that changed.

    Args:
        new: the question.
        root: the project folder.

    Raises:
        ValueError: if the lesson or its exercise already has such a question, or the lesson does not exist.
    """
    lesson = new.id[:2]
    notebook_file = root / "solutions" / find_lesson(lesson).file
    folder = root / "course_lib" / "learning" / "exercises" / f"lesson_{lesson}"
    answers, independent = (root / "tests" / "exercises" / name for name in (f"answers_{lesson}.py", "independent.py"))
    notebook = cells.read(notebook_file) if notebook_file.is_file() else _empty_notebook(lesson)
    if new.id in cells.questions(notebook):
        raise ValueError(f"question {new.id} already exists in {notebook_file.name}")
    checks = folder / "questions.py"
    source = checks.read_text(encoding="utf-8") if checks.is_file() else new.fill(QUESTIONS_HEADER)
    if new.name in _defined(source) or f"check_{new.name}" in _defined(source):
        raise ValueError(f"name {new.name!r} is already used in exercise {lesson}; give another with --name")
    texts = {
        checks: _with_import(source, f"{questions.EXERCISES}.lesson_{lesson}.reference", new.name) + new.fill(CHECK),
        answers: (answers.read_text(encoding="utf-8") if answers.is_file() else new.fill(ANSWERS_HEADER))
        + new.fill(ANSWERS),
        independent: independent.read_text(encoding="utf-8") + new.fill(INDEPENDENT),
    }
    if not (package := folder / "__init__.py").is_file():
        texts[package] = f'"""Exercise {lesson}."""\n'
    _insert(notebook, new)
    texts[notebook_file] = nbformat.writes(notebook, version=4, indent=1, ensure_ascii=False) + "\n"
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(texts)


def _empty_notebook(lesson: str) -> NotebookNode:
    title = f"# Exercise {lesson} · {find_lesson(lesson).title}\n\nTODO: the topic, points and time."
    setup = new_code_cell("from course_lib.learning import check, hint", id="cell-01")
    metadata = {"kernelspec": building.KERNELSPEC}
    return new_notebook(cells=[new_markdown_cell(title, id="cell-00"), setup], metadata=metadata)


def _insert(notebook: NotebookNode, new: NewQuestion) -> None:
    """Put statement, hint, answer and check of a question behind the last question."""
    end = max((place.check for place in cells.questions(notebook).values()), default=len(notebook.cells) - 1) + 1
    answer, check = cells.answer_id(new.id), cells.check_id(new.id)
    notebook.cells[end:end] = [
        new_markdown_cell(new.fill(MARKDOWN), id=f"text-{answer}"),
        new_code_cell(f'hint("{new.id}")', id=f"hint-{answer}"),
        new_code_cell(new.fill(ANSWER), id=answer, metadata=_nbgrader(answer)),
        new_code_cell(f'check("{new.id}", {new.name})', id=check, metadata=_nbgrader(check, points=new.points)),
    ]


def _nbgrader(grade_id: str, **points: int) -> dict[str, dict[str, object]]:
    """The metadata of a check cell if there are points, else of an answer cell."""
    graded = bool(points)
    return {
        "nbgrader": {
            "cell_type": "code", "grade": graded, "grade_id": grade_id, "locked": graded, "schema_version": 3,
            "solution": not graded, "task": False, **points,
        }
    }  # fmt: skip


def _defined(source: str) -> set[str]:
    """Functions of a module, and the names that it imports."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def _with_import(source: str, module: str, name: str) -> str:
    """``source`` with ``name`` among the imports from ``module``, formatted as ruff does."""
    lines, nodes = source.splitlines(), [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    found = next((node for node in nodes if node.module == module), None)
    names = sorted({name, *(alias.name for alias in found.names)} if found else {name}, key=_import_order)
    statement = f"from {module} import {', '.join(names)}"
    if len(statement) > 120:
        statement = f"from {module} import (\n" + textwrap.indent(",\n".join(names), "    ") + ",\n)"
    if found:
        lines[found.lineno - 1 : found.end_lineno] = statement.splitlines()
    else:
        before = [node for node in nodes if (node.module or "") < module]
        lines[before[-1].end_lineno or 0 : before[-1].end_lineno or 0] = statement.splitlines()
    return "\n".join(lines) + "\n"


def _import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as isort orders them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

"""Stubs of a new exercise question, in all the places that a question has; ``docs/new_question.md`` explains them.

The stubs are in ``new_question.yaml``. Every text to replace contains the word TODO, and ``course build`` refuses an
exercise in which one is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.grading import building, cells
from course_lib.grading.lint import defined
from course_lib.learning import questions
from course_lib.learning.course_map import lesson as find_lesson

IMPORT = "from course_lib.learning.expect import"


@dataclass(frozen=True)
class NewQuestion:
    """A question to add, with the fields of ``learning.questions.Question``.

    Args:
        name: the function that learners write; by default made from the title.

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
        hints = ("-",) * questions.HINTS
        questions.Question(self.id, self.title, self.points, self.minutes, self.difficulty, hints, print)
        name = self.name or re.sub(r"\W+", "_", self.title.lower()).strip("_")
        if not name.isidentifier():
            raise ValueError(f"name must be a Python identifier, got {name!r}; give one with --name")
        object.__setattr__(self, "name", name)

    def stubs(self) -> dict[str, str]:
        """The templates, filled in with this question."""
        templates = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
        fields = {**vars(self), "lesson": self.id[:2]}
        return {key: template.format(**fields) for key, template in templates.items()}


def add(new: NewQuestion, root: Path = building.ROOT) -> list[Path]:
    """Write the stubs of a question into the project folder ``root``; returns the files that changed.

    Raises:
        ValueError: if the lesson does not exist, or its exercise already has such a question or such a name.
    """
    lesson, stubs = new.id[:2], new.stubs()
    solution = root / "solutions" / find_lesson(lesson).file
    folder = root / "course_lib" / "learning" / "exercises" / f"lesson_{lesson}"
    tests = root / "tests" / "exercises"
    notebook = cells.read(solution) if solution.is_file() else _empty_notebook(stubs["notebook"])
    checks = _text(folder / "questions.py", stubs["questions"])
    places = cells.questions(notebook)
    if new.id in places:
        raise ValueError(f"question {new.id} already exists in {solution.name}")
    names = [name for place in places.values() for name in defined(notebook.cells[place.answer].source)]
    if new.name in names or f"check_{new.name}" in defined(checks):
        raise ValueError(f"name {new.name!r} is already used in exercise {lesson}; give another with --name")
    reference = f"from {questions.EXERCISES}.lesson_{lesson}.reference import {new.name}"
    _insert(notebook, new, stubs)
    texts = {
        solution: nbformat.writes(notebook, version=4, indent=1, ensure_ascii=False) + "\n",
        folder / "__init__.py": _text(folder / "__init__.py", f'"""Exercise {lesson}."""\n'),
        folder / "questions.py": checks.replace(IMPORT, f"{reference}\n{IMPORT}", 1) + stubs["check"],
        folder / "questions.yaml": _text(folder / "questions.yaml", "") + stubs["fields"],
        tests / f"answers_{lesson}.py": _text(tests / f"answers_{lesson}.py", stubs["answers"]) + stubs["tried"],
        tests / "independent.py": _text(tests / "independent.py", "") + stubs["independent"],
    }
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(texts)


def _text(file: Path, otherwise: str) -> str:
    """The content of a file, or ``otherwise`` if there is none."""
    return file.read_text(encoding="utf-8") if file.is_file() else otherwise


def _empty_notebook(title: str) -> NotebookNode:
    setup = new_code_cell("from course_lib.learning import check, hint", id="cell-01")
    metadata = {"kernelspec": building.KERNELSPEC}
    return new_notebook(cells=[new_markdown_cell(title, id="cell-00"), setup], metadata=metadata)


def _insert(notebook: NotebookNode, new: NewQuestion, stubs: dict[str, str]) -> None:
    """Put statement, hint, answer and check of a question after the last question."""
    end = max((place.check for place in cells.questions(notebook).values()), default=len(notebook.cells) - 1) + 1
    answer, check = cells.cell_id("answer", new.id), cells.cell_id("check", new.id)
    notebook.cells[end:end] = [
        new_markdown_cell(stubs["statement"], id=f"text-{answer}"),
        new_code_cell(f'hint("{new.id}")', id=f"hint-{answer}"),
        new_code_cell(stubs["answer"], id=answer, metadata=_nbgrader(answer)),
        new_code_cell(f'check("{new.id}", {new.name})', id=check, metadata=_nbgrader(check, points=new.points)),
    ]


def _nbgrader(grade_id: str, **points: int) -> dict[str, dict[str, Any]]:
    """The metadata of a check cell if there are points, else of an answer cell."""
    graded = bool(points)
    kind = {"cell_type": "code", "schema_version": 3, "task": False}
    return {
        "nbgrader": {**kind, "grade_id": grade_id, "grade": graded, "locked": graded, "solution": not graded, **points}
    }

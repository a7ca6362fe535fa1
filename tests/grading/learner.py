"""A learner's notebook: the exercise as it is handed out, with some answers filled in."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

from course_lib.grading import building, cells


@cache
def _read(lesson: str) -> tuple[Any, Any]:
    (path,) = building.EXERCISES.glob(f"{lesson}_*.ipynb")
    return cells.read(path), cells.read(building.SOLUTIONS / path.name)


def right(question: str) -> str:
    """The course's own answer to a question."""
    _, solution = _read(question[:2])
    return solution.cells[cells.questions(solution)[question].answer].source


class Learner:
    """An exercise with the right answers, to be changed by a test."""

    def __init__(self, lesson: str, *, solved: bool = True) -> None:
        self.notebook = copy.deepcopy(_read(lesson)[0])
        self.questions = list(cells.questions(self.notebook))
        for question in self.questions if solved else ():
            self.answer(question, right(question))

    def cell(self, id: str) -> Any:
        """The first cell with this nbgrader or cell id."""
        return next(one for one in self.notebook.cells if id in (cells.grade_id(one), one["id"]))

    def answer(self, question: str, source: str) -> None:
        """Write another answer to a question."""
        self.cell(cells.answer_id(question)).source = source

    def add(self, source: str, *, before: str) -> int:
        """Add a cell of one's own; returns its number in the file."""
        from nbformat.v4 import new_code_cell

        place = self.notebook.cells.index(self.cell(before))
        self.notebook.cells.insert(place, new_code_cell(source))
        return place + 1

    def remove(self, id: str) -> None:
        """Delete a cell."""
        self.notebook.cells.remove(self.cell(id))

    def copy(self, id: str, source: str | None = None) -> None:
        """Copy a cell with its metadata, as JupyterLab does, and perhaps change the copy."""
        original = self.cell(id)
        place = self.notebook.cells.index(original)
        twin = copy.deepcopy(original)
        twin["id"] = f"twin-{place}"
        twin.source = original.source if source is None else source
        self.notebook.cells.insert(place + 1, twin)

    def strip(self, *, ids: bool) -> None:
        """Lose all metadata, and the cell ids too."""
        for number, cell in enumerate(self.notebook.cells):
            cell.metadata = type(cell.metadata)()
            if ids:
                cell["id"] = f"lost-{number}"

    def text(self) -> str:
        """The notebook as the text of its file."""
        return json.dumps(self.notebook)

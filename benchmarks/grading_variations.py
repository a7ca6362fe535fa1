"""Notebooks of learners: an exercise with some answers filled in, and changed as learners change them.

``variation(seed)`` makes one of many; the same seed always makes the same notebook.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

from nbformat.v4 import new_code_cell

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
        self.cell(cells.cell_id("answer", question)).source = source

    def add(self, source: str, *, before: str) -> int:
        """Add a cell of one's own; returns its number in the file."""
        place = self.notebook.cells.index(self.cell(before))
        self.notebook.cells.insert(place, new_code_cell(source, id=f"added-{len(self.notebook.cells)}"))
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


Change = Callable[[Learner, str, random.Random], None]
LESSONS = ("01", "02", "03", "04", "05", "07", "09", "11")
HELPER = "import math\n\nLIMIT = 3\n\ndef same(value):\n    return value\n"


def variation(seed: int) -> tuple[Learner, str]:
    """A notebook with two or three answers and one to three changes, and the names of the changes."""
    draw = random.Random(seed)
    learner = Learner(LESSONS[seed % len(LESSONS)], solved=False)
    tried = building.load_answers(learner.questions[0][:2])
    answered = sorted(draw.sample(learner.questions, draw.choice((2, 2, 3))))
    for question in answered:
        others = tried[question]
        kinds = [right(question)] * 3 + list(others.right.values()) + list(others.wrong.values())[:1]
        learner.answer(question, draw.choice(kinds))
    chosen = draw.sample(sorted(CHANGES), draw.choice((1, 1, 2, 3)))
    for name in sorted(chosen, key=lambda name: (name.startswith("lost"), "deleted" in name)):
        CHANGES[name](learner, draw.choice(answered), draw)
    return learner, ", ".join(chosen)


def _append(learner: Learner, question: str, text: str) -> None:
    cell = learner.cell(_id("answer", question))
    cell.source = f"{cell.source}\n{text}"


def _prepend(learner: Learner, question: str, text: str) -> None:
    cell = learner.cell(_id("answer", question))
    cell.source = f"{text}\n{cell.source}"


def _use(learner: Learner, question: str, expression: str) -> None:
    """Make the answer compute ``expression``, too."""
    _append(learner, question, f"CHECKED = {expression}")


def _helper(learner: Learner, question: str, draw: random.Random) -> None:
    kind = draw.choice(("answer", "check"))
    learner.add(HELPER, before=_id(kind, question))
    if kind == "answer":
        _use(learner, question, "same(LIMIT)")


def _late_helper(learner: Learner, question: str, draw: random.Random) -> None:
    learner.add(HELPER, before=_id("check", question))
    _use(learner, question, "same(LIMIT)")


def _computing_cell(learner: Learner, question: str, draw: random.Random) -> None:
    learner.add("found = sum(n for n in map(int, '123'))\nprint(found)", before=_id("answer", question))
    if draw.random() < 0.5:
        _use(learner, question, "found + 1")


def _first_cell(learner: Learner, question: str, draw: random.Random) -> None:
    learner.cell("cell-01").source += "\nimport statistics as stats"
    if draw.random() < 0.5:
        _prepend(learner, question, "MEAN = stats.mean([1, 2])")


def _split(learner: Learner, question: str, draw: random.Random) -> None:
    id = _id("answer", question)
    lines = learner.cell(id).source.splitlines()
    place = draw.randrange(1, len(lines)) if len(lines) > 1 else 1
    if draw.random() < 0.5:
        learner.copy(id, "\n".join(lines[place:]))
    else:
        learner.add("\n".join(lines[place:]), before=_id("check", question))
    learner.cell(id).source = "\n".join(lines[:place])


def _own_import(learner: Learner, question: str, draw: random.Random) -> None:
    learner.add("import statistics as stats", before=_id("answer", question))
    _prepend(learner, question, "MEAN = stats.mean([1, 2])")


def _id(kind: str, question: str) -> str:
    return f"{kind}-{question.replace('.', '-')}"


CHANGES: dict[str, Change] = {
    "helper cell": _helper,
    "helper cell below its use": _late_helper,
    "import in a cell of its own": _own_import,
    "import in the first cell": _first_cell,
    "computing cell": _computing_cell,
    "split answer": _split,
    "copied answer": lambda learner, question, draw: learner.copy(_id("answer", question)),
    "changed copy": lambda learner, question, draw: learner.copy(_id("answer", question), "def other():\n    return 1"),
    "deleted answer": lambda learner, question, draw: learner.remove(_id("answer", question)),
    "deleted check": lambda learner, question, draw: learner.remove(_id("check", question)),
    "changed check": lambda learner, question, draw: setattr(learner.cell(_id("check", question)), "source", "1"),
    "loop": lambda learner, question, draw: _append(learner, question, "for step in range(100_000):\n    pass"),
    "endless loop": lambda learner, question, draw: _append(learner, question, "while True:\n    pass"),
    "line magic": lambda learner, question, draw: _append(learner, question, "%timeit -n 1 -r 1 sum([1, 2])"),
    "cell magic": lambda learner, question, draw: _prepend(learner, question, "%%time"),
    "magic in a cell of its own": lambda learner, question, draw: (
        learner.add("%matplotlib inline\nimport math", before=_id("answer", question)) and None
    ),
    "printed lines": lambda learner, question, draw: _append(learner, question, "print('done', 1 + 1)"),
    "syntax error": lambda learner, question, draw: _append(learner, question, "def ("),
    "error at the end": lambda learner, question, draw: _append(learner, question, "undefined_name"),
    "other default dtype": lambda learner, question, draw: _append(
        learner, question, "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)"
    ),
    "lost metadata": lambda learner, question, draw: learner.strip(ids=False),
    "lost metadata and ids": lambda learner, question, draw: learner.strip(ids=True),
}
"""Name → what is done to a notebook, at one of its answered questions."""

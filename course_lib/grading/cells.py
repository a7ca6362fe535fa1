"""The cells of an exercise notebook that belong to a question, and their ids.

Question ``03.1`` has the answer cell ``answer-03-1`` and the check cell ``check-03-1``; its points are in the nbgrader
metadata of the check cell. The notebook that is graded has ``probe-03-1`` in place of the check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

GRADE_ID = re.compile(r"^(answer|check)-(\d{2})-(\d{1,2})$")


@dataclass(frozen=True)
class QuestionCells:
    """The cells of one question as indices into ``notebook.cells``, and its points."""

    question: str
    answer: int
    check: int
    points: float


def read(path: str | Path) -> NotebookNode:
    """Read a notebook of format 4 without changing it.

    Raises:
        ValueError: if the file is not a notebook of format 4.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a notebook: it is not JSON in UTF-8 ({type(error).__name__})") from error
    version = content.get("nbformat") if isinstance(content, dict) else None
    if version != 4 or not isinstance(content.get("cells"), list):
        raise ValueError(f"{path.name} must be a notebook of format 4, its format is {version!r}")
    return nbformat.reads(text, as_version=4)


def grade_id(cell: NotebookNode) -> str | None:
    """The nbgrader id of a cell, or None."""
    entry = cell.get("metadata", {}).get("nbgrader", {})
    return entry.get("grade_id") if isinstance(entry, dict) else None


def question_of(identifier: str | None) -> tuple[str, str] | None:
    """``"answer-03-1"`` → ``("answer", "03.1")``; None for any other id."""
    match = GRADE_ID.match(identifier) if isinstance(identifier, str) else None
    return (match[1], f"{match[2]}.{int(match[3])}") if match else None


def cell_id(kind: str, question: str) -> str:
    """``("answer", "03.1")`` → ``"answer-03-1"``; other kinds are ``check`` and ``probe``."""
    return f"{kind}-{question}".replace(".", "-")


def graded(notebook: NotebookNode) -> Iterator[tuple[int, str, str]]:
    """Yield ``(index, "answer" | "check", question)`` for each cell that belongs to a question, in order."""
    for index, cell in enumerate(notebook.cells):
        if found := question_of(grade_id(cell)):
            yield index, *found


def questions(notebook: NotebookNode) -> dict[str, QuestionCells]:
    """The questions of a notebook that have exactly one answer cell and one check cell, in order."""
    places: dict[str, dict[str, list[int]]] = {}
    for index, kind, question in graded(notebook):
        places.setdefault(question, {"answer": [], "check": []})[kind].append(index)
    found = {}
    for question, where in places.items():
        if len(where["answer"]) == len(where["check"]) == 1:
            check = where["check"][0]
            points = notebook.cells[check].metadata.nbgrader.get("points", 0)
            found[question] = QuestionCells(question, where["answer"][0], check, float(points or 0))
    return found


def plain(source: str) -> str:
    """The source of a code cell without magics and shell commands."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def code_index(notebook: NotebookNode) -> dict[int, int]:
    """nbval's number of each code cell → its index in ``notebook.cells``."""
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    return dict(enumerate(code))

"""The code that answers are compared with: what every student was given, and the functions of the course itself."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from course_lib.grading import building, cells
from course_lib.grading.similarity import Fingerprint, fingerprint
from course_lib.grading.visible_files import TECHNIQUES

LESSONS = building.ROOT / "notebooks"
PACKAGE = Path(__file__).resolve().parents[1]


@cache
def given(lesson: str, solutions: Path) -> dict[str, Fingerprint]:
    """Question → the code of its lesson, of its exercise and of the course's own answer, as far as it is here.

    Args:
        lesson: such as ``"03"``.
        solutions: folder of the solution notebooks.
    """
    files = [*LESSONS.glob(f"{lesson}_*.ipynb"), *solutions.glob(f"{lesson}_*.ipynb")]
    notebooks = [cells.read(file) for file in files]
    questions = [id for notebook in notebooks for id in cells.questions(notebook)]
    notebooks += [building.exercise(notebook) for notebook in notebooks if cells.questions(notebook)]
    sources = [cell.source for notebook in notebooks for cell in notebook.cells if cell.cell_type == "code"]
    everything = frozenset[tuple[str, ...]]().union(*map(fingerprint, sources))
    return dict.fromkeys(questions, everything)


@cache
def course() -> dict[str, Fingerprint]:
    """Name → fingerprint of every function and class in the packages of the techniques."""
    found = {}
    for file in sorted(one for room in TECHNIQUES for one in (PACKAGE / room).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                name = f"course_lib/{file.relative_to(PACKAGE).as_posix()}: {node.name}"
                found[name] = fingerprint(ast.get_source_segment(source, node) or "")
    return found

"""Make the exercises that learners get from the solutions, which are their one source.

nbgrader's own preprocessors do the work, applied to the notebook in memory; the same solution always gives the
same bytes, so that a drift between the two folders is a difference between two files.
"""

from __future__ import annotations

import copy
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_lib.grading import cells
from course_lib.grading.lint import LintError, lint

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = ROOT / "solutions"
EXERCISES = ROOT / "exercises"
ANSWERS = ROOT / "tests" / "exercises"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT_CELL_METADATA = ("nbgrader", "deletable", "editable", "tags")


def build(
    paths: Iterable[str | Path] = (), *, check: bool = False, destination: str | Path | None = None
) -> list[Path]:
    """Write the exercise of every solution, and return the files whose content changed.

    Args:
        paths: solution notebooks; all of ``solutions/`` by default.
        check: write nothing, only return the files that differ from what would be written.
        destination: folder of the exercises, ``exercises/`` by default.

    Raises:
        LintError: if a solution breaks a rule of ``course_lib.grading.lint``; nothing is written then.
        FileNotFoundError: if there is no solution to build from.
    """
    sources = sorted(Path(path) for path in paths) or sorted(SOLUTIONS.glob("*.ipynb"))
    if not sources:
        raise FileNotFoundError(f"no solution notebooks in {SOLUTIONS}")
    texts = {source: _checked_exercise(source) for source in sources}
    folder = Path(destination) if destination is not None else EXERCISES
    changed = []
    for source, text in texts.items():
        target = folder / source.name
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            continue
        changed.append(target)
        if not check:
            folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
    return changed


def exercise_text(solution: NotebookNode) -> str:
    """The exercise of a solution as the text of its file."""
    return nbformat.writes(exercise(solution), version=4, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def exercise(solution: NotebookNode) -> NotebookNode:
    """A copy of ``solution`` with solutions, hidden tests, outputs and foreign metadata taken out.

    Raises:
        RuntimeError: from nbgrader, if a solution or hidden-test region is not closed or stands in a wrong cell.
    """
    notebook = copy.deepcopy(solution)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC})
    for number, cell in enumerate(notebook.cells):
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        cell["id"] = cells.grade_id(cell) or f"cell-{number:02d}"
        cell.pop("attachments", None)
    resources: dict[str, object] = {}
    for preprocessor in _preprocessors():
        notebook, resources = preprocessor.preprocess(notebook, resources)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def _preprocessors() -> list:
    """nbgrader's steps of ``generate_assignment`` that do not need its database, in its order."""
    from nbgrader import preprocessors as nbgrader

    steps = (
        nbgrader.CheckCellMetadata, nbgrader.LockCells, nbgrader.ClearSolutions, nbgrader.ClearOutput,
        nbgrader.ClearHiddenTests, nbgrader.ClearMarkScheme, nbgrader.ComputeChecksums,
        nbgrader.CheckCellMetadata,
    )  # fmt: skip
    return [step() for step in steps]


def _checked_exercise(source: Path) -> str:
    from course_lib.learning import questions

    solution = cells.read(source)
    lessons = dict.fromkeys(question[:2] for _, _, question in cells.graded(solution))
    known = {entry.id: entry for lesson in lessons for entry in _in_lesson(lesson, questions)}
    tried = {question: entry for lesson in lessons for question, entry in load_answers(lesson).items()}
    if problems := lint(solution, exercise(solution), known, tried):
        raise LintError(source.name, problems)
    return exercise_text(solution)


def load_answers(lesson: str, folder: Path = ANSWERS) -> dict[str, Any]:
    """The wrong and right answers that a lesson's checks are tested with: question id → ``Answers``."""
    file = folder / f"answers_{lesson}.py"
    if not file.is_file():
        return {}
    sys.path.insert(0, str(ROOT))
    try:
        return runpy.run_path(str(file))["ANSWERS"]
    finally:
        sys.path.remove(str(ROOT))


def _in_lesson(lesson: str, questions: Any) -> list[Any]:
    try:
        return questions.in_lesson(lesson)
    except ValueError:
        return []

"""Generate the exercise notebooks and the reference answers from the solutions, which are their only source.

The code cells of each exercise are also stored in the package, so that `course check` knows them.

nbgrader's own preprocessors are applied to the notebook in memory. The same solution always gives the same bytes, so
``check`` finds outdated files by comparing them.
"""

from __future__ import annotations

import copy
import json
import runpy
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_lib.grading import cells, reference_module
from course_lib.grading.lint import LintError, lint

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = ROOT / "solutions"
EXERCISES = ROOT / "exercises"
ANSWERS = ROOT / "tests" / "exercises"
REFERENCES = Path(__file__).resolve().parents[1] / "learning" / "exercises"
PUBLISHED = "exercise.json"  # the code cells of an exercise, in the folder of its questions
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT_CELL_METADATA = ("nbgrader", "deletable", "editable", "tags")


def build(
    paths: Iterable[str | Path] = (), *, check: bool = False, destination: str | Path | None = None
) -> list[Path]:
    """Write the reference answers and the exercise of every solution; returns the files whose content changed.

    Args:
        paths: solution notebooks; all of ``solutions/`` by default.
        check: write nothing, only return the files that differ from what would be written.
        destination: folder of the exercises, ``exercises/`` by default.

    Raises:
        LintError: if a solution breaks a rule of ``course_lib.grading.lint``; no exercise is written then.
        FileNotFoundError: if there is no solution to build from.
    """
    sources = sorted(Path(path) for path in paths) or sorted(SOLUTIONS.glob("*.ipynb"))
    if not sources:
        raise FileNotFoundError(f"no solution notebooks in {SOLUTIONS}")
    outdated = _write({file: text for source in sources for file, text in _reference(source)}, check)
    if check and outdated:
        return outdated  # the questions import these references, so the exercises cannot be checked yet
    texts = {source: _checked_exercise(source) for source in sources}
    outdated += _write({file: content for source, text in texts.items() for file, content in _published(source, text)},
                       check)  # fmt: skip
    folder = Path(destination) if destination is not None else EXERCISES
    return outdated + _write({folder / source.name: text for source, text in texts.items()}, check)


def _published(solution: Path, text: str) -> Iterator[tuple[Path, str]]:
    """The file with the code cells of an exercise, and its content, if the lesson has a folder of questions."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    content = json.dumps({"name": solution.stem, "notebook": notebook}, indent=1, ensure_ascii=False, sort_keys=True)
    for lesson in {question[:2] for question in cells.questions(notebook)}:
        if (folder := REFERENCES / f"lesson_{lesson}").is_dir():
            yield folder / PUBLISHED, content + "\n"


def _reference(solution: Path) -> Iterator[tuple[Path, str]]:
    """The reference module of a solution and its content, if the lesson has a folder of questions."""
    notebook = cells.read(solution)
    for lesson in {question[:2] for question in cells.questions(notebook)}:
        if (folder := REFERENCES / f"lesson_{lesson}").is_dir():
            yield folder / "reference.py", reference_module.source(notebook)


def _write(texts: Mapping[Path, str], check: bool) -> list[Path]:
    """Write each text to its file, unless ``check``; returns the files that differ."""
    changed = [file for file, text in texts.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    for file in changed if not check else ():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(texts[file], encoding="utf-8", newline="\n")
    return changed


def exercise_text(solution: NotebookNode) -> str:
    """The exercise of a solution as the text of its file."""
    return nbformat.writes(exercise(solution), version=4, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def exercise(solution: NotebookNode) -> NotebookNode:
    """A copy of ``solution`` without solutions, hidden tests, outputs and unrelated metadata.

    Raises:
        RuntimeError: from nbgrader, if a solution or hidden-test region is not closed or is in a wrong cell.
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
    """The wrong and right answers that test a lesson's checks: question id → ``Answers``."""
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

"""Execute lessons from top to bottom, and report cells, time, memory, errors and result tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.core.atomic_write import write_atomically
from course_lib.notebook.clean_outputs import clean_outputs
from course_lib.notebook.execution import CELL_TIMEOUT, code_cells, execute

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "notebooks"
RUNS = ROOT / "runs"
RESULT_TABLE = 'class="course-table"'  # mark of the tables of course_lib.report


@dataclass(frozen=True)
class LessonResult:
    """Outcome of one lesson; ``seconds`` and ``peak_mb`` as in ``Execution``.

    Args:
        lesson: name of the notebook without its suffix.
        cells: number of code cells.
        status: ``"passed"`` or ``"failed"``.
        error: one line for a failed lesson: which cell, what.
        tables: result tables that the lesson showed, as text.
        executed: the executed copy.
    """

    lesson: str
    cells: int
    seconds: float
    peak_mb: float
    status: str
    error: str
    tables: tuple[str, ...]
    executed: Path

    @property
    def passed(self) -> bool:
        """Whether every cell ran without an error."""
        return self.status == "passed"


def find_lessons(names: Sequence[str] = (), folder: Path = LESSONS) -> list[Path]:
    """Notebooks by number (``"03"``), name or path; without names all lessons.

    Raises:
        ValueError: if a name matches no notebook.
    """
    available = sorted(folder.glob("*.ipynb"))
    if not names:
        return available
    found = []
    for name in names:
        matching = [path for path in available if path.stem == name or path.stem.startswith(f"{name}_")]
        if Path(name).suffix == ".ipynb" and Path(name).is_file():
            matching = [Path(name)]
        if not matching:
            numbers = ", ".join(path.stem.split("_")[0] for path in available) or "none here"
            raise ValueError(f"lesson must be one of {numbers}, or a notebook file; got {name!r}")
        found += matching
    return found


def run_lesson(
    path: str | Path, *, save: bool = False, folder: Path | None = None, timeout: float = CELL_TIMEOUT
) -> LessonResult:
    """Execute one notebook; the executed copy goes to ``folder``, by default ``runs/``.

    Args:
        save: store the cleaned outputs in the notebook itself, if every cell passed.
        timeout: seconds that one cell may take.
    """
    path, folder = Path(path), folder or RUNS
    notebook = nbformat.read(path, as_version=4)
    execution = execute(notebook, path, timeout)
    executed = folder / path.name
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, executed)
    result = LessonResult(
        path.stem, len(code_cells(notebook)), round(execution.seconds, 1), round(execution.peak_mb, 1),
        "failed" if execution.error else "passed", execution.error, tuple(_result_tables(notebook)), executed,
    )  # fmt: skip
    if save and result.passed:
        write_atomically(path, nbformat.writes(clean_outputs(notebook)) + "\n")
    return result


def run(
    names: Sequence[str] = (), *, save: bool = False, folder: Path | None = None, timeout: float = CELL_TIMEOUT
) -> list[LessonResult]:
    """Execute lessons one after another; print their result tables, write ``summary.json`` beside the copies.

    Raises:
        ValueError: if a name matches no notebook, or there is none to run.
    """
    paths = find_lessons(names)
    if not paths:
        raise ValueError(f"there are no lessons in {LESSONS}")
    folder, results = folder or RUNS, []
    for path in paths:
        result = run_lesson(path, save=save, folder=folder, timeout=timeout)
        results.append(result)
        for table in result.tables:
            print(f"\n{table}\n", flush=True)
    facts = [{**asdict(result), "executed": result.executed.name} for result in results]
    (folder / "summary.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    return results


def summary(results: Iterable[LessonResult]) -> str:
    """A table for a terminal: lesson, cells, seconds, peak memory, status; then the errors."""
    results = list(results)
    width = max(len(result.lesson) for result in results)
    lines = [f"{'lesson':<{width}}  cells  seconds  peak MB  status"]
    for result in results:
        numbers = f"{result.cells:5d}  {result.seconds:7.1f}  {result.peak_mb:7.0f}"
        lines.append(f"{result.lesson:<{width}}  {numbers}  {result.status}")
    lines += [f"{result.lesson}: {result.error}" for result in results if result.error]
    return "\n".join(lines)


def _result_tables(notebook: NotebookNode) -> list[str]:
    data = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    return [item["text/plain"] for item in data if RESULT_TABLE in item.get("text/html", "")]

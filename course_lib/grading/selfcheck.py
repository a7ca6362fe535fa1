"""Points for your own notebook: nbval runs a copy of it, and every check cell that passes earns its points.

The notebook runs with your rights and its own checks decide. Untrusted notebooks are graded by
``course_lib.grading.grade``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat

from course_lib.grading import cells, nbval_report
from course_lib.grading.building import ROOT
from course_lib.grading.nbval_report import CellReport

CELL_TIMEOUT = 120
OWN_KERNEL = ("--nbval-current-env", "-p", "course_lib.notebook.ipc_kernels")


@dataclass(frozen=True)
class QuestionResult:
    """One question: ``status`` is ``"passed"``, ``"failed"`` or ``"not attempted"``."""

    question: str
    title: str
    points: float
    max_points: float
    status: str
    message: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class NotebookResult:
    """All questions of one notebook; ``problems`` are other cells that failed, or why it did not run."""

    notebook: str
    questions: list[QuestionResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """Points that the answers earned."""
        return sum(question.points for question in self.questions)

    @property
    def max_points(self) -> float:
        """Points that all questions could earn."""
        return sum(question.max_points for question in self.questions)

    @property
    def complete(self) -> bool:
        """Every question earned its points."""
        return bool(self.questions) and all(question.status == "passed" for question in self.questions)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the sums of points, as values for JSON."""
        return {**asdict(self), "points": self.points, "max_points": self.max_points}


def check(paths: Iterable[str | Path], *, cell_timeout: float = CELL_TIMEOUT) -> list[NotebookResult]:
    """Run every notebook in a folder of its own and count its points.

    Args:
        paths: exercise notebooks, filled in or not.
        cell_timeout: seconds that one cell may take.
    """
    return [_check_one(Path(path), cell_timeout) for path in paths]


def summary(results: Iterable[NotebookResult]) -> str:
    """The results as text for a terminal."""
    lines = []
    for result in results:
        lines.append(f"{Path(result.notebook).name}: {result.points:g} of {result.max_points:g} points")
        for question in result.questions:
            points = f"{question.points:g}/{question.max_points:g}"
            lines.append(f"  {question.question}  {points:>5}  {question.status:<13}  {question.title}".rstrip())
            lines += [f"         {line}" for line in question.message.splitlines()]
            if question.hint:
                lines.append(f"         where to think: {question.hint}")
        lines += [f"  note: {problem}" for problem in result.problems]
    return "\n".join(lines)


def _check_one(path: Path, cell_timeout: float) -> NotebookResult:
    try:
        notebook = cells.read(path)
    except (ValueError, OSError) as error:
        return NotebookResult(str(path), problems=[str(error)])
    found = cells.questions(notebook)
    if not found:
        return NotebookResult(str(path), problems=["no question found; is this an exercise notebook?"])
    with tempfile.TemporaryDirectory(prefix="course-check-") as folder:
        reports, failure = _run(notebook, Path(folder), cell_timeout)
    by_index = {index: reports.get(number) for number, index in cells.code_index(notebook).items()}
    results = [_question_result(place, by_index.get(place.check)) for place in found.values()]
    problems = [failure] if failure else []
    graded = {index for index, _, _ in cells.graded(notebook)}
    problems += [f"cell {index + 1} failed: {_failure(report)}" for index, report in by_index.items()
                 if index not in graded and report and not report.passed]  # fmt: skip
    return NotebookResult(str(path), results, problems)


def _run(notebook: nbformat.NotebookNode, folder: Path, cell_timeout: float) -> tuple[dict[int, CellReport], str]:
    """nbval's reports by code-cell number, and what went wrong with the run as a whole."""
    nbformat.write(notebook, folder / "notebook.ipynb")
    options = nbval_report.options(folder, "--nbval-lax", *OWN_KERNEL, f"--nbval-cell-timeout={cell_timeout:g}")
    command = [sys.executable, "-m", "pytest", *options]
    finished = subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, errors="replace", check=False
    )
    report = folder / "report.json"
    if finished.returncode not in nbval_report.EXIT_STATUS or not report.is_file():
        last = (finished.stderr or finished.stdout).strip().splitlines()[-1:] or ["no output"]
        return {}, f"nbval could not run the notebook: {last[0]}"
    return nbval_report.read(report), ""


def _environment(folder: Path) -> Mapping[str, str]:
    """The caller's environment without pytest's own settings; progress of this run is not recorded."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {
        "PYTHONPATH": os.pathsep.join(search),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COURSE_PROGRESS": str(folder / "progress.json"),
    }


def _question_result(place: cells.QuestionCells, report: CellReport | None) -> QuestionResult:
    title, hint = _title_and_hint(place.question)
    failed = QuestionResult(place.question, title, 0, place.points, "failed", "its check cell did not run")
    if report is None:
        return failed
    if report.passed:
        return replace(failed, points=place.points, status="passed", message="", seconds=report.seconds)
    if report.is_unanswered:
        return replace(failed, status="not attempted", message="", seconds=report.seconds)
    message = report.message if report.error == "CheckFailed" and report.message else _failure(report)
    return replace(failed, message=message, hint=hint, seconds=report.seconds)


def _title_and_hint(question: str) -> tuple[str, str]:
    """Title and first hint of a question; both empty for one that the course does not know."""
    from course_lib.learning import questions

    try:
        entry = questions.find(question)
    except ValueError:
        return "", ""
    return entry.title, entry.hints[0]


def _failure(report: CellReport) -> str:
    """The error of a cell that failed; without one, a line of nbval's text."""
    lines = [line.strip() for line in report.failure.splitlines() if line.strip()]
    first = next((line for line in lines if "Timeout" in line), lines[0] if lines else "no reason given")
    return f"{report.error}: {report.message or first}" if report.error else first

"""Points for your own notebook: exactly the program that `course grade` would run, judged in the same way.

It runs with your rights and without the sandbox. Of a question that is not right, the course's check then says what it
expected. Untrusted notebooks are graded by ``course_lib.grading.grade``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell

from course_lib.grading import cells, decision, own_references, own_run, sandbox, submission
from course_lib.grading.assignment import IGNORE_OUTPUT, Exercise
from course_lib.grading.outcome import ADVICE, Status, Verdict

OWN_KERNEL = own_run.OWN_KERNEL
CELL_TIMEOUT = sandbox.Limits().question_seconds
QUESTION = re.compile(r"^\s*(?=\d\d\.\d)")  # only the line of a question begins with its number
RESET = "probe_runtime.reset()"


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


@dataclass(frozen=True)
class NotebookResult:
    """All questions of one notebook; ``problems`` are cells that are no part of it or failed, or why it did not run."""

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
    """Judge every notebook in a folder of its own and count its points.

    Args:
        paths: exercise notebooks, filled in or not.
        cell_timeout: seconds that one cell may take.
    """
    limits = sandbox.Limits(question_seconds=cell_timeout)
    return [_check_one(Path(path), limits) for path in paths]


def summary(results: Iterable[NotebookResult]) -> str:
    """The results as text for a terminal."""
    lines = []
    for result in results:
        lines.append(f"{Path(result.notebook).name}: {result.points:g} of {result.max_points:g} points")
        for question in result.questions:
            points = f"{question.points:g}/{question.max_points:g}"
            lines.append(f"  {question.question}  {points:>5}  {question.status:<13}  {question.title}".rstrip())
            lines += [f"         {QUESTION.sub('question ', line)}" for line in question.message.splitlines()]
            if question.hint:
                lines.append(f"         where to think: {question.hint}")
        lines += [f"  note: {problem}" for problem in result.problems]
    return "\n".join(lines)


def _check_one(path: Path, limits: sandbox.Limits) -> NotebookResult:
    try:
        content = submission.parse(path.read_bytes())
        if (lesson := submission.lesson(content)) is None:
            return NotebookResult(str(path), problems=["no question found; is this an exercise notebook?"])
        exercise = Exercise.of_lesson(lesson)
    except (ValueError, OSError) as error:
        return NotebookResult(str(path), problems=[str(error)])
    taken = submission.extract(content, exercise)
    try:
        decided = _decide(exercise, taken, limits)
    except RuntimeError as error:
        failed = {id: Verdict(Status.STOPPED, str(error)) for id in exercise.questions}
        decided = decision.Decision(failed, (*taken.notes, str(error)))
    messages = _messages(exercise, taken, decided, limits)
    results = [_question_result(exercise, id, decided.verdicts[id], messages.get(id, "")) for id in exercise.questions]
    return NotebookResult(str(path), results, list(decided.notes))


def _decide(exercise: Exercise, taken: submission.Extracted, limits: sandbox.Limits) -> decision.Decision:
    with tempfile.TemporaryDirectory(prefix="course-library-") as folder:
        files = exercise.stage(Path(folder))
        references = own_references.make(exercise, decision.attempted(exercise, taken))
        return decision.decide(exercise, taken, references, lambda notebook: own_run.run(notebook, files, limits))


def _messages(
    exercise: Exercise, taken: submission.Extracted, decided: decision.Decision, limits: sandbox.Limits
) -> dict[str, str]:
    """What the course's checks say about the answers that gave other values than a right one."""
    asked = [id for id, verdict in decided.verdicts.items() if verdict.status is Status.WRONG]
    if not asked:
        return {}
    stopped = {id for id, verdict in decided.verdicts.items() if verdict.status is Status.STOPPED}
    answers = {id: source for id, source in taken.answers.items() if id not in stopped}
    judged = {id: _check_cell(exercise.exercise.cells[exercise.places[id].check].source, id) for id in asked}
    run = own_run.run(exercise.program(answers, judged, taken.helpers), None, limits)
    reports = {id: run.cells.get(cells.cell_id("check", id)) for id in asked}
    return {id: decision.said(report).removeprefix(f"{id} not yet: ") for id, report in reports.items()
            if report and report.error}  # fmt: skip


def _check_cell(source: str, question: str) -> Any:
    imported = "from course_lib.learning import check"
    cell = new_code_cell(f"{RESET}\n{imported}\n{source}", id=cells.cell_id("check", question))
    cell.metadata.tags = [IGNORE_OUTPUT]
    return cell


def _question_result(exercise: Exercise, id: str, verdict: Verdict, message: str) -> QuestionResult:
    title, hint = _title_and_hint(id)
    most = exercise.questions[id].points
    if verdict.passed:
        return QuestionResult(id, title, most, most, "passed")
    missing = QuestionResult(id, title, 0, most, "failed", " ".join(filter(None, [message, verdict.details])), hint)
    if verdict.status is Status.NOT_ATTEMPTED:
        return replace(missing, status="not attempted", message="", hint="")
    if verdict.status is Status.NOT_ACCEPTED:
        return replace(missing, hint="")
    return missing if missing.message else replace(missing, message=ADVICE[verdict.status])


def _title_and_hint(question: str) -> tuple[str, str]:
    """Title and first hint of a question."""
    from course_lib.learning import questions

    entry = questions.described(question[:2])[question]
    return entry["title"], entry["hints"][0]

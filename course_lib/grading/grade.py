"""Grade one submission, from its file to its points.

1. take the answers: the sources of the answer cells and nothing else (``submission``);
2. run them in the sandbox, each followed by a probe that prints values (``nbval_run``);
3. compare what the probes printed with the references (nbval; ``judge`` for an answer without arguments);
4. decide: a ``Verdict`` for each question, and its points (``outcome``).

``reruns`` repeats 2 to 4 without the answers that broke a run. Learner code runs in the sandbox only.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading import cells, fork_server, leftovers, nbval_run, probes, reruns, results, sandbox, submission
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.handed_in import Submission
from course_lib.grading.nbval_report import CellReport, KernelState
from course_lib.grading.outcome import KERNEL_ENDED, NOT_REACHED, Status, Stop, StopReason, Verdict
from course_lib.grading.results import GradedQuestion, GradedSubmission
from course_lib.grading.settings import Settings, result_key
from course_lib.grading.shortcut_detection import flags

DETAILS_LIMIT = 300


def grade_one(handed_in: Submission, settings: Settings) -> GradedSubmission:
    """The result of one submission; stored under its key, and read from there if it is known already.

    A submission that cannot be graded has a result too, without points and with the reason.

    Raises:
        SandboxError: if the sandbox level is not available.
        RuntimeError: if the references cannot be made, or the grader itself does not work.
    """
    try:
        content = handed_in.read(settings.limits.notebook_bytes)
        notebook = submission.parse(content, settings.limits.notebook_bytes)
        assignment = find_assignment(settings.solutions, submission.lesson(notebook))
    except submission.Refused as problem:
        return results.refused(handed_in.student, str(problem), settings.level)
    key = result_key(content, handed_in.student, assignment, settings)
    if (stored := results.read(settings.result_file(key))) is not None:
        return stored
    settings.require_sandbox()
    started = time.monotonic()
    taken = submission.extract(notebook, assignment.questions)
    references = settings.references(assignment)[settings.place(assignment, handed_in.student)]
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix("library")) as folder:
        os.chmod(folder, 0o755)
        files = assignment.stage(Path(folder))
        verdicts = decide(assignment, taken.answers, references, files, level=settings.level, limits=settings.limits)
    questions = tuple(_graded(id, assignment, taken, verdicts) for id in assignment.questions)
    seconds = round(time.monotonic() - started, 2)
    result = GradedSubmission(handed_in.student, settings.level, key, assignment.name, "", questions, taken.answers,
                              seconds)  # fmt: skip
    results.write(settings.result_file(key), result)
    return result


@lru_cache(maxsize=64)
def find_assignment(solutions: str, lesson: str | None) -> Assignment:
    """The assignment of a lesson, read once per process from ``NN_*.ipynb``.

    Raises:
        Refused: if there is none.
    """
    for path in sorted(Path(solutions).glob(f"{lesson}_*.ipynb")):
        if (assignment := Assignment(path)).lesson == lesson:
            return assignment
    raise submission.Refused("no answer cell of an exercise was found in it")


def decide(
    assignment: Assignment,
    answers: Mapping[str, str],
    references: Mapping[str, Reference],
    files: Mapping[str, Path],
    *,
    level: str,
    limits: sandbox.Limits | None = None,
) -> dict[str, Verdict]:
    """A verdict for each question of the assignment that has an answer.

    Args:
        answers: question id → source.
        files: what the kernel sees, by the path inside; see ``Assignment.stage``.

    Raises:
        SandboxError: if the level is not available; nothing was run.
        RuntimeError: if the grader itself does not work, whatever the submission.
    """
    attempted = {
        id: answers[id] for id, asked in assignment.questions.items()
        if id in answers and not submission.is_untouched(answers[id], asked.stub)
    }  # fmt: skip
    runner = _Runner(assignment, references, files, level, limits)
    verdicts = reruns.decide(runner.attempt, attempted)
    return {id: verdicts.get(id, Verdict(Status.NOT_ATTEMPTED)) for id in answers}


@dataclass(frozen=True)
class _Runner:
    """Steps 2 to 4 for some answers of one submission."""

    assignment: Assignment
    references: Mapping[str, Reference]
    files: Mapping[str, Path]
    level: str
    limits: sandbox.Limits | None

    def attempt(self, answers: Mapping[str, str], probed: Sequence[str]) -> reruns.Attempt:
        """Run ``answers`` in one kernel, compare the probes of ``probed``, and decide these questions."""
        run = self._run(answers, probed)
        broken = frozenset(
            id for id in answers if not (cell := run.cells.get(cells.cell_id("answer", id))) or not cell.passed
        )
        if not run.cells:
            return reruns.Attempt({}, None, broken, run.failure)
        lost_at = _lost_at(run, list(answers), probed)
        reached = list(itertools.takewhile(lambda id: id != lost_at, answers))
        verdicts = {id: self._decide(id, run.cells.get(cells.cell_id("probe", id))) for id in reached if id in probed}
        if lost_at is not None and lost_at in probed:
            verdicts[lost_at] = Verdict.stopped(_stop(run, lost_at))
        return reruns.Attempt(verdicts, lost_at, broken)

    def _run(self, answers: Mapping[str, str], probed: Sequence[str]) -> nbval_run.Run:
        notebook = self.assignment.notebook(answers, {id: self.references[id] for id in probed})
        run = nbval_run.run(notebook, self.files, level=self.level, limits=self.limits)
        if not _is_alive(run.cells.get(notebook.cells[0].id)):  # because of the submission, or of the grader?
            empty = self.assignment.notebook({}, {})
            alone = nbval_run.run(empty, self.files, level=self.level, limits=self.limits)
            if not alone.cells or not all(map(_is_alive, alone.cells.values())):
                reason = alone.failure.text if alone.failure else "the kernel does not start"
                raise RuntimeError(f"the grader itself does not work here: {reason}")
        _require_own_cells(notebook, run)
        return run

    def _decide(self, id: str, probe: CellReport | None) -> Verdict:
        if probe is None:
            return Verdict.stopped(NOT_REACHED)
        if probe.is_unanswered:
            return Verdict(Status.NOT_ATTEMPTED)
        if probe.error:
            return Verdict(Status.ERROR, f"{probe.error}: {probe.message or ''}"[:DETAILS_LIMIT])
        return Verdict(Status.PASSED if self._is_right(id, probe) else Status.WRONG)

    def _is_right(self, id: str, probe: CellReport) -> bool:
        """nbval has compared the printed line; a value of an answer without arguments is judged in a process apart."""
        asked, reference = self.assignment.questions[id], self.references[id]
        if not asked.is_data or not probe.passed:
            return probe.passed
        return fork_server.judge(
            {"module": self.assignment.module, "probe": asked.probe, "printed": probe.output.strip(),
             "seed": reference.seed, "line": reference.line, "floors": reference.floors},
            {**os.environ, **probes.ENVIRONMENT},
        )  # fmt: skip


def _require_own_cells(notebook: NotebookNode, run: nbval_run.Run) -> None:
    """Check the course's own cells before the first of the learner: an error in them is never the student's."""
    for cell in itertools.takewhile(lambda cell: cell.id.startswith("pristine-"), notebook.cells):
        report = run.cells.get(cell.id)
        if report is not None and report.error and _is_alive(report):
            raise RuntimeError(f"the grader itself does not work here: {report.error}: {report.message or ''}")


def _is_alive(cell: CellReport | None) -> bool:
    return cell is not None and cell.kernel is KernelState.ALIVE


def _lost_at(run: nbval_run.Run, answers: Sequence[str], probed: Sequence[str]) -> str | None:
    """The first question at which the kernel was lost; None if it was alive at the end."""
    for id in answers:
        own = [cells.cell_id("answer", id), *([cells.cell_id("probe", id)] if id in probed else [])]
        if not all(_is_alive(run.cells.get(cell)) for cell in own):
            return id
    return answers[-1] if run.failure else None


def _stop(run: nbval_run.Run, id: str) -> Stop:
    """Why the kernel was lost at a question."""
    for cell in filter(None, map(run.cells.get, (cells.cell_id("answer", id), cells.cell_id("probe", id)))):
        if cell.kernel is KernelState.TIMED_OUT:
            return Stop(StopReason.TIME, "it took too long")
        if cell.kernel is KernelState.DEAD:
            return cell.stop or KERNEL_ENDED
    return run.failure or Stop(StopReason.COMPARISON_FAILED, "it did not come to an end")


def _graded(
    id: str, assignment: Assignment, taken: submission.Extracted, verdicts: Mapping[str, Verdict]
) -> GradedQuestion:
    """A verdict as points; a question without an answer cell was not accepted."""
    verdict = verdicts.get(id) or Verdict(Status.NOT_ACCEPTED, taken.findings.get(id, ""))
    most = assignment.questions[id].points
    found = tuple(flags(taken.answers.get(id, "")))
    return GradedQuestion(id, most if verdict.passed else 0.0, most, verdict.status, verdict.details, found)

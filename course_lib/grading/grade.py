"""Grade one submission, from its file to its points.

1. take the program: the sources of the answer cells and helper cells and nothing else (``submission``);
2. run it in the sandbox, each answer followed by a probe that prints values (``nbval_run``);
3. compare what the probes printed with the references (nbval; ``judge`` for an answer without arguments);
4. decide: a ``Verdict`` for each question (``decision``), and its points.

``reruns`` repeats 2 to 4 without the answers that broke a run. Learner code runs in the sandbox only.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading import decision, helper_cells, leftovers, nbval_run, results, sandbox, submission
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.handed_in import Submission
from course_lib.grading.outcome import Verdict
from course_lib.grading.results import GradedQuestion, GradedSubmission
from course_lib.grading.settings import Settings, result_key
from course_lib.grading.shortcut_detection import flags
from course_lib.grading.time_budget import TimeBudget


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
    taken = submission.extract(notebook, assignment)
    references = settings.references(assignment)[settings.place(assignment, handed_in.student)]
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix("library")) as folder:
        os.chmod(folder, 0o755)
        files = assignment.stage(Path(folder))
        decided = judge(assignment, taken, references, files, level=settings.level, limits=settings.limits)
    questions = tuple(_graded(id, assignment, taken, decided.verdicts[id]) for id in assignment.questions)
    seconds = round(time.monotonic() - started, 2)
    result = GradedSubmission(handed_in.student, settings.level, key, assignment.name, "", questions, taken.answers,
                              seconds, notes=decided.notes)  # fmt: skip
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
    """A verdict for each of these answers, without any helper cell; see ``judge``."""
    taken = submission.Extracted(dict(answers))
    return dict(judge(assignment, taken, references, files, level=level, limits=limits).verdicts)


def judge(
    assignment: Assignment,
    taken: submission.Extracted,
    references: Mapping[str, Reference],
    files: Mapping[str, Path],
    *,
    level: str,
    limits: sandbox.Limits | None = None,
) -> decision.Decision:
    """Decide all questions in the sandbox.

    Args:
        files: what the kernel sees, by the path inside; see ``Assignment.stage``.

    Raises:
        SandboxError: if the level is not available; nothing was run.
        RuntimeError: if the grader itself does not work, whatever the submission.
    """
    budget = TimeBudget(limits or sandbox.Limits())

    def run(notebook: NotebookNode) -> nbval_run.Run:
        found = budget.run(notebook, files, level)
        if budget.is_spent():
            return found
        if not decision.is_alive(found.cells.get(notebook.cells[0].id)):  # because of the submission, or of the grader?
            empty = assignment.notebook({}, {})
            alone = nbval_run.run(empty, files, level=level, limits=limits)
            if not alone.cells or not all(map(decision.is_alive, alone.cells.values())):
                reason = alone.failure.text if alone.failure else "the kernel does not start"
                raise RuntimeError(f"the grader itself does not work here: {reason}")
        _require_own_cells(notebook, found)
        return found

    return decision.decide(assignment, taken, references, run)


def _require_own_cells(notebook: NotebookNode, run: nbval_run.Run) -> None:
    """Check the course's own cells before the first of the learner: an error in them is never the student's."""
    for cell in itertools.takewhile(lambda cell: cell.id.startswith(("start", "pristine-")), notebook.cells):
        report = run.cells.get(cell.id)
        if report is not None and report.error and decision.is_alive(report):
            raise RuntimeError(f"the grader itself does not work here: {decision.said(report)}")


def _graded(id: str, assignment: Assignment, taken: submission.Extracted, verdict: Verdict) -> GradedQuestion:
    """A verdict as points, with the flags of the answer and of the helper cells that it uses."""
    most = assignment.questions[id].points
    sources = {**taken.answers, **{helper.id: helper.source for helper in taken.helpers}}
    used = [id, *sorted(helper_cells.needed(id, sources) - taken.answers.keys())] if id in sources else []
    found = dict.fromkeys(flag for source in used for flag in flags(sources[source]))
    return GradedQuestion(id, most if verdict.passed else 0.0, most, verdict.status, verdict.details, tuple(found))

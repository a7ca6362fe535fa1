"""Grade the solution of an exercise before a class: it must get full marks in the very same sandbox.

So a fault of the grader or of this machine (modes of files, limits that are too low, a missing package) stops the run
before it costs anybody points.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from course_lib.grading import grade, leftovers, sandbox, submission
from course_lib.grading.assignment import Assignment
from course_lib.grading.outcome import Verdict
from course_lib.grading.settings import Settings

DOCTOR_LESSON = "01"


class GraderFailed(RuntimeError):
    """The grader does not work here, whatever the submissions; nobody was graded."""


def require_full_marks(assignment: Assignment, settings: Settings) -> None:
    """Grade the solution as a submission.

    Raises:
        GraderFailed: if it does not get full marks, with the first question and its error.
    """
    try:
        references = settings.references(assignment)[0]
        with tempfile.TemporaryDirectory(prefix=leftovers.prefix("library")) as folder:
            Path(folder).chmod(0o755)
            files, level, limits = assignment.stage(Path(folder)), settings.level, settings.limits
            taken = submission.extract(assignment.solution.cells, assignment)
            verdicts = grade.judge(assignment, taken, references, files, level=level, limits=limits).verdicts
    except (RuntimeError, OSError) as error:
        raise GraderFailed(f"{assignment.name} cannot be graded here: {error}; nobody was graded") from error
    failed = {id: one for id in assignment.questions if not (one := verdicts[id]).passed}
    if failed:
        raise GraderFailed(
            f"the course's own solution of {assignment.name} does not get full marks in the sandbox "
            f"{settings.level!r} of this machine, so nobody was graded: {_first(failed)}"
        )


def problem(level: str) -> str | None:
    """Why a submission cannot be graded on this machine at this level; None if a trial got full marks."""
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix("trial")) as folder:
        settings = Settings(f"{folder}/out", f"{folder}/state", level=sandbox.require(level), pool=1)
        Path(settings.state).mkdir(mode=0o700)
        try:
            require_full_marks(grade.find_assignment(settings.solutions, DOCTOR_LESSON), settings)
        except (GraderFailed, ValueError) as error:
            return str(error)
    return None


def _first(failed: dict[str, Verdict]) -> str:
    (id, verdict), *rest = failed.items()
    more = f" (and {len(rest)} more questions)" if rest else ""
    return f"question {id}: {verdict.status} {verdict.details}".rstrip() + more

"""Write scores to nbgrader's gradebook in any SQL database.

Only this process has access to the database, after all submissions are graded. A score that an instructor set by hand
stays when a submission is graded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib.grading import cells
from course_lib.grading.feedback import clean
from course_lib.grading.results import GradedQuestion, GradedSubmission

NAME_LIMIT = 128


def default_url(out: Path) -> str:
    """A SQLite file in the output folder."""
    return f"sqlite:///{out / 'gradebook.db'}"


@contextlib.contextmanager
def open_gradebook(url: str) -> Iterator[Any]:
    """nbgrader's gradebook. A new one calls the program ``alembic``, which is beside this Python."""
    from nbgrader.api import Gradebook

    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        with Gradebook(url) as gradebook:
            yield gradebook
    finally:
        os.environ["PATH"] = before


def record(results: Sequence[GradedSubmission], url: str, late: Mapping[str, float] | None = None) -> None:
    """Write the automatic scores of all graded results.

    Args:
        url: any SQLAlchemy database URL.
        late: student → fraction of the points that is taken off.
    """
    graded = [result for result in results if result.assignment]
    with open_gradebook(url) as gradebook:
        for assignment, questions in {result.assignment: result.questions for result in reversed(graded)}.items():
            _declare(gradebook, assignment, questions)
        for result in graded:
            _record_one(gradebook, result, (late or {}).get(result.student, 0.0))
        gradebook.db.commit()


def scores(url: str, assignment: str) -> dict[str, float]:
    """Id of a student → final score: set by hand if there is one, else automatic, less the late penalty."""
    with open_gradebook(url) as gradebook:
        return {
            one.student.id: max(0.0, sum(notebook.score - (notebook.late_submission_penalty or 0.0)
                                         for notebook in one.notebooks))
            for one in gradebook.assignment_submissions(assignment)
        }  # fmt: skip


def student_id(student: str) -> str:
    """The name in the database. A name that has to be cleaned gets a hash, so that it stays unique."""
    plain = clean(student, NAME_LIMIT)
    if plain == student:
        return student
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{clean(student, NAME_LIMIT - 11)}-{digest[:10]}"


def _declare(gradebook: Any, assignment: str, questions: Sequence[GradedQuestion]) -> None:
    """Create the assignment with its notebook and cells; a submission is a copy of it."""
    gradebook.update_or_create_assignment(assignment)
    gradebook.update_or_create_notebook(assignment, assignment)
    for one in questions:
        grade, solution = cells.cell_id("check", one.question), cells.cell_id("answer", one.question)
        gradebook.update_or_create_grade_cell(grade, assignment, assignment, max_score=one.max_points, cell_type="code")
        gradebook.update_or_create_solution_cell(solution, assignment, assignment)


def _record_one(gradebook: Any, result: GradedSubmission, penalty: float) -> None:
    student, assignment = student_id(result.student), result.assignment
    gradebook.update_or_create_student(student)
    submitted = gradebook.update_or_create_submission(assignment, student)
    points = 0.0
    for one in result.questions:
        grade = gradebook.find_grade(cells.cell_id("check", one.question), assignment, assignment, student)
        grade.auto_score = one.points
        grade.needs_manual_grade = False
        points += grade.manual_score if grade.manual_score is not None else one.points
    for notebook in submitted.notebooks:
        notebook.late_submission_penalty = round(points * penalty, 2)

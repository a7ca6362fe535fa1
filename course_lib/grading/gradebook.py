"""Write scores to nbgrader's gradebook in any SQL database.

Only this process has access to the database: ``check`` before anything is graded, ``record`` after it. A score that an
instructor set by hand stays when a submission is graded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.grading import cells
from course_lib.grading.feedback import clean
from course_lib.grading.results import GradedQuestion, GradedSubmission

NAME_LIMIT = 128
TRIAL = "course-trial"


class GradebookError(ValueError):
    """The gradebook cannot be used; nothing was graded."""


@dataclass(frozen=True)
class Recorded:
    """What the gradebook says after the results were written.

    Args:
        scores: (student, lesson) → final score, less the late penalty.
        manual: (student, lesson) → question → points set by hand, with extra credit.
        problems: a line for each result that could not be written.
    """

    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    manual: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def default_url(out: Path) -> str:
    """A SQLite file in the output folder."""
    return f"sqlite:///{out / 'gradebook.db'}"


@contextlib.contextmanager
def open_gradebook(url: str) -> Iterator[Any]:
    """nbgrader's gradebook. A new one calls the program ``alembic``, which is beside this Python."""
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SAWarning

    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            with Gradebook(url) as gradebook:
                yield gradebook
    finally:
        os.environ["PATH"] = before


def check(url: str) -> None:
    """Open the gradebook and try to write to it.

    Raises:
        GradebookError: if it is locked, has an old schema, or cannot be opened; one line.
    """
    try:
        _require_schema(url)
        with open_gradebook(url) as gradebook:
            from nbgrader.api import Student

            gradebook.db.add(Student(id=TRIAL))
            gradebook.db.flush()
            gradebook.db.rollback()
    except GradebookError:
        raise
    except Exception as error:  # each driver of a database has classes of its own
        raise GradebookError(f"nobody was graded: gradebook {_shown(url)} cannot be used: {_reason(error)}") from error


def _require_schema(url: str) -> None:
    """Check an existing database for columns that this version of nbgrader needs."""
    from nbgrader.api import Base
    from sqlalchemy import create_engine, inspect

    engine = create_engine(url)
    try:
        inspector = inspect(engine)
        for table in sorted(set(inspector.get_table_names()) & set(Base.metadata.tables)):
            present = {column["name"] for column in inspector.get_columns(table)}
            if absent := sorted({column.name for column in Base.metadata.tables[table].columns} - present):
                raise GradebookError(
                    f"nobody was graded: gradebook {_shown(url)} has the schema of an older nbgrader ({table} lacks "
                    f"{absent[0]}); run: nbgrader db upgrade --db {_shown(url)}"
                )
    finally:
        engine.dispose()


def _shown(url: str) -> str:
    """A database URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)


def _reason(error: Exception) -> str:
    text = clean(getattr(error, "orig", None) or error).strip() or "no reason given"
    return f"{type(error).__name__}: {text}"


def record(results: Sequence[GradedSubmission], url: str) -> Recorded:
    """Write the automatic scores of all graded results, and read the final ones.

    A result that cannot be written does not stop the others.

    Args:
        url: any SQLAlchemy database URL.
    """
    recorded = Recorded()
    graded = [result for result in results if result.assignment and not result.problem]
    with open_gradebook(url) as gradebook:
        for assignment, questions in {result.assignment: result.questions for result in reversed(graded)}.items():
            _declare(gradebook, assignment, questions)
        for result in graded:
            try:
                recorded.manual[result.identity] = _record_one(gradebook, result)
                gradebook.db.commit()
                submitted = gradebook.find_submission(result.assignment, student_id(result.student))
                recorded.scores[result.identity] = _score(submitted)
            except Exception as error:  # a stale record, or a database that fails now and then
                gradebook.db.rollback()
                name = f"{clean(result.student, 40)}, {result.assignment}"
                recorded.problems.append(f"gradebook: {name} was not written: {_reason(error)}")
    return recorded


def scores(url: str, assignment: str) -> dict[str, float]:
    """Id of a student → final score: set by hand if there is one, else automatic, less the late penalty."""
    with open_gradebook(url) as gradebook:
        return {one.student.id: _score(one) for one in gradebook.assignment_submissions(assignment)}


def _score(submitted: Any) -> float:
    return max(0.0, sum(one.score - (one.late_submission_penalty or 0.0) for one in submitted.notebooks))


def student_id(student: str) -> str:
    """The name in the database. A name that has to be cleaned gets a hash, so that it stays unique."""
    plain = clean(student, NAME_LIMIT)
    if plain == student:
        return student
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{clean(student, NAME_LIMIT - 11)}-{digest[:10]}"


def _declare(gradebook: Any, assignment: str, questions: Sequence[GradedQuestion]) -> None:
    """Create the assignment with its notebook and cells; cells that the exercise no longer has count nothing."""
    gradebook.update_or_create_assignment(assignment)
    notebook = gradebook.update_or_create_notebook(assignment, assignment)
    for one in questions:
        grade, solution = cells.cell_id("check", one.question), cells.cell_id("answer", one.question)
        gradebook.update_or_create_grade_cell(grade, assignment, assignment, max_score=one.max_points, cell_type="code")
        gradebook.update_or_create_solution_cell(solution, assignment, assignment)
    current = {cells.cell_id("check", one.question) for one in questions}
    for cell in notebook.grade_cells:
        if cell.name not in current:
            cell.max_score = 0.0
    gradebook.db.commit()


def _record_one(gradebook: Any, result: GradedSubmission) -> dict[str, float]:
    """Write one result; returns the points that were set by hand."""
    student, assignment = student_id(result.student), result.assignment
    gradebook.update_or_create_student(student)
    submitted = gradebook.update_or_create_submission(assignment, student)
    notebook = _notebook(gradebook, submitted)
    grades = _grades(gradebook, notebook)
    manual: dict[str, float] = {}
    for one in result.questions:
        grade = grades.pop(cells.cell_id("check", one.question))
        grade.auto_score = one.points
        grade.needs_manual_grade = False
        if grade.manual_score is not None or grade.extra_credit:
            base = one.points if grade.manual_score is None else grade.manual_score
            manual[one.question] = base + (grade.extra_credit or 0.0)
    for grade in grades.values():  # of cells that the exercise no longer has
        grade.auto_score, grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 0.0, None, None, False
    points = sum(manual.get(one.question, one.points) for one in result.questions)
    notebook.late_submission_penalty = round(points * result.late_penalty, 2)
    return manual


def _notebook(gradebook: Any, submitted: Any) -> Any:
    """The submitted notebook of an exercise, which has the assignment's name; added where the record lacks it."""
    from nbgrader.api import SubmittedNotebook

    name = submitted.assignment.name
    found = next((one for one in submitted.notebooks if one.name == name), None)
    if found is None:
        found = SubmittedNotebook(notebook=gradebook.find_notebook(name, name), assignment=submitted)
        gradebook.db.flush()
    return found


def _grades(gradebook: Any, notebook: Any) -> dict[str, Any]:
    """The grades of a submitted notebook by the name of the cell; those of cells that are new are added."""
    from nbgrader.api import Comment, Grade

    known = {grade.cell.name for grade in notebook.grades}
    commented = {comment.cell.name for comment in notebook.comments}
    for cell in notebook.notebook.grade_cells:
        if cell.name not in known:
            gradebook.db.add(Grade(cell_id=cell.id, notebook=notebook))
    for cell in notebook.notebook.solution_cells:
        if cell.name not in commented:
            gradebook.db.add(Comment(cell_id=cell.id, notebook=notebook))
    gradebook.db.flush()
    return {grade.cell.name: grade for grade in notebook.grades if grade.cell is not None}
